//! The trail on another server by logical replication, set up by the printed SQL.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use threadline::install::{REPLICATED_TABLES, primary_sql, replica_sql, up_sql};
use threadline_testdb::{Cluster, Database, Listen};

use crate::harness::{binaries, empty_trail};

fn start() -> Cluster {
    Cluster::builder()
        .binaries(binaries().clone())
        .listen(Listen::Loopback)
        .setting("wal_level", "logical")
        .setting("logical_decoding_work_mem", "1MB")
        .start()
        .expect("PostgreSQL starts")
}

/// The servers are shared. Roles and replication slots belong to the whole server, so one test runs at a time.
fn servers() -> &'static (Cluster, Cluster) {
    static SERVERS: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    SERVERS.get_or_init(|| (start(), start()))
}

/// A primary with a captured table, and its replica.
struct Pair {
    primary: Database,
    replica: Database,
    _turn: MutexGuard<'static, ()>,
}

impl Pair {
    fn start() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (near, far) = servers();
        let primary = near.create_database().expect("a database");
        let replica = far.create_database().expect("a database");
        let pair = Self {
            primary,
            replica,
            _turn: turn,
        };
        for database in [&pair.primary, &pair.replica] {
            database.execute_script(&up_sql()).expect("the trail");
        }
        pair.primary
            .execute_script("CREATE TABLE notes (id int PRIMARY KEY, body text)")
            .expect("a table");
        let table = crate::harness::run_async_at(&pair.primary.url(), async |conn| {
            threadline::introspect(conn, &"notes".parse().expect("a name")).await
        });
        let capture =
            threadline::install::CaptureMigration::new([&table.expect("a table")], |_| None);
        pair.primary.execute_script(capture.up()).expect("capture");
        pair
    }

    fn replicate(&self) {
        let (near, _) = servers();
        self.primary
            .execute_script(&primary_sql())
            .expect("the publication");
        let connection = format!(
            "host=127.0.0.1 port={} dbname={} user=threadline_replica",
            near.port(),
            self.primary.name()
        );
        let script = replica_sql(&connection);
        // Statements of one script are one transaction.
        let (settings, subscription) =
            script.split_at(script.find("CREATE SUBSCRIPTION").expect("a subscription"));
        for statements in [settings, subscription] {
            self.replica.execute_script(statements).expect(statements);
        }
    }

    fn write(&self, sql: &str) {
        self.primary.execute_script(sql).expect(sql);
    }

    /// Waits until the replica has applied what the primary has written, at most for a time.
    fn catch_up(&self, at_most: Duration) -> Duration {
        let started = Instant::now();
        let written = text(&self.primary, "SELECT pg_current_wal_insert_lsn()::text");
        let is_behind = format!(
            "SELECT (count(*) = 0)::text FROM pg_stat_replication
             WHERE application_name = 'threadline_trail' AND replay_lsn >= '{written}'"
        );
        let is_copying =
            "SELECT (count(*) > 0)::text FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        while text(&self.primary, &is_behind) == "true" || text(&self.replica, is_copying) == "true"
        {
            assert!(
                started.elapsed() < at_most,
                "{}",
                servers().1.log().expect("a log")
            );
            sleep(Duration::from_millis(50));
        }
        started.elapsed()
    }

    fn assert_equal(&self, sql: &str) {
        assert_eq!(text(&self.replica, sql), text(&self.primary, sql), "{sql}");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Drops the slot, too, without which the databases cannot be dropped.
        let _ = self
            .replica
            .execute_script("DROP SUBSCRIPTION IF EXISTS threadline_trail");
        let _ = self.primary.execute_script(
            "DROP OWNED BY threadline_replica; DROP ROLE IF EXISTS threadline_replica",
        );
    }
}

fn text(database: &Database, sql: &str) -> String {
    database.query_text(sql).expect(sql).unwrap_or_default()
}

const MINUTE: Duration = Duration::from_secs(60);

/// A digest of all changes.
const CHANGES: &str =
    "SELECT md5(string_agg(change::text, ',' ORDER BY id)) FROM threadline.audit_changes AS change";

#[test]
fn every_table_of_the_trail_is_replicated_or_state() {
    // The primary seals; a replica has no log of its own.
    const STATE: &str = "audit_baseline_runs audit_delivery_failures audit_erasure_runs audit_feed_consumers \
        audit_horizons audit_jobs audit_restored_spans audit_retention_runs audit_saved_views audit_schedules \
        audit_seal_checkpoints audit_seal_chunks audit_seal_logs audit_seal_openings audit_seal_transactions audit_settings";
    let mut known: Vec<_> = STATE
        .split_whitespace()
        .chain(REPLICATED_TABLES.iter().copied())
        .collect();
    known.sort_unstable();
    let tables = empty_trail().query_text(
        "SELECT string_agg(relname, ' ' ORDER BY relname COLLATE \"C\") FROM pg_class
         WHERE relnamespace = 'threadline'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition",
    );
    assert_eq!(tables, known.join(" "));
}

