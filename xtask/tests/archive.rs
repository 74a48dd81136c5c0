//! The archive on the command line, and runs that are killed.
#![cfg(feature = "archive")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "archive/restore.rs"]
mod restore;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use threadline_testdb::{Cluster, Database, Progress, ServerBinaries};

/// An Ed25519 key.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----
";

/// Changes of the last three days, of transactions with ten changes each, and an action for each.
const CHANGES: &str = "
    CREATE TEMP TABLE work AS
    SELECT n, at, encode(timestamptz_send(at) || int8send(n), 'hex')::uuid AS id
    FROM generate_series(1, @count@ / 10) AS n
    CROSS JOIN LATERAL (
        SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '72 hours' + n * interval '72 hours'
            / (@count@ / 10 + 1) AS at
    ) AS start;
    INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, correlation_id, db_user)
    SELECT id, at, n::text::xid8, 1, 'job-' || n, 'app' FROM work;
    INSERT INTO threadline.audit_actions (id, order_id, transaction_id, recorded_at, name, status)
    SELECT encode(int8send(((extract(epoch FROM at) * 1000)::bigint << 16) | 28672) || int8send(n), 'hex')::uuid,
        nextval('threadline.audit_changes_id_seq'), id, at, 'note.write', 'ok' FROM work;
    INSERT INTO threadline.audit_changes
        (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
    SELECT nextval('threadline.audit_changes_id_seq'), at + k * interval '1 ms', id, 'insert', 'public', 'notes',
        (n * 10 + k)::text, jsonb_build_object('id', (n * 10 + k)::text),
        jsonb_build_object('id', n * 10 + k, 'body', repeat('x', 200))
    FROM work CROSS JOIN generate_series(1, 10) AS k ORDER BY n, k;";

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
        Cluster::builder()
            .binaries(binaries)
            .start()
            .expect("PostgreSQL starts")
    })
}

/// A database with a trail, and a directory with a storage, a key and checkpoints.
struct Site {
    database: Database,
    folder: tempfile::TempDir,
}

impl Site {
    fn with_changes(count: u32) -> Self {
        let site = Self {
            database: cluster().create_database().expect("a database"),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(site.storage()).unwrap();
        let key = site.folder.path().join("seal.pem");
        fs::write(&key, KEY).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        site.run(&threadline_core::install::up_sql());
        site.run(&CHANGES.replace("@count@", &count.to_string()));
        site
    }

    fn sealed_with_changes(count: u32) -> Self {
        let site = Self::with_changes(count);
        site.answers(&["seal", "begin", "example.com/trail"]);
        site.seal();
        site
    }

    /// Seals all records; transactions of autovacuum may delay it.
    fn seal(&self) {
        wait_until("the sealer", || {
            self.answers(&[
                "seal",
                "run",
                "--key-file",
                "seal.pem",
                "--publish",
                "published",
            ]);
            let status: Value =
                serde_json::from_str(&self.answers(&["seal", "status", "--json"])).unwrap();
            status["sealed_to"] == status["last_id"]
        });
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn run(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{error}\nin: {sql}");
        }
    }

    fn query(&self, sql: &str) -> String {
        let answer = self.database.query_text(sql).expect("an answer");
        answer.unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_threadline"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("DATABASE_URL", self.database.url())
            .env("THREADLINE_STORAGE_DIR", self.storage())
            .env_remove("TZ");
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it starts")
    }

    /// The standard output of a command that ends with 0.
    fn answers(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{args:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and all output of a command.
    fn ends(&self, args: &[&str]) -> (i32, String) {
        let output = self.output(args);
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(text).unwrap(),
        )
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.answers(args)).unwrap()
    }

    fn start(&self) -> Child {
        let mut run = self.command(&["archive", "run"]);
        run.stdout(Stdio::null()).stderr(Stdio::null());
        run.spawn().expect("it starts")
    }

    /// All files of the storage, relative to it.
    fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        add_files(&self.storage(), &self.storage(), &mut files);
        files
    }

    /// The files that manifests have, and the manifests.
    fn listed(&self) -> BTreeSet<String> {
        let mut listed = BTreeSet::new();
        for file in self
            .files()
            .iter()
            .filter(|file| file.contains("_manifest"))
        {
            let text = fs::read_to_string(self.storage().join(file)).unwrap();
            let manifest: Value = serde_json::from_str(&text).unwrap();
            for archived in manifest["files"].as_array().unwrap() {
                listed.insert(archived["object"].as_str().unwrap().to_owned());
            }
            listed.insert(file.clone());
        }
        listed
    }
}

