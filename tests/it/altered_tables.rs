//! Answers about values that were stored before their table or its types were altered.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use threadline::prelude::*;
use threadline::query::{AsOfError, DefinitionChange, KnownRow, UnknownReason};
use threadline::restore::MissingEffect;
use threadline::time_travel::{TimeTravel, TimeTravelError};
use threadline::{AsOf, DocumentAsOf, Restore, RowAsOf, RowKeyText};

use crate::as_of::now;
use crate::harness::{Trail, captured};

mod schema {
    diesel::table! {
        altered_people (id) {
            id -> Integer,
            mood -> Nullable<Text>,
            age -> Nullable<Integer>,
        }
    }
    pub(super) mod strict {
        diesel::table! {
            altered_people (id) {
                id -> Integer,
                mood -> Text,
                age -> Integer,
            }
        }
    }
}
use schema::altered_people;

#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = altered_people)]
struct Person {
    id: i32,
    mood: Option<String>,
    age: Option<i32>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = schema::strict::altered_people)]
#[expect(dead_code, reason = "loading it fails")]
struct StrictPerson {
    mood: String,
    age: i32,
}

impl threadline::Audited for StrictPerson {
    fn audited_table() -> Result<threadline::table::AuditedTable, threadline::table::InvalidTable> {
        Person::audited_table()
    }
}

/// A row with an enum, a composite and a text, whose types reject its values since: a label was renamed, an
/// attribute was dropped, and the text became a number. Returns an instant before that.
fn people() -> (Trail, DateTime<Utc>) {
    let trail = captured(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TYPE place AS (street text, no int);
         CREATE TABLE altered_people (id int PRIMARY KEY, mood mood, home place, moods mood[], age text)",
        &["altered_people"],
    );
    trail.run("INSERT INTO altered_people VALUES (1, 'sad', '(Main,7)', '{sad,ok}', 'ten')");
    let then = now(&trail);
    trail.run(
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TYPE place DROP ATTRIBUTE no;
         ALTER TABLE altered_people ALTER age TYPE int USING length(age)",
    );
    trail.capture(&trail.introspect("altered_people"));
    (trail, then)
}

fn key(key: &str) -> RowKeyText {
    RowKeyText::from_values(vec![key.to_owned()])
}

fn known_row(
    trail: &Trail,
    table: &str,
    at: DateTime<Utc>,
) -> KnownRow<threadline::models::StoredJson> {
    let query = DocumentAsOf::new(table.parse().unwrap(), &key("1"), at);
    match trail.run_async(async |conn| threadline::document_as_of(conn, &query).await) {
        Ok(AsOf::Row(known)) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_document_shows_incompatible_values_as_they_were_stored_and_names_their_types() {
    let (trail, then) = people();
    let known = known_row(&trail, "altered_people", then);
    assert_eq!(
        known.row.as_str(),
        r#"{"id": 1, "age": "ten", "home": "(Main,7)", "mood": "sad", "moods": "{sad,ok}"}"#
    );
    let unknown: Vec<_> = known
        .unknown
        .iter()
        .map(|unknown| {
            let value = unknown.incompatible.as_ref().unwrap();
            assert_eq!(unknown.reason, UnknownReason::Incompatible);
            (
                unknown.column.as_str(),
                value.stored.as_str(),
                value.type_name.as_str(),
            )
        })
        .collect();
    assert_eq!(
        unknown,
        [
            ("age", "ten", "integer"),
            ("home", "(Main,7)", "public.place"),
            ("mood", "sad", "public.mood"),
            ("moods", "{sad,ok}", "public.mood[]"),
        ]
    );
    let mood = &known.unknown[2];
    assert_eq!(
        mood.to_string(),
        "mood (stored as `sad`, which is not a value of type public.mood)"
    );
    let error = &mood.incompatible.as_ref().unwrap().error;
    assert!(error.contains("invalid input value for enum"), "{error}");
}

#[test]
fn a_struct_gets_none_for_incompatible_values_or_an_error_that_names_them() {
    let (trail, then) = people();
    let query = RowAsOf::<Person>::new(1, then).unwrap();
    let Ok(AsOf::Row(known)) = trail.run_async(async |conn| threadline::as_of(conn, &query).await)
    else {
        panic!("no row");
    };
    assert_eq!(
        known.row,
        Person {
            id: 1,
            mood: None,
            age: None
        }
    );
    let columns: Vec<_> = known
        .unknown
        .iter()
        .map(|one| one.column.as_str())
        .collect();
    assert_eq!(columns, ["age", "mood"], "the struct has no other column");

    let query = RowAsOf::<StrictPerson>::new(1, then).unwrap();
    let refused = trail
        .run_async(async |conn| threadline::as_of(conn, &query).await)
        .unwrap_err();
    assert!(matches!(refused, AsOfError::Unloadable { .. }), "{refused}");
    let message = refused.to_string();
    assert!(
        message.contains(
            "age (stored as `ten`, which is not a value of type integer), mood (stored as `sad`"
        ),
        "{message}"
    );
}

#[test]
fn definition_changes_name_the_columns_and_the_policy_since_when_they_differ() {
    let trail = captured(
        "CREATE TYPE mood AS ENUM ('sad');
         CREATE TABLE t (id int PRIMARY KEY, a int, b text, c text, same numeric(10,2), moods mood[], code varchar(9))",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES (1, 1250, 'b', 'c', 1, '{sad}', 'x')");
    let then = now(&trail);
    let differences = |trail: &Trail| known_row(trail, "t", then).definition_changes;
    assert_eq!(differences(&trail), []);

    trail.run(
        "ALTER TABLE t ALTER a TYPE numeric(12,2) USING a / 100.0; ALTER TABLE t RENAME b TO bee",
    );
    trail.capture(&trail.introspect("t"));
    trail.run("ALTER TABLE t DROP COLUMN c");
    let since: DateTime<Utc> = trail
        .query_text("SELECT to_jsonb(max(recorded_at)) #>> '{}' FROM threadline.audit_enrolments")
        .parse()
        .unwrap();
    let found = differences(&trail);
    let policy = since.format("policy of %Y-%m-%d %H:%M:%S UTC");
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            format!("a was integer, is numeric(12,2) now ({policy})"),
            format!("b is named bee now ({policy})"),
            "c (text) does not exist now (in no policy yet)".to_owned(),
        ]
    );
    let changed = |one: &DefinitionChange| one.since.is_some_and(|at| at == since);
    assert_eq!(found.iter().filter(|one| changed(one)).count(), 2);

    // A change under the new policy differs only in what was altered after it.
    trail.run("ALTER TABLE t ADD c text; UPDATE t SET bee = 'x'");
    let later = known_row(&trail, "t", now(&trail)).definition_changes;
    assert_eq!(later.len(), 1, "{later:?}");
    let notes = trail.run_async(async |conn| {
        let query = threadline::query::RowQuery::new("t".parse().unwrap(), &key("1"));
        threadline::history_notes(conn, &query).await
    });
    assert_eq!(notes.unwrap().definition_changes, found);
}

