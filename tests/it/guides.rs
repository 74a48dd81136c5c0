//! Runs the SQL and the commands of the guides, each guide in its own database. Their Rust is compiled
//! as doc tests, which `src/lib.rs` includes.
//!
//! HTML comments, which GitHub does not show, control the run:
//!
//! | comment | meaning |
//! |---|---|
//! | `<!-- database: saas -->` | at the top: a database with the tables of `examples/saas`, without a trail |
//! | `<!-- database: saas captured -->` | the same, with the trail and capture |
//! | `<!-- database: empty -->` | an empty database |
//! | `<!-- setup: SQL -->` | SQL that runs like a block |
//! | `<!-- gives: TEXT -->` | the first value that the next block returns |
//! | `<!-- fails: TEXT -->` | the next block fails, and its message contains this text |
//! | `<!-- prints: TEXT -->` | the output of the next command contains this text |
//! | `<!-- exit: N -->` | the exit code of the next command, if it is not 0 |
//! | `<!-- not run: WHY -->` | the next block is not run, and why |
//!
//! Without a `database` comment a guide starts with an empty trail. In `sh` blocks `threadline` and
//! `cargo xtask` run in a folder with a `migrations` directory, and `diesel migration run` applies
//! the migrations. `$DATABASE_URL` is the database, `$TRANSACTION` the id of the newest audit
//! transaction.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use threadline_testdb::{Cluster, Database};

use crate::harness::start_cluster;

/// Roles belong to the whole server, so the guides have their own server.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start_cluster)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All guides: file name and text.
fn guides() -> Vec<(String, String)> {
    let mut guides: Vec<_> = fs::read_dir(root().join("guides"))
        .expect("the guides")
        .map(|entry| entry.expect("a guide").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(path).expect("UTF-8"))
        })
        .collect();
    guides.sort();
    guides
}

/// A part of a guide that the run uses.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// A fenced block: its info string, its text, and the line on which it begins.
    Block(String, String, usize),
    /// A comment: its keyword and its text.
    Comment(String, String),
}

/// The keywords of comments.
const COMMENTS: [&str; 7] = [
    "database", "setup", "gives", "fails", "prints", "exit", "not run",
];

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let block: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .fold(String::new(), |block, line| block + line + "\n");
            parts.push(Part::Block(fence.trim().to_owned(), block, number + 1));
        } else if let Some(first) = line.trim_start().strip_prefix("<!-- ") {
            let mut comment = first.to_owned();
            while !comment.contains("-->") {
                let (_, line) = lines.next().expect("the end of a comment");
                let _ = write!(comment, "\n{line}");
            }
            let (word, text) = comment
                .trim_end()
                .trim_end_matches("-->")
                .split_once(':')
                .map(|(word, text)| (word.trim().to_owned(), text.trim().to_owned()))
                .unwrap_or_default();
            assert!(
                COMMENTS.contains(&word.as_str()),
                "line {}: {line}",
                number + 1
            );
            parts.push(Part::Comment(word, text));
        }
    }
    parts
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
struct GuideRun {
    guide: String,
    database: Database,
    folder: PathBuf,
    applied: BTreeSet<String>,
}

