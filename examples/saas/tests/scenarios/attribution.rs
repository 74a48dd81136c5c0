//! Attribution of changes: members, staff acting for members, jobs, and sessions without the application.

use axum::http::StatusCode;
use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};
use threadline::Timeline;
use threadline::models::RecordedActor;
use threadline::query::Attribution;

use crate::harness::{RITA, Saas, TestRequest, actors, member, tables};

#[tokio::test]
async fn changes_of_a_request_have_the_signed_in_member_as_actor() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let invite = TestRequest::post("/members")
        .by(&saas.alice)
        .with("x-request-id", "r-1")
        .with("x-correlation-id", "c-1");
    saas.send(invite, member("bob"), StatusCode::CREATED)
        .await?;
    let bob = saas.log_in("bob").await?;
    let id = saas.invoice().await?;
    let pay = TestRequest::post(format!("/invoices/{id}/pay")).by(&bob);
    saas.send(pay, Value::Null, StatusCode::OK).await?;

    let changes = saas.changes(Timeline::new()).await?;
    let made = [
        ("anonymous", "organizations"),
        ("anonymous", "members"),
        ("user:alice", "members"),
        ("user:alice", "invoices"),
        ("user:alice", "invoice_lines"),
        ("user:alice", "invoice_lines"),
        ("user:bob", "invoices"),
    ];
    assert_eq!(actors(&changes), made.map(|(actor, _)| actor));
    assert_eq!(tables(&changes), made.map(|(_, table)| table));

    let invited = changes[2].transaction.as_ref().unwrap();
    assert_eq!(invited.request_id.as_deref(), Some("r-1"));
    assert_eq!(invited.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(invited.context.source.as_deref(), Some("web"));
    assert_eq!(changes[2].action.as_ref().unwrap().name, "member.invite");
    Ok(())
}

#[tokio::test]
async fn changes_by_staff_acting_for_a_member_name_both() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let id = saas.invoice().await?;
    let void = TestRequest::post(format!("/invoices/{id}/void"))
        .by(RITA)
        .with("x-impersonate", "alice");
    let why = json!({ "reason": "wrong_customer", "comment": "ticket 4711" });
    saas.send(void, why, StatusCode::OK).await?;

    let changes = saas.changes(Timeline::new().action("invoice.void")).await?;
    assert_eq!(actors(&changes), ["admin:rita"]);
    let transaction = changes[0].transaction.as_ref().unwrap();
    let action = changes[0].action.as_ref().unwrap();
    for represented in [&transaction.on_behalf_of, &action.on_behalf_of] {
        let represented = represented.as_ref().and_then(RecordedActor::known);
        assert_eq!(represented.unwrap().to_string(), "user:alice");
    }
    assert_eq!(action.reason.as_deref(), Some("wrong_customer"));
    assert_eq!(action.comment.as_deref(), Some("ticket 4711"));
    Ok(())
}

#[tokio::test]
async fn requests_for_other_members_or_without_a_valid_session_are_refused() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let id = saas.invoice().await?;
    saas.sign_up("Globex", "eve").await?;
    let eve = saas.log_in("eve").await?;
    let pay = || TestRequest::post(format!("/invoices/{id}/pay"));

    let as_alice = pay().by(&eve).with("x-impersonate", "alice");
    saas.send(as_alice, Value::Null, StatusCode::FORBIDDEN)
        .await?;
    saas.send(pay().by(&eve), Value::Null, StatusCode::NOT_FOUND)
        .await?;
    saas.send(pay().by("stolen"), Value::Null, StatusCode::UNAUTHORIZED)
        .await?;
    saas.send(pay(), Value::Null, StatusCode::UNAUTHORIZED)
        .await?;

    assert!(
        saas.changes(Timeline::new().action("invoice.pay"))
            .await?
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn changes_of_a_job_have_the_correlation_id_of_the_queueing_request() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let id = saas.invoice().await?;
    let remind = TestRequest::post(format!("/invoices/{id}/remind"))
        .by(&saas.alice)
        .with("x-request-id", "r-7")
        .with("x-correlation-id", "dunning-7");
    saas.send(remind, Value::Null, StatusCode::ACCEPTED).await?;

    let changes = saas.changes_of_job("invoice.remind").await?;
    assert_eq!(actors(&changes), ["user:alice"]);
    assert_eq!(changes[0].change.changed_fields(), ["reminded_on"]);
    let transaction = changes[0].transaction.as_ref().unwrap();
    assert_eq!(transaction.correlation_id.as_deref(), Some("dunning-7"));
    assert_eq!(transaction.request_id.as_deref(), Some("r-7"));
    assert_eq!(transaction.context.source.as_deref(), Some("worker"));
    assert!(transaction.job_id.as_ref().unwrap().starts_with("remind-"));
    Ok(())
}

#[tokio::test]
async fn changes_without_the_application_are_recorded_as_unattributed() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let ids = [saas.invoice().await?, saas.invoice().await?];
    let mut conn = saas.conn().await?;
    conn.batch_execute("UPDATE invoices SET total_cents = total_cents / 2")
        .await?;

    let unattributed = Timeline::new().attribution(Attribution::Unattributed);
    let changes = saas.changes(unattributed).await?;
    assert_eq!(changes.len(), ids.len());
    for (entry, id) in changes.iter().zip(ids) {
        assert_eq!(entry.change.shown_key(), id.to_string());
        let before = entry.change.changed_from.as_ref().unwrap();
        assert_eq!(before.as_str(), r#"{"total_cents": 120000}"#);
    }
    Ok(())
}
