//! Every filter returns the matching entries and no others.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::prelude::*;
use threadline::query::{
    Attribution, ColumnName, FieldValue, InvalidQuery, MetaPattern, SearchText, actor_history,
    actor_window,
};
use threadline::{
    ActionStatus, Actions, ActorType, CaptureStatus, Correlation, FieldHistory, Incident, PageSize,
    ReadError, RowKeyText, Transactions, blocking,
};

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

fn shown(conn: &mut PgConnection, query: &Timeline) -> Vec<String> {
    let page = blocking::timeline(conn, query).unwrap();
    let line = |e: &threadline::models::TimelineEntry| {
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
            all().scanning_values(SearchText::new("TRICYCLE").unwrap()),
            2,
        ),
        (
            "values of one table",
            all()
                .table("orders".parse().unwrap())
                .scanning_values(SearchText::new("12.50").unwrap()),
            3,
        ),
        (
            "names of columns are no values",
            all().scanning_values(SearchText::new("status").unwrap()),
            0,
        ),
        (
            "unattributed",
            all().attribution(Attribution::Unattributed),
            1,
        ),
        ("attributed", all().attribution(Attribution::Attributed), 6),
        ("both", all().actor(actor("job:nightly")).op(Op::Insert), 1),
    ];
    for (name, query, expected) in cases {
        let found = shown(conn, &query);
        assert_eq!(found.len(), expected, "{name}: {found:?}");
        // The query that hosts compose on returns the same entries.
        let rows: Vec<threadline::models::TimelineEntry> =
            query.query().unwrap().load(conn).unwrap();
        assert_eq!(rows.len(), expected, "{name}, composed");
        let rows: Vec<threadline::models::TimelineEntry> =
            query.unpaged_query().load(conn).unwrap();
        assert_eq!(rows.len(), expected, "{name}, unpaged");
    }
    let unattributed = all().attribution(Attribution::Unattributed);
    assert_eq!(shown(conn, &unattributed), [PAID_AGAIN]);
}

#[test]
fn context_filters_apply_to_actions_and_transactions() {
    let (trail, conn) = &mut shop();
    let alice: ActorRef = "user:alice".parse().unwrap();
    let bob: ActorRef = "user:bob".parse().unwrap();
    let all = Actions::new;
    for (name, query, expected) in [
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
        let page = blocking::actions(conn, &query).unwrap();
        assert_eq!(page.entries.len(), expected, "{name}");
    }
    let all = Transactions::new;
    for (name, query, expected) in [
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
        let page = trail
            .run_async(async |conn| threadline::transactions(conn, &query).await)
            .unwrap();
        assert_eq!(page.entries.len(), expected, "{name}");
    }
}

#[test]
fn time_windows_include_both_ends() {
    let (trail, conn) = &mut shop();
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
    let transactions = trail
        .run_async(async |conn| threadline::transactions(conn, &Transactions::new()).await)
        .unwrap();
    let id = threadline::context::AuditTransactionId::from(transactions.entries[0].id);
    let begun = id.started_at().unwrap();
    let exactly = Transactions::new().from(begun).to(begun);
    assert_eq!(
        trail
            .run_async(async |conn| threadline::transactions(conn, &exactly).await)
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
        Err(ReadError::Query(InvalidQuery::EmptyWindow { .. }))
    ));
}

#[test]
fn first_and_last_change_of_a_field_name_the_actor() {
    let (_trail, conn) = &mut shop();
    let order = || {
        Timeline::new().row(
            "orders".parse().unwrap(),
            &RowKeyText::from_values(vec!["1".into()]),
        )
    };
    let status = || FieldHistory::new(order(), "status".parse().unwrap());
    let total = || FieldHistory::new(order(), "total".parse().unwrap());
    let who = |entry: Option<threadline::models::TimelineEntry>| {
        entry.map(|entry| entry.actor().map(ToString::to_string))
    };
    let first = who(blocking::first_change(conn, order()).unwrap());
    assert_eq!(first, Some(Some("user:alice".into())));
    let last = who(blocking::last_change(conn, order()).unwrap());
    assert_eq!(last, Some(None), "the last change is unattributed");
    let first_paid = who(blocking::first_change(conn, status().set_to("paid")).unwrap());
    assert_eq!(first_paid, Some(Some("admin:rita".into())));
    let last_paid = who(blocking::last_change(conn, status().set_to("paid")).unwrap());
    assert_eq!(last_paid, Some(None));
    let total_changed = who(blocking::last_change(conn, total()).unwrap());
    assert_eq!(total_changed, Some(Some("job:nightly".into())));
    // JSON values are compared as numbers, typed values as text.
    let as_number = total().set_to(FieldValue::json("12.5").unwrap());
    assert!(blocking::first_change(conn, &as_number).unwrap().is_some());
    let as_typed = |text| total().set_to(FieldValue::typed(text).unwrap());
    assert!(
        blocking::first_change(conn, as_typed("12.50"))
            .unwrap()
            .is_some()
    );
    assert!(
        blocking::first_change(conn, as_typed("12.5"))
            .unwrap()
            .is_none()
    );
    assert!(
        blocking::first_change(conn, status().set_to("lost"))
            .unwrap()
            .is_none()
    );
    assert_eq!(shown(conn, &status().set_to("paid").timeline()).len(), 2);
}

