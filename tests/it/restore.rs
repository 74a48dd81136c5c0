//! Restoring rows from the trail: the script that `restore_plan` writes is run, and the row is compared.

use chrono::{DateTime, Utc};
use threadline::restore::{MissingEffect, RestoreError, RestoreOperation, RestorePlan, SkipReason};
use threadline::{Op, Restore, RowKeyText};

use crate::as_of::now;
use crate::exactness::{TYPES, VALUES};
use crate::harness::{Trail, captured, empty_trail, server_can};

fn restore(table: &str, key: &[&str]) -> Restore {
    let key = RowKeyText::from_values(key.iter().map(|value| (*value).to_owned()).collect());
    Restore::new(table.parse().unwrap(), &key)
}

fn try_plan(trail: &Trail, query: &Restore) -> Result<RestorePlan, RestoreError> {
    trail.run_async(async |conn| threadline::restore_plan(conn, query).await)
}

fn plan(trail: &Trail, query: &Restore) -> RestorePlan {
    try_plan(trail, query).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the script, and returns it.
fn run(trail: &Trail, query: &Restore) -> String {
    let script = plan(trail, query).to_string();
    trail.run(&script);
    script
}

#[test]
fn a_deleted_row_of_every_type_is_restored_exactly() {
    let with_xml = server_can("SELECT '<a/>'::xml");
    let types: Vec<_> = VALUES
        .iter()
        .filter(|(of, _)| with_xml || *of != "xml")
        .collect();
    let columns: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(n, (of, _))| format!("c{n} {of}"))
        .collect();
    let trail = captured(
        &format!(
            "{TYPES} CREATE TABLE t (id int PRIMARY KEY, {})",
            columns.join(", ")
        ),
        &["t"],
    );
    let longest = types.iter().map(|(_, values)| values.len()).max().unwrap();
    for row in 0..longest {
        let values: Vec<_> = types
            .iter()
            .map(|(of, values)| format!("{}::{of}", values[row % values.len()]))
            // A text that looks like a placeholder is not restored.
            .map(|value| value.replace("[REDACTED]", "[redacted]"))
            .collect();
        trail.run(&format!(
            "INSERT INTO t VALUES ({row}, {})",
            values.join(", ")
        ));
    }
    trail.run(&format!("INSERT INTO t (id) VALUES ({longest})"));
    trail.run("CREATE TABLE before AS SELECT * FROM t");
    trail.run("DELETE FROM t");
    for row in 0..=longest {
        let key = row.to_string();
        let script = plan(&trail, &restore("t", &[&key])).to_string();
        // Under other settings than those of the plan.
        trail.run(&format!(
            "SET DateStyle = 'German, DMY'; SET IntervalStyle = 'sql_standard'; SET search_path = pg_catalog; \
             SET TimeZone = 'Asia/Kathmandu'; {script}"
        ));
    }
    for (n, (of, _)) in types.iter().enumerate() {
        let different = trail.query_text(&format!(
            "WITH a AS (SELECT id, c{n} FROM t), b AS (SELECT id, c{n} FROM before) \
             SELECT string_agg(concat(b, ' became ', a), '; ') FROM b LEFT JOIN a USING (id) \
             WHERE a.id IS NULL OR a::text <> b::text OR NOT a *= b"
        ));
        assert_eq!(different, "NULL", "{of}");
    }
}

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE, total numeric);
    CREATE TABLE lines (
        order_id int REFERENCES orders ON DELETE CASCADE, line_no int, replaces int,
        PRIMARY KEY (order_id, line_no),
        FOREIGN KEY (order_id, replaces) REFERENCES lines (order_id, line_no) ON DELETE CASCADE
    );
    CREATE TABLE notes (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE);";

fn shop() -> Trail {
    let trail = captured(SHOP, &["customers", "orders", "lines"]);
    trail.run(
        "INSERT INTO customers VALUES (1, 'ada'), (2, 'bob');
         INSERT INTO orders VALUES (10, 1, 1.10), (11, 1, 2.00), (20, 2, 3.00);
         INSERT INTO lines VALUES (10, 2, NULL), (10, 1, 2), (11, 1, NULL), (20, 1, NULL);
         INSERT INTO notes VALUES (1, 10)",
    );
    trail
}

