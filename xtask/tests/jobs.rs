//! Background jobs and schedules on the command line, and workers that are killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use threadline_testdb::{Cluster, Database, Progress, ServerBinaries};

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

/// A database with changes, and a directory for the files of jobs.
struct Site {
    database: Database,
    folder: tempfile::TempDir,
}

impl Site {
    /// A database with this number of changes of a kilobyte each.
    fn with_changes(count: u32) -> Self {
        let site = Self {
            database: cluster().create_database().expect("a database"),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(site.storage()).unwrap();
        site.run(&threadline_core::install::up_sql());
        site.run(&format!(
            "INSERT INTO threadline.audit_changes
                 (id, captured_at, transaction_id, op, table_schema, table_name, row_key, data_after)
             SELECT nextval('threadline.audit_changes_id_seq'), clock_timestamp(), gen_random_uuid(), 'insert',
                 'public', 'notes', n::text, jsonb_build_object('body', repeat('x', 1000))
             FROM generate_series(1, {count}) AS n"
        ));
        site
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
        command.args(args);
        self.at_site(command)
    }

    /// `work --once` in a process that can write 64 KiB into a file, as on a disk that is almost full.
    fn work_with_small_files(&self) -> Output {
        // Without the signal, the write fails.
        let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" work --once";
        let mut command = Command::new("bash");
        command.args(["-c", script, env!("CARGO_BIN_EXE_threadline")]);
        self.at_site(command).output().expect("it starts")
    }

    fn at_site(&self, mut command: Command) -> Command {
        command
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
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and the standard error of a command.
    fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), error)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.answers(args)).unwrap()
    }

    /// Enqueues an export of all changes; returns its id.
    fn enqueue(&self) -> String {
        let job = self.json(&["export", "--background", "--format", "ndjson", "--json"]);
        job["id"].as_str().unwrap().to_owned()
    }

    fn start_worker(&self) -> Child {
        let mut work = self.command(&["work"]);
        work.stdout(Stdio::null()).stderr(Stdio::null());
        work.spawn().expect("it starts")
    }

    /// Makes updates of jobs that meet a condition wait.
    fn block_updates(&self, condition: &str) {
        self.run(&format!(
            "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
             CREATE TRIGGER wait BEFORE UPDATE ON threadline.audit_jobs
                 FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION public.wait();"
        ));
    }

    /// Ends the sessions that wait, and lets the lease of the killed worker expire.
    fn unblock_updates(&self) {
        self.run(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid();
             DROP TRIGGER wait ON threadline.audit_jobs; DROP FUNCTION public.wait()",
        );
    }

    fn expire_lease(&self) {
        self.run(
            "UPDATE threadline.audit_jobs SET leased_until = clock_timestamp() - interval '1 s'
             WHERE state = 'running'",
        );
    }

    /// The files of a job, relative to its directory.
    fn files(&self, job: &str) -> Vec<String> {
        let root = self.storage().join("exports").join(job);
        let mut files = Vec::new();
        for attempt in fs::read_dir(&root).into_iter().flatten().flatten() {
            for file in fs::read_dir(attempt.path()).into_iter().flatten().flatten() {
                let path = file.path();
                let path = path.strip_prefix(&root).unwrap();
                files.push(path.to_str().unwrap().to_owned());
            }
        }
        files.sort();
        files
    }

    fn state(&self, job: &str) -> String {
        self.query(&format!(
            "SELECT state || ' ' || attempt FROM threadline.audit_jobs WHERE id = '{job}'"
        ))
    }
}

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_true() {
        assert!(Instant::now() < deadline, "waited for {what}");
        sleep(Duration::from_millis(5));
    }
}

