//! Throughput of clients that wait for each answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::sampling::{Effort, median};
use crate::tables::ROWS;
use crate::variant::{Side, Variant};

/// Transactions per second of a number of clients, with one update per transaction.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Throughput {
    pub(crate) clients: usize,
    /// Whether commits wait for the disk flush.
    pub(crate) synchronous: bool,
    pub(crate) variant: Variant,
    pub(crate) tps: f64,
}

/// Measures 1 and 4 clients with both kinds of commit in every variant, interleaved.
pub(crate) async fn measure(sides: &[Side], effort: Effort) -> Result<Vec<Throughput>> {
    let mut found = Vec::new();
    let number = Arc::new(AtomicI64::new(0));
    for clients in [1, 4] {
        for synchronous in [false, true] {
            let mut samples = vec![Vec::new(); sides.len()];
            for round in 0..=effort.rounds {
                eprintln!("{clients} clients, synchronous {synchronous}: round {round}");
                for (side, kept) in sides.iter().zip(&mut samples) {
                    let tps = sample(side, clients, synchronous, effort.seconds, &number).await?;
                    if round > 0 {
                        kept.push(tps);
                    }
                }
            }
            for (side, kept) in sides.iter().zip(&samples) {
                found.push(Throughput {
                    clients,
                    synchronous,
                    variant: side.variant,
                    tps: median(kept),
                });
            }
        }
    }
    Ok(found)
}

async fn sample(
    side: &Side,
    clients: usize,
    synchronous: bool,
    seconds: f64,
    number: &Arc<AtomicI64>,
) -> Result<f64> {
    let commit = if synchronous { "on" } else { "off" };
    let update = format!(
        "UPDATE orders SET status = 'run ' || $1::bigint WHERE id = 1 + $1::bigint * 7919 % {ROWS}"
    );
    let mut ready = Vec::new();
    for _ in 0..clients {
        let client = side.connect().await?;
        client
            .batch_execute(&format!("SET synchronous_commit = {commit}"))
            .await?;
        let statement = client.prepare(&update).await?;
        // The first executions plan the statement and compile the functions.
        for _ in 0..10 {
            client
                .execute(&statement, &[&number.fetch_add(1, Ordering::Relaxed)])
                .await?;
        }
        ready.push((client, statement));
    }
    let start = Instant::now();
    let limit = Duration::from_secs_f64(seconds);
    let mut running = JoinSet::new();
    for (client, statement) in ready {
        let number = Arc::clone(number);
        running.spawn(async move {
            let mut done = 0_u32;
            while start.elapsed() < limit {
                let next = number.fetch_add(1, Ordering::Relaxed);
                client.execute(&statement, &[&next]).await?;
                done += 1;
            }
            Ok::<_, tokio_postgres::Error>(done)
        });
    }
    let mut done = 0.0;
    while let Some(finished) = running.join_next().await {
        done += f64::from(finished??);
    }
    Ok(done / start.elapsed().as_secs_f64())
}
