//! The archive of a real trail on a local storage.

mod changed;
mod faults;
mod fields;
mod readers;
mod restore;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{Days, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use tempfile::TempDir;
use threadline_export::archive::{
    self, ArchiveError, ArchiveManifest, ArchiveRun, ArchiveVerification, RunOptions,
};
use threadline_export::seal::{self, Step};
use threadline_export::storage::Storage;
use threadline_seal::key::SigningKey;

use crate::harness::{Trail, block_on};

const ORIGIN: &str = "example.com/trail";

/// Functions that make ids of transactions and actions older.
const OLDER: &str = "
    CREATE FUNCTION public.older(id uuid, days int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT encode(int8send(('x' || left(replace(id::text, '-', ''), 16))::bit(64)::bigint - days * 86400000000)
            || substr(uuid_send(id), 9), 'hex')::uuid $$;
    CREATE FUNCTION public.older_action(id uuid, days int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(('x0000' || left(replace(id::text, '-', ''), 12))::bit(64)::bigint - days * 86400000), 12, '0')
            || substr(replace(id::text, '-', ''), 13))::uuid $$;";

/// A trail and a storage for its archive.
pub(super) struct Site {
    pub(super) trail: Trail,
    directory: TempDir,
}

impl Site {
    /// A trail with records of all kinds on each of the last three days, sealed up to a checkpoint.
    pub(super) fn new() -> Self {
        let site = Self::unsealed();
        site.begin_seals();
        site
    }

    /// Begins the log of seals, and seals all records.
    pub(super) fn begin_seals(&self) {
        block_on(async {
            let mut conn = self.trail.connect().await;
            seal::begin(&mut conn, ORIGIN).await.expect("a log");
        });
        self.seal();
    }

    /// The same trail, without a log of seals.
    pub(super) fn unsealed() -> Self {
        let trail = Trail::with_table(
            "members",
            "id int PRIMARY KEY, email text, total numeric, note jsonb",
        );
        trail.run(OLDER);
        trail.run(
            r#"INSERT INTO members VALUES (1, 'ada@example.com', 1.10, '{"": [1.50, null], "a\"b": "ä🧵"}'), (2, 'bob', 'NaN', NULL);
            UPDATE members SET email = 'eve@example.com' WHERE id = 1;
            DELETE FROM members WHERE id = 2;
            SELECT threadline.record_action(
                '{"id": "01a1fd70-f1c0-7abc-8def-0123456789ab", "name": "member.rename", "reason": "asked", "meta": {"ip": "192.0.2.7"}}',
                '{"type": "user", "id": "42"}', '{"request_id": "r-1", "correlation_id": "c-1"}');
            SELECT threadline.suspend_capture(ARRAY['public.members'], 'import');
            SELECT threadline.record_evidence(
                '{"subject": "capture_coverage", "subject_ref": {}, "outcome": "pass", "summary_status": "ok", "detail": {}}');"#,
        );
        trail.run(
            "SET session_replication_role = replica;
            UPDATE threadline.audit_actions SET id = encode(int8send(
                ((extract(epoch FROM recorded_at) * 1000)::bigint << 16) | 28672) || substr(uuid_send(id), 9), 'hex')::uuid",
        );
        let site = Self {
            trail,
            directory: TempDir::new().expect("a directory"),
        };
        site.age(1);
        site.trail.run(
            r#"SELECT set_config('threadline.context', '{"meta": {"ip": "192.0.2.7", "n": 1.0}, "source": "test"}', true);
            INSERT INTO members VALUES (3, 'cid@example.com', 123456789012345678901234567890.123456789, '{}');
            UPDATE members SET id = 4 WHERE id = 3;"#,
        );
        site.age(1);
        site.trail.run(
            "INSERT INTO members VALUES (5, 'dan@example.com', 5, '[1, 2]'); TRUNCATE members;",
        );
        site.age(1);
        site
    }

