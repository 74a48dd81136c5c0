//! Statements that write many rows, and the limit: inserting the same audit rows, already built.

use std::time::Instant;

use anyhow::Result;
use futures_util::SinkExt;
use serde::Serialize;

use crate::sampling::{Effort, median};
use crate::tables::order_values;
use crate::variant::{Side, Variant};

const LIMIT: &str = include_str!("../sql/limit.sql");

/// The first id of the rows written in bulk.
const FIRST_ID: i64 = 10_000_000;

/// A statement that writes many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// `INSERT … SELECT`.
    Insert,
    /// `UPDATE` of one column of every row.
    Update,
    /// `DELETE`.
    Delete,
    /// `COPY … FROM STDIN`.
    Copy,
}

impl Workload {
    /// All workloads in the order of a round. The end of the round deletes the copied rows.
    const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Copy];

    /// The label in tables and charts.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Copy => "copy",
        }
    }

    /// The operation that is recorded.
    fn op(self) -> &'static str {
        match self {
            Self::Insert | Self::Copy => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The cost of a row of a workload in a variant.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bulk {
    pub(crate) workload: Workload,
    pub(crate) variant: Variant,
    /// Microseconds per row.
    pub(crate) micros: f64,
    /// Microseconds per row to insert the same audit rows with one statement; for Threadline only.
    pub(crate) limit_micros: Option<f64>,
    /// Bytes of WAL per row.
    pub(crate) wal: f64,
    /// Growth of the trail in bytes per row, including indexes.
    pub(crate) stored: f64,
}

struct Sample {
    micros: f64,
    limit: Option<f64>,
    wal: f64,
    stored: f64,
}

/// Measures every workload in every variant, interleaved.
pub(crate) async fn measure(sides: &[Side], effort: Effort) -> Result<Vec<Bulk>> {
    let mut samples: Vec<(Workload, Variant, Vec<Sample>)> = Vec::new();
    for side in sides {
        let script = format!(
            "CREATE TABLE source AS SELECT {} FROM generate_series({FIRST_ID}, {}) AS g(id)",
            order_values("g.id").replacen("g.id", "g.id AS id", 1),
            FIRST_ID + effort.rows - 1,
        );
        side.client.batch_execute(&named_source(&script)).await?;
    }
    for round in 0..=effort.rounds {
        eprintln!("bulk: round {round} of {}", effort.rounds);
        for workload in Workload::ALL {
            for side in sides {
                side.client.batch_execute("CHECKPOINT").await?;
                let sample = run(side, workload, effort.rows).await?;
                if round == 0 {
                    continue;
                }
                let key = (workload, side.variant);
                match samples.iter_mut().find(|kept| (kept.0, kept.1) == key) {
                    Some(kept) => kept.2.push(sample),
                    None => samples.push((key.0, key.1, vec![sample])),
                }
            }
        }
        for side in sides {
            let clean = format!("DELETE FROM orders WHERE id >= {FIRST_ID}");
            side.client.batch_execute(&clean).await?;
            side.client.batch_execute("VACUUM orders").await?;
        }
    }
    let middle = |kept: &[Sample], field: fn(&Sample) -> f64| {
        median(&kept.iter().map(field).collect::<Vec<_>>())
    };
    Ok(samples
        .iter()
        .map(|(workload, variant, kept)| Bulk {
            workload: *workload,
            variant: *variant,
            micros: middle(kept, |sample| sample.micros),
            limit_micros: kept
                .iter()
                .all(|sample| sample.limit.is_some())
                .then(|| middle(kept, |sample| sample.limit.unwrap_or(0.0))),
            wal: middle(kept, |sample| sample.wal),
            stored: middle(kept, |sample| sample.stored),
        })
        .collect())
}

/// Changes the script so that the source has the columns of `orders`.
fn named_source(script: &str) -> String {
    script
        .replacen(
            "CREATE TABLE source AS",
            "CREATE TABLE source (LIKE orders); INSERT INTO source",
            1,
        )
        .replacen(" AS id", "", 1)
}

async fn run(side: &Side, workload: Workload, rows: i64) -> Result<Sample> {
    let per_row = 1.0 / f64::from(i32::try_from(rows)?);
    let before = side.trail_bytes().await?;
    let wal = side.wal_bytes().await?;
    let start = Instant::now();
    match workload {
        Workload::Insert => {
            let sql = "INSERT INTO orders SELECT * FROM source";
            side.client.execute(sql, &[]).await?;
        }
        Workload::Update => {
            let sql = format!("UPDATE orders SET status = status || '+' WHERE id >= {FIRST_ID}");
            side.client.execute(&sql, &[]).await?;
        }
        Workload::Delete => {
            let sql = format!("DELETE FROM orders WHERE id >= {FIRST_ID}");
            side.client.execute(&sql, &[]).await?;
        }
        Workload::Copy => copy(side).await?,
    }
    let micros = start.elapsed().as_secs_f64() * 1e6 * per_row;
    let wal = (side.wal_bytes().await? - wal) * per_row;
    let stored = (side.trail_bytes().await? - before) * per_row;
    let limit = match side.variant {
        Variant::Full => Some(limit(side, workload, rows).await? * per_row),
        Variant::None | Variant::Common => None,
    };
    Ok(Sample {
        micros,
        limit,
        wal,
        stored,
    })
}

/// Copies the source into `orders` through the client, which forwards each block.
async fn copy(side: &Side) -> Result<()> {
    let reader = side.connect().await?;
    let source = reader.copy_out("COPY source TO STDOUT").await?;
    let target = side.client.copy_in("COPY orders FROM STDIN").await?;
    let mut target = std::pin::pin!(target);
    let mut source = std::pin::pin!(source);
    target.send_all(&mut source).await?;
    target.finish().await?;
    Ok(())
}

/// Inserts the audit rows of the last statement again, into a copy of the table, and returns the
/// microseconds.
async fn limit(side: &Side, workload: Workload, rows: i64) -> Result<f64> {
    side.client.batch_execute(LIMIT).await?;
    let build = format!(
        "CREATE TEMP TABLE built AS SELECT * FROM threadline.audit_changes \
         WHERE op = '{}' ORDER BY captured_at DESC, id DESC LIMIT {rows}",
        workload.op()
    );
    side.client.batch_execute(&build).await?;
    let start = Instant::now();
    side.client
        .execute(
            "INSERT INTO bounds.audit_changes SELECT * FROM built ORDER BY id",
            &[],
        )
        .await?;
    let micros = start.elapsed().as_secs_f64() * 1e6;
    side.client.batch_execute("DROP TABLE built").await?;
    Ok(micros)
}