#[test]
fn the_changes_of_a_transaction_are_paged() {
    let (trail, conn) = &mut shop();
    let alices = trail.run_async(async |conn| {
        threadline::transactions(conn, &actor_history("user:alice".parse().unwrap())).await
    });
    let id = alices.unwrap().entries[0].id.into();
    let small = Incident::new(id).page_size(PageSize::new(1).unwrap());
    let first = trail
        .run_async(async |conn| threadline::transaction(conn, small.clone()).await)
        .unwrap()
        .unwrap();
    assert_eq!(first.changes.entries[0].change.table_name, "orders");
    let next = first.changes.next.unwrap();
    let second = trail
        .run_async(async |conn| {
            threadline::transaction(conn, small.clone().after(next.clone())).await
        })
        .unwrap()
        .unwrap();
    let entry = &second.changes.entries[0];
    assert_eq!(entry.actor().unwrap().to_string(), "user:bob");
    assert_eq!(entry.action.as_ref().unwrap().name, "item.rename");
    assert!(!second.changes.has_more() && second.changes.has_previous());
    let back = small.clone().before(second.changes.previous.unwrap());
    let back = trail
        .run_async(async |conn| threadline::transaction(conn, back).await)
        .unwrap()
        .unwrap();
    assert_eq!(back.changes.entries, first.changes.entries);

    let whole = blocking::incident(conn, id).unwrap().unwrap();
    assert_eq!(
        (whole.changes.len(), whole.actions.len(), whole.truncated),
        (2, 1, false)
    );
    let part = blocking::incident(conn, small).unwrap().unwrap();
    assert_eq!(
        (part.changes.len(), part.truncated, part.next),
        (1, true, Some(next))
    );
    let nothing = unknown_transaction_id();
    assert!(
        trail
            .run_async(async |conn| threadline::transaction(conn, nothing).await)
            .unwrap()
            .is_none()
    );
    assert!(blocking::incident(conn, nothing).unwrap().is_none());
}

fn unknown_transaction_id() -> threadline::context::AuditTransactionId {
    "00000000-0000-0000-0000-000000000000".parse().unwrap()
}

#[test]
fn a_correlation_includes_actions_without_changes() {
    let (trail, conn) = &mut shop();
    let query = Correlation::new("c1".parse().unwrap());
    let bundle = trail
        .run_async(async |conn| threadline::correlation(conn, &query).await)
        .unwrap();
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
    let small = query.page_size(PageSize::new(1).unwrap());
    let bundle = trail
        .run_async(async |conn| threadline::correlation(conn, &small).await)
        .unwrap();
    let next = bundle.actions.next.unwrap();
    let rest = blocking::actions(conn, &small.actions().after(next)).unwrap();
    assert_eq!(
        (rest.entries[0].name.as_str(), rest.has_more()),
        ("order.place", false)
    );
    let nothing = Correlation::new("nothing".parse().unwrap());
    assert!(
        trail
            .run_async(async |conn| threadline::correlation(conn, &nothing).await)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn capture_status_distinguishes_captured_uncaptured_and_unknown_tables() {
    let (trail, _) = &mut shop();
    trail.run("CREATE TABLE notes (id int); CREATE TABLE \"Odd.Name\" (id int)");
    let status = |name: &str| {
        trail
            .run_async(async |conn| {
                let table: threadline::TableName = name.parse().unwrap();
                threadline::capture_status(conn, table).await
            })
            .unwrap()
    };
    assert_eq!(status("orders"), CaptureStatus::Captured);
    assert_eq!(status("notes"), CaptureStatus::NotCaptured);
    assert_eq!(status("\"Odd.Name\""), CaptureStatus::NotCaptured);
    assert_eq!(status("ordres"), CaptureStatus::Unknown);
    trail.run("DROP TABLE orders");
    assert_eq!(status("orders"), CaptureStatus::CapturedBefore);
}
