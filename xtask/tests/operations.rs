//! Scenarios of coverage, policy, verify and doctor: the remedies they name repair the drift.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "operations/erasure.rs"]
mod erasure;
#[path = "operations/hosts.rs"]
mod hosts;
#[path = "operations/remedies.rs"]
mod remedies;
#[path = "operations/reports.rs"]
mod reports;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
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

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int, card text, pin text)";

/// A host: a command line, a database and a directory of migrations.
struct Site {
    program: PathBuf,
    database: Database,
    folder: tempfile::TempDir,
}

impl Site {
    /// A host without models, with the trail and no captured table.
    fn new(tables: &str) -> Self {
        Self::with_program(env!("CARGO_BIN_EXE_threadline").into(), tables)
    }

    fn with_program(program: PathBuf, tables: &str) -> Self {
        let site = Self {
            program,
            database: cluster().create_database().expect("a database"),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(site.folder.path().join("migrations")).expect("a directory of migrations");
        site.answers(&["install"]);
        site.migrate();
        site.run(tables);
        site
    }

    /// A host without models that captures table `t`, with a masked and an excluded column.
    fn captured() -> Self {
        let site = Self::new(TABLE);
        site.answers(&[
            "gen-triggers",
            "--tables",
            "t",
            "--mask",
            "t.card",
            "--exclude",
            "t.pin",
        ]);
        site.migrate();
        site.run("INSERT INTO t VALUES (1, 1, '4111', '1234')");
        site
    }

    fn run(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{error}\nin: {sql}");
        }
    }

    fn ask(&self, sql: &str) -> String {
        self.database.query_text(sql).unwrap().unwrap_or_default()
    }

    fn threadline<S: AsRef<str>>(&self, arguments: &[S]) -> Output {
        run_program(
            &self.program,
            self.folder.path(),
            &self.database.url(),
            arguments,
        )
    }

    /// The standard output of a command that exits with 0.
    fn answers<S: AsRef<str>>(&self, arguments: &[S]) -> String {
        let output = self.threadline(arguments);
        assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
        out(&output)
    }

    /// Applies pending migrations, like `diesel migration run`.
    fn migrate(&self) {
        self.run(
            "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (version text PRIMARY KEY)",
        );
        let mut names: Vec<_> = fs::read_dir(self.folder.path().join("migrations"))
            .expect("migrations")
            .map(|entry| entry.expect("an entry").file_name().into_string().unwrap())
            .collect();
        names.sort_by_key(|name| name.replace('-', ""));
        for name in names {
            let noted =
                format!("SELECT version FROM __diesel_schema_migrations WHERE version = '{name}'");
            if self.ask(&noted).is_empty() {
                let up = self
                    .folder
                    .path()
                    .join("migrations")
                    .join(&name)
                    .join("up.sql");
                self.run(&fs::read_to_string(up).unwrap());
                self.run(&format!(
                    "INSERT INTO __diesel_schema_migrations VALUES ('{name}')"
                ));
            }
        }
    }

    fn coverage(&self) -> Value {
        serde_json::from_str(&self.answers(&["coverage", "--json"])).unwrap()
    }

    fn finding(&self, code: &str) -> Option<Value> {
        let report = self.coverage();
        let findings = report["findings"].as_array().unwrap();
        findings
            .iter()
            .find(|finding| finding["code"] == code)
            .cloned()
    }
}

fn threadline<S: AsRef<str>>(folder: &Path, url: &str, arguments: &[S]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_threadline"));
    run_program(program, folder, url, arguments)
}

