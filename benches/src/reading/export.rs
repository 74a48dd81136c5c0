//! Exports, compared with `COPY` of the same columns.

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use serde::Serialize;
use threadline_diesel::Timeline;
use threadline_export::{Compression, CsvOptions, Export, Format};

use super::trail::Trail;
use crate::sampling::median;

const COPY: &str = include_str!("../../sql/reading/copy.sql");

/// Changes per export.
const ROWS: u64 = 1_000_000;

/// Measured rounds, after one warm-up round.
const ROUNDS: usize = 3;

/// The throughput of an export.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) name: &'static str,
    pub(crate) rows: u64,
    pub(crate) rows_per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) first_byte_ms: f64,
}

/// One run of an export.
struct Run {
    rows: u64,
    bytes: u64,
    first_byte: Duration,
    whole: Duration,
}

/// Discards all bytes and records the time of the first one.
struct DiscardingWriter {
    started: Instant,
    first_byte: Option<Duration>,
}

impl DiscardingWriter {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            first_byte: None,
        }
    }

    fn record_first_byte(&mut self) {
        let elapsed = self.started.elapsed();
        self.first_byte.get_or_insert(elapsed);
    }
}

impl Write for DiscardingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.record_first_byte();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The measured exports. The first is `COPY`, the baseline of the comparison.
fn sides() -> Result<Vec<(&'static str, Option<Export>)>> {
    let most = NonZeroU64::new(ROWS).context("no rows")?;
    let export = || Export::new(Timeline::new()).max_rows(most);
    let csv = Format::Csv(CsvOptions::new());
    Ok(vec![
        ("COPY, CSV", None),
        ("CSV", Some(export().format(csv))),
        ("NDJSON", Some(export().format(Format::Ndjson))),
        ("JSON", Some(export().format(Format::Json))),
        ("Parquet", Some(export().format(Format::Parquet))),
        (
            "CSV, gzip",
            Some(export().format(csv).compression(Compression::Gzip)),
        ),
    ])
}

/// Exports in every format, interleaved.
pub(crate) async fn measure(trail: &Trail) -> Result<Vec<Throughput>> {
    let sides = sides()?;
    let mut runs: Vec<Vec<Run>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for ((name, export), kept) in sides.iter().zip(&mut runs) {
            eprintln!("export, {name}: round {round}");
            let run = match export {
                Some(export) => exported(trail, export).await?,
                None => copied(trail).await?,
            };
            if round > 0 {
                kept.push(run);
            }
        }
    }
    Ok(sides
        .iter()
        .zip(runs)
        .map(|((name, _), runs)| throughput(name, &runs))
        .collect())
}

#[expect(clippy::cast_precision_loss, reason = "rates need no exact integers")]
fn throughput(name: &'static str, runs: &[Run]) -> Throughput {
    let of = |value: fn(&Run) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
    Throughput {
        name,
        rows: runs.first().map_or(0, |run| run.rows),
        rows_per_second: of(|run| run.rows as f64 / run.whole.as_secs_f64()),
        bytes_per_second: of(|run| run.bytes as f64 / run.whole.as_secs_f64()),
        first_byte_ms: of(|run| run.first_byte.as_secs_f64() * 1e3),
    }
}

async fn exported(trail: &Trail, export: &Export) -> Result<Run> {
    let mut conn = trail.connect().await?;
    let mut writer = DiscardingWriter::new();
    let manifest = export.write_to(&mut conn, &mut writer, |_| {}).await?;
    Ok(Run {
        rows: manifest.summary.row_count,
        bytes: manifest.bytes,
        first_byte: writer.first_byte.unwrap_or_default(),
        whole: writer.started.elapsed(),
    })
}

async fn copied(trail: &Trail) -> Result<Run> {
    let mut writer = DiscardingWriter::new();
    let mut bytes = 0;
    let sql = COPY.replace("$1", &ROWS.to_string());
    let mut blocks = pin!(trail.client().copy_out(&sql).await?);
    while let Some(block) = blocks.try_next().await? {
        writer.record_first_byte();
        bytes += block.len() as u64;
    }
    let changes = u64::try_from(trail.changes())?;
    Ok(Run {
        rows: changes.min(ROWS),
        bytes,
        first_byte: writer.first_byte.unwrap_or_default(),
        whole: writer.started.elapsed(),
    })
}
