//! Remedies of a host without models and of one whose models declare tables: each ends its finding and causes no
//! other.

use std::collections::BTreeSet;

use super::hosts::host;
use super::*;

impl Site {
    /// The codes of all findings.
    fn codes(&self) -> BTreeSet<String> {
        let report = self.coverage();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Follows the remedy of a finding as a reader of the report would.
    pub(super) fn follow(&self, finding: &Value) {
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
