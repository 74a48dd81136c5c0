//! Actions and the changes that belong to them.

use axum::http::StatusCode;
use serde_json::{Value, json};
use threadline::Timeline;

use crate::harness::{Saas, TestRequest, tables};

#[tokio::test]
async fn a_payment_that_fails_leaves_an_error_action_and_no_change() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let id = saas.invoice().await?;
    let pay = || TestRequest::post(format!("/invoices/{id}/pay")).by(&saas.alice);
    saas.send(pay(), Value::Null, StatusCode::OK).await?;
    saas.send(pay(), Value::Null, StatusCode::CONFLICT).await?;

    let actions = saas.actions("invoice.pay").await?;
    let statuses: Vec<_> = actions.iter().map(|action| &action.status).collect();
    assert_eq!(statuses, ["ok", "error"]);
    let changes = saas.changes(Timeline::new().action("invoice.pay")).await?;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].change.action_id, Some(actions[0].id));
    Ok(())
}

#[tokio::test]
async fn signing_in_records_an_action_and_no_transaction() -> anyhow::Result<()> {
    let saas = Saas::start().await?;

    let actions = saas.actions("session.log_in").await?;
    assert_eq!(actions.len(), 1);
    let actor = actions[0].actor.as_ref();
    assert_eq!(actor.unwrap().to_string(), "user:alice");
    let transactions = format!(
        "SELECT count(*) FROM threadline.audit_transactions WHERE id = '{}'",
        actions[0].transaction_id
    );
    assert_eq!(
        saas.database.query_text(&transactions)?.as_deref(),
        Some("0")
    );
    Ok(())
}

#[tokio::test]
async fn closing_an_organization_voids_each_invoice_in_its_own_action() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let ids = [saas.invoice().await?, saas.invoice().await?];
    let close = TestRequest::post("/organization/close").by(&saas.alice);
    saas.send(close, json!({ "comment": "moves on" }), StatusCode::OK)
        .await?;

    let closing = saas.actions("organization.close").await?;
    let voiding = saas.actions("invoice.void").await?;
    assert_eq!((closing.len(), voiding.len()), (1, ids.len()));
    assert_eq!(closing[0].comment.as_deref(), Some("moves on"));

    let transaction = closing[0].transaction_id;
    let changes = saas.changes(Timeline::new()).await?;
    let changes: Vec<_> = changes
        .into_iter()
        .filter(|entry| entry.change.transaction_id == transaction)
        .collect();
    assert_eq!(tables(&changes), ["invoices", "invoices", "organizations"]);
    let in_force: Vec<_> = changes.iter().map(|entry| entry.change.action_id).collect();
    let expected = [voiding[0].id, voiding[1].id, closing[0].id];
    assert_eq!(in_force, expected.map(Some));
    let outermost = changes[0].transaction.as_ref().unwrap().action_id;
    assert_eq!(outermost, Some(closing[0].id));
    Ok(())
}

#[tokio::test]
async fn members_can_read_the_history_of_their_own_invoices_only() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let id = saas.invoice().await?;
    let pay = TestRequest::post(format!("/invoices/{id}/pay")).by(&saas.alice);
    saas.send(pay, Value::Null, StatusCode::OK).await?;
    saas.sign_up("Globex", "eve").await?;
    let eve = saas.log_in("eve").await?;
    let history = |token| TestRequest::get(format!("/invoices/{id}/history")).by(token);

    saas.send(history(&eve), Value::Null, StatusCode::NOT_FOUND)
        .await?;
    let steps = saas
        .send(history(&saas.alice), Value::Null, StatusCode::OK)
        .await?;
    let told: Vec<_> = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (&step["action"], &step["who"]["id"], &step["changed"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("invoice.pay"), &json!("alice"), &json!(["paid_on"])),
            (&json!("invoice.issue"), &json!("alice"), &json!([])),
        ]
    );
    Ok(())
}
