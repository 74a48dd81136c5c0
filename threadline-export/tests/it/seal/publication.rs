//! Publishing to directories and storages, with tiles.

use std::collections::BTreeMap;
use std::fs;

use threadline_export::storage::Storage;

use super::*;

/// The files of a directory, by their paths in it.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(current) = directories.pop() {
        for entry in fs::read_dir(current).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("a file of it");
                files.insert(name.display().to_string(), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

fn verify_tiles(directory: &Path) -> Answer {
    Verification::new(vec![key().verifier_key().clone()], directory)
        .export(directory.join("export.ndjson"))
        .tiles(directory)
        .run()
        .expect("readable files")
}

fn insert(trail: &Trail, from: u32, to: u32) {
    trail.run(&format!(
        "INSERT INTO members SELECT n, 'member ' || n, n, NULL FROM generate_series({from}, {to}) AS n"
    ));
}

#[test]
fn tiles_continue_at_the_newest_published_checkpoint() {
    let trail = trail();
    let (grown, whole) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let publication = Publication::directory(grown.path()).with_tiles();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        for (from, to) in [(100, 130), (200, 700), (800, 801), (900, 1_800)] {
            insert(&trail, from, to);
            publish_to(&mut conn, &signer(), &publication)
                .await
                .expect("tiles");
            export(&mut conn, grown.path()).await;
            let answer = verify_tiles(grown.path());
            assert!(
                matches!(&answer, Answer::Verified(summary) if summary.consistent),
                "{answer:?}"
            );
        }
        // Tiles that begin later have the same content.
        let late = Publication::directory(whole.path());
        trail.run("UPDATE members SET total = 0 WHERE id = 900");
        publish_to(&mut conn, &signer(), &late)
            .await
            .expect("a checkpoint");
        assert!(!whole.path().join("tile").exists());
        trail.run("UPDATE members SET total = 1 WHERE id = 900");
        publish_to(&mut conn, &signer(), &late.with_tiles())
            .await
            .expect("tiles");
        export(&mut conn, whole.path()).await;
    });
    let answer = verify_tiles(whole.path());
    assert!(matches!(answer, Answer::Verified(_)), "{answer:?}");
    let (grown, whole) = (files(grown.path()), files(whole.path()));
    let full = |path: &&String| path.starts_with("tile/") && !path.contains(".p/");
    assert!(grown.keys().filter(full).count() >= 10);
    for path in grown.keys().filter(full) {
        assert!(grown[path] == whole[path], "{path}");
    }
}

#[test]
fn published_files_are_never_replaced() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let publication = Publication::directory(directory.path()).with_tiles();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        seal_everything(&mut conn).await;
        let signed = seal::sign_checkpoint(&mut conn, &signer())
            .await
            .expect("a checkpoint");
        let path = directory.path().join(signed.expect("a checkpoint").path());
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, "another file").expect("a file");
        let refused = seal::publish_checkpoints(&mut conn, &publication).await;
        assert!(
            matches!(refused, Err(SealError::PublishedFileDiffers(_))),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(&path).expect("a file"), "another file");
        assert!(!directory.path().join("checkpoint").exists());
        fs::remove_file(&path).expect("a file");
        assert_eq!(
            seal::publish_checkpoints(&mut conn, &publication)
                .await
                .expect("a file"),
            1
        );
    });
}

#[test]
fn a_published_tile_that_was_changed_stops_the_sealer() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let publication = Publication::directory(directory.path()).with_tiles();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        insert(&trail, 100, 500);
        publish_to(&mut conn, &signer(), &publication)
            .await
            .expect("tiles");
        let tile = directory.path().join("tile/1/000.p/1");
        let mut bytes = fs::read(&tile).expect("a tile");
        bytes[5] ^= 1;
        fs::write(&tile, &bytes).expect("a tile");
        insert(&trail, 600, 601);
        let refused = publish_to(&mut conn, &signer(), &publication).await;
        assert!(matches!(refused, Err(SealError::State(_))), "{refused:?}");
        bytes[5] ^= 1;
        fs::write(&tile, &bytes).expect("a tile");
        publish_to(&mut conn, &signer(), &publication)
            .await
            .expect("tiles");
        export(&mut conn, directory.path()).await;
    });
    let answer = verify_tiles(directory.path());
    assert!(matches!(answer, Answer::Verified(_)), "{answer:?}");
}

#[test]
fn an_unreachable_storage_is_an_error_and_the_next_run_continues() {
    let trail = trail();
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join("bucket");
    fs::create_dir(&place).expect("a directory");
    let storage = Storage::local(&place).expect("a storage").prefix("seals");
    let publication = Publication::storage(storage).with_tiles();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        publish_to(&mut conn, &signer(), &publication)
            .await
            .expect("a checkpoint");
        // A file in the place of the directory: nothing can be read or written.
        fs::rename(&place, directory.path().join("away")).expect("a rename");
        fs::write(&place, "").expect("a file");
        insert(&trail, 100, 400);
        let refused = publish_to(&mut conn, &signer(), &publication).await;
        assert!(
            matches!(refused, Err(SealError::Storage { .. })),
            "{refused:?}"
        );
        fs::remove_file(&place).expect("a file");
        fs::rename(directory.path().join("away"), &place).expect("a rename");
        publish_to(&mut conn, &signer(), &publication)
            .await
            .expect("a checkpoint");
        // The same checkpoints again are no difference.
        trail.run("SET session_replication_role = replica; UPDATE threadline.audit_seal_checkpoints SET published_at = NULL");
        let again = seal::publish_checkpoints(&mut conn, &publication)
            .await
            .expect("the same files");
        assert_eq!(again, 2);
        export(&mut conn, &place.join("seals")).await;
    });
    let answer = verify_tiles(&place.join("seals"));
    assert!(
        matches!(&answer, Answer::Verified(summary) if summary.checkpoints == 2),
        "{answer:?}"
    );
}
