//! Capture of tables that have triggers of the host: images, and the order of changes.

use serde_json::json;

use crate::harness::captured;

const NESTED: &str = "CREATE TABLE customers (id int PRIMARY KEY);
    CREATE TABLE items (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE SET NULL, order_id int);
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE_OR_NULL, touched int NOT NULL DEFAULT 0);
    CREATE FUNCTION touch_order() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN TOUCH; RETURN NULL; END $$;
    CREATE TRIGGER touch_order AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch_order()";

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
