//! A host whose models declare tables, beside introspected tables and the binary without models.

use std::collections::BTreeSet;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::table::AuditedTable;

use super::*;

/// The xtask of a host with models.
pub(super) fn host() -> PathBuf {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let test = std::env::current_exe().expect("this test");
        let target = test.ancestors().nth(3).expect("a target directory");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--message-format=json"])
            .args(["--package", "threadline-xtask", "--example", "test-host"])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert_eq!(code(&built), 0, "{}", err(&built));
        out(&built)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| Some(message["executable"].as_str()?.into()))
            .expect("a program")
    };
    HOST.get_or_init(build).clone()
}

impl Site {
    /// A host whose models declare tables `t`, with a masked and an excluded column, and `other`.
    pub(super) fn declared() -> Self {
        let site = Self::with_program(
            host(),
            &format!(
                "{TABLE}; CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE cache (id int)"
            ),
        );
        site.declare(&["other", "t"]);
        site.answers(&["gen-triggers"]);
        site.migrate();
        site.run("INSERT INTO t VALUES (1, 1, '4111', '1234')");
        site
    }

    /// Makes the code of the host declare these tables as the database defines them.
    pub(super) fn declare(&self, tables: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let declarations: Vec<AuditedTable> = runtime.block_on(async {
            let mut conn = AsyncPgConnection::establish(&self.database.url())
                .await
                .unwrap();
            let mut declarations = Vec::new();
            for name in tables {
                let table = threadline_diesel::introspect(&mut conn, &name.parse().unwrap())
                    .await
                    .unwrap();
                let of_table = |column: &&str| table.columns().iter().any(|c| c.name == **column);
                let mask: Vec<_> = ["card"].into_iter().filter(of_table).collect();
                let exclude: Vec<_> = ["pin"].into_iter().filter(of_table).collect();
                declarations.push(table.redact(exclude, mask).unwrap());
            }
            declarations
        });
        self.write_declarations(&declarations);
    }

    fn write_declarations(&self, declarations: &[AuditedTable]) {
        let json = serde_json::to_string(declarations).unwrap();
        fs::write(self.folder.path().join("declared.json"), json).unwrap();
    }

    pub(super) fn expect_verified(&self, when: &str) {
        let verified = self.threadline(&["verify"]);
        assert_eq!(
            code(&verified),
            0,
            "{when}: {}{}",
            out(&verified),
            err(&verified)
        );
        if self.program == host() {
            let check = self.threadline(&["gen-triggers", "--check"]);
            assert_eq!(code(&check), 0, "{when}: {}", out(&check));
            assert!(
                out(&verified).ends_with("verified: yes\n"),
                "{when}: {}",
                out(&verified)
            );
        }
    }
}

#[test]
fn an_introspected_table_of_a_host_with_models_is_verified() {
    let site = Site::declared();
    site.run("CREATE TABLE plain (id int PRIMARY KEY, secret text)");
    let uncovered = site.threadline(&["verify"]);
    assert_eq!(code(&uncovered), 1);
    assert!(
        out(&uncovered).contains("gen-triggers --tables public.plain"),
        "{}",
        out(&uncovered)
    );
    let command = [
        "gen-triggers",
        "--tables",
        "plain",
        "--mask",
        "plain.secret",
    ];
    site.answers(&command);
    site.migrate();
    site.expect_verified("after --tables");
    assert!(site.answers(&["gen-triggers"]).contains("up to date"));

    // Without the option, a column keeps its rule.
    site.run("ALTER TABLE plain ADD COLUMN note text");
    let finding = site.finding("column_unclassified").unwrap();
    site.follow(&finding);
    site.expect_verified("after a new column");
    let changed = site.answers(&[
        "gen-triggers",
        "--tables",
        "plain",
        "--clear",
        "plain.secret",
    ]);
    assert!(
        changed.contains("public.plain.secret: stored in clear, was masked"),
        "{changed}"
    );
    site.migrate();
    site.answers(&["redeploy-triggers", "plain"]);
    site.migrate();
    site.expect_verified("after redeploy-triggers");

    // The code declares it later.
    site.declare(&["other", "t", "plain"]);
    site.answers(&["gen-triggers"]);
    site.migrate();
    site.expect_verified("after the declaration");
}

#[test]
fn tables_that_the_code_mentions_are_refused_together() {
    let site = Site::declared();
    let refused = site.threadline(&[
        "gen-triggers",
        "--tables",
        "t,cache,nothing,other,pg_catalog.pg_class",
        "--mask",
        "absent.v",
    ]);
    assert_eq!(code(&refused), 2);
    assert_eq!(err(&refused).lines().count(), 6, "{}", err(&refused));
    for expected in [
        "error: the code declares table public.t: change the attributes of its model",
        "error: the code declares table public.other",
        "error: the code declares table public.cache as an expected gap",
        "error: table public.nothing does not exist",
        "error: pg_catalog.pg_class is a system catalog",
        "error: a rule names table public.absent",
    ] {
        assert!(err(&refused).contains(expected), "{}", err(&refused));
    }
    let rule = site.threadline(&["gen-triggers", "--mask", "t.v"]);
    assert_eq!(code(&rule), 2, "{}", out(&rule));
}