#[test]
fn a_time_travel_query_names_the_column_whose_type_rejects_a_value() {
    let (trail, then) = people();
    let travel = TimeTravel::at(then).table::<Person>().unwrap();
    let rejected = |result: Result<Vec<Option<String>>, TimeTravelError>| match result {
        Err(error @ TimeTravelError::IncompatibleColumn { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let moods = trail.run_async(async |conn| {
        threadline::time_travel(
            conn,
            &travel,
            altered_people::table.select(altered_people::mood),
        )
        .await
    });
    let message = rejected(moods);
    assert!(
        message.starts_with("column mood of table public.altered_people has a value")
            && message.contains("\"sad\""),
        "{message}"
    );
    let ages = trail.run_async(async |conn| {
        let query = altered_people::table
            .filter(altered_people::age.gt(1))
            .select(altered_people::mood);
        threadline::time_travel(conn, &travel, query).await
    });
    let message = rejected(ages);
    assert!(
        message.contains("column age of table")
            && message.contains("type integer")
            && message.contains("\"ten\""),
        "{message}"
    );
    // The connection can be used again, and other columns can be read.
    let ids: Vec<i32> = trail.run_async(async |conn| {
        let moods = altered_people::table.select(altered_people::mood);
        let failed: Result<Vec<Option<String>>, _> =
            threadline::time_travel(conn, &travel, moods).await;
        assert!(failed.is_err());
        let ids = altered_people::table.select(altered_people::id);
        threadline::time_travel(conn, &travel, ids).await.unwrap()
    });
    assert_eq!(ids, [1]);
}

#[test]
fn restore_leaves_out_incompatible_values_and_names_what_is_defined_otherwise() {
    let (trail, then) = people();
    trail.run("ALTER TABLE altered_people ALTER mood SET NOT NULL; DELETE FROM altered_people");
    let query = Restore::new("altered_people".parse().unwrap(), &key("1")).as_of(then);
    let plan = trail
        .run_async(async |conn| threadline::restore_plan(conn, &query).await)
        .unwrap();
    let [statement] = plan.statements.as_slice() else {
        panic!("{plan}");
    };
    let missing: Vec<_> = statement
        .missing
        .iter()
        .map(|missing| (missing.column.as_str(), missing.reason, missing.effect))
        .collect();
    let incompatible = UnknownReason::Incompatible;
    assert_eq!(
        missing,
        [
            ("mood", incompatible, MissingEffect::ValueNeeded),
            ("home", incompatible, MissingEffect::Null),
            ("moods", incompatible, MissingEffect::Null),
            ("age", incompatible, MissingEffect::Null),
        ]
    );
    let script = plan.to_string();
    assert!(
        script.contains(
            "--   mood (stored as `sad`, which is not a value of type public.mood): value needed"
        ) && script
            .contains("--   defined otherwise now: age was text, is integer now (policy of "),
        "{script}"
    );
    trail.run(&script.replace("/* value needed */", "'blue'"));
    assert_eq!(
        trail.query_text("SELECT p::text FROM altered_people AS p"),
        "(1,blue,,,)"
    );
}

#[test]
fn restore_of_a_row_whose_stored_key_does_not_fit_its_type_names_the_key_column() {
    let trail = captured(
        "CREATE TYPE code AS ENUM ('a'); CREATE TABLE t (code code PRIMARY KEY, v int)",
        &["t"],
    );
    trail.run("INSERT INTO t VALUES ('a', 1)");
    let then = now(&trail);
    trail.run("UPDATE t SET v = 2");
    trail.run("ALTER TYPE code RENAME VALUE 'a' TO 'b'");
    let query = Restore::new("t".parse().unwrap(), &key("a")).as_of(then);
    let refused = trail
        .run_async(async |conn| threadline::restore_plan(conn, &query).await)
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("code (stored as `a`, which is not a value of type public.code)"),
        "{refused}"
    );
}
