//! Time travel by way of the present: what was not changed since an instant is read from the table,
//! and the answer is what the trail alone, and a copy made then, would have given.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use threadline::blocking;
use threadline::prelude::*;
use threadline::time_travel::{TimeTravel, TimeTravelError, time_travel};

use crate::as_of::now;
use crate::harness::{Trail, captured, empty_trail};

diesel::table! {
    rw_items (id) {
        id -> BigInt,
        label -> Text,
        amount -> Nullable<Integer>,
    }
}

diesel::table! {
    rw_owners (code) {
        code -> Text,
        item_id -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(rw_items, rw_owners);

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = rw_items)]
struct Item {
    id: i64,
    label: String,
    amount: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = rw_owners, primary_key(code))]
struct Owner {
    code: String,
    item_id: i64,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

const TABLES: &str =
    "CREATE TABLE rw_items (id bigint PRIMARY KEY, label text NOT NULL, amount int);
     CREATE INDEX ON rw_items (label);
     CREATE TABLE rw_owners (code varchar(20) PRIMARY KEY, item_id bigint NOT NULL)";

fn then(instant: DateTime<Utc>) -> TimeTravel {
    let travel = time_travel(instant).table::<Item>().unwrap();
    travel.table::<Owner>().unwrap()
}

/// Everything, some by their keys, some by a range of keys, some by an indexed column, a join.
type Answer = (
    Vec<Item>,
    Vec<Item>,
    Vec<Owner>,
    Vec<Item>,
    Vec<(Owner, Item)>,
);

fn answer(conn: &mut PgConnection, travel: Option<&TimeTravel>) -> Result<Answer, TimeTravelError> {
    macro_rules! asked {
        ($query:expr) => {
            match travel {
                None => $query.load(conn)?,
                Some(travel) => blocking::time_travel(conn, travel, $query)?,
            }
        };
    }
    let joined = rw_owners::table
        .inner_join(rw_items::table.on(rw_items::id.eq(rw_owners::item_id)))
        .filter(rw_owners::code.eq("k2"))
        .select((Owner::as_select(), Item::as_select()));
    Ok((
        asked!(rw_items::table.order(rw_items::id)),
        asked!(
            rw_items::table
                .filter(rw_items::id.eq_any([1_i64, 3, 5, 99]))
                .filter(rw_items::label.ne("nothing"))
                .order(rw_items::id)
        ),
        asked!(rw_owners::table.find("k1")),
        asked!(
            rw_items::table
                .filter(rw_items::id.between(2, 4).or(rw_items::label.eq("n1")))
                .order(rw_items::id)
        ),
        asked!(joined),
    ))
}

/// The items, by what the database says stands for the table in one of its ways.
fn by(trail: &Trail, sql: &str) -> Vec<(i64, Option<i32>)> {
    let found = trail.ask_json(&format!(
        "SELECT COALESCE(jsonb_agg(jsonb_build_array(past.id, past.amount) ORDER BY past.id), '[]')
         FROM ({sql}) AS past"
    ));
    serde_json::from_value(found).unwrap()
}

/// What stands for the items when most of the trail lies after the instant.
fn completed(trail: &Trail, instant: DateTime<Utc>) -> String {
    trail.ask(&format!(
        "SELECT threadline.completed_table('rw_items'::regclass, 'public', 'rw_items', {at}, false,
             (threadline.table_as_of('public', 'rw_items', {at}, false)).sql)",
        at = literal(instant)
    ))
}

fn literal(instant: DateTime<Utc>) -> String {
    format!("'{}'::timestamptz", instant.to_rfc3339())
}

fn is_rewound(trail: &Trail, instant: DateTime<Utc>) -> bool {
    let at = literal(instant);
    trail.ask(&format!(
        "SELECT rewound::text FROM threadline.table_rewound('public', 'rw_items', {at}, false, false)"
    )) == "true"
}

fn items(trail: &Trail, travel: &TimeTravel) -> Vec<(i64, Option<i32>)> {
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let query = rw_items::table
        .select((rw_items::id, rw_items::amount))
        .order(rw_items::id);
    blocking::time_travel(&mut conn, travel, query).unwrap()
}

fn of_items(instant: DateTime<Utc>) -> TimeTravel {
    time_travel(instant).table::<Item>().unwrap()
}

