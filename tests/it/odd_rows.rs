//! Rows with invalid values, which this library never writes: pages, incidents and exports return them
//! as they are stored.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::models::{Op, RecordedActor};
use threadline::prelude::*;
use threadline::query::diff::ChangeDiff;
use threadline::query::{Attribution, MetaPattern, actor_history};
use threadline::{Actions, ActorType, Correlation, Incident, Page, Transactions, blocking};

use crate::harness::{Trail, block_on, captured};

/// Texts that are not valid actors.
fn invalid_actors() -> Vec<String> {
    let long = format!("user:{}", "x".repeat(600));
    ["robot:7", "nobody", "user:", "anonymous:1", ":", "", &long]
        .map(str::to_owned)
        .into()
}

/// Contexts that are not objects, and contexts with fields of the wrong type.
const INVALID_CONTEXTS: [&str; 7] = [
    "[1, 2]",
    "\"text\"",
    "null",
    r#"{"source": 7, "remote_addr": {"ip": "::1"}, "meta": [1]}"#,
    r#"{"meta": "text"}"#,
    r#"{"context_error": {"a": 1}, "meta": null}"#,
    r#"{"unknown": true}"#,
];

/// A trail with a change, a transaction and an action for each pair of invalid actor and context,
/// inserted by a superuser with the guard triggers off.
fn trail_with_invalid_rows() -> Trail {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v text)", &["t"]);
    let mut sql = String::from("SET LOCAL session_replication_role = replica;");
    for (n, actor) in invalid_actors().into_iter().enumerate() {
        let context = INVALID_CONTEXTS[n];
        let op = if n == 0 { "merge" } else { "update" };
        sql.push_str(&format!(
            "INSERT INTO threadline.audit_transactions (id, occurred_at, actor, on_behalf_of,
                 correlation_id, context, xid, db_user, backend_pid)
             SELECT (encode(timestamptz_send(now() + interval '{n} s') || int8send({n}), 'hex'))::uuid,
                 now() + interval '{n} s', '{actor}', '{actor}', 'odd', '{context}', '{n}', 'app', 1;
             INSERT INTO threadline.audit_actions (id, order_id, transaction_id, recorded_at, name,
                 actor, on_behalf_of, status, correlation_id, meta)
             SELECT ('019a0000-0000-7000-8000-00000000000' || {n})::uuid,
                 nextval('threadline.audit_changes_id_seq'), id, occurred_at, E'odd\\nname', actor,
                 on_behalf_of, 'half done', 'odd', context
             FROM threadline.audit_transactions WHERE xid = '{n}';
             INSERT INTO threadline.audit_changes (captured_at, transaction_id, action_id, actor, op,
                 table_schema, table_name, row_key, table_pk, data_after, changed_from)
             SELECT occurred_at, id, ('019a0000-0000-7000-8000-00000000000' || {n})::uuid, actor,
                 '{op}', 'public', 't', '{n}', '[{n}]', '\"text\"', '[1]'
             FROM threadline.audit_transactions WHERE xid = '{n}';"
        ));
    }
    trail.run(&sql);
    trail
}

fn actor_texts<'a, T>(
    page: &'a Page<T>,
    actor: impl Fn(&'a T) -> Option<&'a RecordedActor>,
) -> Vec<String> {
    let texts = page.entries.iter().map(|entry| actor(entry).unwrap());
    texts.map(ToString::to_string).collect()
}

