//! Actions without changes: recording, filters and pages.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::prelude::*;
use threadline::{ActionStatus, Actions, PageSize, blocking};

use crate::harness::{Trail, captured};

fn logins() -> (Trail, PgConnection) {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    for n in 0..5 {
        let context = AuditContext::new(ActorRef::user(format!("u{n}")).unwrap())
            .correlation_id("login".parse().unwrap());
        let status = if n == 3 {
            ActionStatus::Error
        } else {
            ActionStatus::Ok
        };
        let action = Action::new("session.log_in")
            .unwrap()
            .status(status)
            .category("session");
        blocking::record_action(&mut conn, &context, &action).unwrap();
    }
    (trail, conn)
}

fn actors(conn: &mut PgConnection, query: &Actions) -> Vec<String> {
    let page = blocking::actions(conn, query).unwrap();
    page.entries
        .iter()
        .map(|action| action.actor.as_ref().unwrap().to_string())
        .collect()
}

#[test]
fn actions_without_changes_write_no_audit_transaction_and_are_listed_newest_first() {
    let (trail, mut conn) = logins();
    assert_eq!(trail.transactions(), 0);
    let all = actors(&mut conn, &Actions::new());
    assert_eq!(all, ["user:u4", "user:u3", "user:u2", "user:u1", "user:u0"]);
}

#[test]
fn actions_are_filtered_by_name_status_category_actor_and_correlation() {
    let (_trail, mut conn) = logins();
    let failed = Actions::new()
        .name("session.log_in")
        .status(ActionStatus::Error)
        .category("session");
    assert_eq!(actors(&mut conn, &failed), ["user:u3"]);
    let by = Actions::new().actor("user:u1".parse().unwrap());
    assert_eq!(actors(&mut conn, &by), ["user:u1"]);
    let correlated = Actions::new().correlation_id("login".parse().unwrap());
    assert_eq!(actors(&mut conn, &correlated).len(), 5);
    assert!(actors(&mut conn, &Actions::new().request_id("x".parse().unwrap())).is_empty());
}

#[test]
fn paging_through_actions_returns_each_action_once() {
    let (_trail, mut conn) = logins();
    let mut query = Actions::new().page_size(PageSize::new(2).unwrap());
    let mut seen = Vec::new();
    loop {
        let page = blocking::actions(&mut conn, &query).unwrap();
        seen.extend(page.entries.iter().map(|action| action.id));
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

#[test]
fn an_action_is_rolled_back_with_its_transaction() {
    let (_trail, mut conn) = logins();
    let context = AuditContext::new(ActorRef::system("x").unwrap());
    let rolled_back: Result<(), AuditError> = conn.transaction(|conn| {
        blocking::record_action(conn, &context, &Action::new("export").unwrap())?;
        Err(AuditError::NothingCaptured)
    });
    assert!(rolled_back.is_err());
    assert!(actors(&mut conn, &Actions::new().name("export")).is_empty());
}