impl GuideRun {
    fn new(guide: &str, text: &str) -> Self {
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

    fn run(&mut self, text: &str) {
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

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A folder with the program `threadline`, and with a `cargo` whose `xtask` is the one of the example,
/// which links models.
fn command_line() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--message-format=json", "--bins"])
            .args(["-p", "saas-xtask", "-p", "threadline-xtask"])
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
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let target = test.ancestors().nth(3).expect("a target folder");
    target.to_owned()
}

fn run_guide(guide: &str) {
    let text = fs::read_to_string(root().join("guides").join(guide)).expect("the guide");
    GuideRun::new(guide, &text).run(&text);
}

macro_rules! guide_tests {
    ($($test:ident: $guide:literal),+ $(,)?) => {
        const RUN_GUIDES: &[&str] = &[$($guide),+];
        $(
            #[test]
            fn $test() {
                run_guide($guide);
            }
        )+
    };
}

guide_tests! {
    index_runs_as_written: "README.md",
    getting_started_runs_as_written: "getting-started.md",
    how_it_works_runs_as_written: "how-it-works.md",
    domain_reference_runs_as_written: "domain-reference.md",
    redaction_runs_as_written: "redaction.md",
    supported_tables_runs_as_written: "supported-tables.md",
    attribution_runs_as_written: "attribution.md",
    roles_and_trust_runs_as_written: "roles-and-trust.md",
    pgbouncer_runs_as_written: "pgbouncer.md",
    investigate_runs_as_written: "investigate.md",
    brownfield_runs_as_written: "brownfield.md",
    as_of_runs_as_written: "as-of.md",
    upgrading_runs_as_written: "upgrading.md",
    export_runs_as_written: "export.md",
    feed_runs_as_written: "feed.md",
    production_checklist_runs_as_written: "production-checklist.md",
    restore_runs_as_written: "restore.md",
    retention_runs_as_written: "retention.md",
}

#[test]
fn every_guide_is_run_and_its_rust_is_compiled() {
    let facade = fs::read_to_string(root().join("src/lib.rs")).expect("the facade");
    for (guide, text) in guides() {
        // The commands of performance.md take hours; for-administrators.md has none.
        assert!(
            RUN_GUIDES.contains(&guide.as_str())
                || matches!(guide.as_str(), "performance.md" | "for-administrators.md"),
            "{guide}"
        );
        let has_rust = text
            .lines()
            .any(|line| line.trim_start().starts_with("```rust"));
        let compiled = facade.contains(&format!("include_str!(\"../guides/{guide}\")"));
        assert!(
            compiled || !has_rust,
            "src/lib.rs includes no guides/{guide}"
        );
    }
}

#[test]
fn no_code_block_in_a_guide_is_marked_ignore() {
    for (guide, text) in guides() {
        for line in text
            .lines()
            .filter(|line| line.trim_start().starts_with("```"))
        {
            assert!(!line.contains("ignore"), "{guide}: {line}");
        }
    }
}

#[test]
fn every_relative_link_in_the_guides_resolves() {
    for (guide, text) in guides() {
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                guide.as_str()
            } else {
                file
            };
            let path = root().join("guides").join(file);
            assert!(path.exists(), "{guide}: {target}");
            if !anchor.is_empty() {
                let linked = fs::read_to_string(path).expect("UTF-8");
                assert!(anchors(&linked).contains(anchor), "{guide}: {target}");
            }
        }
    }
}

/// The anchors that GitHub generates for headings.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn every_finding_code_is_listed_in_supported_tables() {
    let guide = include_str!("../../guides/supported-tables.md");
    for code in threadline::coverage::FindingCode::ALL {
        assert!(
            guide.contains(&format!("| `{code}` |")),
            "no row for {code}"
        );
    }
}

#[test]
fn the_domain_reference_lists_every_column() {
    let database = cluster().create_database().expect("a database");
    database
        .execute_script(&threadline::install::up_sql())
        .expect("the trail");
    let columns = database
        .query_text(
            "SELECT string_agg(DISTINCT attname, ' ') FROM pg_attribute JOIN pg_class ON oid = attrelid \
             WHERE relnamespace = 'threadline'::regnamespace AND relkind IN ('p', 'r') \
               AND NOT relispartition AND attnum > 0 AND NOT attisdropped",
        )
        .expect("the columns")
        .expect("columns");
    let guide = include_str!("../../guides/domain-reference.md");
    for column in columns.split(' ') {
        assert!(
            guide.contains(&format!("`{column}`")),
            "column {column} is missing"
        );
    }
}

#[test]
fn the_guide_for_administrators_lists_every_object() {
    let trail = crate::harness::empty_trail();
    let names = trail.query_text(
        "SELECT string_agg(name, ' ') FROM (
            SELECT proname AS name FROM pg_proc WHERE pronamespace = 'threadline'::regnamespace
            UNION SELECT relname FROM pg_class WHERE relnamespace = 'threadline'::regnamespace
                AND relkind IN ('r', 'p', 'v', 'S') AND NOT relispartition AND relname NOT LIKE '%\\_runs\\_id\\_seq'
         ) AS object",
    );
    let guide = include_str!("../../guides/for-administrators.md");
    for name in names.split(' ') {
        assert!(
            guide.contains(&format!("`{name}`")),
            "object {name} is missing"
        );
    }
}