#[test]
fn rows_with_invalid_values_are_listed_as_stored() {
    let trail = trail_with_invalid_rows();
    let conn = &mut PgConnection::establish(&trail.url()).unwrap();
    let mut expected = invalid_actors();
    expected.reverse();
    for query in [
        Timeline::new(),
        Timeline::new().correlation_id("odd".parse().unwrap()),
        Timeline::new().table("t".parse().unwrap()),
    ] {
        let page = blocking::timeline(conn, &query).unwrap();
        assert_eq!(actor_texts(&page, |entry| entry.actor()), expected);
        assert_eq!(actor_texts(&page, |entry| entry.on_behalf_of()), expected);
        assert!(serde_json::to_string(&page).is_ok());
        assert_eq!(page.entries.last().unwrap().change.op, Op::Other);
        for entry in &page.entries {
            let diff = ChangeDiff::of(&entry.change);
            assert!(serde_json::to_string(&diff).is_ok() && !diff.to_string().is_empty());
        }
    }
    let attributed = Timeline::new().attribution(Attribution::Attributed);
    let page = blocking::timeline(conn, &attributed).unwrap();
    assert_eq!(page.entries.len(), expected.len());
    for query in [
        Timeline::new().actor_type(ActorType::Admin),
        Timeline::new().actor_type(ActorType::Anonymous),
        Timeline::new().meta(MetaPattern::field("a", 1).unwrap()),
        Timeline::new().changed_field("v".parse().unwrap()),
    ] {
        let page = blocking::timeline(conn, &query).unwrap();
        assert!(page.entries.is_empty());
    }
    let page = blocking::actions(conn, &Actions::new()).unwrap();
    assert_eq!(actor_texts(&page, |action| action.actor.as_ref()), expected);
    assert_eq!(page.entries[0].status, "half done");
    let page = trail
        .run_async(async |conn| threadline::transactions(conn, &Transactions::new()).await)
        .unwrap();
    assert_eq!(actor_texts(&page, |one| one.actor.as_ref()), expected);
    let absent = actor_history("user:unrecorded".parse().unwrap());
    assert!(
        trail
            .run_async(async |conn| threadline::transactions(conn, &absent).await)
            .unwrap()
            .entries
            .is_empty()
    );
    let bundle = Correlation::new("odd".parse().unwrap());
    let bundle = trail
        .run_async(async |conn| threadline::correlation(conn, &bundle).await)
        .unwrap();
    assert_eq!(bundle.changes.entries.len(), expected.len());
}

#[test]
fn an_invalid_context_is_returned_by_its_incident() {
    let trail = trail_with_invalid_rows();
    let conn = &mut PgConnection::establish(&trail.url()).unwrap();
    let page = trail
        .run_async(async |conn| threadline::transactions(conn, &Transactions::new()).await)
        .unwrap();
    let shown: Vec<_> = page
        .entries
        .iter()
        .rev()
        .map(|transaction| {
            let incident = Incident::new(transaction.id.into());
            let bundle = blocking::incident(conn, incident).unwrap().unwrap();
            assert_eq!((bundle.changes.len(), bundle.actions.len()), (1, 1));
            let document = serde_json::to_value(&bundle.transaction).unwrap();
            ["source", "remote_addr", "meta", "context_error"]
                .map(|field| document[field].to_string())
                .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"null null null "[1, 2]""#,
            r#"null null null "text""#,
            r#"null null null "null""#,
            r#""7" "{\"ip\": \"::1\"}" [1] null"#,
            r#"null null "text" null"#,
            r#"null null null "{\"a\": 1}""#,
            "null null null null",
        ]
    );
}

#[test]
fn json_of_an_actor_marks_invalid_actors() {
    let json = |text: &str| serde_json::to_string(&RecordedActor::from(text.to_owned())).unwrap();
    assert_eq!(json("user:a:b"), r#"{"type":"user","id":"a:b"}"#);
    assert_eq!(json("anonymous"), r#"{"type":"anonymous"}"#);
    assert_eq!(json("robot:7"), r#"{"type":null,"text":"robot:7"}"#);
}

#[cfg(feature = "export")]
#[test]
fn rows_with_invalid_values_are_exported_as_stored() {
    use threadline::export::{ActionColumns, CsvOptions, Export, Format};
    let trail = trail_with_invalid_rows();
    for format in [Format::Json, Format::Ndjson, Format::Csv(CsvOptions::new())] {
        let mut written = Vec::new();
        let export = Export::new(Timeline::new())
            .format(format)
            .action_columns(ActionColumns::With);
        let manifest = block_on(async {
            let mut conn = trail.connect().await;
            export.write_to(&mut conn, &mut written, |_| ()).await
        });
        let text = String::from_utf8(written).unwrap();
        assert_eq!(manifest.unwrap().summary.row_count, 7);
        for odd in ["robot:7", "anonymous:1", &"x".repeat(600), "half done"] {
            assert!(text.contains(odd), "{odd} in {text}");
        }
    }
}