fn add_files(root: &Path, directory: &Path, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            add_files(root, &path, files);
        } else {
            let relative = path.strip_prefix(root).unwrap();
            files.insert(relative.to_str().unwrap().to_owned());
        }
    }
}

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_true() {
        assert!(Instant::now() < deadline, "waited for {what}");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn days_are_archived_listed_verified_and_fetched() {
    let site = Site::sealed_with_changes(300);
    assert_eq!(site.answers(&["archive", "list"]), "no day is archived\n");
    let run = site.answers(&["archive", "run"]);
    assert_eq!(run.matches("\narchived ").count() + 1, 3, "{run}");
    assert!(run.contains("(UTC) are archived"), "{run}");
    let listed = site.json(&["archive", "list", "--json"]);
    let sum = |name: &str| {
        let days = listed["days"].as_array().unwrap().iter();
        days.map(|day| day[name].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(
        (sum("changes"), sum("transactions"), sum("actions")),
        (300, 30, 30)
    );
    let day = listed["days"][1]["day"].as_str().unwrap();
    assert!(site.answers(&["archive", "list"]).contains(day));
    let verified = site.answers(&["archive", "verify"]);
    assert_eq!(verified, "verified: 3 day(s), 9 file(s), 360 record(s)\n");
    let verified = site.json(&["archive", "verify", day, "--json"]);
    assert_eq!(
        (&verified["verified"], &verified["days"]),
        (&true.into(), &1.into())
    );
    let args = ["archive", "fetch", "--table", "notes", "--key", "155"];
    let change: Value = serde_json::from_str(&site.answers(&args)).unwrap();
    assert_eq!(change["data_after"]["id"], 155);
    assert_eq!(change["transaction"]["correlation_id"], "job-15");
    let (code, text) = site.ends(&["archive", "fetch", "--table", "notes", "--key", "none"]);
    assert_eq!(code, 0);
    assert!(text.contains("no change of this row"), "{text}");
    let evidence = site.json(&["evidence", "show", "--json"]);
    assert!(evidence.to_string().contains("archive_verification"));
}

#[test]
fn a_damaged_file_and_a_forged_record_end_with_1() {
    let site = Site::sealed_with_changes(300);
    site.run(
        "SET session_replication_role = replica;
        UPDATE threadline.audit_changes SET actor = 'user:1' WHERE row_key = '300'",
    );
    let (code, text) = site.ends(&["archive", "run"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("cannot be archived: its fields differ from the sealed ones"),
        "{text}"
    );
    // The days before are archived.
    let manifests = site
        .files()
        .iter()
        .filter(|it| it.contains("_manifest"))
        .count();
    assert_eq!((manifests, site.files()), (2, site.listed()));
    let file = site
        .listed()
        .into_iter()
        .find(|it| it.contains("/changes/"))
        .unwrap();
    let path = site.storage().join(&file);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (code, text) = site.ends(&["archive", "verify"]);
    assert_eq!(code, 1);
    assert!(
        text.starts_with("not verified: ") && text.contains(&file),
        "{text}"
    );
    let (code, text) = site.ends(&["archive", "verify", "--json"]);
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &result["verified"]), (1, &false.into()));
    assert_eq!(result["finding"]["object"], file);
}

#[test]
fn refusals_say_what_to_do() {
    let site = Site::with_changes(10);
    let (code, text) = site.ends(&["archive", "run"]);
    assert_eq!(code, 3);
    assert!(text.contains("threadline seal begin"), "{text}");
    for args in [
        &["archive", "run", "--storage", "lake"][..],
        &["archive", "run", "--before", "tomorrow"],
        &["archive", "run", "--storage-dir", "/nonexistent"],
        &["archive", "verify", "2020-01-01"],
    ] {
        let (code, text) = site.ends(args);
        assert_eq!(code, 2, "{args:?}: {text}");
    }
    site.answers(&["seal", "begin", "example.com/trail"]);
    site.seal();
    let (code, text) = site.ends(&["archive", "run", "--before", "2999-01-01"]);
    assert_eq!(code, 2, "{text}");
}

#[test]
fn a_run_killed_at_any_moment_leaves_whole_days_and_the_next_one_continues() {
    let site = Site::sealed_with_changes(6_000);
    for files in 0..12 {
        let mut run = site.start();
        wait_until("files or the end", || {
            site.files().len() > files || run.try_wait().unwrap().is_some()
        });
        run.kill().unwrap();
        run.wait().unwrap();
        // The server ends the session when it notices that the client is gone.
        wait_until("the end of the session", || {
            site.query(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            ) == "0"
        });
        assert!(site.listed().is_subset(&site.files()), "{files}");
        assert_eq!(site.ends(&["archive", "verify"]).0, 0, "{files}");
        site.seal();
    }
    let (code, text) = site.ends(&["archive", "run"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(site.files(), site.listed());
    let days = site.json(&["archive", "list", "--json"]);
    let days = days["days"].as_array().unwrap();
    let changes: u64 = days
        .iter()
        .map(|day| day["changes"].as_u64().unwrap())
        .sum();
    assert_eq!((days.len(), changes), (3, 6_000));
    assert_eq!(site.ends(&["archive", "verify"]).0, 0);
}

#[test]
fn two_runs_at_once_end_with_whole_days() {
    let site = Site::sealed_with_changes(3_000);
    let mut runs: Vec<_> = (0..2).map(|_| site.start()).collect();
    let codes: Vec<_> = runs
        .iter_mut()
        .map(|run| run.wait().unwrap().code().unwrap())
        .collect();
    assert!(codes.iter().all(|code| [0, 3].contains(code)), "{codes:?}");
    assert_eq!(site.files(), site.listed());
    site.seal();
    site.answers(&["archive", "run"]);
    assert_eq!(site.ends(&["archive", "verify"]).0, 0);
    // The lock of a run is held by another session.
    site.seal();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Ends with an error when the session is ended below.
            let _ = site.database.execute_script(
                "BEGIN; SELECT pg_advisory_xact_lock(hashtext('threadline archive')); SELECT pg_sleep(60); COMMIT",
            );
        });
        wait_until("the lock", || {
            site.query(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            ) == "1"
        });
        let (code, text) = site.ends(&["archive", "run"]);
        site.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        assert_eq!(code, 3);
        assert!(
            text.contains("another run of the archive is at work"),
            "{text}"
        );
    });
}
