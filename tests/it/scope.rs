//! Scopes: queries return nothing outside of them and reveal nothing about it.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::prelude::*;
use threadline::query::{
    ChangeById, InvalidQuery, MetaPattern, RowQuery, ScopeError, TableQuery, actor_history,
};
use threadline::schema::{audit_actions, audit_changes, audit_transactions};
use threadline::{
    Actions, AsOf, CaptureStatus, Correlation, DocumentAsOf, FieldHistory, Incident, PageSize,
    ReadError, RowKeyText, Scope, Transactions, blocking,
};

use crate::harness::{Trail, captured};

/// Changes of two tenants, and of a table of salaries. One transaction changed only salaries.
fn company() -> (Trail, PgConnection) {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE TABLE salaries (id int PRIMARY KEY, v int)",
        &["orders", "salaries"],
    );
    let work = |n: u32, name: &str, tenant: u32, sql: &str| {
        trail.run(&format!(
            r#"SELECT threadline.begin_audited_work('{{"actor_ref": {{"type": "admin", "id": "rita"}},
                "context": {{"correlation_id": "c", "meta": {{"tenant": {tenant}}}}},
                "action": {{"id": "019a0000-0000-7000-8000-00000000000{n}", "name": "{name}", "category": "{name}"}}}}'); {sql}"#
        ));
    };
    work(1, "sell", 1, "INSERT INTO orders VALUES (1, 0)");
    work(2, "sell", 2, "INSERT INTO orders VALUES (2, 0)");
    work(3, "raise", 1, "INSERT INTO salaries VALUES (1, 100)");
    work(
        4,
        "mixed",
        1,
        "UPDATE orders SET v = 1 WHERE id = 1; UPDATE salaries SET v = 200",
    );
    work(5, "look", 1, "SELECT 1");
    let conn = PgConnection::establish(&trail.url()).unwrap();
    (trail, conn)
}

fn orders() -> Scope {
    Scope::new().tables(["orders".parse().unwrap()])
}

fn rows(conn: &mut PgConnection, query: &Timeline) -> Vec<String> {
    let page = blocking::timeline(conn, query).unwrap();
    page.entries
        .iter()
        .map(|e| format!("{} {}", e.change.table_name, e.change.shown_key()))
        .collect()
}

fn names(conn: &mut PgConnection, query: &Actions) -> Vec<String> {
    let page = blocking::actions(conn, query).unwrap();
    page.entries
        .iter()
        .map(|action| action.name.clone())
        .collect()
}

#[test]
fn a_scope_restricts_changes_by_table_condition_and_meta() {
    let (_trail, conn) = &mut company();
    let seen = |conn: &mut PgConnection, scope: &Scope| rows(conn, &Timeline::new().scope(scope));
    assert_eq!(seen(conn, &orders()), ["orders 1", "orders 2", "orders 1"]);
    let both = Scope::new().tables(["orders".parse().unwrap(), "salaries".parse().unwrap()]);
    assert_eq!(seen(conn, &both).len(), 5);
    assert_eq!(seen(conn, &Scope::new().tables([])).len(), 0);
    let tenant = Scope::new().meta(&MetaPattern::field("tenant", 2).unwrap());
    assert_eq!(seen(conn, &tenant), ["orders 2"]);
    let updates = Scope::new().changes(audit_changes::op.eq("update"));
    assert_eq!(seen(conn, &updates).len(), 2);
    let by_host = Scope::new().transactions(audit_transactions::db_user.eq("nobody"));
    assert!(seen(conn, &by_host).is_empty());
    // Each call restricts the scope further, and so do the filters of the query.
    let less = orders().meta(&MetaPattern::field("tenant", 1).unwrap());
    assert_eq!(seen(conn, &less), ["orders 1", "orders 1"]);
    let other = Timeline::new()
        .scope(&orders())
        .table("salaries".parse().unwrap());
    assert!(rows(conn, &other).is_empty());
    let by_action = Scope::new().actions(audit_actions::name.eq("raise"));
    assert_eq!(seen(conn, &by_action), ["salaries 1"]);
    let exported: Vec<threadline::models::TimelineEntry> = Timeline::new()
        .scope(&orders())
        .unpaged_query()
        .load(conn)
        .unwrap();
    assert_eq!(exported.len(), 3);
}