#[test]
fn a_deleted_row_is_restored_with_the_rows_that_were_deleted_by_cascade() {
    let trail = shop();
    let everything = "SELECT (SELECT jsonb_agg(to_jsonb(c) ORDER BY id) FROM customers AS c)::text \
        || (SELECT jsonb_agg(to_jsonb(o) ORDER BY id) FROM orders AS o)::text \
        || (SELECT jsonb_agg(to_jsonb(l) ORDER BY order_id, line_no) FROM lines AS l)::text";
    let before = trail.query_text(everything);
    // The rows of another customer are deleted in the same transaction.
    trail.run("DELETE FROM customers WHERE id = 1; DELETE FROM lines WHERE order_id = 20");
    let query = restore("customers", &["1"]);
    let alone = plan(&trail, &query);
    assert_eq!(alone.statements.len(), 1);

    let query = query.with_children();
    let found = plan(&trail, &query);
    let restored: Vec<_> = found
        .statements
        .iter()
        .map(|statement| format!("{} {}", statement.table, statement.row_key))
        .collect();
    assert_eq!(restored.len(), 6, "{restored:?}");
    assert_eq!(restored[0], "public.customers 1");
    let place = |row: &str| restored.iter().position(|one| one == row).unwrap();
    assert!(place(r#"public.lines ["10", "2"]"#) < place(r#"public.lines ["10", "1"]"#));
    assert!(!restored.iter().any(|row| row.contains("20")));
    assert_eq!(found.uncaptured_tables, ["notes".parse().unwrap()]);
    assert!(found.to_string().contains("Not captured: public.notes"));

    run(&trail, &query);
    trail.run("INSERT INTO lines VALUES (20, 1, NULL)");
    assert_eq!(trail.query_text(everything), before);
}

#[test]
fn a_child_that_was_inserted_again_is_not_restored() {
    let trail = shop();
    trail.run("DELETE FROM customers WHERE id = 1");
    trail.run("INSERT INTO orders VALUES (11, 2, 5)");
    let found = plan(&trail, &restore("customers", &["1"]).with_children());
    let skipped: Vec<_> = found
        .skipped
        .iter()
        .map(|row| (row.row_key.as_str(), row.reason))
        .collect();
    assert_eq!(skipped, [("11", SkipReason::RecordedLater)]);
    assert!(found.to_string().contains("Not restored: public.orders 11"));
}

#[test]
fn children_are_restored_as_of_the_named_instant() {
    let trail = shop();
    let then = now(&trail);
    trail.run("UPDATE orders SET total = 9; INSERT INTO orders VALUES (12, 1, 9)");
    trail.run("DELETE FROM customers WHERE id = 1");
    let query = restore("customers", &["1"]).as_of(then).with_children();
    let found = plan(&trail, &query);
    assert_eq!(found.skipped[0].reason, SkipReason::NotKnownAsOf);
    run(&trail, &query);
    assert_eq!(
        trail.query_text("SELECT string_agg(id || ' ' || total, ',' ORDER BY id) FROM orders"),
        "10 1.10,11 2.00,20 9"
    );
}

#[test]
fn a_changed_row_is_updated_in_the_columns_that_differ() {
    let trail = captured(
        "CREATE TABLE t (a int, b text, n numeric, c text, PRIMARY KEY (b, a))",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 'x', 1.0, 'same')");
    let then = now(&trail);
    trail.run("UPDATE t SET n = 1.00");
    trail.run("UPDATE t SET b = 'y''y'");
    let query = restore("t", &["y'y", "1"]);
    let error = try_plan(&trail, &query).unwrap_err();
    assert!(matches!(error, RestoreError::NotDeleted { .. }), "{error}");

    let query = query.as_of(then);
    let found = plan(&trail, &query);
    let [statement] = found.statements.as_slice() else {
        panic!("{found}");
    };
    assert_eq!(statement.operation, RestoreOperation::Update);
    assert!(!statement.sql.contains("same"), "{}", statement.sql);
    run(&trail, &query);
    assert_eq!(trail.query_text("SELECT t::text FROM t"), "(1,x,1.0,same)");

    let again = plan(&trail, &restore("t", &["x", "1"]).as_of(now(&trail)));
    assert!(again.statements.is_empty());
    assert!(!again.to_string().contains("BEGIN"));
}

#[test]
fn columns_without_a_known_value_are_named_and_needed_values_stop_the_script() {
    let trail = empty_trail();
    trail.run(
        "CREATE TABLE t (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, card text NOT NULL, pin int,
             colour text NOT NULL DEFAULT 'red', size int, twice int GENERATED ALWAYS AS (size * 2) STORED
         )",
    );
    let table = trail
        .introspect("t")
        .redact(["pin", "colour"], ["card"])
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO t (card, pin, size) VALUES ('4111', 1, 3)");
    trail.run("DELETE FROM t");
    let query = restore("t", &["1"]);
    let found = plan(&trail, &query);
    let missing: Vec<_> = found.statements[0]
        .missing
        .iter()
        .map(|missing| (missing.column.as_str(), missing.effect))
        .collect();
    assert_eq!(
        missing,
        [
            ("card", MissingEffect::ValueNeeded),
            ("pin", MissingEffect::Null),
            ("colour", MissingEffect::Default)
        ]
    );
    assert_eq!(found.statements[0].generated, ["twice"]);
    assert_eq!(found.needed_values(), 1);
    let script = found.to_string();
    let error = trail.expect_error(&script);
    assert!(error.contains("syntax error"), "{error}");
    trail.run(&script.replace("/* value needed */", "'5500'"));
    assert_eq!(
        trail.query_text("SELECT t::text FROM t"),
        "(1,5500,,red,3,6)"
    );
}

#[test]
fn a_masked_null_is_restored_if_the_rule_keeps_null() {
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY, phone text, pin int)");
    let table = trail.introspect("t");
    trail.capture(&table.mask_keep_null(["phone", "pin"]).unwrap());
    trail.run("INSERT INTO t VALUES (1, NULL, 4711)");
    let then = now(&trail);
    trail.run("UPDATE t SET phone = '555'");
    let query = restore("t", &["1"]).as_of(then);
    let found = plan(&trail, &query);
    let missing: Vec<_> = found.statements[0].missing.iter().collect();
    assert_eq!(
        (missing.len(), missing[0].column.as_str(), missing[0].effect),
        (1, "pin", MissingEffect::Unchanged)
    );
    run(&trail, &query);
    assert_eq!(trail.query_text("SELECT t::text FROM t"), "(1,,4711)");
}

