//! Findings about what surrounds captured tables: grants, replication, defaults, encoding, restored rows.

use std::collections::BTreeSet;

use threadline::coverage::{Coverage, Severity};
use threadline_testdb::Cluster;

use super::{apply_remedies, codes, findings, table};
use crate::harness::{Trail, run_async_at};

fn severity(trail: &Trail, code: &str) -> Severity {
    let found = findings(trail);
    let finding = found.iter().find(|finding| finding.code.as_str() == code);
    finding
        .unwrap_or_else(|| panic!("{code}: {found:?}"))
        .severity
}

fn only(code: &str) -> BTreeSet<String> {
    BTreeSet::from([code.to_owned()])
}

#[test]
fn the_privilege_trigger_of_a_role_that_is_not_the_owner_is_reported_and_repaired() {
    let trail = table();
    let role = format!("grantee_{}", trail.query_text("SELECT current_database()"));
    trail.run(&format!(
        "CREATE ROLE \"{role}\"; GRANT ALL ON t TO \"{role}\"; GRANT TRIGGER ON t TO PUBLIC"
    ));
    assert_eq!(codes(&trail), only("trigger_granted"));
    assert_eq!(severity(&trail, "trigger_granted"), Severity::Warning);
    apply_remedies(&trail, "trigger_granted");
    assert_eq!(codes(&trail), BTreeSet::new());
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn capture_triggers_that_always_fire_are_reported() {
    let trail = table();
    trail.run("ALTER TABLE t ENABLE ALWAYS TRIGGER \"00_threadline_capture\"");
    assert_eq!(codes(&trail), only("trigger_always"));
    assert_eq!(severity(&trail, "trigger_always"), Severity::Info);
    apply_remedies(&trail, "trigger_always");
    assert_eq!(codes(&trail), BTreeSet::new());
}

#[test]
fn captured_tables_that_a_subscription_writes_are_reported() {
    let trail = table();
    // The catalog's state of a subscription, without a publisher.
    trail.run(
        "SET allow_system_table_mods = on;
         INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) VALUES (1, 't'::regclass, 'r')",
    );
    assert_eq!(codes(&trail), only("subscription_target"));
    assert_eq!(severity(&trail, "subscription_target"), Severity::Warning);
    apply_remedies(&trail, "subscription_target");
    assert_eq!(severity(&trail, "subscription_target"), Severity::Info);
    trail.run("SET session_replication_role = replica; INSERT INTO t VALUES (7, 1)");
    assert_eq!(trail.events().last().unwrap(), "insert t 7");
}

#[test]
fn default_actors_of_databases_and_roles_are_reported_and_repaired() {
    let trail = table();
    let database = trail.query_text("SELECT current_database()");
    trail.run(&format!(
        "CREATE ROLE \"defaults_{database}\";
         ALTER DATABASE \"{database}\" SET threadline.context = '{{}}';
         ALTER ROLE \"defaults_{database}\" IN DATABASE \"{database}\" SET threadline.actor_ref = '{{}}'"
    ));
    assert_eq!(codes(&trail), only("attribution_default"));
    assert_eq!(severity(&trail, "attribution_default"), Severity::Error);
    apply_remedies(&trail, "attribution_default");
    assert_eq!(codes(&trail), BTreeSet::new());
    trail.run(&format!("DROP ROLE \"defaults_{database}\""));
}

#[test]
fn recent_changes_with_the_ids_of_older_ones_are_reported() {
    let trail = table();
    trail.run("INSERT INTO t VALUES (2, 1), (3, 1), (7, 1)");
    trail.run("ALTER SEQUENCE threadline.audit_changes_id_seq RESTART");
    trail.run("INSERT INTO t VALUES (4, 1), (5, 1), (6, 1)");
    assert!(codes(&trail).contains("change_ids_duplicated"));
    // The new ids are past those of the older changes, but two changes still have one id.
    apply_remedies(&trail, "change_ids_behind");
    assert_eq!(codes(&trail), only("change_ids_duplicated"));
}

#[test]
fn a_database_with_encoding_sql_ascii_is_reported() {
    let trail = table();
    let name = format!("ascii_{}", trail.query_text("SELECT current_database()"));
    let url = trail
        .url()
        .replace(&trail.query_text("SELECT current_database()"), &name);
    trail.run_async(async |conn| {
        use diesel_async::RunQueryDsl;
        let create = format!(
            "CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        );
        diesel::sql_query(create).execute(conn).await.unwrap();
    });
    let ascii = Cluster::existing(&url).unwrap();
    ascii
        .execute_script(&threadline::install::up_sql())
        .unwrap();
    let found = run_async_at(&url, async |conn| {
        threadline::coverage(conn, &Coverage::new())
            .await
            .unwrap()
            .findings
    });
    drop(ascii);
    trail.run_async(async |conn| {
        use diesel_async::RunQueryDsl;
        let drop = format!("DROP DATABASE \"{name}\" WITH (FORCE)");
        diesel::sql_query(drop).execute(conn).await.unwrap();
    });
    let found: Vec<_> = found.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(found, ["encoding_unchecked"]);
}