/// Statements on both tables, also such that give rows other keys.
fn statement() -> impl Strategy<Value = String> {
    (0..11_u8, 0..7_i64, 0..7_i64, 0..4_i32).prop_map(|(kind, id, other, n)| match kind {
        0 | 1 => format!("INSERT INTO rw_items VALUES ({id}, 'n{n}', {n}) ON CONFLICT DO NOTHING"),
        2 => format!("INSERT INTO rw_owners VALUES ('k{n}', {id}) ON CONFLICT DO NOTHING"),
        3 => format!("UPDATE rw_items SET amount = amount + {n} WHERE id % 3 = {}", id % 3),
        4 => format!("UPDATE rw_items SET label = 'n{n}', amount = NULL WHERE id <= {id}"),
        5 | 6 => format!("UPDATE rw_items SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM rw_items WHERE id = {other})"),
        7 => format!("UPDATE rw_owners SET code = 'k{n}', item_id = {id} WHERE item_id = {other} AND NOT EXISTS (SELECT FROM rw_owners WHERE code = 'k{n}')"),
        8 => format!("DELETE FROM rw_items WHERE id = {id}"),
        9 => format!("DELETE FROM rw_owners WHERE item_id = {id}"),
        _ => format!("SAVEPOINT s; DELETE FROM rw_items; ROLLBACK TO s; UPDATE rw_items SET amount = {n} WHERE id = {id}"),
    })
}

