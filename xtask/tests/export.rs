//! Scenarios of `export` against a real PostgreSQL.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use serde_json::Value;
use threadline_testdb::{Cluster, Database, Progress, ServerBinaries, Template};

const PROGRAM: &str = env!("CARGO_BIN_EXE_threadline");

/// More than fits into the pipe and all buffers.
const CHANGES: usize = 20_000;

fn database() -> Database {
    static TEMPLATE: OnceLock<(Cluster, Template)> = OnceLock::new();
    let (_, template) = TEMPLATE.get_or_init(|| {
        let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
        let cluster = Cluster::builder()
            .binaries(binaries)
            .start()
            .expect("PostgreSQL starts");
        let template = cluster.template("captured", |url| {
            let session = Cluster::existing(url)?;
            session.execute_script(&text(&threadline(url, &["install", "--print"]).stdout))?;
            session.execute_script("CREATE TABLE orders (id int PRIMARY KEY, note text)")?;
            let capture = threadline(url, &["gen-triggers", "--tables", "orders", "--print"]);
            session.execute_script(&text(&capture.stdout))?;
            session.execute_script(&format!(
                "INSERT INTO orders SELECT n, repeat('a note ', 50) FROM generate_series(1, {CHANGES}) AS n"
            ))
        });
        (cluster, template.expect("a trail"))
    });
    template.create_database().expect("a database")
}

fn command(url: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env("DATABASE_URL", url)
        .env_remove("CARGO")
        .env_remove("COLUMNS");
    command
}

fn threadline(url: &str, arguments: &[&str]) -> Output {
    let output = command(url).args(arguments).output();
    output.expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Sends the signal of Ctrl-C.
fn interrupt(child: &Child) {
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_closed_pipe_exits_with_0() {
    let database = database();
    for options in [
        "",
        "--format ndjson",
        "--format json",
        "--gzip",
        "--newest-first",
    ] {
        let script =
            format!("'{PROGRAM}' export {options} | head -c 100; echo \" ${{PIPESTATUS[0]}}\"");
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("DATABASE_URL", database.url())
            .output()
            .unwrap();
        assert!(output.stdout.ends_with(b" 0\n"), "{options}");
        assert_eq!(text(&output.stderr), "", "{options}");
    }
}

#[test]
fn flat_writes_a_line_for_each_field() {
    let database = database();
    let output = threadline(&database.url(), &["export", "--flat", "--max-rows", "1"]);
    let lines = text(&output.stdout);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(
        lines[0],
        "when,who,action,reason,table,row,field,before,after,op,change_id"
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[1].contains(",public.orders,1,id,,1,insert,"),
        "{lines:?}"
    );
    assert!(lines[2].contains(",note,,"), "{lines:?}");
    let refused = threadline(&database.url(), &["export", "--flat", "--with-actions"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn ctrl_c_stops_an_export_to_a_full_pipe() {
    let database = database();
    let mut child = command(&database.url())
        .args(["export", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The export is running, and will fill the pipe.
    let mut first = [0; 10];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    interrupt(&child);
    let unread = child.stdout.take();
    let output = child.wait_with_output().unwrap();
    drop(unread);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        text(&output.stderr),
        "error: stopped: the export is not complete\n"
    );
}

#[test]
fn ctrl_c_keeps_the_old_file_and_leaves_no_partial_one() {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    fs::write(&path, "the old one").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Blocks the export until it is stopped.
        let mut holder = AsyncPgConnection::establish(&database.url()).await.unwrap();
        holder
            .batch_execute("BEGIN; LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        let child = command(&database.url())
            .args(["export", "--output"])
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let waits = "SELECT count(*)::text FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while database.query_text(waits).unwrap().as_deref() != Some("1") {
            std::thread::yield_now();
        }
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let said = text(&output.stderr);
        assert!(said.contains("stopped: nothing was written to"), "{said}");
    });
    assert_eq!(names(folder.path()), ["orders.csv"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the old one");
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    let path_text = path.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [&["export", "--dry-run"], arguments].concat();
        text(&threadline(&database.url(), &arguments).stdout)
    };
    assert_eq!(run(&["--output", path_text]), "20000 changes match\n");
    assert_eq!(
        run(&["--table", "orders", "--key", "7"]),
        "1 changes match\n"
    );
    assert_eq!(
        run(&["--max-rows", "5"]),
        "20000 changes match, of which 5 would be exported\n"
    );
    let told: Value = serde_json::from_str(&run(&["--json", "--op", "delete"])).unwrap();
    assert_eq!(told, serde_json::json!({"row_count": 0, "max_rows": null}));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_manifest_is_written_beside_the_file_or_to_the_given_path() {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, manifest) = (place("orders.csv"), place("manifest.json"));
    let url = database.url();

    let written = threadline(&url, &["export", "--output", &file, "--json"]);
    let told: Value = serde_json::from_slice(&written.stdout).unwrap();
    let beside = fs::read(place("orders.csv.manifest.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&beside).unwrap(), told);
    assert_eq!(told["row_count"], CHANGES);
    assert_eq!(text(&written.stderr), "", "progress without a terminal");

    let piped = threadline(&url, &["export", "--manifest", &manifest]);
    assert_eq!(piped.stdout, fs::read(&file).unwrap());
    let piped: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    assert_eq!(piped["sha256"], told["sha256"]);
    assert_eq!(piped["bytes"], told["bytes"]);
}

#[test]
fn an_export_limited_by_max_rows_warns() {
    let database = database();
    let cut = threadline(
        &database.url(),
        &[
            "export",
            "--newest-first",
            "--max-rows",
            "3",
            "--format",
            "ndjson",
        ],
    );
    let ids: Vec<Value> = text(&cut.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data_after"]["id"].clone())
        .collect();
    assert_eq!(ids, [CHANGES, CHANGES - 1, CHANGES - 2]);
    assert_eq!(
        text(&cut.stderr),
        "warning: stopped after 3 changes because of --max-rows; more match\n"
    );
}

#[test]
fn contradicting_options_are_wrong_usage() {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for arguments in [
        &["--json"][..],
        &["--format", "json", "--no-formula-guard"],
        &["--output", folder],
        &["--output", "x.csv", "--manifest", "y.json"],
        &["--key", "1"],
        &["--max-rows", "0"],
    ] {
        let refused = threadline(&database.url(), &[&["export"], arguments].concat());
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn an_export_shows_progress_on_a_terminal() {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    let line = format!("'{PROGRAM}' export --output '{}'", path.display());
    let on_a_terminal = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("DATABASE_URL", database.url())
        .stdin(Stdio::null())
        .output();
    let Ok(output) = on_a_terminal else {
        eprintln!("skipped: `script` is not installed");
        return;
    };
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(
        shown.contains("[....................]   0 % 0 of 20000"),
        "{shown}"
    );
    assert!(shown.contains("wrote 20000 changes"), "{shown}");
}
