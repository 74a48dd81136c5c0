//! Rows as of an instant, by keys: changed, composite, deferrable, and moved between partitions.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::prelude::*;
use threadline::{AsOf, RowAsOf, blocking};

use super::schema::as_of_lines;
use super::{account, account_as_of, accounts, document, json_of, now};
use crate::harness::captured;

#[test]
fn as_of_follows_a_row_across_key_changes() {
    let trail = accounts();
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10)");
    let first = now(&trail);
    trail.run("UPDATE as_of_accounts SET id = 2, balance = 20");
    let second = now(&trail);
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'eve', 0)");
    let third = now(&trail);
    assert_eq!(
        account_as_of(&trail, 2, first).row(),
        Some(account(1, "ada", 10))
    );
    assert_eq!(
        account_as_of(&trail, 2, third).row(),
        Some(account(2, "ada", 20))
    );
    assert!(
        matches!(account_as_of(&trail, 1, second), AsOf::NotYetKnown(_)),
        "the key belongs to the row inserted later, which does not exist yet"
    );
    assert_eq!(
        account_as_of(&trail, 1, third).row(),
        Some(account(1, "eve", 0))
    );
}

#[test]
fn truncating_one_partition_deletes_only_its_rows() {
    let trail = captured(
        "CREATE TABLE m (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE m_eu PARTITION OF m FOR VALUES IN ('eu'); CREATE TABLE m_us PARTITION OF m FOR VALUES IN ('us')",
        &["m"],
    );
    trail.run("INSERT INTO m VALUES (1, 'eu', 0), (2, 'us', 0), (3, 'eu', 0)");
    trail.run("UPDATE m SET region = 'us', v = 3 WHERE id = 3");
    trail.run("TRUNCATE m_eu");
    let after = now(&trail);
    assert!(matches!(
        document(&trail, "m", &["1", "eu"], after),
        AsOf::Deleted(_)
    ));
    assert_eq!(json_of(document(&trail, "m", &["2", "us"], after))["v"], 0);
    assert_eq!(json_of(document(&trail, "m", &["3", "us"], after))["v"], 3);
    trail.run("ALTER TABLE m DETACH PARTITION m_eu; DROP TABLE m_eu");
    let refused = trail.expect_error(&format!(
        "SELECT threadline.row_as_of('public', 'm', '[\"1\", \"eu\"]', '{after}')"
    ));
    assert!(refused.contains("is not a partition now"), "{refused}");
}

#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = as_of_lines, primary_key(order_id, line_no))]
struct Line {
    amount: i32,
}

#[test]
fn composite_keys_are_given_as_tuples() {
    let trail = captured(
        "CREATE TABLE as_of_lines (order_id int, line_no int, amount int, PRIMARY KEY (order_id, line_no))",
        &["as_of_lines"],
    );
    trail.run("INSERT INTO as_of_lines VALUES (7, 2, 990), (2, 7, 1)");
    let query = RowAsOf::<Line>::new((7, 2), now(&trail)).unwrap();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let answer = blocking::as_of(&mut conn, &query).unwrap();
    assert_eq!(answer.row(), Some(Line { amount: 990 }));
    assert!(RowAsOf::<Line>::new(7, now(&trail)).is_err());
}

#[test]
fn a_deferrable_key_names_the_row_that_holds_it_at_commit() {
    let trail = captured(
        "CREATE TABLE as_of_accounts (id int PRIMARY KEY DEFERRABLE, owner text NOT NULL, balance int)",
        &["as_of_accounts"],
    );
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10), (2, 'eve', 20)");
    trail.run("UPDATE as_of_accounts SET id = 3 - id");
    assert_eq!(
        account_as_of(&trail, 1, now(&trail)).row(),
        Some(account(1, "eve", 20))
    );
    assert_eq!(
        account_as_of(&trail, 2, now(&trail)).row(),
        Some(account(2, "ada", 10))
    );
    trail.run(
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO as_of_accounts VALUES (1, 'new', 0);
         DELETE FROM as_of_accounts WHERE owner = 'eve'",
    );
    assert_eq!(
        account_as_of(&trail, 1, now(&trail)).row(),
        Some(account(1, "new", 0))
    );
}

#[test]
fn row_as_of_and_row_history_follow_moves_between_partitions() {
    let trail = captured(
        "CREATE TABLE m (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE m_eu PARTITION OF m FOR VALUES IN ('eu'); CREATE TABLE m_us PARTITION OF m FOR VALUES IN ('us')",
        &["m"],
    );
    trail.run("INSERT INTO m VALUES (1, 'eu', 0), (2, 'eu', 0)");
    let first = now(&trail);
    trail.run("UPDATE m SET region = 'us', v = 1");
    let second = now(&trail);
    trail.run("UPDATE m SET region = 'eu', v = 2 WHERE id = 1");
    let key = r#"["1", "eu"]"#;
    let states: Vec<_> = [first, second, now(&trail)]
        .into_iter()
        .map(|instant| {
            trail.query_text(&format!(
                "SELECT image ->> 'region' || (image ->> 'v') FROM threadline.row_as_of('public', 'm', '{key}', '{}')",
                instant.to_rfc3339()
            ))
        })
        .collect();
    assert_eq!(states, ["eu0", "us1", "eu2"]);
    assert_eq!(
        trail.query_text(&format!(
            "SELECT string_agg(op || ' ' || row_key || COALESCE(' ' || changed_from::text, ''), ', ' ORDER BY change_id)
             FROM threadline.row_history('public', 'm', '{key}')"
        )),
        r#"insert ["1", "eu"], moved ["1", "us"] {"v": 0, "region": "eu"}, moved ["1", "eu"] {"v": 1, "region": "us"}"#
    );
}

#[test]
fn row_as_of_uses_only_changes_of_the_current_key_definition() {
    let trail = captured(
        "CREATE TABLE li (order_id int, line_no int, v text, PRIMARY KEY (order_id, line_no))",
        &["li"],
    );
    trail.run("INSERT INTO li VALUES (7, 2, 'seven'), (2, 7, 'two')");
    trail.run("ALTER TABLE li RENAME line_no TO a_position");
    trail.capture(&trail.introspect("li"));
    let image = |key: &str| {
        trail.query_text(&format!(
            "SELECT image ->> 'v' FROM threadline.row_as_of('public', 'li', '{key}', now())"
        ))
    };
    assert_eq!(
        image(r#"["2", "7"]"#),
        "two",
        "a rename keeps the definition"
    );
    trail.run("ALTER TABLE li DROP CONSTRAINT li_pkey, ADD PRIMARY KEY (a_position, order_id)");
    trail.capture(&trail.introspect("li"));
    assert_eq!(
        image(r#"["2", "7"]"#),
        "NULL",
        "another column order is another definition"
    );
    trail.run("UPDATE li SET v = 'seven, again' WHERE order_id = 7");
    assert_eq!(image(r#"["2", "7"]"#), "seven, again");
    assert_eq!(
        trail.query_text(
            "SELECT string_agg(op, ', ') FROM threadline.row_history('public', 'li', '[\"2\", \"7\"]')"
        ),
        "update, key_defined"
    );
}
