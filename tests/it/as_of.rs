//! One row as of an instant.

mod access;
mod keys;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::models::StoredJson;
use threadline::prelude::*;
use threadline::query::{AsOfError, UnknownReason};
use threadline::{AsOf, DocumentAsOf, RowAsOf, RowKeyText, blocking};
use uuid::Uuid;

use crate::harness::{Trail, block_on, captured, empty_trail};

/// The time on the server.
pub(crate) fn now(trail: &Trail) -> DateTime<Utc> {
    trail
        .query_text("SELECT to_jsonb(clock_timestamp()) #>> '{}'")
        .parse()
        .expect("an instant")
}

mod schema {
    diesel::table! {
        as_of_things (id) {
            id -> BigInt,
            flag -> Bool,
            real_number -> Double,
            name -> Text,
            code -> Nullable<Varchar>,
            bytes -> Binary,
            tag -> Uuid,
            day -> Date,
            at_time -> Time,
            local -> Timestamp,
            at -> Timestamptz,
            document -> Jsonb,
            raw -> Json,
            numbers -> Array<Integer>,
            words -> Array<Nullable<Text>>,
            nothing -> Nullable<Integer>,
        }
    }
    diesel::table! {
        as_of_accounts (id) {
            id -> Integer,
            owner -> Text,
            balance -> Nullable<Integer>,
        }
    }
    pub(super) mod strict {
        diesel::table! {
            as_of_accounts (id) {
                id -> Integer,
                owner -> Text,
                balance -> Integer,
            }
        }
    }
    diesel::table! {
        as_of_lines (order_id, line_no) {
            order_id -> Integer,
            line_no -> Integer,
            amount -> Integer,
        }
    }
    diesel::table! {
        vault.as_of_items (id) {
            id -> Integer,
            name -> Text,
        }
    }
}
use schema::{as_of_accounts, as_of_items, as_of_things};

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = as_of_things)]
struct Thing {
    id: i64,
    flag: bool,
    real_number: f64,
    name: String,
    code: Option<String>,
    bytes: Vec<u8>,
    tag: Uuid,
    day: NaiveDate,
    at_time: NaiveTime,
    local: NaiveDateTime,
    at: DateTime<Utc>,
    document: serde_json::Value,
    raw: serde_json::Value,
    numbers: Vec<i32>,
    words: Vec<Option<String>>,
    nothing: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = as_of_accounts)]
struct Account {
    id: i32,
    owner: String,
    balance: Option<i32>,
}

fn account(id: i32, owner: &str, balance: i32) -> Account {
    Account {
        id,
        owner: owner.into(),
        balance: Some(balance),
    }
}

const ACCOUNTS: &str =
    "CREATE TABLE as_of_accounts (id int PRIMARY KEY, owner text NOT NULL, balance int)";

fn accounts() -> Trail {
    captured(ACCOUNTS, &["as_of_accounts"])
}

fn account_as_of(trail: &Trail, key: i32, instant: DateTime<Utc>) -> AsOf<Account> {
    block_on(async {
        let query = RowAsOf::<Account>::new(key, instant).unwrap();
        threadline::as_of(&mut trail.connect().await, &query)
            .await
            .unwrap()
    })
}

fn document(trail: &Trail, table: &str, key: &[&str], instant: DateTime<Utc>) -> AsOf<StoredJson> {
    let key = RowKeyText::from_values(key.iter().map(|value| (*value).to_owned()).collect());
    block_on(async {
        let query = DocumentAsOf::new(table.parse().unwrap(), &key, instant);
        threadline::document_as_of(&mut trail.connect().await, &query)
            .await
            .unwrap()
    })
}

fn json_of(answer: AsOf<StoredJson>) -> serde_json::Value {
    answer.row().expect("a row").read().expect("JSON")
}

#[test]
fn as_of_loads_the_model_struct_sync_and_async() {
    let trail = captured(
        "CREATE TABLE as_of_things (id bigint PRIMARY KEY, flag bool, real_number float8, name text,
            code varchar(10), bytes bytea, tag uuid, day date, at_time time, local timestamp, at timestamptz,
            document jsonb, raw json, numbers int[], words text[], nothing int)",
        &["as_of_things"],
    );
    trail.run(
        r#"SET TimeZone = 'Asia/Kathmandu';
        INSERT INTO as_of_things VALUES (9007199254740993, true, 0.1, E'a\n"b"', 'c', '\x00ff', gen_random_uuid(),
            '2024-02-29', '10:11:12.123456', '2024-03-01 10:00:00.5', '2024-03-01 10:00+05:45', '{"a": [1, null]}',
            '{"a":  1, "b": "x"}', '{1,2}', '{a,NULL,"b c"}', NULL)"#,
    );
    let first = now(&trail);
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let expected = as_of_things::table
        .select(Thing::as_select())
        .first(&mut conn)
        .unwrap();
    trail.run(
        "UPDATE as_of_things SET name = 'later', numbers = '[0:1]={7,8}', raw = NULL, flag = NULL",
    );
    let query = RowAsOf::<Thing>::new(9_007_199_254_740_993_i64, first).unwrap();
    let AsOf::Row(known) = blocking::as_of(&mut conn, &query).unwrap() else {
        panic!("no row");
    };
    assert_eq!((known.row, known.unknown), (expected.clone(), vec![]));
    let answer = block_on(async {
        threadline::as_of(&mut trail.connect().await, &query)
            .await
            .unwrap()
    });
    assert_eq!(answer.row(), Some(expected));
}

