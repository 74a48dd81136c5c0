//! Remedies of a host without models and of one whose models declare tables: each ends its finding and causes no
//! other.

use std::collections::BTreeSet;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::table::AuditedTable;

use super::*;

/// The xtask of a host with models.
fn host() -> PathBuf {
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
    fn declare(&self, tables: &[&str]) {
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

    /// The codes of all findings.
    fn codes(&self) -> BTreeSet<String> {
        let report = self.coverage();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Follows the remedy of a finding as a reader of the report would.
    fn follow(&self, finding: &Value) {
        let remedy = &finding["remedy"];
        if let Some(sql) = remedy["sql"].as_str() {
            return self.run(sql);
        }
        let is_declared = self.program == host();
        let capture_renamed = || {
            if is_declared {
                self.declare(&["other", "renamed"]);
                self.answers(&["gen-triggers"]);
            } else {
                let rules = ["--mask", "renamed.card", "--exclude", "renamed.pin"];
                let command = ["gen-triggers", "--tables", "renamed"];
                self.answers(&[&command[..], &rules[..]].concat());
            }
        };
        if let Some(advice) = remedy["advice"].as_str() {
            let expected = "disable-capture public.t, then capture public.renamed instead";
            assert_eq!(advice, expected);
            if is_declared {
                let refused = self.threadline(&["disable-capture", "public.t"]);
                assert!(
                    err(&refused).contains("remove Audited"),
                    "{}",
                    err(&refused)
                );
                self.declare(&["other"]);
            }
            self.answers(&["disable-capture", "public.t"]);
            capture_renamed();
            return self.migrate();
        }
        let arguments: Vec<String> = serde_json::from_value(remedy["arguments"].clone())
            .unwrap_or_else(|_| panic!("{finding}"));
        let first = remedy["first"].as_str().unwrap_or_default();
        if first.contains("remove Audited") {
            self.declare(&["other"]);
        } else if first.contains("its name in the code") {
            assert!(
                first.contains("gen-triggers --tables public.renamed"),
                "{first}"
            );
            capture_renamed();
        } else if first.contains("in the code") && is_declared {
            self.declare(&["other", "t"]);
        }
        self.answers(&arguments);
        self.migrate();
    }

    fn expect_verified(&self, when: &str) {
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

const CAPTURE_FUNCTION: &str =
    "SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'capture_public_t%'";

/// Drifts of table `t`, and the finding about each.
fn drifts() -> Vec<(String, &'static str)> {
    let on_function = |statement: &str| {
        format!("DO $$ DECLARE f regprocedure := ({CAPTURE_FUNCTION}); BEGIN {statement}; END $$")
    };
    let trigger =
        |action: &str| format!("ALTER TABLE t {action} TRIGGER \"00_threadline_capture\"");
    vec![
        (
            on_function(
                "EXECUTE format('CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE plpgsql \
                 SECURITY DEFINER AS ''BEGIN RETURN NULL; END''', f)",
            ),
            "function_changed",
        ),
        (
            on_function("EXECUTE format('COMMENT ON FUNCTION %s IS NULL', f)"),
            "policy_missing",
        ),
        (
            on_function(
                "EXECUTE format('COMMENT ON FUNCTION %s IS %L', f, \
                 replace(obj_description(f, 'pg_proc'), '[REDACTED]', '?'))",
            ),
            "policy_changed",
        ),
        (
            on_function("EXECUTE format('DROP FUNCTION %s CASCADE', f)"),
            "function_missing",
        ),
        (
            on_function("EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER', f)"),
            "function_not_definer",
        ),
        (
            on_function("EXECUTE format('ALTER FUNCTION %s SET work_mem = ''1MB''', f)"),
            "function_settings",
        ),
        (
            on_function("EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f)"),
            "function_executable",
        ),
        (trigger("DISABLE"), "trigger_disabled"),
        (trigger("ENABLE REPLICA"), "trigger_replica_only"),
        (trigger("ENABLE ALWAYS"), "trigger_always"),
        (
            "DROP TRIGGER \"00_threadline_capture\" ON t".into(),
            "trigger_missing",
        ),
        ("ALTER TABLE t DROP COLUMN v".into(), "column_missing"),
        ("ALTER TABLE t DROP COLUMN card".into(), "column_missing"),
        (
            "ALTER TABLE t RENAME COLUMN v TO w".into(),
            "column_renamed",
        ),
        (
            "ALTER TABLE t ADD COLUMN w int".into(),
            "column_unclassified",
        ),
        (
            "ALTER TABLE t ALTER COLUMN v TYPE numeric".into(),
            "column_retyped",
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER v SET NOT NULL; \
             ALTER TABLE t ADD PRIMARY KEY (v)"
                .into(),
            "key_drift",
        ),
        ("ALTER TABLE t RENAME TO renamed".into(), "table_renamed"),
        (
            "CREATE TABLE renamed (id int PRIMARY KEY, v int, card text, pin text) PARTITION BY RANGE (id); \
             ALTER TABLE renamed ATTACH PARTITION t FOR VALUES FROM (0) TO (1000)"
                .into(),
            "table_became_partition",
        ),
        ("CREATE TABLE child () INHERITS (t)".into(), "child_uncovered"),
        ("GRANT TRIGGER ON t TO PUBLIC".into(), "trigger_granted"),
        (
            on_function(
                "EXECUTE format('CREATE TRIGGER again AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION %s', f)",
            ),
            "trigger_duplicated",
        ),
        ("ALTER TABLE t SET UNLOGGED".into(), "table_unlogged"),
        ("DROP TABLE t".into(), "table_missing"),
    ]
}

fn expect_remedies_to_work(new: fn() -> Site) {
    for (drift, name) in drifts() {
        let site = new();
        site.expect_verified("before");
        let before = site.codes();
        site.run(&drift);
        let finding = site
            .finding(name)
            .unwrap_or_else(|| panic!("{drift}: {:?}", site.codes()));
        if finding["severity"] == "error" {
            let refused = site.threadline(&["verify"]);
            assert_eq!(code(&refused), 1, "{drift}");
            assert!(out(&refused).contains(name), "{drift}: {}", out(&refused));
        }
        site.follow(&finding);
        assert_eq!(site.codes(), before, "{drift}, {finding}");
        site.expect_verified(&format!("{drift}, {finding}"));
        // The columns are still masked and excluded.
        let table = if name == "table_renamed" {
            "renamed"
        } else {
            "t"
        };
        if name != "table_missing" {
            site.run(&format!(
                "UPDATE {table} SET pin = '4321'; DELETE FROM {table}"
            ));
            let everything =
                site.ask("SELECT string_agg(c::text, '') FROM threadline.audit_changes AS c");
            for secret in ["4111", "1234", "4321"] {
                assert!(!everything.contains(secret), "{drift}: {everything}");
            }
        }
    }
}

#[test]
fn remedies_of_a_host_without_models_end_their_findings() {
    expect_remedies_to_work(Site::captured);
}

#[test]
fn remedies_of_a_host_with_models_end_their_findings() {
    expect_remedies_to_work(Site::declared);
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
