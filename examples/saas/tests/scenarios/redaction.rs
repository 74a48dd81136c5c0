//! Redacted columns and the trail.

use axum::http::StatusCode;
use saas::models::Member;
use serde_json::json;
use threadline::History;

use crate::harness::{Saas, TestRequest, password_of};

/// All rows of the trail as text.
const WHOLE_TRAIL: &str = "
    SELECT string_agg(line, E'\\n') FROM (
        SELECT to_jsonb(c)::text FROM threadline.audit_changes AS c
        UNION ALL SELECT to_jsonb(t)::text FROM threadline.audit_transactions AS t
        UNION ALL SELECT to_jsonb(a)::text FROM threadline.audit_actions AS a
    ) AS trail (line)";

#[tokio::test]
async fn the_trail_has_no_password_hash_or_address() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let update = json!({ "email": "alice@home.example", "password": "correct horse" });
    let change = TestRequest::patch("/members/me").by(&saas.alice);
    saas.send(change, update, StatusCode::NO_CONTENT).await?;
    let wrong = json!({ "handle": "alice", "password": "wrong horse" });
    saas.send(TestRequest::post("/login"), wrong, StatusCode::UNAUTHORIZED)
        .await?;

    let hash = "SELECT password_hash FROM members";
    let hash = saas.database.query_text(hash)?.unwrap();
    assert!(hash.starts_with("$argon2"), "{hash}");
    let trail = saas.database.query_text(WHOLE_TRAIL)?.unwrap();
    assert!(trail.contains(r#""email": "[REDACTED]""#), "{trail}");
    for secret in [
        "password_hash",
        "$argon2",
        "correct horse",
        "wrong horse",
        &password_of("alice"),
        "@acme.example",
        "@home.example",
        &saas.alice,
    ] {
        assert!(!trail.contains(secret), "{secret} is in the trail: {trail}");
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_address_is_recorded_and_a_changed_password_is_an_action() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    for update in [
        json!({ "email": "alice@home.example" }),
        json!({ "password": "correct horse" }),
    ] {
        let change = TestRequest::patch("/members/me").by(&saas.alice);
        saas.send(change, update, StatusCode::NO_CONTENT).await?;
    }

    let query = History::<Member>::new("alice")?;
    let page = threadline::history(&mut saas.conn().await?, &query).await?;
    let changed: Vec<_> = page
        .entries
        .iter()
        .map(|entry| entry.change.changed_fields())
        .collect();
    assert_eq!(changed, [vec!["email".to_owned()], vec![]]);

    let actions = saas.actions("member.change").await?;
    let facts = actions
        .iter()
        .map(|action| action.meta.as_ref().unwrap().as_str());
    assert!(facts.eq([
        r#"{"password_changed": false}"#,
        r#"{"password_changed": true}"#
    ]));
    Ok(())
}
