//! The run of a guide: its database, its directory of migrations, its SQL and its commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use threadline_testdb::{Cluster, Database};

use super::markdown::{Part, parts, root};
use crate::harness::start_cluster;

/// Roles belong to the whole server, so the guides have their own server.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start_cluster)
}

/// Commands in guides that are not run.
const COMMANDS_NOT_RUN: [&str; 7] = [
    "#",
    "cargo add",
    "cargo build",
    "cargo new",
    "cargo test",
    "pg_dump",
    "psql",
];

/// The expected result of the next block.
#[derive(Debug, Default)]
struct Expected {
    gives: Option<String>,
    fails: Option<String>,
    prints: Option<String>,
    exit: i32,
    not_run: bool,
}

/// The run of a guide: its database and its folder of migrations.
pub(crate) struct GuideRun {
    guide: String,
    database: Database,
    folder: PathBuf,
    applied: BTreeSet<String>,
}

impl GuideRun {
    pub(super) fn new(guide: &str, text: &str) -> Self {
        let wanted = text
            .lines()
            .find_map(|line| line.strip_prefix("<!-- database: "));
        let database = cluster().create_database().expect("a database");
        let folder = std::env::temp_dir().join(format!("threadline_guide_{}", database.name()));
        fs::create_dir_all(folder.join("migrations")).expect("a folder");
        let mut run = Self {
            guide: guide.to_owned(),
            database,
            folder,
            applied: BTreeSet::new(),
        };
        if wanted.is_some_and(|wanted| wanted.starts_with("saas")) {
            run.add_saas_migration();
        }
        match wanted.map(|wanted| wanted.trim_end_matches("-->").trim()) {
            None => run.script(&threadline::install::up_sql()),
            Some("saas" | "empty") => {}
            Some("saas captured") => {
                for command in ["cargo xtask install", "cargo xtask gen-triggers"] {
                    let done = run.command(command);
                    assert!(done.status.success(), "{}", shown(&done));
                }
            }
            Some(other) => panic!("{guide}: there is no database `{other}`"),
        }
        run.migrate();
        run
    }

    fn add_saas_migration(&self) {
        let name = "2026-01-12-090000_create_saas";
        let to = self.folder.join("migrations").join(name);
        fs::create_dir_all(&to).expect("a folder");
        let from = root()
            .join("examples/saas/migrations")
            .join(name)
            .join("up.sql");
        fs::copy(from, to.join("up.sql")).expect("the example's migration");
    }

    fn migrate(&mut self) {
        self.migrate_as(None);
    }

