//! Why an answer is empty.

use diesel::ExpressionMethods;
use threadline::prelude::*;
use threadline::query::{Correlation, EmptyQuery, EmptyReason, FieldHistory, actor_history};
use threadline::schema::audit_actions;
use threadline::{Actions, RowKeyText, Scope, TableName, Transactions, explain_empty};

use crate::harness::{Trail, empty_trail};

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

/// A captured table `invoices` with a masked and an excluded column, one action and one request.
fn billing() -> Trail {
    let trail = empty_trail();
    trail.run("CREATE TABLE invoices (id int PRIMARY KEY, state text, email text, token text); CREATE TABLE notes (id int)");
    let invoices = trail.introspect("invoices");
    trail.capture(&invoices.redact(["token"], ["email"]).unwrap());
    trail.run(
        r#"SELECT threadline.begin_audited_work('{"actor_ref": {"type": "user", "id": "1042"},
            "context": {"request_id": "req-17", "correlation_id": "order-8812"},
            "action": {"id": "019a0000-0000-7000-8000-000000000001", "name": "invoice.send"}}');
        INSERT INTO invoices VALUES (1, 'open', 'a@b.c', 's');
        UPDATE invoices SET state = 'sent'"#,
    );
    trail
}

fn reasons(trail: &Trail, query: impl Into<EmptyQuery>) -> Vec<EmptyReason> {
    let query = query.into();
    trail
        .run_async(async |conn| explain_empty(conn, query.clone()).await)
        .unwrap()
}

/// The lines of all reasons.
fn lines(trail: &Trail, query: impl Into<EmptyQuery>) -> Vec<String> {
    let reasons = reasons(trail, query);
    reasons.iter().flat_map(EmptyReason::lines).collect()
}

#[test]
fn an_unknown_table_or_column_is_the_only_reason() {
    let trail = billing();
    let of = |name: &str| Timeline::new().table(table(name)).action("nothing");
    assert_eq!(
        reasons(&trail, &of("invoice")),
        [EmptyReason::UnknownTable {
            table: table("invoice"),
            similar: vec![table("invoices")]
        }]
    );
    assert_eq!(
        reasons(&trail, &of("notes")),
        [EmptyReason::NotCaptured {
            table: table("notes")
        }]
    );
    let changed = |column: &str| of("invoices").changed_field(column.parse().unwrap());
    assert!(matches!(
        &reasons(&trail, &changed("State"))[..],
        [EmptyReason::UnknownColumn { column, columns, .. }]
            if column == "State" && columns.len() == 4
    ));
    assert!(matches!(
        &reasons(&trail, &changed("token"))[..],
        [EmptyReason::ExcludedColumn { .. }]
    ));
    let row = Timeline::new().row(table("invoices"), &key("1"));
    let email = FieldHistory::new(row, "email".parse().unwrap()).set_to("a@b.c");
    assert!(matches!(
        &reasons(&trail, &email.timeline())[..],
        [EmptyReason::MaskedColumn { .. }]
    ));
}

fn key(value: &str) -> RowKeyText {
    RowKeyText::from_values(vec![value.to_owned()])
}

#[test]
fn unknown_names_are_explained_with_similar_ones() {
    let trail = billing();
    let row = Timeline::new().row(table("invoices"), &key("2"));
    assert_eq!(
        reasons(&trail, &row),
        [EmptyReason::RowNotRecorded {
            table: table("invoices"),
            example_key: Some("1".to_owned())
        }]
    );
    let actor = || "user:1043".parse().unwrap();
    let expected = "no changes and actions by `user:1043` are recorded; similar: user:1042";
    assert_eq!(lines(&trail, &Timeline::new().actor(actor())), [expected]);
    assert_eq!(lines(&trail, &Actions::new().actor(actor())), [expected]);
    assert_eq!(lines(&trail, &actor_history(actor())), [expected]);
    let expected = "no actions named `invoice.sent` are recorded; similar: invoice.send";
    assert_eq!(
        lines(&trail, &Timeline::new().action("invoice.sent")),
        [expected]
    );
    assert_eq!(
        lines(&trail, &Actions::new().name("invoice.sent")),
        [expected]
    );
    let expected =
        "no changes and actions of correlation `order-8813` are recorded; similar: order-8812";
    let correlation = Correlation::new("order-8813".parse().unwrap());
    assert_eq!(lines(&trail, &correlation), [expected]);
    assert_eq!(lines(&trail, &correlation.changes()), [expected]);
    let request = Transactions::new().request_id("req-1".parse().unwrap());
    assert_eq!(
        lines(&trail, &request),
        ["no changes and actions of request `req-1` are recorded; similar: req-17"]
    );
    // Names that the trail has are no reason.
    let known = Timeline::new()
        .actor("user:1042".parse().unwrap())
        .action("invoice.send")
        .request_id("req-17".parse().unwrap())
        .op(Op::Delete);
    assert!(reasons(&trail, &known).is_empty());
}

#[test]
fn a_value_that_was_never_set_is_explained_with_the_newest_values() {
    let trail = billing();
    let row = || Timeline::new().row(table("invoices"), &key("1"));
    let state = FieldHistory::new(row(), "state".parse().unwrap()).set_to("void");
    assert_eq!(
        lines(&trail, &state.timeline()),
        ["column `state` of this row was never set to this value; newest values: sent, open"]
    );
}

#[test]
fn an_empty_window_is_explained_with_the_nearest_records() {
    let trail = billing();
    let (from, to) = (
        "2001-01-01T00:00:00Z".parse().unwrap(),
        "2001-01-02T00:00:00Z".parse().unwrap(),
    );
    let found = lines(&trail, &Timeline::new().from(from).to(to));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("nearest change after the window: 20"),
        "{found:?}"
    );
    assert!(
        found[0].contains("insert of public.invoices, change "),
        "{found:?}"
    );
    let found = lines(&trail, &Actions::new().from(from).to(to));
    assert!(found[0].ends_with(" UTC, invoice.send"), "{found:?}");
    let actor = || actor_history("user:1042".parse().unwrap());
    let found = lines(&trail, &actor().from(from).to(to));
    assert!(
        found[0].starts_with("nearest transaction after the window: 20"),
        "{found:?}"
    );
    let late = "2099-01-01T00:00:00Z".parse().unwrap();
    for found in [
        lines(&trail, &Timeline::new().from(late)),
        lines(&trail, &Actions::new().from(late)),
        lines(&trail, &actor().from(late)),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(" before the window: 20"), "{found:?}");
    }
}

#[test]
fn a_scope_hides_the_reasons() {
    let trail = billing();
    let scope = Scope::new()
        .tables([table("notes")])
        .actions(audit_actions::name.eq("none"));
    let late = "2099-01-01T00:00:00Z".parse().unwrap();
    let timeline = Timeline::new().table(table("invoices")).from(late);
    assert!(!reasons(&trail, &timeline).is_empty());
    assert!(reasons(&trail, &timeline.scope(&scope)).is_empty());
    let actions = Actions::new().from(late).scope(&scope);
    assert!(reasons(&trail, &actions).is_empty());
    let correlation = Correlation::new("order-8813".parse().unwrap());
    assert!(reasons(&trail, &correlation.scope(&scope)).is_empty());
}
