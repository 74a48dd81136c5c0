//! The sealer as a task of an application.

use std::time::Duration;

use threadline_export::seal::SealWorker;

use super::*;

#[test]
fn workers_seal_and_publish_until_they_are_shut_down() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let worker = || {
        let publication = Publication::directory(directory.path());
        SealWorker::new(trail.pool(), key(), publication).interval(Duration::from_millis(10))
    };
    block_on(async {
        let refused = worker().run_once().await;
        assert!(matches!(refused, Err(SealError::NotBegun)), "{refused:?}");
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        let published = async {
            for _ in 0..3 {
                trail.run("INSERT INTO members SELECT coalesce(max(id), 0) + 1, 'x', 1, NULL FROM members");
                loop {
                    let state = seal::status(&mut conn)
                        .await
                        .expect("a state")
                        .expect("a log");
                    if state.sealed_to == state.last_id && state.published_at.is_some() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let (first, second) = (worker(), worker());
        let shutdown = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                () = published => {}
                () = first.run(std::future::pending()) => {}
                () = second.run(std::future::pending()) => {}
            }
        });
        shutdown.await.expect("published checkpoints");
        worker().run(async {}).await;
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    assert!(verified(directory.path()).checkpoints >= 3);
}
