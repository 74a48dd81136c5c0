//! Capture records every change, and nothing that is not a change.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use serde_json::json;
use threadline::install::CaptureMigration;

use crate::harness::{captured, empty_trail, server_can};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric(10, 2))";

#[test]
fn an_insert_stores_the_whole_row() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 9.90)");
    let changes = trail.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].op, "insert");
    assert_eq!(changes[0].key, Some(json!({"id": "1"})));
    assert_eq!(
        changes[0].after,
        Some(json!({"id": 1, "status": "open", "total": 9.90}))
    );
    assert_eq!(changes[0].from, None);
}

#[test]
fn operations_have_the_same_names_under_turkish_case_rules() {
    if !server_can("SELECT 'i' COLLATE \"tr-x-icu\"") {
        return; // built without ICU
    }
    let trail = captured(ORDERS, &["orders"]);
    let capture = CaptureMigration::new([&trail.introspect("orders")], |_| None);
    PgConnection::establish(&trail.url())
        .unwrap()
        .batch_execute(
            "CREATE DATABASE turkish TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'
             LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'",
        )
        .unwrap();
    let url = trail
        .url()
        .replace(&trail.query_text("SELECT current_database()"), "turkish");
    let conn = &mut PgConnection::establish(&url).unwrap();
    for script in [
        &threadline::install::up_sql(),
        ORDERS,
        capture.up(),
        "INSERT INTO orders VALUES (1, 'open', 9.90)",
    ] {
        conn.batch_execute(&format!("BEGIN; {script}; COMMIT"))
            .unwrap();
    }
    let op: String = diesel::sql_query("SELECT op FROM threadline.audit_changes")
        .load::<Operation>(conn)
        .unwrap()
        .remove(0)
        .op;
    assert_eq!(op, "insert");
}

#[derive(QueryableByName)]
struct Operation {
    #[diesel(sql_type = diesel::sql_types::Text)]
    op: String,
}

#[test]
fn an_update_stores_the_new_row_and_the_old_values_of_changed_columns() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 9.90)");
    trail.run("UPDATE orders SET status = 'paid', total = total");
    let update = &trail.changes()[1];
    assert_eq!(update.op, "update");
    assert_eq!(
        update.after,
        Some(json!({"id": 1, "status": "paid", "total": 9.90}))
    );
    assert_eq!(update.from, Some(json!({"status": "open"})));
}

#[test]
fn a_delete_stores_the_last_image() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', NULL)");
    trail.run("DELETE FROM orders");
    let delete = &trail.changes()[1];
    assert_eq!(delete.op, "delete");
    assert_eq!(delete.after, None);
    assert_eq!(
        delete.from,
        Some(json!({"id": 1, "status": "open", "total": null}))
    );
}

#[test]
fn statements_without_effect_record_nothing() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 1)");
    for nothing in [
        "UPDATE orders SET status = 'open'",
        "UPDATE orders SET status = 'x' WHERE id = 99",
        "DELETE FROM orders WHERE id = 99",
        "INSERT INTO orders SELECT * FROM orders WHERE false",
        "INSERT INTO orders VALUES (1, 'open', 1) ON CONFLICT DO NOTHING",
        "SELECT * FROM orders FOR UPDATE",
    ] {
        trail.run(nothing);
        assert_eq!(trail.changes().len(), 1, "{nothing}");
        assert_eq!(trail.transactions(), 1, "{nothing}");
    }
}

#[test]
fn statements_that_match_no_row_assign_no_xid() {
    let trail = captured(ORDERS, &["orders"]);
    for nothing in [
        "DELETE FROM orders WHERE id = 99",
        "INSERT INTO orders SELECT * FROM orders WHERE false",
        "UPDATE orders SET status = 'x' WHERE id = 99",
    ] {
        trail.run(&format!(
            "DO $$ BEGIN {nothing}; ASSERT pg_current_xact_id_if_assigned() IS NULL; END $$"
        ));
    }
}