    /// Does what `diesel migration run` does, optionally as a role.
    fn migrate_as(&mut self, role: Option<&str>) {
        let role = role.map_or_else(String::new, |role| format!("SET ROLE {role};\n"));
        let mut names: Vec<_> = fs::read_dir(self.folder.join("migrations"))
            .expect("migrations")
            .map(|entry| {
                entry
                    .expect("a migration")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort_by_key(|name| name.replace('-', ""));
        for name in names {
            if self.applied.insert(name.clone()) {
                let up = self.folder.join("migrations").join(&name).join("up.sql");
                let up = fs::read_to_string(up).expect("up.sql");
                self.script(&format!("{role}{up}"));
            }
        }
    }

    fn script(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{}: {error}\nin: {sql}", self.guide);
        }
    }

    /// Runs a command line in a shell.
    fn command(&self, line: &str) -> Output {
        let ask = |sql| self.database.query_text(sql).expect("a query");
        let transaction = ask("SELECT to_regclass('threadline.audit_transactions')::text")
            .and_then(|_| {
                ask("SELECT id FROM threadline.audit_transactions ORDER BY id DESC LIMIT 1")
            });
        let mut path = command_line().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("DATABASE_URL", self.database.url())
            .env("TRANSACTION", transaction.unwrap_or_default())
            .env_remove("CARGO")
            .output()
            .expect("a shell")
    }

    pub(super) fn run(&mut self, text: &str) {
        let mut expected = Expected::default();
        for part in parts(text) {
            match part {
                Part::Comment(word, text) => match word.as_str() {
                    "database" => {}
                    "setup" => self.script(&text),
                    "gives" => expected.gives = Some(text),
                    "fails" => expected.fails = Some(text),
                    "prints" => expected.prints = Some(text),
                    "exit" => expected.exit = text.parse().expect("an exit code"),
                    _ => {
                        assert!(
                            text.len() > 10,
                            "{}: say why a block is not run",
                            self.guide
                        );
                        expected.not_run = true;
                    }
                },
                Part::Block(fence, block, line) => {
                    let place = format!("{}:{line}", self.guide);
                    let expected = std::mem::take(&mut expected);
                    let kind = fence.split(',').next().unwrap_or_default();
                    match kind {
                        _ if expected.not_run => {}
                        "sql" => self.sql(&place, &block, &expected),
                        "sh" => self.sh(&place, &block, &expected),
                        "rust" | "toml" | "text" | "json" => {}
                        other => panic!("{place}: unknown block language `{other}`"),
                    }
                }
            }
        }
    }

    fn sql(&self, place: &str, block: &str, expected: &Expected) {
        match (self.database.query_text(block), &expected.fails) {
            (Ok(value), None) => {
                if let Some(gives) = &expected.gives {
                    let value = value.unwrap_or_else(|| "NULL".to_owned());
                    assert_eq!(&value, gives, "{place}");
                }
            }
            (Ok(_), Some(message)) => panic!("{place}: expected to fail: {message}"),
            (Err(error), Some(message)) => {
                assert!(error.to_string().contains(message), "{place}: {error}");
            }
            (Err(error), None) => panic!("{place}: {error}\nin: {block}"),
        }
    }

    fn sh(&mut self, place: &str, block: &str, expected: &Expected) {
        let lines = block.replace("\\\n", " ");
        for line in lines.lines().map(str::trim) {
            let line = line.split("   #").next().unwrap_or(line).trim();
            if let Some((before, _)) = line.split_once("diesel migration run") {
                let role = before
                    .split_once("role=")
                    .map(|(_, role)| role.trim().trim_matches('\''));
                self.migrate_as(role);
            } else if is_threadline_command(line) {
                let done = self.command(line);
                let code = done.status.code().expect("an exit code");
                assert_eq!(code, expected.exit, "{place}: {line}\n{}", shown(&done));
                if let Some(prints) = &expected.prints {
                    assert!(
                        shown(&done).contains(prints),
                        "{place}: {line}\n{}",
                        shown(&done)
                    );
                }
            } else {
                let known = COMMANDS_NOT_RUN.iter().any(|known| line.starts_with(known));
                assert!(
                    line.is_empty() || known,
                    "{place}: unknown command `{line}`"
                );
            }
        }
    }
}

impl Drop for GuideRun {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_threadline_command(line: &str) -> bool {
    line.starts_with("threadline ") || line.starts_with("cargo xtask ")
}

pub(crate) fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A folder with the program `threadline`, and with a `cargo` whose `xtask` is the one of the example,
/// which links models.
pub(crate) fn command_line() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--message-format=json", "--bins"])
            .args(["-p", "saas-xtask", "-p", "threadline-xtask"])
            // The tests of the command line use the same file, with this feature.
            .args(["--features", "threadline-xtask/archive"])
            .arg("--target-dir")
            .arg(target_dir())
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "{}", shown(&built));
        let folder = std::env::temp_dir().join(format!("threadline_guides_{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        for line in String::from_utf8_lossy(&built.stdout).lines() {
            let message: serde_json::Value = serde_json::from_str(line).expect("JSON");
            if let Some(program) = message["executable"].as_str() {
                let name = Path::new(program).file_name().expect("a name");
                symlink(program, folder.join(name)).expect("a link");
            }
        }
        let cargo = folder.join("cargo");
        fs::write(
            &cargo,
            "#!/bin/sh\n[ \"$1\" = xtask ] || exit 99\nshift\nexec saas-xtask \"$@\"\n",
        )
        .expect("a script");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a script");
        folder
    })
}

/// The target directory of this test, which is `<target>/<profile>/deps/<test>`.
pub(crate) fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let target = test.ancestors().nth(3).expect("a target folder");
    target.to_owned()
}