fn kill(mut worker: Child) {
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[test]
fn an_export_in_the_background_is_run_shown_and_downloaded() {
    let site = Site::with_changes(20);
    assert_eq!(site.answers(&["jobs", "list"]), "there are no jobs\n");
    let enqueued = site.answers(&[
        "export",
        "--background",
        "--format",
        "csv",
        "--gzip",
        "--name",
        "all",
        "--keep",
        "30d",
        "--owner",
        "admin:rita",
    ]);
    let id = enqueued.trim().strip_prefix("enqueued job ").unwrap();
    let (code, error) = site.fails(&["jobs", "download", id]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("is queued"), "{error}");
    assert_eq!(site.answers(&["work", "--once"]), "1 jobs run\n");
    let job = site.json(&["jobs", "show", id]);
    assert_eq!(job["state"], "completed");
    assert_eq!(job["result"]["rows"], 20);
    let listed = site.answers(&["jobs", "list"]);
    assert!(
        listed.contains("admin:rita") && listed.contains("20 changes"),
        "{listed}"
    );
    let written = site.answers(&["jobs", "download", id]);
    assert!(written.contains("to all.csv.gz"), "{written}");
    let file = fs::metadata(site.folder.path().join("all.csv.gz")).unwrap();
    assert_eq!(job["result"]["bytes"], file.len());
    let (code, error) = site.fails(&["jobs", "cancel", id]);
    assert_eq!(code, 1);
    assert!(error.contains("it is completed"), "{error}");
    let unknown = "00000000-0000-7000-8000-000000000000";
    for command in ["show", "cancel", "retry", "download"] {
        assert_eq!(site.fails(&["jobs", command, unknown]).0, 1, "{command}");
    }
}

#[test]
fn a_cancelled_job_can_be_retried() {
    let site = Site::with_changes(1);
    let id = site.enqueue();
    assert_eq!(
        site.answers(&["jobs", "cancel", &id]),
        format!("job {id} is cancelled\n")
    );
    assert_eq!(site.answers(&["work", "--once"]), "0 jobs run\n");
    assert_eq!(
        site.answers(&["jobs", "retry", &id]),
        format!("job {id} is queued\n")
    );
    assert_eq!(site.answers(&["work", "--once"]), "1 jobs run\n");
    assert_eq!(site.state(&id), "completed 1");
}

#[test]
fn contradictory_options_are_wrong_usage() {
    let site = Site::with_changes(1);
    for args in [
        &["export", "--storage", "s3", "--dry-run"][..],
        &["export", "--background", "--max-rows", "5"],
        &["export", "--background", "--keep", "0d"],
        &["export", "--background", "--name", "../x"],
        &["schedule", "add", "nightly", "0 25 * * *"],
        &["schedule", "add", "nightly", "0 2 * * *", "--since", "1h"],
        &["work", "--once", "--storage-dir", "/nonexistent"],
    ] {
        let (code, error) = site.fails(args);
        assert_eq!(code, 2, "{args:?}: {error}");
    }
}

#[test]
fn a_schedule_is_added_run_paused_and_removed() {
    let site = Site::with_changes(7);
    let added = site.answers(&[
        "schedule",
        "add",
        "nightly",
        "0 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--span",
        "since-last",
        "--format",
        "ndjson",
    ]);
    assert!(added.starts_with("added nightly; due at "), "{added}");
    let (code, error) = site.fails(&["schedule", "add", "nightly", "0 2 * * *"]);
    assert_eq!(code, 1, "{error}");
    for rows in [7, 0] {
        site.answers(&["schedule", "run-now", "nightly"]);
        assert_eq!(site.answers(&["work", "--once"]), "1 jobs run\n");
        let jobs = site.json(&["jobs", "list", "--schedule", "nightly", "--json"]);
        assert_eq!(jobs["jobs"][0]["result"]["rows"], rows);
    }
    site.answers(&["schedule", "pause", "nightly"]);
    let listed = site.answers(&["schedule", "list"]);
    assert!(
        listed.contains("Europe/Berlin") && listed.contains("paused"),
        "{listed}"
    );
    site.answers(&["schedule", "resume", "nightly"]);
    assert!(!site.answers(&["schedule", "list"]).contains("paused"));
    site.answers(&["schedule", "remove", "nightly"]);
    assert_eq!(site.fails(&["schedule", "remove", "nightly"]).0, 1);
}

#[test]
fn a_worker_killed_during_an_upload_leaves_a_job_that_another_one_completes() {
    let site = Site::with_changes(40_000);
    let id = site.enqueue();
    let worker = site.start_worker();
    wait_until("the upload", || {
        site.files(&id).iter().any(|file| file.contains('#'))
    });
    kill(worker);
    assert_eq!(site.state(&id), "running 1");
    assert_eq!(
        site.answers(&["work", "--once"]),
        "0 jobs run\n",
        "the lease holds"
    );
    site.expire_lease();
    assert_eq!(site.answers(&["work", "--once"]), "1 jobs run\n");
    assert_eq!(site.state(&id), "completed 2");
    assert_eq!(
        site.files(&id),
        ["2/changes.ndjson", "2/changes.ndjson.manifest.json"]
    );
    assert_eq!(site.json(&["jobs", "show", &id])["result"]["rows"], 40_000);
}

#[test]
fn a_worker_killed_between_upload_and_completion_leaves_a_job_that_another_one_completes() {
    let site = Site::with_changes(10);
    let id = site.enqueue();
    site.block_updates("NEW.state = 'completed'");
    let worker = site.start_worker();
    wait_until("the manifest", || site.files(&id).len() == 2);
    kill(worker);
    site.unblock_updates();
    assert_eq!(site.state(&id), "running 1");
    site.expire_lease();
    assert_eq!(site.answers(&["work", "--once"]), "1 jobs run\n");
    assert_eq!(site.state(&id), "completed 2");
    assert_eq!(
        site.files(&id),
        ["2/changes.ndjson", "2/changes.ndjson.manifest.json"]
    );
}

#[test]
fn an_export_to_a_full_disk_leaves_no_file_and_completes_when_there_is_space() {
    // A file of one part, and one of several parts.
    for changes in [200, 20_000] {
        let site = Site::with_changes(changes);
        let id = site.enqueue();
        let output = site.work_with_small_files();
        assert!(output.status.success(), "{output:?}");
        let job = site.json(&["jobs", "show", &id]);
        assert_eq!(job["state"], "queued");
        assert_eq!(job["error_code"], "storage_full");
        assert_eq!(job["error_place"], "upload");
        let files = site.files(&id);
        assert!(files.iter().all(|file| file.contains('#')), "{files:?}");
        site.run("UPDATE threadline.audit_jobs SET run_at = clock_timestamp()");
        assert_eq!(site.answers(&["work", "--once"]), "1 jobs run\n");
        assert_eq!(site.state(&id), "completed 2");
        assert_eq!(
            site.files(&id),
            ["2/changes.ndjson", "2/changes.ndjson.manifest.json"]
        );
    }
}

#[test]
fn a_worker_killed_during_expiry_leaves_files_that_another_one_deletes() {
    let site = Site::with_changes(10);
    let id = site.enqueue();
    site.answers(&["work", "--once"]);
    site.run("UPDATE threadline.audit_jobs SET expires_at = clock_timestamp()");
    site.block_updates("NEW.object_gone_at IS NOT NULL");
    let worker = site.start_worker();
    wait_until("the deletion", || site.files(&id).is_empty());
    kill(worker);
    site.unblock_updates();
    let gone = || site.query("SELECT object_gone_at IS NOT NULL FROM threadline.audit_jobs");
    assert_eq!((site.state(&id), gone()), ("expired 1".into(), "f".into()));
    // As if it was killed before it deleted the last file.
    let directory = site.storage().join("exports").join(&id).join("1");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("changes.ndjson"), "x").unwrap();
    site.answers(&["work", "--once"]);
    assert_eq!(gone(), "t");
    assert!(site.files(&id).is_empty());
}

#[cfg(unix)]
#[test]
fn a_worker_that_gets_sigterm_queues_its_job_again() {
    let site = Site::with_changes(40_000);
    let id = site.enqueue();
    let mut worker = site.start_worker();
    wait_until("the upload", || {
        site.files(&id).iter().any(|file| file.contains('#'))
    });
    let pid = worker.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert!(worker.wait().unwrap().success());
    let state = site.state(&id);
    assert!(
        ["queued 1", "completed 1"].contains(&state.as_str()),
        "{state}"
    );
}
