//! The guides do what they say. Their SQL and their commands run here, guide by guide, each guide
//! in a database of its own; their Rust is compiled by doc tests, which `src/lib.rs` includes.
//!
//! What a reader does not have to see stands in HTML comments, which GitHub does not show:
//!
//! | comment | meaning |
//! |---|---|
//! | `<!-- database: saas -->` | at the top: the tables of `examples/saas`, without a trail |
//! | `<!-- database: saas captured -->` | the same, with the trail and capture |
//! | `<!-- database: empty -->` | nothing at all |
//! | `<!-- setup: SQL -->` | SQL that runs like a block |
//! | `<!-- gives: TEXT -->` | the first value the next block gives |
//! | `<!-- fails: TEXT -->` | the next block fails, with this in its message |
//! | `<!-- prints: TEXT -->` | the next command's output holds this |
//! | `<!-- exit: N -->` | the next command's exit code, if it is not 0 |
//! | `<!-- not run: WHY -->` | the next block is not run |
//!
//! Without a first line a guide starts with an empty trail. In `sh` blocks `threadline` and
//! `cargo xtask` are run in a folder of migrations, and `diesel migration run` applies them.
//! `$DATABASE_URL` is set, and `$TRANSACTION` is the newest audit transaction.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use threadline_testdb::{Cluster, Database};

use crate::harness::start_cluster;

/// Roles belong to a whole server, so guides have one of their own.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start_cluster)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every guide: its name and its text.
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

/// A part of a guide that means something here.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// A fenced block: the words of its fence, its text, and the line it begins on.
    Block(String, String, usize),
    /// A comment: its word and its text.
    Comment(String, String),
}

/// The words a comment may begin with.
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

/// Commands that guides show and that are not run here.
const NOT_OURS: [&str; 7] = [
    "#",
    "cargo add",
    "cargo build",
    "cargo new",
    "cargo test",
    "pg_dump",
    "psql",
];

/// What is expected of the next block.
#[derive(Debug, Default)]
struct Expected {
    gives: Option<String>,
    fails: Option<String>,
    prints: Option<String>,
    exit: i32,
    not_run: bool,
}

/// A guide that is being followed.
struct Reader {
    guide: String,
    database: Database,
    folder: PathBuf,
    applied: BTreeSet<String>,
}

impl Reader {
    fn new(guide: &str, text: &str) -> Self {
        let wanted = text
            .lines()
            .find_map(|line| line.strip_prefix("<!-- database: "));
        let database = cluster().create_database().expect("a database");
        let folder = std::env::temp_dir().join(format!("threadline_guide_{}", database.name()));
        fs::create_dir_all(folder.join("migrations")).expect("a folder");
        let mut reader = Self {
            guide: guide.to_owned(),
            database,
            folder,
            applied: BTreeSet::new(),
        };
        if wanted.is_some_and(|wanted| wanted.starts_with("saas")) {
            reader.add_saas_migration();
        }
        match wanted.map(|wanted| wanted.trim_end_matches("-->").trim()) {
            None => reader.script(&threadline::install::up_sql()),
            Some("saas" | "empty") => {}
            Some("saas captured") => {
                for command in ["cargo xtask install", "cargo xtask gen-triggers"] {
                    let done = reader.command(command);
                    assert!(done.status.success(), "{}", shown(&done));
                }
            }
            Some(other) => panic!("{guide}: there is no database `{other}`"),
        }
        reader.migrate();
        reader
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

    /// What `diesel migration run` does, perhaps in a role.
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

    /// Runs a command line as a person would type it.
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

    fn follow(&mut self, text: &str) {
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
                        other => panic!("{place}: what is a block of `{other}`?"),
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
            } else if is_ours(line) {
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
                let known = NOT_OURS.iter().any(|known| line.starts_with(known));
                assert!(line.is_empty() || known, "{place}: nothing runs `{line}`");
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_ours(line: &str) -> bool {
    line.starts_with("threadline ") || line.starts_with("cargo xtask ")
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A folder with `threadline`, and a `cargo` that knows `xtask`: the one of the example, which has
/// models.
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

/// Where this test was built: `<target>/<profile>/deps/<test>`.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let target = test.ancestors().nth(3).expect("a target folder");
    target.to_owned()
}

fn follow(guide: &str) {
    let text = fs::read_to_string(root().join("guides").join(guide)).expect("the guide");
    Reader::new(guide, &text).follow(&text);
}

macro_rules! guides_that_can_be_followed {
    ($($test:ident: $guide:literal),+ $(,)?) => {
        const FOLLOWED: &[&str] = &[$($guide),+];
        $(
            #[test]
            fn $test() {
                follow($guide);
            }
        )+
    };
}

guides_that_can_be_followed! {
    the_index_leads_to_what_runs: "README.md",
    getting_started_gets_somebody_started: "getting-started.md",
    how_it_works_is_how_it_works: "how-it-works.md",
    the_domain_reference_is_true_of_the_domain: "domain-reference.md",
    redaction_redacts_as_described: "redaction.md",
    supported_tables_are_supported_as_described: "supported-tables.md",
    attribution_attributes_as_described: "attribution.md",
    the_recommended_roles_can_and_cannot_what_is_said: "roles-and-trust.md",
    pgbouncer_needs_what_is_said_and_no_more: "pgbouncer.md",
    every_support_ticket_is_answered: "investigate.md",
    a_database_with_rows_is_adopted_as_described: "brownfield.md",
    the_past_is_as_described: "as-of.md",
    upgrading_goes_as_described: "upgrading.md",
    exports_are_what_is_said_of_them: "export.md",
    the_feed_can_be_followed: "feed.md",
    production_is_checked_by_the_commands_shown: "production-checklist.md",
    retention_keeps_and_removes_as_described: "retention.md",
}

#[test]
fn every_guide_is_followed_and_its_rust_is_compiled() {
    let facade = fs::read_to_string(root().join("src/lib.rs")).expect("the facade");
    for (guide, text) in guides() {
        // The commands of one take hours; the other has none.
        assert!(
            FOLLOWED.contains(&guide.as_str())
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
fn nothing_in_a_guide_is_skipped_without_a_reason() {
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
fn every_link_in_the_guides_leads_somewhere() {
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

/// The anchors GitHub makes of headings.
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
fn every_finding_of_coverage_has_a_remedy_in_the_guides() {
    let guide = include_str!("../../guides/supported-tables.md");
    for code in threadline::coverage::FindingCode::ALL {
        assert!(
            guide.contains(&format!("| `{code}` |")),
            "no row for {code}"
        );
    }
}

#[test]
fn the_storage_contract_in_the_guides_names_every_column() {
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
            "no word on {column}"
        );
    }
}

#[test]
fn the_guide_for_administrators_names_every_object() {
    let trail = crate::harness::empty_trail();
    let names = trail.ask(
        "SELECT string_agg(name, ' ') FROM (
            SELECT proname AS name FROM pg_proc WHERE pronamespace = 'threadline'::regnamespace
            UNION SELECT relname FROM pg_class WHERE relnamespace = 'threadline'::regnamespace
                AND relkind IN ('r', 'p', 'v', 'S') AND NOT relispartition AND relname NOT LIKE '%\\_runs\\_id\\_seq'
         ) AS object",
    );
    let guide = include_str!("../../guides/for-administrators.md");
    for name in names.split(' ') {
        assert!(guide.contains(&format!("`{name}`")), "no word on {name}");
    }
}