#[test]
fn an_erased_value_is_not_restored() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, name text)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 'ada')");
    trail.run("DELETE FROM t");
    trail.run("SELECT threadline.erase_values('public', 't', '1', '{name}', 'request')");
    let script = run(&trail, &restore("t", &["1"]));
    assert!(script.contains("name (erased): stays NULL"), "{script}");
    assert_eq!(trail.query_text("SELECT t::text FROM t"), "(1,)");
}

#[test]
fn stored_text_cannot_end_a_comment_or_a_literal() {
    let odd = "x */ ' \\\n; DROP TABLE victim; --\r";
    let trail = empty_trail();
    trail.run("CREATE TABLE victim ()");
    let quoted = odd.replace('\'', "''");
    let name = "odd\n\"\"; DROP TABLE victim; -- */";
    trail.run(&format!(
        "CREATE TABLE \"{name}\" (key text PRIMARY KEY, \"c\n; DROP TABLE victim; --\" text)"
    ));
    let name = name.replace("\"\"", "\"");
    let name = threadline::TableName::new("public", name);
    let table = trail.run_async(async |conn| threadline::introspect(conn, &name).await.unwrap());
    let none: [&str; 0] = [];
    trail.capture(&table.redact(["c\n; DROP TABLE victim; --"], none).unwrap());
    trail.run(&format!(
        "INSERT INTO {} VALUES ('{quoted}', 'x')",
        name.quoted()
    ));
    trail.run(&format!("DELETE FROM {}", name.quoted()));
    let key = RowKeyText::from_values(vec![odd.to_owned()]);
    let script = run(&trail, &Restore::new(name.clone(), &key));
    let comments: Vec<_> = script
        .lines()
        .filter(|line| line.contains("DROP"))
        .collect();
    assert!(comments.len() > 2, "{script}");
    assert_eq!(
        trail.query_text("SELECT to_regclass('victim')::text"),
        "victim"
    );
    let restored = format!("SELECT key FROM {}", name.quoted());
    assert_eq!(trail.query_text(&restored), odd);
}

