//! Restores of archived periods.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use tempfile::TempDir;
use threadline_core::actor::ActorType;
use threadline_core::retention::{Keep, RetentionPolicy};
use threadline_core::row_key::RowKeyText;
use threadline_diesel::erasure::{EraseOptions, SubjectMap, erase, plan_erasure};
use threadline_diesel::query::DocumentAsOf;
use threadline_diesel::query::Timeline;
use threadline_diesel::retention::PurgeOptions;
use threadline_export::archive::{
    self, ArchiveError, RestoreError, RestoreOptions, RestoredSpan, RunOptions,
};
use threadline_export::seal;
use threadline_export::storage::Storage;
use threadline_export::{Export, Format};
use threadline_seal::key::SigningKey;

use crate::harness::{Trail, block_on};

const ORIGIN: &str = "example.com/restore";

/// Moves what was recorded today to a time in the past, before it is sealed.
const MOVE: &str = "
    CREATE FUNCTION moved(id uuid, shift interval) RETURNS uuid LANGUAGE sql AS $$
        SELECT encode(timestamptz_send(threadline.transaction_began_at(id) - shift) || substr(uuid_send(id), 9), 'hex')::uuid
    $$;
    CREATE FUNCTION moved_action(id uuid, shift interval) RETURNS uuid LANGUAGE sql AS $$
        SELECT (substr(threadline.action_id_from(threadline.action_recorded_at(id) - shift)::text, 1, 13)
            || substr(id::text, 14))::uuid
    $$;
    CREATE FUNCTION move_to(instant timestamptz) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        shift CONSTANT interval := now() - instant;
    BEGIN
        PERFORM threadline.create_partition(parent, instant, 0)
        FROM unnest('{audit_changes,audit_transactions,audit_actions}'::text[]) AS parent;
        PERFORM threadline.allow_trail_delete(true);
        UPDATE threadline.audit_changes SET captured_at = captured_at - shift, transaction_id = moved(transaction_id, shift),
            action_id = moved_action(action_id, shift) WHERE captured_at > now() - interval '1 day';
        UPDATE threadline.audit_key_changes SET captured_at = captured_at - shift, transaction_id = moved(transaction_id, shift)
        WHERE captured_at > now() - interval '1 day';
        UPDATE threadline.audit_transactions SET id = moved(id, shift), occurred_at = occurred_at - shift,
            action_id = moved_action(action_id, shift) WHERE occurred_at > now() - interval '1 day';
        UPDATE threadline.audit_actions SET id = moved_action(id, shift), recorded_at = recorded_at - shift,
            transaction_id = moved(transaction_id, shift) WHERE recorded_at > now() - interval '1 day';
        PERFORM threadline.allow_trail_delete(false);
    END
    $$;
    ALTER TABLE threadline.audit_enrolments DISABLE TRIGGER USER;
    UPDATE threadline.audit_enrolments SET recorded_at = '2024-02-10';
    ALTER TABLE threadline.audit_enrolments ENABLE TRIGGER USER";

/// Work of a person in a transaction, with all parts of a context.
fn work(trail: &Trail, action: u32, sql: &str) {
    trail.run(&format!(
        r#"SELECT threadline.begin_audited_work(jsonb_build_object(
            'actor_ref', '{{"type": "user", "id": "42"}}'::jsonb,
            'context', '{{"correlation_id": "corr-{action}", "request_id": "r-{action}", "remote_addr": "203.0.113.77", "meta": {{"n": 1.0}}}}'::jsonb,
            'action', jsonb_build_object('id', (substr(threadline.action_id_from(now())::text, 1, 14) || '7000-8000-0000000000{action:02}')::uuid,
                'name', 'shop.work', 'reason', 'asked'))); {sql}"#
    ));
}

/// A trail with records in February, March and May 2024 and now, sealed and archived.
struct Archived {
    trail: Trail,
    directory: TempDir,
}

impl Archived {
    fn new() -> Self {
        Self::with_partitions("month")
    }