/// Also of rows that were there before capture and that no baseline recorded: here the trail alone
/// does not know what the present tells.
#[test]
fn random_work_rewound_is_what_was_seen_then() {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let work = prop::collection::vec(prop::collection::vec(statement(), 1..5), 1..10);
    runner
        .run(&(work, any::<bool>()), |(transactions, older)| {
            let trail = empty_trail();
            trail.run(TABLES);
            let rows = "INSERT INTO rw_items SELECT g, 'n' || g, g FROM generate_series(1, 5) AS g;
                        INSERT INTO rw_owners SELECT 'k' || g, g FROM generate_series(1, 3) AS g";
            if older {
                trail.run(rows);
            }
            for table in ["rw_items", "rw_owners"] {
                trail.capture(&trail.introspect(table));
            }
            if !older {
                trail.run(rows);
            }
            trail.run(
                "INSERT INTO rw_items VALUES (99, 'n1', 9); INSERT INTO rw_owners VALUES ('k9', 9)",
            );
            let mut conn = PgConnection::establish(&trail.url()).unwrap();
            let mut seen = vec![(now(&trail), answer(&mut conn, None).unwrap())];
            for transaction in &transactions {
                trail.run(&format!("BEGIN; {}; COMMIT", transaction.join("; ")));
                seen.push((now(&trail), answer(&mut conn, None).unwrap()));
            }
            for (instant, expected) in &seen {
                let travel = then(*instant);
                prop_assert!(is_rewound(&trail, *instant));
                let past = answer(&mut conn, Some(&travel))
                    .map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(&past, expected, "rewound to {}", instant);
                let all: Vec<_> = expected
                    .0
                    .iter()
                    .map(|item| (item.id, item.amount))
                    .collect();
                prop_assert_eq!(
                    &by(&trail, &completed(&trail, *instant)),
                    &all,
                    "completed at {}",
                    instant
                );
                if !older {
                    let past = answer(&mut conn, Some(&travel.trail_only()))
                        .map_err(|e| TestCaseError::fail(e.to_string()))?;
                    prop_assert_eq!(&past, expected, "by the trail at {}", instant);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Enough changes since that the library asks which keys are wanted before it makes anything.
#[test]
fn keys_that_are_asked_for_are_found_whatever_became_of_them() {
    let trail = captured(TABLES, &["rw_items", "rw_owners"]);
    trail.run("INSERT INTO rw_items SELECT g, 'n' || g % 7, g FROM generate_series(1, 2000) AS g");
    trail.run("UPDATE rw_items SET amount = amount + 1");
    let instant = now(&trail);
    trail.run("CREATE TABLE copy AS SELECT * FROM rw_items; UPDATE rw_items SET amount = -1 WHERE id <= 500;
               DELETE FROM rw_items WHERE id = 7; UPDATE rw_items SET id = 7 WHERE id = 8;
               UPDATE rw_items SET id = 5000 WHERE id = 9; ANALYZE");
    let at = literal(instant);
    assert_eq!(
        trail.ask(&format!(
            "SELECT rewound || ' ' || key_column FROM threadline.table_rewound('public', 'rw_items', {at}, false, true)"
        )),
        "false id"
    );
    // Counts how often it is asked what stands for some keys.
    trail.run(
        "ALTER FUNCTION threadline.table_of_keys RENAME TO table_of_those_keys;
         CREATE TABLE asked (literal text);
         CREATE FUNCTION threadline.table_of_keys(text, text, timestamptz, boolean, boolean, text, regtype, boolean)
         RETURNS text LANGUAGE sql AS $$
             INSERT INTO public.asked VALUES ($6);
             SELECT threadline.table_of_those_keys($1, $2, $3, $4, $5, $6, $7, $8)
         $$",
    );
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let amounts =
        |conn: &mut PgConnection, travel: &TimeTravel, ids: &[i64]| -> Vec<(i64, Option<i32>)> {
            let query = rw_items::table
                .filter(rw_items::id.eq_any(ids.to_vec()))
                .filter(rw_items::amount.gt(0))
                .select((rw_items::id, rw_items::amount))
                .order(rw_items::id);
            blocking::time_travel(conn, travel, query).unwrap()
        };
    let mut narrowed = 0;
    for travel in [of_items(instant), of_items(instant).trail_only()] {
        assert_eq!(
            amounts(&mut conn, &travel, &[7, 8, 9, 1000, 5000, 6000]),
            [
                (7, Some(8)),
                (8, Some(9)),
                (9, Some(10)),
                (1000, Some(1001))
            ]
        );
        for (id, expected) in [(7, Some(8)), (8, Some(9)), (1999, Some(2000)), (5000, None)] {
            let found: Vec<Item> =
                blocking::time_travel(&mut conn, &travel, rw_items::table.find(id)).unwrap();
            assert_eq!(found.first().and_then(|item| item.amount), expected);
        }
        narrowed += 5;
        assert_eq!(
            trail.ask("SELECT count(*) FROM asked"),
            narrowed.to_string()
        );
        // One place asks for a key, and the other for all.
        let twice = diesel::sql_query(
            "SELECT count(*) AS n FROM rw_items AS a, rw_items AS b WHERE a.id = 7 AND b.amount > 0",
        );
        let counted: Vec<Counted> = blocking::time_travel(&mut conn, &travel, twice).unwrap();
        assert_eq!(counted[0].n, 2000);
    }
}

#[test]
fn rows_older_than_the_trail_are_in_the_answer_and_not_in_the_trails_own() {
    let trail = empty_trail();
    trail.run(TABLES);
    trail.run("INSERT INTO rw_items SELECT g, 'old', g FROM generate_series(1, 5) AS g");
    trail.capture(&trail.introspect("rw_items"));
    trail.run("INSERT INTO rw_items VALUES (6, 'new', 6)");
    let instant = now(&trail);
    trail.run("UPDATE rw_items SET amount = 0 WHERE id = 2");
    trail.run("UPDATE rw_items SET id = 30 WHERE id = 3; DELETE FROM rw_items WHERE id = 4");
    let all: Vec<_> = (1..=6).map(|n| (n, i32::try_from(n).ok())).collect();
    assert_eq!(items(&trail, &of_items(instant)), all);
    assert_eq!(
        items(&trail, &of_items(instant).trail_only()),
        [(6, Some(6))]
    );
}

#[test]
fn where_the_present_is_no_witness_the_trail_alone_answers() {
    let reasons = [
        ("emptied", "TRUNCATE rw_items"),
        (
            "not been captured ever since",
            "SELECT threadline.detach_capture('public', 'rw_items'); SELECT threadline.refresh_capture('public', 'rw_items')",
        ),
        (
            "suspended",
            "SELECT threadline.suspend_capture('{rw_items}', 'r'); UPDATE rw_items SET amount = 77",
        ),
        (
            "altered",
            "ALTER TABLE rw_items ALTER COLUMN label TYPE varchar(50)",
        ),
        (
            "altered",
            "ALTER TABLE rw_items ADD COLUMN further int DEFAULT 5",
        ),
        (
            "not captured now",
            "ALTER TABLE rw_items DISABLE TRIGGER \"00_threadline_update\"; UPDATE rw_items SET amount = 77",
        ),
        ("inherits", "CREATE TABLE child () INHERITS (rw_items)"),
    ];
    for (reason, what) in reasons {
        let trail = captured(TABLES, &["rw_items", "rw_owners"]);
        trail.run("INSERT INTO rw_items VALUES (1, 'a', 1), (2, 'b', 2)");
        let instant = now(&trail);
        assert!(is_rewound(&trail, instant));
        trail.run("UPDATE rw_items SET amount = 3 WHERE id = 1");
        trail.run(what);
        assert!(!is_rewound(&trail, instant), "{what}");
        let said = trail.ask(&format!(
            "SELECT threadline.rewinding_obstacle('public', 'rw_items', {})",
            literal(instant)
        ));
        assert!(said.contains(reason), "{what}: {said}");
        assert_eq!(
            items(&trail, &of_items(instant)),
            [(1, Some(1)), (2, Some(2))],
            "{what}"
        );
    }
}

#[test]
fn what_was_made_before_such_a_thing_happened_refuses_to_run_after_it() {
    let trail = captured(TABLES, &["rw_items", "rw_owners"]);
    trail.run("INSERT INTO rw_items VALUES (1, 'a', 1), (2, 'b', 2)");
    let at = literal(now(&trail));
    let sql = trail.ask(&format!(
        "SELECT sql FROM threadline.table_rewound('public', 'rw_items', {at}, false, false)"
    ));
    assert_eq!(by(&trail, &sql).len(), 2);
    trail.run("TRUNCATE rw_items; INSERT INTO rw_items VALUES (3, 'c', 3)");
    let refused = trail.refused(&format!("SELECT count(*) FROM ({sql}) AS past"));
    assert!(refused.contains("cannot be rewound"), "{refused}");
}

#[test]
fn who_may_not_see_the_table_is_answered_by_the_trail() {
    let trail = captured(TABLES, &["rw_items", "rw_owners"]);
    trail.run("INSERT INTO rw_items VALUES (1, 'a', 1), (2, 'b', 2)");
    let instant = now(&trail);
    let role = format!(
        "rw_reader_{}",
        trail.ask("SELECT oid FROM pg_database WHERE datname = current_database()")
    );
    trail.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO {role}"
    ));
    for further in [
        String::new(),
        format!(
            "GRANT SELECT ON rw_items TO {role}; ALTER TABLE rw_items ENABLE ROW LEVEL SECURITY;
             CREATE POLICY few ON rw_items USING (id = 1)"
        ),
    ] {
        trail.run(&further);
        let mut conn = PgConnection::establish(&trail.url_as(&role)).unwrap();
        let query = rw_items::table.select(rw_items::id).order(rw_items::id);
        let ids: Vec<i64> = blocking::time_travel(&mut conn, &of_items(instant), query).unwrap();
        assert_eq!(ids, [1, 2]);
    }
    trail.run(&format!("ALTER TABLE rw_items DISABLE ROW LEVEL SECURITY; REVOKE SELECT ON threadline.audit_renames FROM {role}; DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn what_capture_hides_is_hidden_in_rows_that_were_never_changed() {
    let trail = empty_trail();
    trail.run(TABLES);
    let declared = trail.introspect("rw_items");
    trail.capture(&declared.redact(["amount"], ["label"]).unwrap());
    trail.run("INSERT INTO rw_items VALUES (1, 'secret', 5)");
    let instant = now(&trail);
    assert!(is_rewound(&trail, instant));
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let travel = of_items(instant);
    let refused = blocking::time_travel::<_, _, Item>(&mut conn, &travel, rw_items::table);
    assert!(matches!(
        refused,
        Err(TimeTravelError::UnknownColumns { .. })
    ));
    for travel in [travel.clone(), travel.trail_only()] {
        let rows: Vec<Item> =
            blocking::time_travel(&mut conn, &travel.allow_unknown_columns(), rw_items::table)
                .unwrap();
        assert_eq!(
            rows,
            [Item {
                id: 1,
                label: "[REDACTED]".into(),
                amount: None
            }]
        );
    }
}

#[test]
fn what_was_erased_from_the_trail_is_not_read_from_the_table() {
    let trail = captured(TABLES, &["rw_items", "rw_owners"]);
    trail.run("INSERT INTO rw_items VALUES (1, 'name', 5), (2, 'b', 6)");
    let instant = now(&trail);
    trail.run("SELECT threadline.erase_values('public', 'rw_items', '1', '{label}', 'asked for')");
    trail.run("INSERT INTO rw_items VALUES (3, 'c', 7)");
    let later = now(&trail);
    assert!(is_rewound(&trail, later));
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    for at in [instant, later] {
        let query = rw_items::table
            .filter(rw_items::id.le(2))
            .select(rw_items::label)
            .order(rw_items::id);
        let allowed = of_items(at).allow_unknown_columns();
        let labels: Vec<String> = blocking::time_travel(&mut conn, &allowed, query).unwrap();
        assert_eq!(labels, ["[ERASED]", "b"]);
    }
    assert_eq!(
        items(&trail, &of_items(later)),
        [(1, Some(5)), (2, Some(6)), (3, Some(7))]
    );
}

#[test]
fn the_transaction_around_a_travel_keeps_its_settings() {
    let trail = captured(TABLES, &["rw_items", "rw_owners"]);
    trail.run("INSERT INTO rw_items VALUES (1, 'a', 1)");
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let jit = |conn: &mut PgConnection| -> String {
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(
            "current_setting('jit')",
        ))
        .get_result(conn)
        .unwrap()
    };
    let before = jit(&mut conn);
    conn.transaction(|conn| {
        let count: i64 =
            blocking::time_travel_first(conn, &of_items(now(&trail)), rw_items::table.count())
                .unwrap();
        assert_eq!(count, 1);
        assert_eq!(jit(conn), before);
        QueryResult::Ok(())
    })
    .unwrap();
    assert_eq!(jit(&mut conn), before);
}
