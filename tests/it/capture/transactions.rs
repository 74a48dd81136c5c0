//! Capture in transactions that are rolled back, in part or as a whole, or prepared.

use super::ORDERS;
use crate::harness::captured;

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