#[test]
fn a_transaction_without_visible_changes_is_hidden() {
    let (trail, conn) = &mut company();
    let all = trail
        .run_async(async |conn| threadline::transactions(conn, &Transactions::new()).await)
        .unwrap();
    assert_eq!(all.entries.len(), 4);
    let rita: ActorRef = "admin:rita".parse().unwrap();
    let seen = actor_history(rita).scope(&orders());
    let seen = trail
        .run_async(async |conn| threadline::transactions(conn, &seen).await)
        .unwrap();
    assert_eq!(seen.entries.len(), 3);
    // The transaction that changed only salaries is hidden.
    let hidden = all.entries[1].id;
    assert!(
        seen.entries
            .iter()
            .all(|transaction| transaction.id != hidden)
    );
    let hidden = Incident::new(hidden.into()).scope(&orders());
    assert!(
        trail
            .run_async(async |conn| threadline::transaction(conn, hidden.clone()).await)
            .unwrap()
            .is_none()
    );
    assert!(blocking::incident(conn, hidden).unwrap().is_none());
    // Of the transaction that changed both tables, one change is visible.
    let mixed = Incident::new(all.entries[0].id.into()).scope(&orders());
    let mixed = blocking::incident(conn, mixed).unwrap().unwrap();
    assert_eq!((mixed.changes.len(), mixed.truncated), (1, false));
    assert_eq!(mixed.changes[0].table_name, "orders");
}

#[test]
fn cursors_do_not_reveal_hidden_changes() {
    let (_trail, conn) = &mut company();
    let query = Timeline::new()
        .scope(&orders())
        .page_size(PageSize::new(3).unwrap());
    let page = blocking::timeline(conn, &query).unwrap();
    assert_eq!((page.entries.len(), page.has_more()), (3, false));
    let one = query.page_size(PageSize::ONE);
    let page = blocking::timeline(conn, &one).unwrap();
    let second = blocking::timeline(conn, &one.clone().after(page.next.unwrap())).unwrap();
    let back = one.before(second.previous.unwrap());
    let back = blocking::timeline(conn, &back).unwrap();
    assert!(!back.has_previous(), "the newest change is hidden");
}

#[test]
fn action_queries_refuse_a_scope_without_a_rule_for_actions() {
    let (trail, conn) = &mut company();
    let silent = blocking::actions(conn, &Actions::new().scope(&orders()));
    assert!(matches!(
        silent,
        Err(ReadError::Query(InvalidQuery::Scope(
            ScopeError::ActionsUnspecified
        )))
    ));
    let bundle = Correlation::new("c".parse().unwrap());
    assert!(
        trail
            .run_async(
                async |conn| threadline::correlation(conn, &bundle.clone().scope(&orders())).await
            )
            .is_err()
    );

    let with_changes = orders().actions_with_visible_changes();
    let query = Actions::new().scope(&with_changes);
    assert_eq!(names(conn, &query), ["mixed", "sell", "sell"]);
    let by_condition = orders().actions(audit_actions::category.eq("look"));
    assert_eq!(names(conn, &Actions::new().scope(&by_condition)), ["look"]);
    let bundle = bundle.scope(&with_changes);
    let bundle = trail
        .run_async(async |conn| threadline::correlation(conn, &bundle).await)
        .unwrap();
    assert_eq!(bundle.transactions.entries.len(), 3);
    assert_eq!(bundle.actions.entries.len(), 3);
    assert_eq!(bundle.changes.entries.len(), 3);
}

#[test]
fn first_and_last_changes_and_histories_are_restricted_to_the_scope() {
    let (_trail, conn) = &mut company();
    let salary = || {
        Timeline::new().row(
            "salaries".parse().unwrap(),
            &RowKeyText::from_values(vec!["1".into()]),
        )
    };
    assert!(blocking::first_change(conn, salary()).unwrap().is_some());
    assert!(
        blocking::first_change(conn, salary().scope(&orders()))
            .unwrap()
            .is_none()
    );
    assert!(
        blocking::last_change(conn, salary().scope(&orders()))
            .unwrap()
            .is_none()
    );
    let field = FieldHistory::new(salary(), "v".parse().unwrap()).scope(&orders());
    assert!(blocking::last_change(conn, &field).unwrap().is_none());
    let history = Timeline::new().row(
        "salaries".parse().unwrap(),
        &RowKeyText::from_values(vec!["1".into()]),
    );
    assert_eq!(rows(conn, &history).len(), 2);
    assert!(rows(conn, &history.scope(&orders())).is_empty());
}

#[test]
fn a_change_by_id_outside_the_scope_is_not_found() {
    let (trail, _) = &mut company();
    let seen = |id: &str| {
        let id = trail.query_text(id).parse().unwrap();
        trail
            .run_async(async |conn| {
                threadline::change(conn, ChangeById::new(id).scope(&orders())).await
            })
            .unwrap()
            .is_some()
    };
    let newest = |table: &str| {
        format!("SELECT max(id)::text FROM threadline.audit_changes WHERE table_name = '{table}'")
    };
    assert!(seen(&newest("orders")));
    assert!(!seen(&newest("salaries")));
    assert!(!seen("SELECT '999999'"));
}

