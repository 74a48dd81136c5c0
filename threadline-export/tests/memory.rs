//! The memory of an export is constant. The only test of its binary, because it measures the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::io::{self, Write};
use std::time::Instant;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use threadline_core::instant::Tz;
use threadline_diesel::Timeline;
use threadline_diesel::query::TimelineFilters;
use threadline_export::Worker;
use threadline_export::connections::{Connection, ConnectionPool, PoolError};
use threadline_export::jobs::{self, ExportRequest, JobState};
use threadline_export::storage::Storages;
use threadline_export::{CsvOptions, Export, Format};
use threadline_testdb::{Cluster, Progress, ServerBinaries};

/// The maximum memory of the process in kilobytes.
const ALLOWED_KB: u64 = 64 * 1024;

/// The number of changes to export; a larger number makes the test a benchmark.
fn changes() -> u64 {
    let count = std::env::var("THREADLINE_TEST_EXPORT_CHANGES").ok();
    count.map_or(100_000, |text| text.parse().expect("a number of changes"))
}

/// Changes as capture stores them, a hundred in each transaction. They are inserted, which takes less time.
fn changes_sql() -> String {
    let count = changes();
    format!(
        "CREATE TEMP TABLE work AS
         SELECT number, clock_timestamp() AS at,
             encode(timestamptz_send(clock_timestamp()) || int8send(number), 'hex')::uuid AS id
         FROM generate_series(0, ({count} - 1) / 100) AS number;
         INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, actor, db_user)
         SELECT id, at, (number + 1000)::text::xid8, 1, 'user:' || number, 'app' FROM work;
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, actor, op, table_schema,
             table_name, row_key, table_pk, data_after)
         SELECT nextval('threadline.audit_changes_id_seq'), work.at, work.id, 'user:' || work.number, 'insert',
             'public', 'orders', n::text, jsonb_build_object('id', n::text),
             jsonb_build_object('id', n, 'status', 'open', 'note', 'note ' || md5(n::text), 'amount', n * 1.10)
         FROM generate_series(1, {count}) AS n JOIN work ON work.number = (n - 1) / 100
         ORDER BY n;
         ANALYZE threadline.audit_changes, threadline.audit_transactions"
    )
}

/// The peak memory of the process.
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

/// Discards everything.
struct Discard;

impl Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn exporting_many_changes_takes_less_than_64_megabytes() {
    let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
    let cluster = Cluster::builder()
        .binaries(binaries)
        .start()
        .expect("PostgreSQL starts");
    let database = cluster.create_database().expect("a database");
    let run = |sql: &str| database.execute_script(sql).expect("it runs");
    run(&threadline_core::install::up_sql());
    run(&changes_sql());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut conn = runtime
        .block_on(AsyncPgConnection::establish(&database.url()))
        .unwrap();

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
            .block_on(export.write_to(&mut conn, &mut Discard, |_| {}))
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
    runtime.block_on(run_job(&database.url()));
    eprintln!("job: peak {} kB", peak_kb());
    assert!(peak_kb() < ALLOWED_KB, "{} kB", peak_kb());
}

/// A pool that connects anew each time.
struct Connector(String);

impl ConnectionPool for Connector {
    fn connection(&self) -> BoxFuture<'_, Result<Connection, PoolError>> {
        async {
            let conn = AsyncPgConnection::establish(&self.0).await?;
            Ok(Box::new(Box::new(conn)) as Connection)
        }
        .boxed()
    }
}

/// Exports all changes in the background into a directory.
async fn run_job(url: &str) {
    let mut conn = AsyncPgConnection::establish(url).await.unwrap();
    let request = ExportRequest::new(TimelineFilters::default());
    let job = request.new_job(chrono::Utc::now(), Tz::UTC).unwrap();
    let job = jobs::enqueue(&mut conn, &job).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let worker = Worker::builder(Connector(url.to_owned()))
        .storages(Storages::local(directory.path()).unwrap())
        .build();
    assert_eq!(worker.run_pending().await.unwrap(), 1);
    let done = jobs::find(&mut conn, job.id).await.unwrap().unwrap();
    assert_eq!(done.state, JobState::Completed);
    assert_eq!(done.result.unwrap()["rows"], changes());
}
