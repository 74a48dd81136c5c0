//! Every filter returns the matching entries and no others.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::action::ActionStatus;
use threadline::actions::Actions;
use threadline::actor::ActorType;
use threadline::blocking;
use threadline::correlation::Correlation;
use threadline::error::{InvalidQuestion, ReadError};
use threadline::incident::Incident;
use threadline::moments::{HasMoments, row_moment};
use threadline::page::PageSize;
use threadline::prelude::*;
use threadline::row_key::RowKeyText;
use threadline::standing::Standing;
use threadline::terms::{ColumnName, FieldValue, MetaPattern, ScannedText};
use threadline::timeline::{Attribution, actor_window};
use threadline::transactions::{Transactions, actor_history};

use crate::harness::{Trail, captured};

/// Changes of a shop: attributed changes with actions, a job, work on behalf of a user, a nested write
/// and unattributed changes.
fn shop() -> (Trail, PgConnection) {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric);
         CREATE SCHEMA stock;
         CREATE TABLE stock.items (id int PRIMARY KEY, name text)",
        &["orders", "stock.items"],
    );
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let work = |actor: &str, context: &str, action: Option<&str>, sql: &str| {
        let action = action.map_or_else(String::new, |action| format!(r#", "action": {action}"#));
        trail.run(&format!(
            r#"SELECT threadline.begin_audited_work('{{"actor_ref": {actor}, "context": {context}{action}}}'); {sql}"#
        ));
    };
    let alice = r#"{"type": "user", "id": "alice"}"#;
    work(
        alice,
        r#"{"request_id": "r1", "correlation_id": "c1", "meta": {"tenant": 1}}"#,
        Some(
            r#"{"id": "019a0000-0000-7000-8000-000000000001", "name": "order.place", "category": "sales"}"#,
        ),
        "INSERT INTO orders VALUES (1, 'open', 10.00)",
    );
    work(
        r#"{"type": "admin", "id": "rita"}"#,
        r#"{"request_id": "r2", "on_behalf_of": {"type": "user", "id": "alice"}, "meta": {"tenant": 1}}"#,
        Some(
            r#"{"id": "019a0000-0000-7000-8000-000000000002", "name": "order.pay", "category": "billing", "meta": {"via": "card"}}"#,
        ),
        "UPDATE orders SET status = 'paid'",
    );
    work(
        r#"{"type": "job", "id": "nightly"}"#,
        r#"{"job_id": "j1", "correlation_id": "c1", "meta": {"tenant": 2}}"#,
        None,
        "UPDATE orders SET total = 12.50; INSERT INTO stock.items VALUES (7, 'Red Tricycle')",
    );
    // A nested write of Bob in a transaction of Alice.
    trail.run(&format!(
        r#"SELECT threadline.begin_audited_work('{{"actor_ref": {alice}, "context": {{}}}}');
           UPDATE orders SET status = 'sent';
           SELECT threadline.begin_audited_work('{{"actor_ref": {{"type": "user", "id": "bob"}}, "context": {{}}, "action": {{"id": "019a0000-0000-7000-8000-000000000003", "name": "item.rename", "status": "error"}}}}');
           UPDATE stock.items SET name = 'Blue Tricycle'"#
    ));
    trail.run("UPDATE orders SET status = 'paid'");
    let context = AuditContext::new(ActorRef::user("bob").unwrap())
        .request_id("r9".parse().unwrap())
        .correlation_id("c1".parse().unwrap());
    let refused = Action::new("order.refund")
        .unwrap()
        .status(ActionStatus::Error)
        .meta("limit", 100);
    blocking::record_action(&mut conn, &context, &refused).unwrap();
    (trail, conn)
}

fn shown(conn: &mut PgConnection, question: &Timeline) -> Vec<String> {
    let page = blocking::timeline(conn, question).unwrap();
    let line = |e: &threadline::change::TimelineEntry| {
        let fields = e.change.changed_fields().join(",");
        format!("{} {} {fields}", e.change.op, e.change.table_name)
            .trim()
            .to_owned()
    };
    page.entries.iter().map(line).collect()
}

const PAID_AGAIN: &str = "update orders status";

#[test]
fn every_timeline_filter_returns_the_matching_changes() {
    let (_trail, conn) = &mut shop();
    let all = Timeline::new;
    let actor = |text: &str| text.parse::<ActorRef>().unwrap();
    let cases = vec![
        ("all", all(), 7),
        ("schema", all().schema("stock"), 2),
        (
            "changed field",
            all().changed_field(ColumnName::new("status").unwrap()),
            3,
        ),
        (
            "changed field of a table",
            all()
                .table("orders".parse().unwrap())
                .changed_field("total".parse().unwrap()),
            1,
        ),
        ("admins", all().actor_type(ActorType::Admin), 1),
        ("users", all().actor_type(ActorType::User), 3),
        (
            "Bob, inside of Alice's work",
            all().actor(actor("user:bob")),
            1,
        ),
        (
            "Alice, and not what Bob did inside",
            all().actor(actor("user:alice")),
            2,
        ),
        (
            "on behalf of Alice",
            all().on_behalf_of(actor("user:alice")),
            1,
        ),
        ("on behalf of Bob", all().on_behalf_of(actor("user:bob")), 0),
        ("job", all().job_id("j1".parse().unwrap()), 2),
        ("request", all().request_id("r2".parse().unwrap()), 1),
        (
            "correlation",
            all().correlation_id("c1".parse().unwrap()),
            3,
        ),
        ("action", all().action("order.pay"), 1),
        ("category", all().action_category("billing"), 1),
        ("failed", all().action_status(ActionStatus::Error), 1),
        ("done", all().action_status(ActionStatus::Ok), 2),
        (
            "tenant 1",
            all().meta(MetaPattern::field("tenant", 1).unwrap()),
            2,
        ),
        (
            "meta of an action",
            all().meta(r#"{"via": "card"}"#.parse().unwrap()),
            1,
        ),
        (
            "values",
            all().scanning_values(ScannedText::new("TRICYCLE").unwrap()),
            2,
        ),
        (
            "values of one table",
            all()
                .table("orders".parse().unwrap())
                .scanning_values(ScannedText::new("12.50").unwrap()),
            3,
        ),
        (
            "names of columns are no values",
            all().scanning_values(ScannedText::new("status").unwrap()),
            0,
        ),
        ("nobody", all().attribution(Attribution::Unattributed), 1),
        ("somebody", all().attribution(Attribution::Attributed), 6),
        ("both", all().actor(actor("job:nightly")).op(Op::Insert), 1),
    ];
    for (name, question, expected) in cases {
        let found = shown(conn, &question);
        assert_eq!(found.len(), expected, "{name}: {found:?}");
        // The query that hosts compose on returns the same entries.
        let rows: Vec<threadline::change::TimelineEntry> =
            question.query().unwrap().load(conn).unwrap();
        assert_eq!(rows.len(), expected, "{name}, composed");
        let rows: Vec<threadline::change::TimelineEntry> =
            question.unpaged_query().load(conn).unwrap();
        assert_eq!(rows.len(), expected, "{name}, unpaged");
    }
    let nobody = all().attribution(Attribution::Unattributed);
    assert_eq!(shown(conn, &nobody), [PAID_AGAIN]);
}

#[test]
fn context_filters_apply_to_actions_and_transactions() {
    let (_trail, conn) = &mut shop();
    let alice: ActorRef = "user:alice".parse().unwrap();
    let bob: ActorRef = "user:bob".parse().unwrap();
    let all = Actions::new;
    for (name, question, expected) in [
        ("all", all(), 4),
        ("on behalf of", all().on_behalf_of(alice.clone()), 1),
        ("type", all().actor_type(ActorType::User), 3),
        (
            "own meta",
            all().meta(MetaPattern::field("limit", 100).unwrap()),
            1,
        ),
        ("request", all().request_id("r9".parse().unwrap()), 1),
        ("failed", all().status(ActionStatus::Error), 2),
        ("category", all().category("sales"), 1),
    ] {
        let page = blocking::actions(conn, &question).unwrap();
        assert_eq!(page.entries.len(), expected, "{name}");
    }
    let all = Transactions::new;
    for (name, question, expected) in [
        ("all", all(), 5),
        ("Alice's", actor_history(alice.clone()), 2),
        ("with something of Bob's inside", actor_history(bob), 1),
        ("on behalf of", all().on_behalf_of(alice), 1),
        ("type", all().actor_type(ActorType::Job), 1),
        (
            "meta",
            all().meta(MetaPattern::field("tenant", 1).unwrap()),
            2,
        ),
        ("job", all().job_id("j1".parse().unwrap()), 1),
        (
            "since 2020",
            all().from("2020-01-01T00:00:00Z".parse().unwrap()),
            5,
        ),
        (
            "before 2020",
            all().to("2020-01-01T00:00:00Z".parse().unwrap()),
            0,
        ),
    ] {
        let page = blocking::transactions(conn, &question).unwrap();
        assert_eq!(page.entries.len(), expected, "{name}");
    }
}

#[test]
fn time_windows_include_both_ends() {
    let (_trail, conn) = &mut shop();
    let page = blocking::timeline(conn, &Timeline::new()).unwrap();
    let (newest, oldest) = (&page.entries[0].change, &page.entries[6].change);
    let window = Timeline::new()
        .from(oldest.captured_at)
        .to(newest.captured_at);
    assert_eq!(shown(conn, &window).len(), 7);
    let window = actor_window(
        "user:alice".parse().unwrap(),
        oldest.captured_at,
        oldest.captured_at,
    );
    assert_eq!(shown(conn, &window), ["insert orders"]);
    let actions = blocking::actions(conn, &Actions::new().name("order.refund")).unwrap();
    let at = actions.entries[0].recorded_at;
    let exactly = Actions::new().from(at).to(at);
    assert_eq!(blocking::actions(conn, &exactly).unwrap().entries.len(), 1);
    let transactions = blocking::transactions(conn, &Transactions::new()).unwrap();
    let id = threadline::transaction::AuditTransactionId::from(transactions.entries[0].id);
    let begun = id.started_at().unwrap();
    let exactly = Transactions::new().from(begun).to(begun);
    assert_eq!(
        blocking::transactions(conn, &exactly)
            .unwrap()
            .entries
            .len(),
        1
    );
}

#[test]
fn an_invalid_query_is_refused_and_names_the_invalid_value() {
    let (from, to) = (
        "2026-02-01T00:00:00Z".parse().unwrap(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
    );
    let errors = [
        Timeline::new().from(from).to(to).query().err(),
        Timeline::new().action("a\nb").query().err(),
        Timeline::new().action_category("").query().err(),
        Actions::new().name("").query().err(),
        Actions::new().from(from).to(to).query().err(),
        Transactions::new().from(from).to(to).query().err(),
    ];
    let expected = [
        "2026-02-01 00:00:00 UTC",
        "a\\nb",
        "\"\"",
        "\"\"",
        "2026-01-01",
        "2026-02-01",
    ];
    for (error, expected) in errors.into_iter().zip(expected) {
        let message = error.expect("an error").to_string();
        assert!(message.contains(expected), "{message}");
    }
    let (_trail, conn) = &mut shop();
    let refused = blocking::timeline(conn, &Timeline::new().from(from).to(to));
    assert!(matches!(
        refused,
        Err(ReadError::Question(InvalidQuestion::EmptyWindow { .. }))
    ));
}

#[test]
fn first_and_last_change_of_a_field_value_name_the_actor() {
    let (_trail, conn) = &mut shop();
    let order = || {
        row_moment(
            "orders".parse().unwrap(),
            &RowKeyText::from_values(vec!["1".into()]),
        )
    };
    let status = || order().field("status".parse().unwrap());
    let total = || order().field("total".parse().unwrap());
    let who = |entry: Option<threadline::change::TimelineEntry>| {
        entry.map(|entry| entry.actor().map(ToString::to_string))
    };
    let first = who(blocking::first_seen(conn, &order()).unwrap());
    assert_eq!(first, Some(Some("user:alice".into())));
    let last = who(blocking::last_changed(conn, &order()).unwrap());
    assert_eq!(last, Some(None), "the last change is unattributed");
    let first_paid = who(blocking::first_seen(conn, &status().became("paid")).unwrap());
    assert_eq!(first_paid, Some(Some("admin:rita".into())));
    let last_paid = who(blocking::last_changed(conn, &status().became("paid")).unwrap());
    assert_eq!(last_paid, Some(None));
    let total_changed = who(blocking::last_changed(conn, &total()).unwrap());
    assert_eq!(total_changed, Some(Some("job:nightly".into())));
    // JSON values are compared as numbers, typed values as text.
    let as_number = total().became(FieldValue::json("12.5").unwrap());
    assert!(blocking::first_seen(conn, &as_number).unwrap().is_some());
    let as_typed = |text| total().became(FieldValue::typed(text).unwrap());
    assert!(
        blocking::first_seen(conn, &as_typed("12.50"))
            .unwrap()
            .is_some()
    );
    assert!(
        blocking::first_seen(conn, &as_typed("12.5"))
            .unwrap()
            .is_none()
    );
    assert!(
        blocking::first_seen(conn, &status().became("lost"))
            .unwrap()
            .is_none()
    );
    assert_eq!(shown(conn, &status().became("paid").timeline()).len(), 2);
}

#[test]
fn the_changes_of_a_transaction_are_paged() {
    let (_trail, conn) = &mut shop();
    let alices = blocking::transactions(conn, &actor_history("user:alice".parse().unwrap()));
    let id = alices.unwrap().entries[0].id.into();
    let small = Incident::of(id).page_size(PageSize::new(1).unwrap());
    let first = blocking::transaction(conn, small.clone()).unwrap().unwrap();
    assert_eq!(first.changes.entries[0].change.table_name, "orders");
    let next = first.changes.next.unwrap();
    let second = blocking::transaction(conn, small.clone().after(next.clone()))
        .unwrap()
        .unwrap();
    let entry = &second.changes.entries[0];
    assert_eq!(entry.actor().unwrap().to_string(), "user:bob");
    assert_eq!(entry.action.as_ref().unwrap().name, "item.rename");
    assert!(!second.changes.has_more() && second.changes.has_previous());
    let back = small.clone().before(second.changes.previous.unwrap());
    let back = blocking::transaction(conn, back).unwrap().unwrap();
    assert_eq!(back.changes.entries, first.changes.entries);

    let whole = blocking::incident_bundle(conn, id).unwrap().unwrap();
    assert_eq!(
        (whole.changes.len(), whole.actions.len(), whole.truncated),
        (2, 1, false)
    );
    let part = blocking::incident_bundle(conn, small).unwrap().unwrap();
    assert_eq!(
        (part.changes.len(), part.truncated, part.next),
        (1, true, Some(next))
    );
    let nothing = unknown_transaction_id();
    assert!(blocking::transaction(conn, nothing).unwrap().is_none());
    assert!(blocking::incident_bundle(conn, nothing).unwrap().is_none());
}

fn unknown_transaction_id() -> threadline::transaction::AuditTransactionId {
    "00000000-0000-0000-0000-000000000000".parse().unwrap()
}

#[test]
fn a_correlation_includes_actions_without_changes() {
    let (_trail, conn) = &mut shop();
    let question = Correlation::of("c1".parse().unwrap());
    let bundle = blocking::correlation_bundle(conn, &question).unwrap();
    assert_eq!(bundle.transactions.entries.len(), 2);
    assert_eq!(bundle.changes.entries.len(), 3);
    let names: Vec<_> = bundle
        .actions
        .entries
        .iter()
        .map(|a| a.name.as_str())
        .collect();
    assert_eq!(names, ["order.refund", "order.place"]);
    // Each list has its own cursor.
    let small = question.page_size(PageSize::new(1).unwrap());
    let bundle = blocking::correlation_bundle(conn, &small).unwrap();
    let next = bundle.actions.next.unwrap();
    let rest = blocking::actions(conn, &small.actions().after(next)).unwrap();
    assert_eq!(
        (rest.entries[0].name.as_str(), rest.has_more()),
        ("order.place", false)
    );
    let nothing = Correlation::of("nothing".parse().unwrap());
    assert!(
        blocking::correlation_bundle(conn, &nothing)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn capture_status_distinguishes_captured_uncaptured_and_unknown_tables() {
    let (trail, conn) = &mut shop();
    trail.run("CREATE TABLE notes (id int); CREATE TABLE \"Odd.Name\" (id int)");
    let standing = |conn: &mut PgConnection, name: &str| {
        blocking::standing(conn, &name.parse().unwrap()).unwrap()
    };
    assert_eq!(standing(conn, "orders"), Standing::Captured);
    assert_eq!(standing(conn, "notes"), Standing::NotCaptured);
    assert_eq!(standing(conn, "\"Odd.Name\""), Standing::NotCaptured);
    assert_eq!(standing(conn, "ordres"), Standing::Unknown);
    trail.run("DROP TABLE orders");
    assert_eq!(standing(conn, "orders"), Standing::CapturedBefore);
}
