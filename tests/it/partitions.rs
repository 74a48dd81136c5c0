//! Changes of partitions are recorded under the root, those of inheritance children under the parent.

use threadline::table::AuditedTable;

use crate::harness::{Trail, captured};

fn measurements() -> Trail {
    captured(
        "CREATE TABLE m (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE m_eu PARTITION OF m FOR VALUES IN ('eu');
         CREATE TABLE m_us PARTITION OF m FOR VALUES IN ('us')",
        &["m"],
    )
}

#[test]
fn writes_to_the_root_and_to_a_leaf_are_recorded_under_the_root() {
    let trail = measurements();
    trail.run("INSERT INTO m VALUES (1, 'eu', 0)");
    trail.run("INSERT INTO m_us VALUES (2, 'us', 0)");
    trail.run("UPDATE m_us SET v = 1; DELETE FROM m_eu");
    assert_eq!(
        trail.events(),
        [
            r#"insert m ["1", "eu"]"#,
            r#"insert m ["2", "us"]"#,
            r#"update m ["2", "us"]"#,
            r#"delete m ["1", "eu"]"#
        ]
    );
}

#[test]
fn a_partition_attached_later_is_captured() {
    let trail = measurements();
    trail.run(
        "CREATE TABLE m_af (id int NOT NULL, region text NOT NULL, v int, PRIMARY KEY (id, region));
         ALTER TABLE m ATTACH PARTITION m_af FOR VALUES IN ('af')",
    );
    trail.run("INSERT INTO m_af VALUES (5, 'af', 0)");
    assert_eq!(trail.events(), [r#"insert m ["5", "af"]"#]);
}

#[test]
fn truncating_the_root_is_one_change_and_truncating_a_leaf_names_the_leaf() {
    let trail = measurements();
    trail.run("TRUNCATE m");
    trail.run("TRUNCATE m_eu");
    let changes = trail.changes();
    assert_eq!(trail.events(), ["truncate m -", "truncate m -"]);
    assert_eq!(changes[0].partition_name, None);
    assert_eq!(changes[1].partition_name.as_deref(), Some("public.m_eu"));
}

#[test]
fn declaring_a_partition_as_an_audited_table_is_refused() {
    let trail = measurements();
    let leaf = AuditedTable::builder("m_eu".parse().unwrap())
        .columns(trail.introspect("m").columns().iter().cloned())
        .key(["id", "region"])
        .build()
        .unwrap();
    let error = trail.expect_capture_error(&leaf);
    assert!(error.contains("is a partition of"), "{error}");
}

#[test]
fn inheritance_children_are_captured_under_their_parent() {
    let trail = captured(
        "CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE c (extra int) INHERITS (p)",
        &["p"],
    );
    trail.run("INSERT INTO c VALUES (1, 1, 1)");
    trail.run("UPDATE p SET v = 2");
    trail.run("DELETE FROM c");
    assert_eq!(trail.events(), ["insert p 1", "update p 1", "delete p 1"]);
}

#[test]
fn a_row_moved_between_partitions_is_recorded_as_delete_and_insert() {
    let trail = measurements();
    trail.run("INSERT INTO m VALUES (1, 'eu', 0), (3, 'us', 0)");
    trail.run("UPDATE m SET region = 'us', v = v + 1 WHERE region = 'eu'");
    trail.run("UPDATE m SET v = 9 WHERE id = 3");
    let changes = &trail.changes()[2..];
    assert_eq!(
        trail.events()[2..],
        [
            r#"delete m ["1", "eu"]"#,
            r#"insert m ["1", "us"]"#,
            r#"update m ["3", "us"]"#
        ]
    );
    assert_eq!(changes[0].transaction_id, changes[1].transaction_id);
    assert_eq!(
        changes[0].from,
        Some(serde_json::json!({"id": 1, "region": "eu", "v": 0}))
    );
    assert_eq!(
        changes[1].after,
        Some(serde_json::json!({"id": 1, "region": "us", "v": 1}))
    );
}

#[test]
fn deletes_and_inserts_in_one_transaction_are_recorded_as_executed() {
    let trail = measurements();
    trail.run("INSERT INTO m VALUES (1, 'eu', 0)");
    trail.run(
        "UPDATE m SET v = 1; DELETE FROM m; INSERT INTO m VALUES (1, 'us', 0);
         DELETE FROM m; INSERT INTO m VALUES (1, 'eu', 0)",
    );
    let ops: Vec<_> = trail
        .changes()
        .iter()
        .map(|change| change.op.clone())
        .collect();
    assert_eq!(
        ops,
        ["insert", "update", "delete", "insert", "delete", "insert"]
    );
}

#[test]
fn a_detached_partition_is_not_captured() {
    let trail = measurements();
    trail.run("ALTER TABLE m DETACH PARTITION m_eu");
    trail.run("INSERT INTO m_eu VALUES (1, 'eu', 0); TRUNCATE m_eu");
    assert_eq!(trail.events(), Vec::<String>::new());
}