#[test]
fn bulk_statements_record_every_row_once() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders SELECT g, 'open', g FROM generate_series(1, 1000) AS g");
    trail.run("UPDATE orders SET status = 'paid' WHERE id <= 500");
    trail.run("DELETE FROM orders WHERE id > 900");
    let counted = trail.query_text(
        "SELECT string_agg(op || ' ' || n, ', ' ORDER BY op) FROM \
         (SELECT op, count(DISTINCT row_key) AS n FROM threadline.audit_changes GROUP BY op) AS c",
    );
    assert_eq!(counted, "delete 100, insert 1000, update 500");
    assert_eq!(trail.transactions(), 3);
}

#[test]
fn copy_is_captured() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("CREATE TABLE staging AS SELECT g AS id, 'x' AS status, g::numeric AS total FROM generate_series(1, 3) AS g");
    let file = tempfile_path(&trail.url());
    trail.run(&format!(
        "COPY staging TO '{file}'; COPY orders FROM '{file}'"
    ));
    assert_eq!(trail.changes().len(), 3);
}

/// A file that the server can write.
fn tempfile_path(unique: &str) -> String {
    let name: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("/tmp/threadline_copy_{name}")
}

#[test]
fn an_upsert_is_recorded_as_inserts_and_updates() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 1)");
    trail.run(
        "INSERT INTO orders VALUES (1, 'new', 2), (2, 'new', 2) \
         ON CONFLICT (id) DO UPDATE SET status = 'merged'",
    );
    let mut events = trail.events();
    events.sort();
    assert_eq!(
        events,
        ["insert orders 1", "insert orders 2", "update orders 1"]
    );
}

#[test]
fn a_merge_is_recorded_as_inserts_updates_and_deletes() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("INSERT INTO orders VALUES (1, 'open', 1), (2, 'open', 1)");
    trail.run(
        "MERGE INTO orders USING (VALUES (1), (2), (3)) AS v (id) ON orders.id = v.id \
         WHEN MATCHED AND v.id = 1 THEN DELETE \
         WHEN MATCHED THEN UPDATE SET status = 'merged' \
         WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'new', 0)",
    );
    let mut events = trail.events();
    events.drain(..2);
    events.sort();
    assert_eq!(
        events,
        ["delete orders 1", "insert orders 3", "update orders 2"]
    );
}

#[test]
fn data_modifying_ctes_are_captured() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run(
        "WITH made AS (INSERT INTO orders VALUES (1, 'a', 1), (2, 'a', 2) RETURNING id) \
         SELECT count(*) FROM made",
    );
    trail.run("WITH gone AS (DELETE FROM orders WHERE id = 1 RETURNING *) UPDATE orders SET status = 'b' WHERE id = 2");
    assert_eq!(trail.changes().len(), 4);
}

#[test]
fn cascades_are_captured_in_the_same_transaction() {
    let trail = captured(
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE dropped (id int PRIMARY KEY, p int REFERENCES parents ON DELETE CASCADE);
         CREATE TABLE nulled (id int PRIMARY KEY, p int REFERENCES parents ON DELETE SET NULL);
         CREATE TABLE moved (id int PRIMARY KEY, p int REFERENCES parents ON UPDATE CASCADE)",
        &["parents", "dropped", "nulled", "moved"],
    );
    trail.run(
        "INSERT INTO parents VALUES (1), (2); INSERT INTO dropped VALUES (10, 1);
         INSERT INTO nulled VALUES (20, 1); INSERT INTO moved VALUES (30, 2)",
    );
    trail.run("DELETE FROM parents WHERE id = 1");
    let changes = trail.changes();
    let mut events: Vec<_> = trail.events()[5..].to_vec();
    events.sort();
    assert_eq!(
        events,
        ["delete dropped 10", "delete parents 1", "update nulled 20"]
    );
    assert_eq!(changes[5].transaction_id, changes[7].transaction_id);
    trail.run("UPDATE parents SET id = 3 WHERE id = 2");
    let moved = trail
        .changes()
        .into_iter()
        .find(|c| c.op == "update" && c.table == "moved");
    assert_eq!(moved.unwrap().from, Some(json!({"p": 2})));
}