#[test]
fn the_binary_without_models_leaves_tables_of_an_xtask_alone() {
    let mut site = Site::declared();
    site.run("CREATE TABLE plain (id int PRIMARY KEY)");
    site.program = env!("CARGO_BIN_EXE_threadline").into();
    let refused = site.threadline(&["gen-triggers", "--tables", "t,plain"]);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("table public.t as code declares it"),
        "{}",
        err(&refused)
    );
    let all = site.answers(&["gen-triggers", "--all-tables", "--schema", "public"]);
    assert!(
        all.contains("public.plain: ") && all.contains("public.cache: "),
        "{all}"
    );
    assert!(
        !all.contains("public.t: ") && !all.contains("public.other: "),
        "{all}"
    );
}

#[test]
fn conflicting_declarations_are_reported_together() {
    let site = Site::declared();
    let json = fs::read_to_string(site.folder.path().join("declared.json")).unwrap();
    let tables: Vec<AuditedTable> = serde_json::from_str(&json).unwrap();
    let table = tables
        .into_iter()
        .find(|table| table.name().name() == "t")
        .unwrap();
    let second = table.clone().ignore(["v"]).unwrap();
    let third = table.clone().redact([], ["v"]).unwrap();
    site.write_declarations(&[table, second, third]);
    let refused = site.threadline(&["gen-triggers", "--check"]);
    assert_eq!(code(&refused), 2);
    assert_eq!(
        err(&refused)
            .matches("different rules for table public.t")
            .count(),
        2,
        "{}",
        err(&refused)
    );
}

#[test]
fn a_table_that_the_code_no_longer_declares_has_two_remedies() {
    for remedy in ["disable-capture", "gen-triggers"] {
        let site = Site::declared();
        site.declare(&["other"]);
        for command in [&["verify"][..], &["gen-triggers", "--check"]] {
            let refused = site.threadline(command);
            assert_eq!(code(&refused), 1, "{command:?}");
            let shown = out(&refused);
            assert!(
                shown.contains("disable-capture public.t")
                    && shown.contains("gen-triggers --tables public.t"),
                "{shown}"
            );
        }
        let written = site.threadline(&["gen-triggers"]);
        assert!(
            out(&written).contains("no migration was written"),
            "{}",
            out(&written)
        );
        if remedy == "gen-triggers" {
            site.answers(&["gen-triggers", "--tables", "public.t"]);
            site.migrate();
        } else {
            site.answers(&["disable-capture", "public.t"]);
            site.migrate();
            site.run("DROP TABLE t");
        }
        site.expect_verified(remedy);
    }
}

#[test]
fn all_tables_captures_what_the_code_does_not_mention() {
    let site = Site::declared();
    site.run(
        "CREATE TABLE a (id int PRIMARY KEY, secret text); CREATE TABLE keyless (line text);
         CREATE UNLOGGED TABLE quick (id int PRIMARY KEY);
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
         CREATE TABLE parts (id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
         CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
         CREATE VIEW v AS SELECT 1 AS one; CREATE SCHEMA billing; CREATE TABLE billing.rates (id int PRIMARY KEY);
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w;
         CREATE FOREIGN TABLE distant (id int) SERVER far;
         CREATE FOREIGN TABLE billing.remote (id int) SERVER far",
    );
    let first = site.threadline(&["gen-triggers", "--all-tables", "--schema", "billing"]);
    assert_eq!(code(&first), 0, "{}", err(&first));
    assert!(
        out(&first).contains("billing.rates: capture begins") && !out(&first).contains("public.")
    );
    assert!(
        err(&first).contains("not captured: billing.remote is a foreign table"),
        "{}",
        err(&first)
    );
    assert!(!err(&first).contains("distant"), "{}", err(&first));

    let all = site.threadline(&["gen-triggers", "--all-tables", "--mask", "a.secret"]);
    let captured: BTreeSet<_> = out(&all)
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" columns stored in clear"))
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    let expected = [
        "public.a",
        "public.keyless",
        "public.parent",
        "public.parts",
        "public.quick",
    ];
    assert_eq!(
        captured,
        expected.map(str::to_owned).into(),
        "{}",
        out(&all)
    );
    site.migrate();
    site.expect_verified("after --all-tables");
    let again = site.threadline(&["gen-triggers", "--all-tables", "--check"]);
    assert_eq!(code(&again), 0, "{}", out(&again));
    let nowhere = site.threadline(&["gen-triggers", "--all-tables", "--schema", "nowhere"]);
    assert_eq!(code(&nowhere), 2);
    assert!(
        err(&nowhere).contains("schema nowhere does not exist"),
        "{}",
        err(&nowhere)
    );
    assert_eq!(
        code(&site.threadline(&["gen-triggers", "--schema", "billing"])),
        2
    );
}

#[test]
fn checks_of_the_hosts_plan_are_overdue_until_they_ran() {
    let site = Site::declared();
    let due = site.threadline(&["evidence", "due", "--json"]);
    assert_eq!(code(&due), 1, "{}", err(&due));
    let schedules: Value = serde_json::from_str(&out(&due)).unwrap();
    assert_eq!(schedules[0]["state"], "overdue");
    site.answers(&["evidence", "run", "--due"]);
    let shown = site.answers(&["evidence", "due"]);
    assert!(shown.contains("current"), "{shown}");
    assert!(
        site.answers(&["evidence", "run", "--due"])
            .contains("no check is due")
    );
}