    fn with_partitions(width: &str) -> Self {
        let trail = Trail::with_table(
            "members",
            "id int PRIMARY KEY, email text, total numeric, note jsonb",
        );
        trail.run(MOVE);
        trail.run(&format!(
            "UPDATE threadline.audit_settings SET partition_width = '{width}'"
        ));
        trail.run("INSERT INTO members VALUES (100, 'february', 1, NULL)");
        trail.run("SELECT move_to('2024-02-11 10:00Z')");
        work(
            &trail,
            1,
            r#"INSERT INTO members VALUES (1, 'ada@example.com', 1.10, '{"": [1.50, null], "a\"b": "ä🧵"}'),
                (2, 'bob', 'NaN', 'null'), (3, 'cid', -0.0, '{}')"#,
        );
        work(
            &trail,
            2,
            "UPDATE members SET email = 'eve@example.com' WHERE id = 1",
        );
        trail.run("UPDATE members SET id = 33 WHERE id = 3; DELETE FROM members WHERE id = 2");
        trail.run("SELECT move_to('2024-03-10 23:59:59.5Z')");
        work(&trail, 3, "UPDATE members SET total = 2 WHERE id = 1");
        trail.run("SELECT move_to('2024-03-12 12:00Z')");
        // A transaction that began in February.
        work(&trail, 4, "UPDATE members SET total = 3 WHERE id = 1");
        trail.run(
            "SELECT move_to('2024-03-01 00:10Z');
             SELECT threadline.allow_trail_delete(true);
             UPDATE threadline.audit_changes SET transaction_id = moved(transaction_id, '1 hour') WHERE captured_at BETWEEN '2024-02-28' AND '2024-03-02';
             UPDATE threadline.audit_transactions SET id = moved(id, '1 hour') WHERE occurred_at BETWEEN '2024-02-28' AND '2024-03-02'",
        );
        work(
            &trail,
            5,
            "UPDATE members SET total = 4 WHERE id = 1; DELETE FROM members WHERE id = 33",
        );
        trail.run("SELECT move_to('2024-05-05 10:00Z')");
        work(&trail, 6, "UPDATE members SET total = 5 WHERE id = 1");
        let archived = Self {
            trail,
            directory: TempDir::new().expect("a directory"),
        };
        block_on(async {
            let conn = &mut archived.trail.connect().await;
            seal::begin(conn, ORIGIN).await.expect("a log");
        });
        archived.archive();
        archived
    }

    fn storage(&self) -> Storage {
        Storage::local(self.directory.path()).expect("a storage")
    }

    /// Seals everything, and archives all days that have ended.
    fn archive(&self) {
        self.try_to_archive().expect("an archive");
    }

    fn try_to_archive(&self) -> Result<archive::ArchiveRun, archive::ArchiveError> {
        block_on(async {
            let conn = &mut self.trail.connect().await;
            seal_everything(conn).await;
            let key = SigningKey::from_seed(ORIGIN, &[7; 32]).expect("a key");
            seal::sign_checkpoint(conn, &key.into())
                .await
                .expect("a checkpoint");
            let options = RunOptions::new("cold");
            archive::run(conn, &self.storage(), &options, |_| {}).await
        })
    }

    /// Removes everything before the last 30 days.
    fn purge(&self) {
        let policy = RetentionPolicy::keep(Keep::days(30).expect("days"))
            .enabled()
            .build()
            .expect("a policy");
        let options = PurgeOptions::new().pause(Duration::ZERO);
        block_on(async {
            let conn = &mut self.trail.connect().await;
            threadline_diesel::purge(conn, &policy, &options)
                .await
                .expect("a purge");
        });
    }

    fn try_restore(&self, period: &str) -> Result<RestoredSpan, RestoreError> {
        let options = RestoreOptions::new(period.parse().expect("a period"), "ticket 1");
        block_on(async {
            let conn = &mut self.trail.connect().await;
            archive::restore(conn, &self.storage(), &options, |_| {}).await
        })
    }

    fn restore(&self, period: &str) -> RestoredSpan {
        self.try_restore(period).expect("a restored period")
    }

    fn query(&self, sql: &str) -> String {
        self.trail.query(sql)
    }

