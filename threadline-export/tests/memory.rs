//! An export of any size needs little memory. Alone in its process, which it measures.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::io::{Result, Write};
use std::time::Instant;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::capture::CaptureMigration;
use threadline_diesel::nonblocking::introspect;
use threadline_diesel::timeline::Timeline;
use threadline_export::{CsvOptions, Export, Format};
use threadline_testdb::{Cluster, Progress, ServerBinaries};

/// What an export of any size may take, in kilobytes.
const ALLOWED_KB: u64 = 64 * 1024;

/// Counts the changes of the test; more of them make it a benchmark.
fn changes() -> u64 {
    let asked = std::env::var("THREADLINE_TEST_EXPORT_CHANGES").ok();
    asked.map_or(100_000, |text| text.parse().expect("a number of changes"))
}

/// The most memory this process ever had.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("kilobytes")
}

/// Throws away what it is given.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn an_export_of_many_changes_needs_less_than_64_megabytes() {
    let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
    let cluster = Cluster::builder()
        .binaries(binaries)
        .start()
        .expect("PostgreSQL starts");
    let database = cluster.create_database().expect("a database");
    let run = |sql: &str| database.execute_script(sql).expect("it runs");
    run(&threadline_core::install::up_sql());
    run("CREATE TABLE orders (id int PRIMARY KEY, status text, note text, amount numeric)");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut conn = runtime
        .block_on(AsyncPgConnection::establish(&database.url()))
        .unwrap();
    let table = runtime
        .block_on(introspect(&mut conn, &"orders".parse().unwrap()))
        .unwrap();
    run(CaptureMigration::new([&table], |_| None).up());
    run(&format!(
        "INSERT INTO orders SELECT n, 'open', 'note ' || md5(n::text), n * 1.10
         FROM generate_series(1, {}) AS n",
        changes()
    ));

    let formats = [
        ("csv", Format::Csv(CsvOptions::new())),
        ("json", Format::Json),
        ("ndjson", Format::Ndjson),
        #[cfg(feature = "parquet")]
        ("parquet", Format::Parquet),
    ];
    for (name, format) in formats {
        let started = Instant::now();
        let export = Export::new(Timeline::new()).format(format);
        let manifest = runtime
            .block_on(export.write_to(&mut conn, &mut Nowhere, |_| {}))
            .expect("an export");
        assert_eq!(manifest.summary.row_count, changes());
        eprintln!(
            "{name}: {} changes, {} bytes in {:?}, peak {} kB",
            changes(),
            manifest.bytes,
            started.elapsed(),
            peak_kb()
        );
    }
    assert!(peak_kb() < ALLOWED_KB, "{} kB", peak_kb());
}