    /// Makes all records older.
    pub(super) fn age(&self, days: u32) {
        self.trail.run(&format!(
            "SET session_replication_role = replica;
            UPDATE threadline.audit_changes SET captured_at = captured_at - {days} * interval '24 hours',
                transaction_id = public.older(transaction_id, {days});
            UPDATE threadline.audit_key_changes SET captured_at = captured_at - {days} * interval '24 hours',
                transaction_id = public.older(transaction_id, {days});
            UPDATE threadline.audit_transactions SET id = public.older(id, {days}),
                occurred_at = occurred_at - {days} * interval '24 hours';
            UPDATE threadline.audit_actions SET id = public.older_action(id, {days}),
                transaction_id = public.older(transaction_id, {days}),
                recorded_at = recorded_at - {days} * interval '24 hours';
            UPDATE threadline.audit_removals SET removed_at = removed_at - {days} * interval '24 hours';
            UPDATE threadline.audit_suspensions SET suspended_at = suspended_at - {days} * interval '24 hours';
            UPDATE threadline.audit_evidence SET recorded_at = recorded_at - {days} * interval '24 hours';
            UPDATE threadline.audit_enrolments SET recorded_at = recorded_at - {days} * interval '24 hours';"
        ));
    }

    /// Seals all records and signs a checkpoint.
    pub(super) fn seal(&self) {
        block_on(async {
            let mut conn = self.trail.connect().await;
            loop {
                while seal::seal_next(&mut conn).await.expect("a step") != Step::Idle {}
                let status = seal::status(&mut conn)
                    .await
                    .expect("a state")
                    .expect("a log");
                if status.sealed_to == status.last_id {
                    break;
                }
                // Other transactions of the server, such as those of autovacuum, run still.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let key = SigningKey::from_seed(ORIGIN, &[7; 32]).expect("a key");
            seal::sign_checkpoint(&mut conn, &key.into())
                .await
                .expect("a checkpoint");
        });
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn storage(&self) -> Storage {
        Storage::local(self.path()).expect("a storage")
    }

    /// Archives all days that have ended, of a trail that is sealed.
    pub(super) fn archive(&self) -> ArchiveRun {
        self.try_archive(&RunOptions::new("local").wait(Duration::ZERO))
            .expect("a run")
    }

    pub(super) fn try_archive(&self, options: &RunOptions) -> Result<ArchiveRun, ArchiveError> {
        block_on(async {
            let mut conn = self.trail.connect().await;
            archive::run(&mut conn, &self.storage(), options, |_| {}).await
        })
    }

    pub(super) fn verify(&self) -> ArchiveVerification {
        block_on(async {
            let mut conn: AsyncPgConnection = self.trail.connect().await;
            archive::verify(&mut conn, &self.storage(), &[])
                .await
                .expect("a verification")
        })
    }

    pub(super) fn manifests(&self) -> Vec<ArchiveManifest> {
        block_on(archive::read_manifests(&self.storage())).expect("manifests")
    }

    /// All files of the storage, relative to it.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        add_files(self.path(), &mut files);
        let relative = |path: PathBuf| {
            let path = path.strip_prefix(self.path()).expect("below").to_owned();
            path.to_str().expect("UTF-8").to_owned()
        };
        let mut files: Vec<_> = files.into_iter().map(relative).collect();
        files.sort();
        files
    }

    /// Whether any file of the storage, decoded, contains a text.
    pub(super) fn contains(&self, text: &str) -> bool {
        let storage = self.storage();
        let manifests = self.manifests();
        block_on(async {
            let mut found = false;
            for file in manifests.iter().flat_map(|manifest| &manifest.files) {
                let records = archive::FileRecords::open(&storage, file).await;
                for record in records.expect("a file") {
                    let values = record.expect("a record").values;
                    found |= values.iter().flatten().any(|value| value.contains(text));
                }
            }
            found
        })
    }
}

fn add_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            add_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The day some days ago.
pub(super) fn day(days_ago: u64) -> NaiveDate {
    Utc::now()
        .date_naive()
        .checked_sub_days(Days::new(days_ago))
        .expect("a day")
}