    /// All records of the trail from March 2024, as JSON.
    fn records_of_march(&self) -> String {
        self.query(
            "SET timezone = 'UTC'; SELECT jsonb_pretty(jsonb_build_object(
                'changes', (SELECT jsonb_agg(to_jsonb(c) ORDER BY id) FROM threadline.audit_changes AS c
                    WHERE captured_at >= '2024-03-01' AND captured_at < '2024-04-01'),
                'transactions', (SELECT jsonb_agg(to_jsonb(t) ORDER BY id) FROM threadline.audit_transactions AS t
                    WHERE id IN (SELECT transaction_id FROM threadline.audit_changes
                        WHERE captured_at >= '2024-03-01' AND captured_at < '2024-04-01')),
                'actions', (SELECT jsonb_agg(to_jsonb(a) ORDER BY id) FROM threadline.audit_actions AS a
                    WHERE recorded_at >= '2024-03-01' AND recorded_at < '2024-04-01'),
                'key_changes', (SELECT jsonb_agg(to_jsonb(k) ORDER BY change_id) FROM threadline.audit_key_changes AS k
                    WHERE captured_at >= '2024-03-01' AND captured_at < '2024-04-01')))",
        )
    }

    /// Answers about March 2024: an export, a history, rows as of instants.
    fn answers_of_march(&self) -> String {
        let window = Timeline::new()
            .from(at("2024-03-01T00:00:00Z"))
            .to(at("2024-03-31T23:59:59Z"));
        let (export, _) = self
            .trail
            .export(&Export::new(window).format(Format::Ndjson));
        let mut answers = export;
        for (id, instant) in [
            ("1", "2024-03-11T00:00:00Z"),
            ("1", "2024-03-13T00:00:00Z"),
            ("2", "2024-03-11T00:00:00Z"),
            ("33", "2024-03-20T00:00:00Z"),
        ] {
            let key = RowKeyText::from_values(vec![id.to_owned()]);
            let query = DocumentAsOf::new("members".parse().expect("a table"), &key, at(instant));
            let answer = block_on(async {
                let conn = &mut self.trail.connect().await;
                threadline_diesel::document_as_of(conn, &query).await
            });
            let answer = serde_json::to_string(&answer.expect("an answer"));
            answers.push_str(&answer.expect("JSON"));
            answers.push('\n');
        }
        answers
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

async fn seal_everything(conn: &mut AsyncPgConnection) {
    loop {
        while seal::seal_next(conn).await.expect("a step") != (seal::Step::Idle {}) {}
        let status = seal::status(conn).await.expect("a state").expect("a log");
        if status.sealed_to == status.last_id {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_restored_month_answers_as_before_the_purge() {
    let archived = Archived::new();
    let (records, answers) = (archived.records_of_march(), archived.answers_of_march());
    archived.purge();
    assert!(!archived.records_of_march().contains("eve@example.com"));
    let restored = archived.restore("2024-03");
    assert_eq!(restored.changes, 8);
    assert_eq!(restored.unerased, 0);
    assert_eq!(archived.records_of_march(), records);
    assert_eq!(archived.answers_of_march(), answers);
    assert_eq!(
        archived.query(
            "SET timezone = 'UTC'; SELECT threadline.audit_horizon('public', 'members')::date::text"
        ),
        "2024-03-01"
    );
    // The partitions are like others: owned and guarded, with the indexes of the parent and nothing else.
    assert_eq!(
        archived.query(
            "SELECT count(DISTINCT relowner) || ' ' || (SELECT count(*) FROM pg_constraint WHERE conname = 'in_range')
             FROM pg_class WHERE relnamespace = 'threadline'::regnamespace"
        ),
        "1 0"
    );
    let indexes = |table: &str| {
        archived.query(&format!(
            "SELECT count(*)::text FROM pg_index WHERE indrelid = 'threadline.{table}'::regclass"
        ))
    };
    for table in ["audit_changes", "audit_transactions", "audit_actions"] {
        assert_eq!(
            indexes(&format!("{table}_2024_03")),
            indexes(table),
            "{table}"
        );
    }
    for refused in ["DELETE FROM", "TRUNCATE"] {
        let sql = format!("{refused} threadline.audit_changes_2024_03");
        assert!(archived.trail.try_run(&sql).is_err(), "{sql}");
    }
    // Consumers of the feed and the sealer have seen these records.
    assert_eq!(
        archived.query(
            "SELECT (SELECT min(acknowledged_to) FROM threadline.audit_feed_consumers) >= last_id FROM threadline.audit_restored_spans"
        ),
        "t"
    );
    assert!(matches!(
        archived.try_restore("2024-03"),
        Err(RestoreError::StillInTrail(_))
    ));
}

#[test]
fn a_purge_drops_a_restored_month_when_its_time_has_passed() {
    let archived = Archived::new();
    archived.purge();
    let horizon = "SELECT threadline.audit_horizon('public', 'members')::text";
    let before = archived.query(horizon);
    archived.restore("2024-03");
    archived.purge();
    assert!(archived.records_of_march().contains("eve@example.com"));
    archived
        .trail
        .run("UPDATE threadline.audit_restored_spans SET keep_until = now()");
    archived.purge();
    assert!(!archived.records_of_march().contains("eve@example.com"));
    assert_eq!(archived.query(horizon), before);
    assert_eq!(
        archived.query(
            "SELECT count(*)::text FROM threadline.trail_partitions() WHERE to_instant < '2024-06-01'"
        ),
        "0"
    );
    archived.restore("2024-03");
}

#[test]
fn a_day_is_restored_where_partitions_are_days() {
    let archived = Archived::with_partitions("day");
    archived.purge();
    assert!(matches!(
        archived.try_restore("2024-03"),
        Err(RestoreError::NotByMonth { .. })
    ));
    let restored = archived.restore("2024-03-12");
    assert_eq!(restored.changes, 1);
    assert_eq!(
        (restored.from, restored.to),
        (at("2024-03-12T00:00:00Z"), at("2024-03-13T00:00:00Z"))
    );
}

#[test]
fn an_archive_that_is_not_whole_or_not_as_sealed_is_refused() {
    let archived = Archived::new();
    assert!(matches!(
        archived.try_restore("2024-03"),
        Err(RestoreError::StillInTrail(_))
    ));
    archived.purge();
    assert!(matches!(
        archived.try_restore("2023-01"),
        Err(RestoreError::NothingArchived)
    ));
    let manifest = archived
        .directory
        .path()
        .join("archive/_manifest/2024-03-12.json");
    let hidden = archived.directory.path().join("hidden");
    std::fs::rename(&manifest, &hidden).expect("a manifest");
    let missing = archived
        .try_restore("2024-03")
        .expect_err("a day is missing");
    assert!(missing.to_string().ends_with(": 2024-03-12"), "{missing}");
    std::fs::rename(&hidden, &manifest).expect("a manifest");

    let file = only_file(
        &archived
            .directory
            .path()
            .join("archive/changes/v1/day=2024-03-12"),
    );
    let bytes = std::fs::read(&file).expect("a file");
    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    std::fs::write(&file, flipped).expect("a file");
    assert!(matches!(
        archived.try_restore("2024-03"),
        Err(RestoreError::Archive(ArchiveError::BadFile { .. }))
    ));
    std::fs::write(&file, bytes).expect("a file");
    // Nothing is left of the refused attempts.
    assert_eq!(
        archived
            .query("SELECT count(*)::text FROM pg_class WHERE relname LIKE 'audit\\_%2024\\_03%'"),
        "0"
    );
    archived.restore("2024-03");
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(directory).expect("a directory");
    entries.next().expect("a file").expect("a file").path()
}

#[test]
fn only_the_owner_of_the_trail_restores() {
    let archived = Archived::new();
    archived.purge();
    let role = archived.query("SELECT 'reader_' || current_database()");
    archived.trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\""
    ));
    let refused = block_on(async {
        let conn = &mut archived.trail.connect_as(&role).await;
        let options = RestoreOptions::new("2024-03".parse().expect("a period"), "ticket 1");
        archive::restore(conn, &archived.storage(), &options, |_| {}).await
    });
    assert!(matches!(refused, Err(RestoreError::NotOwner { .. })));
}

#[test]
fn an_interrupted_restore_leaves_the_trail_as_it_was_and_a_second_one_at_once_is_refused() {
    let archived = Archived::new();
    archived.purge();
    let options = RestoreOptions::new("2024-03".parse().expect("a period"), "ticket 1");
    let mut seen = Vec::new();
    let interrupted = block_on(async {
        let conn = &mut archived.trail.connect().await;
        archive::restore(conn, &archived.storage(), &options, |_| {
            // A restore at the same time, and then the end of the connection.
            let second = std::thread::scope(|threads| {
                let second = threads.spawn(|| archived.try_restore("2024-03"));
                second.join().expect("no panic")
            });
            seen.push(matches!(second, Err(RestoreError::AtWork)));
            archived.query(
                "SELECT count(pg_terminate_backend(pid))::text FROM pg_locks
                 WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            );
        })
        .await
    });
    assert!(matches!(
        interrupted,
        Err(RestoreError::Database(_) | RestoreError::Archive(_))
    ));
    assert!(seen[0]);
    assert_eq!(
        archived.query(
            "SELECT count(*) || ' ' || (SELECT count(*) FROM threadline.audit_restored_spans)
             FROM pg_class WHERE relname LIKE 'audit\\_%2024\\_03%'"
        ),
        "0 0"
    );
    assert_eq!(archived.restore("2024-03").changes, 8);
}

fn erase_person(archived: &Archived) {
    let map = SubjectMap::new()
        .actor(ActorType::User)
        .rows_where(
            "members".parse().expect("a table"),
            "email",
            ["email", "note"],
        )
        .remote_addresses()
        .action_texts();
    block_on(async {
        let conn = &mut archived.trail.connect().await;
        for (map, subject) in [
            (&map, "eve@example.com"),
            (&map, "ada@example.com"),
            (&map, "42"),
        ] {
            let subject = subject.parse().expect("a subject");
            let plan = plan_erasure(conn, map, &subject).await.expect("a plan");
            let reason = "request 17".parse().expect("a reason");
            erase(conn, &plan, &reason, EraseOptions::default(), &mut |_| ())
                .await
                .expect("an erasure");
        }
    });
}

/// Whether a file of the storage has a text, also in compressed form: all Parquet files are decoded.
fn archive_has(archived: &Archived, text: &str) -> bool {
    let manifests = block_on(archive::read_manifests(&archived.storage())).expect("manifests");
    manifests
        .iter()
        .flat_map(|manifest| &manifest.files)
        .any(|file| {
            let records =
                block_on(archive::FileRecords::open(&archived.storage(), file)).expect("a file");
            records
                .map(|record| record.expect("a record"))
                .any(|record| {
                    record
                        .values
                        .iter()
                        .flatten()
                        .any(|value| value.contains(text))
                })
        })
}

#[test]
fn a_person_is_erased_in_a_restored_month_and_in_its_archive() {
    let archived = Archived::new();
    archived.purge();
    archived.restore("2024-03");
    archived.restore("2024-05");
    erase_person(&archived);
    assert!(!archived.records_of_march().contains("eve@example.com"));
    assert!(archive_has(&archived, "eve@example.com"));
    archived.archive();
    for text in ["eve@example.com", "ada@example.com"] {
        assert!(!archive_has(&archived, text), "{text}");
    }
    // The archive is still the sealed one.
    archived
        .trail
        .run("UPDATE threadline.audit_restored_spans SET keep_until = now()");
    archived.purge();
    let restored = archived.restore("2024-03");
    assert_eq!((restored.changes, restored.unerased), (8, 0));
    assert!(archived.records_of_march().contains("[ERASED]"));
}

#[test]
fn values_that_were_erased_after_they_were_archived_are_counted() {
    let archived = Archived::new();
    erase_person(&archived);
    archived.purge();
    let restored = archived.restore("2024-03");
    archived.restore("2024-05");
    assert!(restored.unerased > 0, "{restored:?}");
    assert!(archived.records_of_march().contains("eve@example.com"));
    let refused = archived.try_to_archive().unwrap_err().to_string();
    assert!(refused.contains("run the erasure again"), "{refused}");
    erase_person(&archived);
    assert!(!archived.records_of_march().contains("eve@example.com"));
    archived.archive();
    assert!(!archive_has(&archived, "eve@example.com"));
}