#[test]
fn a_row_is_recorded_as_before_triggers_left_it() {
    let trail = captured(
        "CREATE TABLE items (id int PRIMARY KEY, name text, upper text GENERATED ALWAYS AS (upper(name)) STORED);
         CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.name := trim(NEW.name); RETURN NEW; END $$;
         CREATE TRIGGER zz_tidy BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION tidy()",
        &["items"],
    );
    trail.run("INSERT INTO items VALUES (1, '  ada ')");
    trail.run("UPDATE items SET name = ' ada  '");
    let changes = trail.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].after,
        Some(json!({"id": 1, "name": "ada", "upper": "ADA"}))
    );
}

#[test]
fn a_change_made_by_a_host_trigger_follows_the_change_that_fired_it() {
    // Hazard 20: a statement-level trigger would record the insert after the update that it fired.
    let trail = captured(
        "CREATE TABLE items (id int PRIMARY KEY, slug text);
         CREATE FUNCTION add_slug() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN UPDATE items SET slug = 'item-' || NEW.id WHERE id = NEW.id; RETURN NULL; END $$;
         CREATE TRIGGER a_slug AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION add_slug()",
        &["items"],
    );
    trail.run("INSERT INTO items VALUES (1), (2)");
    assert_eq!(
        trail.events(),
        [
            "insert items 1",
            "update items 1",
            "insert items 2",
            "update items 2"
        ]
    );
}

#[test]
fn a_rolled_back_transaction_records_nothing() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run("BEGIN; INSERT INTO orders VALUES (1, 'x', 1); ROLLBACK");
    assert_eq!((trail.changes().len(), trail.transactions()), (0, 0));
}

#[test]
fn a_rolled_back_savepoint_rolls_back_its_changes() {
    let trail = captured(ORDERS, &["orders"]);
    // The row of the transaction is inserted inside the savepoint, and must be inserted again after
    // the rollback.
    trail.run(
        "BEGIN; SAVEPOINT a; INSERT INTO orders VALUES (1, 'a', 1); ROLLBACK TO a;
         INSERT INTO orders VALUES (2, 'b', 2);
         SAVEPOINT c; INSERT INTO orders VALUES (3, 'c', 3);
         SAVEPOINT d; UPDATE orders SET status = 'd'; RELEASE d; ROLLBACK TO c;
         UPDATE orders SET status = 'e' WHERE id = 2; COMMIT",
    );
    assert_eq!(trail.events(), ["insert orders 2", "update orders 2"]);
    assert_eq!(trail.transactions(), 1);
    assert_eq!(orphans(&trail), "0");
}

#[test]
fn a_caught_exception_rolls_back_its_changes() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run(
        "DO $$ BEGIN
           BEGIN INSERT INTO orders VALUES (1, 'x', 1); RAISE EXCEPTION 'no'; EXCEPTION WHEN OTHERS THEN NULL; END;
           INSERT INTO orders VALUES (2, 'y', 2);
         END $$",
    );
    assert_eq!(trail.events(), ["insert orders 2"]);
    assert_eq!(orphans(&trail), "0");
}

fn orphans(trail: &crate::harness::Trail) -> String {
    trail.query_text(
        "SELECT count(*) FROM threadline.audit_changes AS c WHERE NOT EXISTS \
         (SELECT FROM threadline.audit_transactions AS t WHERE t.id = c.transaction_id)",
    )
}

#[test]
fn a_prepared_transaction_keeps_its_changes_and_context() {
    let trail = captured(ORDERS, &["orders"]);
    trail.run(
        "BEGIN; SELECT set_config('threadline.actor_ref', '{\"type\":\"job\",\"id\":\"j\"}', true);
         INSERT INTO orders VALUES (1, 'x', 1); PREPARE TRANSACTION 'tpc'",
    );
    assert_eq!(trail.changes().len(), 0);
    trail.run("COMMIT PREPARED 'tpc'");
    assert_eq!(trail.events(), ["insert orders 1"]);
    let actor = trail.query_text("SELECT actor FROM threadline.audit_transactions");
    assert_eq!(actor, "job:j");
}