#[test]
fn a_row_as_of_an_instant_is_known_only_if_its_record_is_visible() {
    let (trail, conn) = &mut company();
    let key = RowKeyText::from_values(vec!["1".into()]);
    let now = "2099-01-01T00:00:00Z".parse().unwrap();
    let as_of = |table: &str| DocumentAsOf::new(table.parse().unwrap(), &key, now);
    let scoped = as_of("orders").scope(&orders());
    assert_eq!(
        blocking::document_as_of(conn, &scoped).unwrap(),
        blocking::document_as_of(conn, &as_of("orders")).unwrap()
    );
    let hidden = blocking::document_as_of(conn, &as_of("salaries").scope(&orders())).unwrap();
    let missing = blocking::document_as_of(conn, &as_of("nothing").scope(&orders())).unwrap();
    assert_eq!(hidden, missing);
    assert!(matches!(&hidden, AsOf::NotYetKnown(horizon) if horizon.first.is_none()));
    // The insert is visible, the later update is not.
    let inserts = Scope::new().changes(audit_changes::op.eq("insert"));
    let changed_since = as_of("orders").scope(&inserts);
    assert_eq!(
        blocking::document_as_of(conn, &changed_since).unwrap(),
        hidden
    );
    let answer = trail
        .run_async(async |conn| threadline::document_as_of(conn, &changed_since).await)
        .unwrap();
    assert_eq!(answer, hidden);
    assert!(blocking::document_as_of(conn, &as_of("orders").scope(&Scope::new())).is_err());
}

#[test]
fn the_capture_of_a_hidden_table_is_answered_as_that_of_an_unknown_table() {
    let (trail, _) = &mut company();
    trail.run("CREATE TABLE plain (id int)");
    for table in ["orders", "salaries"] {
        trail.run(&format!(
            "SELECT threadline.suspend_capture(ARRAY['{table}'::regclass], 'import'); INSERT INTO {table} VALUES (9, 9)"
        ));
    }
    let answers = |table: &str, scope: &Scope| {
        let query = TableQuery::new(table.parse().unwrap()).scope(scope);
        trail.run_async(async |conn| {
            let status = threadline::capture_status(conn, query.clone()).await;
            let gaps = threadline::capture_gaps(conn, query.clone()).await;
            (status.unwrap(), gaps.unwrap().len())
        })
    };
    assert_eq!(answers("orders", &orders()), (CaptureStatus::Captured, 1));
    for hidden in ["salaries", "plain", "nothing"] {
        assert_eq!(
            answers(hidden, &orders()),
            (CaptureStatus::Unknown, 0),
            "{hidden}"
        );
    }
    // A scope that names no table shows tables with a visible change.
    let tenant = Scope::new().meta(&MetaPattern::field("tenant", 2).unwrap());
    assert_eq!(answers("orders", &tenant), (CaptureStatus::Captured, 1));
    assert_eq!(answers("salaries", &tenant), (CaptureStatus::Unknown, 0));
    assert_eq!(answers("plain", &tenant), (CaptureStatus::Unknown, 0));
}

#[test]
fn history_notes_of_a_scope_list_only_visible_events() {
    let (trail, _) = &mut company();
    trail.run("UPDATE orders SET id = 30 WHERE id = 2");
    trail.run("INSERT INTO orders VALUES (2, 5)");
    trail.run("TRUNCATE orders; TRUNCATE salaries");
    let notes = |table: &str, key: &str, scope: Option<&Scope>| {
        let key = RowKeyText::from_values(vec![key.to_owned()]);
        let mut query = RowQuery::new(table.parse().unwrap(), &key);
        if let Some(scope) = scope {
            query = query.scope(scope);
        }
        trail
            .run_async(async |conn| threadline::history_notes(conn, &query).await)
            .unwrap()
    };
    let all = notes("orders", "2", None);
    assert_eq!(
        (all.earlier_holders.len(), all.truncated.is_some()),
        (1, true)
    );
    assert_eq!(notes("orders", "2", Some(&orders())), all);
    let inserts = Scope::new().changes(audit_changes::op.eq("insert"));
    let some = notes("orders", "2", Some(&inserts));
    assert_eq!((some.earlier_holders.len(), some.truncated), (0, None));
    assert!(notes("salaries", "1", None).truncated.is_some());
    let hidden = notes("salaries", "1", Some(&orders()));
    assert_eq!(hidden, notes("nothing", "1", Some(&orders())));
    assert_eq!(hidden.truncated, None);
}

#[test]
fn an_empty_scope_is_refused_by_every_query() {
    let (_trail, conn) = &mut company();
    let nothing = Scope::new();
    let refused = |answer: Option<InvalidQuery>| {
        assert_eq!(answer, Some(InvalidQuery::Scope(ScopeError::Unrestricted)));
    };
    refused(Timeline::new().scope(&nothing).query().err());
    refused(Actions::new().scope(&nothing).query().err());
    refused(Transactions::new().scope(&nothing).query().err());
    let id = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    assert!(blocking::incident(conn, Incident::new(id).scope(&nothing)).is_err());
    let exported: Vec<threadline::models::TimelineEntry> = Timeline::new()
        .scope(&nothing)
        .unpaged_query()
        .load(conn)
        .unwrap();
    assert!(
        exported.is_empty(),
        "a query that cannot return an error returns nothing"
    );
}