#[test]
fn a_replica_follows_writes_erasure_purge_and_partitions() {
    let pair = Pair::start();
    // Some changes are copied, others are streamed. One is in the default partition.
    pair.write(
        "INSERT INTO notes SELECT n, 'copied ' || n FROM generate_series(1, 100) AS n;
         INSERT INTO threadline.audit_changes (captured_at, transaction_id, op, table_schema, table_name, row_key)
         VALUES ('2020-02-03', gen_random_uuid(), 'delete', 'public', 'old', '1')",
    );
    pair.replicate();
    pair.write(
        "UPDATE notes SET body = 'secret' WHERE id <= 10;
         UPDATE notes SET id = 1000 WHERE id = 50;
         BEGIN;
         SELECT threadline.record_action(jsonb_build_object(
             'id', overlay(threadline.action_id_from(now())::text PLACING '7' FROM 15),
             'name', 'note.checked', 'status', 'ok'), NULL, NULL);
         COMMIT",
    );
    pair.catch_up(MINUTE);
    for table in REPLICATED_TABLES {
        pair.assert_equal(&format!("SELECT count(*)::text FROM threadline.{table}"));
    }
    pair.assert_equal(CHANGES);

    // Values that are erased on the primary are erased on the replica.
    pair.write(
        "SELECT threadline.erase_values('public', 'notes', '1', ARRAY['body'], 'requested')",
    );
    pair.catch_up(MINUTE);
    pair.assert_equal(CHANGES);
    let erased = "SELECT count(*)::text FROM threadline.audit_changes
        WHERE row_key = '1' AND data_after ->> 'body' = '[ERASED]'";
    assert_eq!(text(&pair.replica, erased), "2");

    // A new partition of the primary, which moves rows out of its default partition, changes nothing.
    pair.write("SELECT threadline.create_partition('audit_changes', '2020-02-03', 10)");
    pair.write("INSERT INTO notes VALUES (2000, 'after the partition')");
    pair.catch_up(MINUTE);
    pair.assert_equal(CHANGES);
    pair.replica
        .execute_script("SELECT threadline.create_partition('audit_changes', '2020-02-03', 10)")
        .expect("a partition of the replica");
    pair.assert_equal(CHANGES);

    // The replica keeps what is removed on the primary.
    let before = text(
        &pair.replica,
        "SELECT count(*)::text FROM threadline.audit_changes",
    );
    pair.write(
        "DROP TABLE threadline.audit_changes_2020_02;
         BEGIN;
         SELECT threadline.allow_trail_delete(true);
         DELETE FROM threadline.audit_changes WHERE row_key = '2';
         COMMIT",
    );
    pair.catch_up(MINUTE);
    assert_eq!(
        text(
            &pair.replica,
            "SELECT count(*)::text FROM threadline.audit_changes"
        ),
        before
    );
}

#[test]
fn a_replica_refuses_local_changes_of_the_trail() {
    let pair = Pair::start();
    pair.write("INSERT INTO notes VALUES (1, 'text')");
    pair.replicate();
    pair.catch_up(MINUTE);
    for refused in [
        "UPDATE threadline.audit_changes SET actor = 'user:1'",
        "DELETE FROM threadline.audit_changes",
        "TRUNCATE threadline.audit_enrolments",
    ] {
        let error = pair.replica.execute_script(refused).expect_err(refused);
        assert!(
            error.to_string().contains("append-only"),
            "{refused}: {error}"
        );
    }
    let erasure =
        "SELECT threadline.erase_values('public', 'notes', '1', ARRAY['body'], 'requested')";
    let error = pair.replica.execute_script(erasure).expect_err("no id");
    assert!(
        error.to_string().contains("maximum value of sequence"),
        "{error}"
    );
    // The subscription still applies changes.
    pair.write("UPDATE notes SET body = 'new'");
    pair.catch_up(MINUTE);
    pair.assert_equal(CHANGES);
}

#[test]
fn a_replica_applies_a_large_transaction() {
    let pair = Pair::start();
    pair.replicate();
    pair.catch_up(MINUTE);
    let started = Instant::now();
    pair.write("INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 50000) AS n");
    let written = started.elapsed();
    let behind = pair.catch_up(5 * MINUTE);
    eprintln!(
        "50,000 changes in one transaction: written in {written:?}, applied {behind:?} later"
    );
    pair.assert_equal("SELECT count(*)::text FROM threadline.audit_changes");
    pair.assert_equal(CHANGES);
}
