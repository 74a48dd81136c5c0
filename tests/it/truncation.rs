//! TRUNCATE is recorded once per emptied table, whatever the session has set or done before.

use threadline::table::{ActorPolicy, AuditedTable};

use crate::harness::{Trail, captured, empty_trail};

fn partitioned() -> Trail {
    captured(
        "CREATE TABLE p (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
         CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us') PARTITION BY LIST (id);
         CREATE TABLE p_us_1 PARTITION OF p_us FOR VALUES IN (1);
         CREATE TABLE p_us_2 PARTITION OF p_us FOR VALUES IN (2)",
        &["p"],
    )
}

/// The recorded truncates as `table partition`.
fn truncates(trail: &Trail) -> Vec<String> {
    trail
        .changes()
        .iter()
        .filter(|change| change.op == "truncate")
        .map(|change| {
            let partition = change.partition_name.as_deref().unwrap_or("-");
            format!("{} {partition}", change.table)
        })
        .collect()
}

#[test]
fn a_forged_setting_does_not_hide_the_truncate_of_a_partition() {
    let trail = partitioned();
    trail.run(
        "DO $$ BEGIN
             PERFORM set_config('threadline.truncating', statement_timestamp() || ' public.p', true);
             TRUNCATE p_eu;
         END $$",
    );
    assert_eq!(truncates(&trail), ["p public.p_eu"]);
}

#[test]
fn a_partition_truncated_after_its_root_in_one_message_is_recorded_again() {
    let trail = partitioned();
    trail.run("DO $$ BEGIN TRUNCATE p; INSERT INTO p VALUES (1, 'eu', 1); TRUNCATE p_eu; END $$");
    assert_eq!(truncates(&trail), ["p -", "p public.p_eu"]);
}

#[test]
fn truncating_a_subpartitioned_partition_is_recorded_once() {
    let trail = partitioned();
    trail.run("INSERT INTO p VALUES (1, 'us', 1), (2, 'us', 1); TRUNCATE p_us");
    trail.run("TRUNCATE p");
    assert_eq!(truncates(&trail), ["p public.p_us", "p -"]);
}

#[test]
fn rows_added_while_capture_was_suspended_do_not_hide_a_truncate() {
    let trail = partitioned();
    trail.run(
        "TRUNCATE p; SELECT threadline.suspend_capture('{p}', 'test');
         INSERT INTO p VALUES (1, 'eu', 1); SELECT threadline.resume_capture(); TRUNCATE p_eu",
    );
    assert_eq!(truncates(&trail), ["p -", "p public.p_eu"]);
}

#[test]
fn a_truncate_during_a_suspension_is_not_recorded() {
    let trail = partitioned();
    trail.run("INSERT INTO p VALUES (1, 'eu', 1)");
    trail.run("SELECT threadline.suspend_capture('{p}', 'test'); TRUNCATE p");
    assert_eq!(truncates(&trail), [""; 0]);
}

#[test]
fn truncating_a_detached_partition_is_not_recorded() {
    let trail = partitioned();
    trail.run("ALTER TABLE p DETACH PARTITION p_eu; TRUNCATE p_eu");
    assert_eq!(truncates(&trail), [""; 0]);
}

#[test]
fn an_unattributed_truncate_is_refused_in_strict_mode() {
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY)");
    let found = trail.introspect("t");
    let strict = AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key(["id"])
        .actor(ActorPolicy::Required)
        .build()
        .unwrap();
    trail.capture(&strict);
    let refused = trail.expect_error("TRUNCATE t");
    assert!(refused.contains("unattributed write"), "{refused}");
}

#[test]
fn truncating_a_renamed_or_moved_table_is_recorded_for_the_whole_table() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("ALTER TABLE t RENAME TO t_old");
    trail.run("TRUNCATE t_old");
    trail.run("CREATE SCHEMA elsewhere; ALTER TABLE t_old SET SCHEMA elsewhere");
    trail.run("TRUNCATE elsewhere.t_old");
    assert_eq!(truncates(&trail), ["t -", "t -"]);
}

#[test]
fn truncating_a_table_whose_name_was_reused_is_recorded() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE t_new (id int PRIMARY KEY)",
        &["t"],
    );
    trail.run("ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; TRUNCATE t_old");
    assert_eq!(truncates(&trail), ["t -"]);
}

#[test]
fn truncate_only_of_a_parent_does_not_include_its_children() {
    let trail = captured(
        "CREATE TABLE par (id int PRIMARY KEY, v int); CREATE TABLE child () INHERITS (par)",
        &["par"],
    );
    trail.run("INSERT INTO par VALUES (1, 1); INSERT INTO child VALUES (2, 2)");
    trail.run("TRUNCATE ONLY par");
    trail.run("TRUNCATE child");
    trail.run("TRUNCATE par");
    assert_eq!(
        truncates(&trail),
        ["par public.par", "par public.child", "par -"]
    );
}

#[test]
fn a_row_of_a_child_is_not_reported_deleted_after_truncate_only_of_its_parent() {
    let trail = captured(
        "CREATE TABLE par (id int PRIMARY KEY, v int); CREATE TABLE child () INHERITS (par)",
        &["par"],
    );
    trail.run("INSERT INTO child VALUES (2, 2)");
    trail.run("TRUNCATE ONLY par");
    let refused = trail.expect_error("SELECT threadline.row_as_of('public', 'par', '2', now())");
    assert!(
        refused.contains("the rows it held are not known"),
        "{refused}"
    );
}

#[test]
fn truncating_a_former_child_is_recorded_under_its_own_name() {
    let trail = captured(
        "CREATE TABLE par (id int PRIMARY KEY, v int); CREATE TABLE child () INHERITS (par)",
        &["par"],
    );
    trail.run("ALTER TABLE child NO INHERIT par; TRUNCATE child");
    assert_eq!(truncates(&trail), ["par public.child"]);
}

#[test]
fn row_history_of_a_key_that_never_existed_lists_no_truncates() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    trail.run("TRUNCATE t");
    let ops = |key: &str| {
        trail.query_text(&format!(
            "SELECT string_agg(op, ', ') FROM threadline.row_history('public', 't', '{key}')"
        ))
    };
    assert_eq!(ops("1"), "truncate, insert");
    assert_eq!(ops("2"), "NULL");
}