#[test]
fn as_of_returns_each_version_and_the_last_of_a_transaction() {
    let trail = accounts();
    let before = now(&trail);
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10)");
    let first = now(&trail);
    trail.run("UPDATE as_of_accounts SET balance = 11; UPDATE as_of_accounts SET balance = 12");
    let second = now(&trail);
    assert_eq!(
        account_as_of(&trail, 1, first).row(),
        Some(account(1, "ada", 10))
    );
    assert_eq!(
        account_as_of(&trail, 1, second).row(),
        Some(account(1, "ada", 12))
    );
    assert_eq!(
        account_as_of(&trail, 1, second + chrono::TimeDelta::days(400)).row(),
        Some(account(1, "ada", 12))
    );
    let AsOf::NotYetKnown(horizon) = account_as_of(&trail, 1, before) else {
        panic!("known before it was inserted");
    };
    let begins = horizon.first.expect("the insert");
    assert_eq!(begins.op, Op::Insert);
    assert!(begins.captured_at > before && begins.captured_at < first);
    let AsOf::NotYetKnown(horizon) = account_as_of(&trail, 99, second) else {
        panic!("known although it was never captured");
    };
    assert_eq!(horizon.first, None);
}

#[test]
fn as_of_a_deleted_row_returns_the_delete_and_its_actor() {
    let trail = accounts();
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10), (2, 'eve', 20)");
    let before = now(&trail);
    trail.run(
        "SELECT set_config('threadline.actor_ref', '{\"type\":\"user\",\"id\":\"42\"}', true);
         DELETE FROM as_of_accounts WHERE id = 1",
    );
    let between = now(&trail);
    trail.run("TRUNCATE as_of_accounts");
    let after = now(&trail);
    let AsOf::Deleted(change) = account_as_of(&trail, 1, between) else {
        panic!("not deleted");
    };
    assert_eq!(change.op, Op::Delete);
    assert_eq!(change.actor.unwrap().to_string(), "user:42");
    assert!(change.captured_at > before && change.captured_at < between);
    assert!(matches!(account_as_of(&trail, 2, between), AsOf::Row(_)));
    let AsOf::Deleted(change) = account_as_of(&trail, 2, after) else {
        panic!("not deleted");
    };
    assert_eq!((change.op, change.actor), (Op::Truncate, None));
    trail.run("INSERT INTO as_of_accounts VALUES (2, 'new', 1)");
    assert_eq!(
        account_as_of(&trail, 2, now(&trail)).row(),
        Some(account(2, "new", 1))
    );
}

#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = as_of_items)]
struct Item {
    id: i32,
    name: String,
}

#[test]
fn as_of_reads_a_model_in_another_schema() {
    let trail = captured(
        "CREATE SCHEMA vault; CREATE TABLE vault.as_of_items (id int PRIMARY KEY, name text)",
        &["vault.as_of_items"],
    );
    trail.run("INSERT INTO vault.as_of_items VALUES (1, 'ring')");
    let first = now(&trail);
    trail.run("UPDATE vault.as_of_items SET name = 'crown'");
    let query = RowAsOf::<Item>::new(1, first).unwrap();
    let answer = block_on(async {
        threadline::as_of(&mut trail.connect().await, &query)
            .await
            .unwrap()
    });
    let name = "ring".to_owned();
    assert_eq!(answer.row(), Some(Item { id: 1, name }));
}

#[test]
fn as_of_returns_a_baseline_image() {
    let trail = accounts();
    trail.run(
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
         VALUES (nextval('threadline.audit_changes_id_seq'), clock_timestamp(), threadline.current_transaction_id(), 'baseline',
            'public', 'as_of_accounts', '1', '{\"id\": \"1\"}', '{\"id\": 1, \"owner\": \"old\", \"balance\": 3}')",
    );
    let AsOf::Row(known) = account_as_of(&trail, 1, now(&trail)) else {
        panic!("no row");
    };
    assert_eq!(
        (known.row, known.change.op),
        (account(1, "old", 3), Op::Baseline)
    );
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = schema::strict::as_of_accounts)]
struct MaskedAccount {
    owner: String,
    balance: i32,
}