#[test]
fn truncate_cascade_is_recorded_for_each_table() {
    let trail = captured(
        "CREATE TABLE a (id int PRIMARY KEY);
         CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        &["a", "b"],
    );
    trail.run("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1)");
    trail.run("TRUNCATE a CASCADE");
    let events = &trail.events()[2..];
    assert_eq!(events, ["truncate a -", "truncate b -"]);
}

#[test]
fn a_table_without_a_key_is_captured_without_row_keys() {
    let trail = captured("CREATE TABLE log (line text)", &["log"]);
    trail.run("INSERT INTO log VALUES ('a'), ('a')");
    trail.run("UPDATE log SET line = 'b'");
    trail.run("DELETE FROM log");
    let changes = trail.changes();
    assert_eq!(changes.len(), 6);
    assert!(changes.iter().all(|change| change.key.is_none()));
    assert_eq!(changes[2].from, Some(json!({"line": "a"})));
}

#[test]
fn tables_of_the_same_name_in_two_schemas_are_recorded_separately() {
    let trail = captured(
        "CREATE SCHEMA east; CREATE SCHEMA west;
         CREATE TABLE east.t (id int PRIMARY KEY, a text); CREATE TABLE west.t (id int PRIMARY KEY, b text)",
        &["east.t", "west.t"],
    );
    trail.run("INSERT INTO east.t VALUES (1, 'e'); INSERT INTO west.t VALUES (1, 'w')");
    let schemas = trail.query_text(
        "SELECT string_agg(table_schema || ' ' || data_after::text, '; ' ORDER BY id) FROM threadline.audit_changes",
    );
    assert_eq!(
        schemas,
        r#"east {"a": "e", "id": 1}; west {"b": "w", "id": 1}"#
    );
}

#[test]
fn a_table_of_128_columns_is_captured_completely() {
    let columns: Vec<_> = (1..128).map(|n| format!("c{n} int")).collect();
    let trail = captured(
        &format!(
            "CREATE TABLE wide (id int PRIMARY KEY, {})",
            columns.join(", ")
        ),
        &["wide"],
    );
    trail.run("INSERT INTO wide (id, c127) VALUES (1, 5)");
    trail.run("UPDATE wide SET c1 = 1, c127 = 6");
    let changes = trail.changes();
    assert_eq!(
        changes[0]
            .after
            .as_ref()
            .unwrap()
            .as_object()
            .unwrap()
            .len(),
        128
    );
    assert_eq!(changes[1].from, Some(json!({"c1": null, "c127": 5})));
}

#[test]
fn table_and_column_names_that_need_quoting_are_captured() {
    let long = "x".repeat(63);
    let other_long = format!("{}y", "x".repeat(62));
    let names = [
        "select",
        "Mixed Case",
        "quo\"te",
        "apo'strophe",
        "$capture$",
        "@image@",
        "v_op",
        "ünïcode",
        "back\\slash",
        "dot.ted",
        "new",
        "r",
        "line\nbreak",
        &long,
        &other_long,
    ];
    let columns: Vec<_> = names
        .iter()
        .map(|name| format!("\"{}\" int", name.replace('"', "\"\"")))
        .collect();
    for table in names {
        let quoted = format!("\"{}\"", table.replace('"', "\"\""));
        let trail = captured(
            &format!(
                "CREATE TABLE {quoted} (\"i d\" int PRIMARY KEY, {})",
                columns.join(", ")
            ),
            &[&quoted],
        );
        trail.run(&format!("INSERT INTO {quoted} VALUES (1)"));
        trail.run(&format!(
            "UPDATE {quoted} SET {}",
            names
                .map(|n| format!("\"{}\" = 1", n.replace('"', "\"\"")))
                .join(", ")
        ));
        trail.run(&format!("DELETE FROM {quoted}"));
        let changes = trail.changes();
        assert_eq!(changes.len(), 3, "{table}");
        assert_eq!(changes[0].table, table);
        assert_eq!(
            changes[1].from.as_ref().unwrap().as_object().unwrap().len(),
            names.len()
        );
    }
}

