//! The memory of a run of the archive is constant, and its files are small. The only test of its binary, because it
//! measures the process.
#![cfg(all(target_os = "linux", feature = "archive"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_export::archive::{self, ArchiveKind, RunOptions};
use threadline_export::seal::{self, Step};
use threadline_export::storage::Storage;
use threadline_seal::key::SigningKey;
use threadline_testdb::{Cluster, Progress, ServerBinaries};

/// The maximum memory of the process in kilobytes.
const ALLOWED_KB: u64 = 64 * 1024;

/// The maximum size of the files of changes and transactions, for each change.
const ALLOWED_BYTES: u64 = 100;

/// Changes of yesterday, of a table with twelve columns and of transactions with five changes each.
const CHANGES: &str = r#"
    CREATE TEMP TABLE work AS
    SELECT t, at, encode(timestamptz_send(at) || int8send(1000 + t), 'hex')::uuid AS id,
        'user:' || (1 + floor(5000 * random() ^ 3))::text AS actor
    FROM generate_series(1, @count@ / 5) AS t
    CROSS JOIN LATERAL (
        SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '24 hours'
            + t * interval '24 hours' / (@count@ / 5 + 1) AS at
    ) AS start;
    INSERT INTO threadline.audit_transactions
        (id, occurred_at, xid, backend_pid, actor, request_id, correlation_id, context, db_user, application_name)
    SELECT id, at, (1000 + t)::text::xid8, 4242, actor, 'request-' || t, 'correlation-' || t / 3,
        '{"source": "web", "meta": {"tenant": "acme"}}', 'app', 'shop'
    FROM work;
    INSERT INTO threadline.audit_changes
        (id, captured_at, transaction_id, actor, op, table_schema, table_name, row_key, table_pk, data_after, changed_from)
    SELECT n, at, id, actor, CASE WHEN n % 10 > 2 THEN 'update' ELSE 'insert' END, 'public',
        'table_' || (1 + floor(40 * random() ^ 2.5))::int, row_key, jsonb_build_object('id', row_key), image,
        CASE WHEN n % 10 > 2 THEN jsonb_build_object('status', 'open', 'total', n % 1000) END
    FROM (
        SELECT nextval('threadline.audit_changes_id_seq') AS n, at + k * interval '20 microseconds' AS at, id, actor,
            (1 + floor(@count@ / 10 * random() ^ 3))::bigint::text AS row_key
        FROM (SELECT * FROM work CROSS JOIN generate_series(1, 5) AS k ORDER BY t, k) AS ordered
    ) AS numbered
    CROSS JOIN LATERAL (
        SELECT jsonb_build_object(
            'id', n, 'customer_id', n % 5000, 'number', 'N-' || n, 'status', 'paid',
            'total', (n % 1000)::numeric / 10, 'currency', 'EUR', 'placed_at', at, 'paid', true,
            'tags', '["retail", "priority"]'::jsonb, 'shipped_on', '2026-01-02',
            'details', '{"channel": "web", "items": 3, "address": "12 Some Street, Some Town"}'::jsonb,
            'note', repeat('a note text ', 15)
        ) AS image
    ) AS described;
    ANALYZE threadline.audit_changes, threadline.audit_transactions;"#;

/// The number of changes to archive; a larger number makes the test a benchmark.
fn changes() -> u64 {
    let count = std::env::var("THREADLINE_TEST_ARCHIVE_CHANGES").ok();
    count.map_or(20_000, |text| text.parse().expect("a number of changes"))
}

/// The peak memory of the process.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kilobytes = line.trim().trim_end_matches("kB").trim();
    kilobytes.parse().expect("kilobytes")
}

async fn seal_all(conn: &mut AsyncPgConnection) {
    seal::begin(conn, "example.com/trail").await.expect("a log");
    loop {
        while seal::seal_next(conn).await.expect("a step") != Step::Idle {}
        let status = seal::status(conn).await.expect("a state").expect("a log");
        if status.sealed_to == status.last_id {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let key = SigningKey::from_seed("example.com/trail", &[7; 32]).expect("a key");
    seal::sign_checkpoint(conn, &key.into())
        .await
        .expect("a checkpoint");
}

#[test]
fn archiving_many_changes_takes_little_memory_and_space() {
    let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
    let cluster = Cluster::builder()
        .binaries(binaries)
        .start()
        .expect("PostgreSQL starts");
    let database = cluster.create_database().expect("a database");
    let run = |sql: &str| database.execute_script(sql).expect("it runs");
    run(&threadline_core::install::up_sql());
    run(&CHANGES.replace("@count@", &changes().to_string()));
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::local(directory.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut conn = AsyncPgConnection::establish(&database.url()).await.unwrap();
        let started = Instant::now();
        seal_all(&mut conn).await;
        eprintln!("sealed in {:?}, peak {} kB", started.elapsed(), peak_kb());
        let started = Instant::now();
        archive::run(&mut conn, &storage, &RunOptions::new("local"), |_| {})
            .await
            .expect("a run");
        eprintln!("archived in {:?}, peak {} kB", started.elapsed(), peak_kb());
        let started = Instant::now();
        let verified = archive::verify(&mut conn, &storage, &[]).await.unwrap();
        assert!(verified.verified, "{verified:?}");
        eprintln!("verified in {:?}", started.elapsed());
    });
    let manifests = runtime.block_on(archive::read_manifests(&storage)).unwrap();
    let files = || manifests.iter().flat_map(|manifest| &manifest.files);
    for file in files() {
        let per_row = file.bytes / file.rows;
        eprintln!("{}: {} rows, {per_row} bytes each", file.kind, file.rows);
    }
    let rows = |kind| manifests.iter().map(|it| it.rows_of(kind)).sum::<u64>();
    assert_eq!(rows(ArchiveKind::Changes), changes());
    let bytes: u64 = files().map(|file| file.bytes).sum();
    eprintln!("{} bytes a change", bytes / changes());
    assert!(bytes / changes() < ALLOWED_BYTES, "{bytes} bytes");
    assert!(peak_kb() < ALLOWED_KB, "{} kB", peak_kb());
}