fn run_program<S: AsRef<str>>(program: &Path, folder: &Path, url: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .current_dir(folder)
        .args(arguments.iter().map(AsRef::as_ref))
        .env("DATABASE_URL", url)
        .env_remove("CARGO")
        .env_remove("COLUMNS")
        .output()
        .expect("the command runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The JSON without instants and policy hashes.
fn steady(mut document: Value) -> String {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    let hash = ["declared", "on_disk", "deployed"].contains(&name.as_str());
                    if name == "checked_at" || hash && field.is_string() {
                        *field = json!(format!("[{name}]"));
                    }
                    walk(field);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut document);
    serde_json::to_string_pretty(&document).unwrap()
}

#[test]
fn the_sql_in_a_remedy_repairs_a_damaged_trail() {
    let site = Site::captured();
    for damage in [
        "CREATE OR REPLACE FUNCTION threadline.guard_record() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "DROP FUNCTION threadline.suspend_capture",
    ] {
        site.run(damage);
        assert_eq!(code(&site.threadline(&["verify"])), 1, "{damage}");
        while let Some(finding) = site
            .finding("trail_function_changed")
            .or_else(|| site.finding("trail_function_executable"))
        {
            site.run(finding["remedy"]["sql"].as_str().unwrap());
        }
        assert_eq!(code(&site.threadline(&["verify"])), 0, "{damage}");
    }
}

#[test]
fn redeploy_triggers_without_migrations_uses_the_deployed_policy() {
    let site = Site::captured();
    fs::remove_dir_all(site.folder.path().join("migrations")).unwrap();
    site.run("DROP TRIGGER \"00_threadline_capture\" ON t");
    let printed = site.answers(&["redeploy-triggers", "t", "--print"]);
    assert!(printed.contains("'[REDACTED]'"), "{printed}");
    site.run(&printed);
    assert_eq!(code(&site.threadline(&["verify"])), 0);
    let unwritten = site.threadline(&["redeploy-triggers", "t"]);
    assert_eq!(code(&unwritten), 2);
    assert!(
        err(&unwritten).contains("there is no directory of migrations"),
        "{}",
        err(&unwritten)
    );
    let unknown = site.threadline(&["redeploy-triggers", "u", "--print"]);
    assert_eq!(code(&unknown), 2);
    assert!(
        err(&unknown).contains("table public.u is not declared in the code"),
        "{}",
        err(&unknown)
    );
}

#[test]
fn disable_capture_writes_a_migration_whose_down_restores_capture() {
    let site = Site::captured();
    site.answers(&["disable-capture", "t"]);
    site.migrate();
    site.run("INSERT INTO t VALUES (2, 2, '', '')");
    assert_eq!(
        site.ask("SELECT count(*) FROM threadline.audit_changes"),
        "1"
    );
    let report = site.coverage();
    assert_eq!(report["summary"]["needs_capture"], 1);
    assert_eq!(report["summary"]["errors"], 0);
    let policy: Value = serde_json::from_str(&site.answers(&["policy", "--json"])).unwrap();
    assert_eq!(policy["tables"], json!([]));
    let again = site.threadline(&["disable-capture", "t"]);
    assert_eq!(code(&again), 2);
    assert!(
        err(&again).contains("no migration captures table public.t"),
        "{}",
        err(&again)
    );

    let mut names: Vec<_> = fs::read_dir(site.folder.path().join("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let down = names.last().unwrap().join("down.sql");
    site.run(&fs::read_to_string(down).unwrap());
    site.run("INSERT INTO t VALUES (3, 3, '5222', '')");
    assert_eq!(
        site.ask(
            "SELECT data_after ->> 'card' FROM threadline.audit_changes ORDER BY id DESC LIMIT 1"
        ),
        "[REDACTED]"
    );
}

#[test]
fn coverage_exits_with_1_only_with_strict() {
    let site = Site::new("CREATE TABLE \"Odd Name\" (id int); CREATE SCHEMA empty");
    assert_eq!(code(&site.threadline(&["coverage"])), 0);
    let strict = site.threadline(&["coverage", "--strict"]);
    assert_eq!(code(&strict), 1);
    let shown = out(&strict);
    assert!(
        shown.contains("gen-triggers --tables 'public.\"Odd Name\"'"),
        "{shown}"
    );
    assert!(
        shown.contains("0 captured, 1 expected gaps, 1 need capture"),
        "{shown}"
    );
    assert_eq!(
        code(&site.threadline(&["coverage", "--strict", "--schema", "empty"])),
        0
    );
    let unknown = site.threadline(&["coverage", "--schema", "nowhere"]);
    assert_eq!(code(&unknown), 2);
    assert!(
        err(&unknown).contains("no schema `nowhere`"),
        "{}",
        err(&unknown)
    );
    assert_eq!(
        code(&site.threadline(&["coverage", "--schema", "empty", "--all-schemas"])),
        2
    );
    assert_eq!(code(&site.threadline(&["coverage", "extra"])), 2);

    let nothing = cluster().create_database().unwrap();
    for command in ["coverage", "policy", "verify"] {
        let output = threadline(site.folder.path(), &nothing.url(), &[command]);
        assert_eq!(code(&output), 3, "{command}");
        assert!(
            err(&output).contains("there is no trail in this database"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn the_json_of_coverage_is_stable() {
    let site = Site::captured();
    site.run("ALTER TABLE t DISABLE TRIGGER \"00_threadline_capture\"; ALTER TABLE t ADD COLUMN w int; CREATE TABLE u (id int)");
    insta::assert_snapshot!(steady(site.coverage()));
}

#[test]
fn the_json_of_policy_is_stable() {
    let site = Site::captured();
    site.answers(&["gen-triggers", "--tables", "t", "--clear", "t.card"]);
    let compared = site.threadline(&["policy", "--json"]);
    assert_eq!(code(&compared), 1);
    insta::assert_snapshot!(steady(serde_json::from_str(&out(&compared)).unwrap()));
    let shown = out(&site.threadline(&["policy"]));
    assert!(
        shown.contains("the migrations and the database have different"),
        "{shown}"
    );
}

#[test]
fn verify_fails_if_any_check_fails_and_reports_all() {
    let site = Site::captured();
    let verdict: Value = serde_json::from_str(&site.answers(&["verify", "--json"])).unwrap();
    insta::assert_snapshot!(steady(verdict.clone()));
    assert_eq!(verdict["verified"], true);
    assert_eq!(verdict["migrations"]["status"], "not_checked");
    assert_eq!(verdict["coverage"]["summary"]["captured"], 1);
    assert_eq!(verdict["policy"]["summary"]["matches"], 1);
    site.run("GRANT INSERT ON threadline.audit_changes TO PUBLIC");
    let refused = site.threadline(&["verify"]);
    assert_eq!(code(&refused), 1);
    assert!(
        out(&refused).ends_with("verified: no\n"),
        "{}",
        out(&refused)
    );
    assert!(out(&refused).contains("REVOKE INSERT ON TABLE threadline.audit_changes FROM PUBLIC"));
}

#[test]
fn doctor_reports_each_check_and_exits_with_1_if_one_failed() {
    let site = Site::captured();
    let report: Value = serde_json::from_str(&site.answers(&["doctor", "--json"])).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let ids: Vec<_> = checks
        .iter()
        .map(|check| check["id"].as_str().unwrap())
        .collect();
    insta::assert_snapshot!(ids.join("\n"));
    for check in checks {
        assert_ne!(check["status"], "unknown", "{check}");
    }
    let status = |report: &Value, id: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == id);
        check.map_or(Value::Null, |check| check["status"].clone())
    };
    assert_eq!(status(&report, "installation"), "ok");
    assert_eq!(status(&report, "connected_role"), "warn", "a superuser");
    assert!(out(&site.threadline(&["doctor"])).contains("there are partitions until"));

    site.run(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$",
    );
    let sick = site.threadline(&["doctor", "--json"]);
    assert_eq!(code(&sick), 1);
    let report: Value = serde_json::from_str(&out(&sick)).unwrap();
    assert_eq!(status(&report, "settings"), "fail");

    let nothing = cluster().create_database().unwrap();
    let output = threadline(site.folder.path(), &nothing.url(), &["doctor", "--json"]);
    assert_eq!(code(&output), 1);
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(status(&report, "installation"), "fail");
    assert_eq!(status(&report, "trail_size"), Value::Null);
}