#[test]
fn a_value_too_large_for_jsonb_is_stored_as_a_digest() {
    // A jsonb string is limited to 256 MiB; a bytea becomes two characters per byte.
    let trail = captured("CREATE TABLE big (id int PRIMARY KEY, bin bytea)", &["big"]);
    trail.run(
        "SET statement_timeout = '5min';
         INSERT INTO big VALUES (1, decode(repeat('ab', 130 * 1024 * 1024), 'hex'))",
    );
    let stored = trail.changes()[0].after.as_ref().unwrap()["bin"].clone();
    let digest = trail.query_text("SELECT encode(sha256(bin), 'hex') FROM big");
    assert_eq!(
        stored,
        json!(format!("[TOO LARGE: 136314880 bytes, sha256:{digest}]"))
    );
    trail.run("DELETE FROM big");
    assert_eq!(trail.events(), ["insert big 1", "delete big 1"]);
}

#[test]
fn an_update_of_ignored_columns_alone_is_not_recorded_and_other_updates_store_them() {
    use threadline::table::AuditedTable;
    let trail = empty_trail();
    trail.run("CREATE TABLE t (id int PRIMARY KEY, v int, seen int)");
    let found = trail.introspect("t");
    let table = AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key(["id"])
        .ignore(["seen"])
        .build()
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO t VALUES (1, 1, 1)");
    trail.run("UPDATE t SET seen = 2");
    trail.run("UPDATE t SET seen = 3, v = 2");
    let changes = trail.changes();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[1].from, Some(json!({"v": 1, "seen": 2})));
    assert_eq!(changes[1].after, Some(json!({"id": 1, "v": 2, "seen": 3})));
}

const NESTED: &str = "CREATE TABLE customers (id int PRIMARY KEY);
    CREATE TABLE items (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE SET NULL, order_id int);
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE_OR_NULL, touched int NOT NULL DEFAULT 0);
    CREATE FUNCTION touch_order() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN TOUCH; RETURN NULL; END $$;
    CREATE TRIGGER touch_order AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch_order()";

/// The operations and images of `orders`, in the order of the change ids.
fn order_images(trail: &crate::harness::Trail) -> Vec<(String, Option<serde_json::Value>)> {
    let changes = trail.changes().into_iter();
    changes
        .filter(|change| change.table == "orders")
        .map(|change| (change.op, change.after))
        .collect()
}

#[test]
fn a_row_changed_by_a_foreign_key_and_a_trigger_in_one_statement_is_recorded_in_order() {
    let schema = NESTED.replace("CASCADE_OR_NULL", "SET NULL").replace(
        "TOUCH",
        "UPDATE orders SET touched = touched + 1 WHERE id = NEW.order_id",
    );
    let trail = captured(&schema, &["customers", "items", "orders"]);
    trail.run(
        "INSERT INTO customers VALUES (1); INSERT INTO orders VALUES (10, 1); INSERT INTO items VALUES (100, 1, 10)",
    );
    trail.run("DELETE FROM customers");
    let order = |customer: Option<i32>, touched| {
        Some(json!({"id": 10, "customer_id": customer, "touched": touched}))
    };
    assert_eq!(
        order_images(&trail),
        [
            ("insert".to_owned(), order(Some(1), 0)),
            ("update".to_owned(), order(None, 0)),
            ("update".to_owned(), order(None, 1)),
        ]
    );
}

#[test]
fn a_row_inserted_again_by_a_trigger_after_a_cascade_is_recorded_in_order() {
    let schema = NESTED
        .replace("CASCADE_OR_NULL", "CASCADE")
        .replace("TOUCH", "INSERT INTO orders VALUES (NEW.order_id, NULL, 7)");
    let trail = captured(&schema, &["customers", "items", "orders"]);
    trail.run(
        "INSERT INTO customers VALUES (1); INSERT INTO orders VALUES (10, 1); INSERT INTO items VALUES (100, 1, 10)",
    );
    trail.run("DELETE FROM customers");
    let ops: Vec<_> = order_images(&trail).into_iter().map(|(op, _)| op).collect();
    assert_eq!(ops, ["insert", "delete", "insert"]);
    assert_eq!(trail.query_text("SELECT touched FROM orders"), "7");
}