impl threadline::Audited for MaskedAccount {
    fn audited_table() -> Result<threadline::table::AuditedTable, threadline::table::InvalidTable> {
        <Account as threadline::Audited>::audited_table()
    }
}

#[test]
fn unknown_columns_are_listed_with_the_reason() {
    let trail = empty_trail();
    trail.run(ACCOUNTS);
    let table = trail.introspect("as_of_accounts");
    trail.capture(&table.redact(["balance"], ["owner"]).unwrap());
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10)");
    let AsOf::Row(known) = account_as_of(&trail, 1, now(&trail)) else {
        panic!("no row");
    };
    assert_eq!(known.row.owner, "[REDACTED]");
    assert_eq!(known.row.balance, None);
    let unknown: Vec<_> = known
        .unknown
        .iter()
        .map(|unknown| (unknown.column.as_str(), unknown.reason))
        .collect();
    assert_eq!(
        unknown,
        [
            ("balance", UnknownReason::Excluded),
            ("owner", UnknownReason::Masked)
        ]
    );
    let refused = block_on(async {
        let query = RowAsOf::<MaskedAccount>::new(1, now(&trail)).unwrap();
        threadline::as_of(&mut trail.connect().await, &query)
            .await
            .unwrap_err()
    });
    assert!(matches!(refused, AsOfError::Unloadable { .. }));
    assert!(
        refused.to_string().contains("balance (excluded)"),
        "{refused}"
    );
}

#[test]
fn a_masked_null_is_known_if_the_rule_keeps_null() {
    let trail = empty_trail();
    trail.run(ACCOUNTS);
    let table = trail.introspect("as_of_accounts");
    trail.capture(&table.mask_keep_null(["balance"]).unwrap());
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10)");
    let AsOf::Row(masked) = account_as_of(&trail, 1, now(&trail)) else {
        panic!("no row");
    };
    assert_eq!(masked.unknown[0].reason, UnknownReason::Masked);
    trail.run("UPDATE as_of_accounts SET balance = NULL");
    let AsOf::Row(emptied) = account_as_of(&trail, 1, now(&trail)) else {
        panic!("no row");
    };
    assert_eq!((emptied.row.balance, emptied.unknown), (None, Vec::new()));
}

#[test]
fn dropped_columns_are_ignored_and_added_or_erased_ones_reported_unknown() {
    let trail = captured(
        "CREATE TABLE as_of_accounts (id int PRIMARY KEY, owner text, extra text)",
        &["as_of_accounts"],
    );
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 'x')");
    let first = now(&trail);
    trail.run("ALTER TABLE as_of_accounts DROP COLUMN extra, ADD COLUMN balance int DEFAULT 7");
    trail.capture(&trail.introspect("as_of_accounts"));
    let AsOf::Row(known) = account_as_of(&trail, 1, first) else {
        panic!("no row");
    };
    assert_eq!(known.row.balance, None, "not today's default");
    assert_eq!(known.unknown[0].reason, UnknownReason::NotCaptured);
    trail
        .run("SELECT threadline.erase_values('public', 'as_of_accounts', '1', '{owner}', 'asked')");
    let AsOf::Row(known) = account_as_of(&trail, 1, first) else {
        panic!("no row");
    };
    assert_eq!(known.unknown[1].reason, UnknownReason::Erased);
}

#[test]
fn a_row_older_than_capture_is_reconstructed_from_its_first_change() {
    let trail = empty_trail();
    trail.run(ACCOUNTS);
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10), (2, 'eve', 20), (3, 'bob', 30)");
    let before = now(&trail);
    trail.capture(&trail.introspect("as_of_accounts"));
    let first = now(&trail);
    trail.run("UPDATE as_of_accounts SET balance = 11, id = 7 WHERE id = 1");
    trail.run("DELETE FROM as_of_accounts WHERE id = 2");
    for (key, expected) in [(7, account(1, "ada", 10)), (2, account(2, "eve", 20))] {
        let AsOf::Row(known) = account_as_of(&trail, key, first) else {
            panic!("no row");
        };
        assert!(known.later);
        assert_eq!(known.row, expected);
        let AsOf::NotYetKnown(horizon) = account_as_of(&trail, key, before) else {
            panic!("known before the horizon");
        };
        assert!(horizon.first.is_some());
    }
    assert!(matches!(
        account_as_of(&trail, 2, now(&trail)),
        AsOf::Deleted(_)
    ));
    assert!(matches!(
        account_as_of(&trail, 3, first),
        AsOf::NotYetKnown(_)
    ));
}