#[test]
fn a_truncated_row_is_restored_without_children() {
    let trail = shop();
    trail.run("TRUNCATE customers CASCADE");
    let query = restore("customers", &["1"]).with_children();
    let found = plan(&trail, &query);
    assert_eq!(found.removed_by.as_ref().unwrap().op, Op::Truncate);
    assert_eq!(found.statements.len(), 1);
    let script = run(&trail, &query);
    assert!(script.contains("A truncate records no rows"), "{script}");
}

#[test]
fn a_row_whose_delete_was_not_captured_is_inserted() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, name text)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 'ada')");
    trail.run("SET session_replication_role = replica; DELETE FROM t");
    let query = restore("t", &["1"]).as_of(now(&trail));
    assert_eq!(
        plan(&trail, &query).statements[0].operation,
        RestoreOperation::Insert
    );
    run(&trail, &query);
    assert_eq!(trail.query_text("SELECT t::text FROM t"), "(1,ada)");
}

#[test]
fn a_state_that_the_trail_does_not_know_is_an_error() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    let long_ago: DateTime<Utc> = "2001-01-01T00:00:00Z".parse().unwrap();
    let error = |query: &Restore| try_plan(&trail, query).unwrap_err();
    assert!(matches!(
        error(&restore("t", &["1"])),
        RestoreError::NotRecorded { .. }
    ));
    assert!(matches!(
        error(&restore("missing", &["1"])),
        RestoreError::NoSuchTable(_)
    ));
    trail.run("INSERT INTO t VALUES (1)");
    assert!(matches!(
        error(&restore("t", &["1"]).as_of(long_ago)),
        RestoreError::NotKnown { .. }
    ));
    trail.run("DELETE FROM t");
    let gone = now(&trail);
    assert!(matches!(
        error(&restore("t", &["1"]).as_of(gone)),
        RestoreError::RemovedBefore { .. }
    ));
}

#[test]
fn a_plan_leaves_an_outer_transaction_as_it_was() {
    use diesel_async::{AsyncConnection, RunQueryDsl};

    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    trail.run("DELETE FROM t");
    trail.run_async(async |conn| {
        conn.transaction::<_, RestoreError, _>(async |conn| {
            threadline::restore_plan(conn, &restore("t", &["1"])).await?;
            diesel::sql_query("INSERT INTO t VALUES (2)")
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
        .unwrap();
    });
    assert_eq!(trail.query_text("SELECT id FROM t"), "2");
}

#[test]
fn a_plan_names_the_suspension_after_the_record_of_the_row() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]);
    trail.run("INSERT INTO t VALUES (1, 'a')");
    trail.run("DELETE FROM t");
    let query = restore("t", &["1"]);
    assert_eq!(plan(&trail, &query).statements[0].gaps, []);
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{t}', E'back\\nfill');
         INSERT INTO t VALUES (1, 'b'); COMMIT",
    );
    let plan = plan(&trail, &query);
    assert_eq!(plan.statements[0].gaps.len(), 1);
    let script = plan.to_string();
    assert!(
        script.contains("--   changes of the row may be missing: capture was suspended at "),
        "{script}"
    );
    assert!(!script.contains("\nfill"), "{script}");
}

#[test]
fn a_child_whose_state_is_uncertain_is_restored_as_recorded_and_its_gap_is_named() {
    let trail = shop();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{orders}', 'correct totals');
         UPDATE orders SET total = 9.99 WHERE id = 10; COMMIT",
    );
    let then = now(&trail);
    trail.run("DELETE FROM customers WHERE id = 1");
    let query = restore("customers", &["1"]).as_of(then).with_children();
    let found = plan(&trail, &query);
    let mut uncertain: Vec<_> = found
        .statements
        .iter()
        .filter(|statement| !statement.gaps.is_empty())
        .map(|statement| format!("{} {}", statement.table, statement.row_key))
        .collect();
    uncertain.sort();
    assert_eq!(uncertain, ["public.orders 10", "public.orders 11"]);
    let order = found
        .statements
        .iter()
        .find(|one| one.row_key == "10")
        .unwrap();
    assert!(order.sql.contains("'1.10'::numeric"), "{}", order.sql);
    let script = found.to_string();
    assert!(
        script.contains("--   changes of the row may be missing: capture was suspended at "),
        "{script}"
    );
    assert!(script.contains("correct totals"), "{script}");
}
