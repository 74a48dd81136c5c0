//! The operator console: sign-in, and what staff and members see.

use axum::body::Body;
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::harness::{RITA, Saas, TestRequest};

/// The session token of a support user of Acme.
const SAM: &str = "the-token-of-sam";

async fn sign_in(saas: &Saas, token: &str) -> anyhow::Result<(StatusCode, Option<String>)> {
    let form = Request::post("/staff/sign-in")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("token={token}")))?;
    let response = saas.respond(form).await?;
    let cookie = response.headers().get(SET_COOKIE);
    let cookie = cookie.and_then(|one| one.to_str().ok()?.split(';').next());
    Ok((response.status(), cookie.map(ToOwned::to_owned)))
}

async fn change(saas: &Saas, cookie: &str, id: i64) -> anyhow::Result<StatusCode> {
    let page = Request::get(format!("/audit/changes?id={id}"))
        .header(COOKIE, cookie)
        .body(Body::empty())?;
    Ok(saas.respond(page).await?.status())
}

/// The newest change of a row of `invoices`.
fn newest_change(saas: &Saas, invoice: i64) -> anyhow::Result<i64> {
    let query = format!(
        "SELECT max(id) FROM threadline.audit_changes WHERE table_name = 'invoices'
            AND table_pk ->> 'id' = '{invoice}'"
    );
    let id = saas.database.query_text(&query)?;
    Ok(id.unwrap_or_default().parse()?)
}

#[tokio::test]
async fn an_administrator_signs_in_by_the_form_and_sees_every_organization() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let invoice = saas.invoice().await?;

    let page = Request::get("/audit").header("sec-fetch-mode", "navigate");
    let response = saas.respond(page.body(Body::empty())?).await?;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[LOCATION], "/staff/sign-in");

    let (status, cookie) = sign_in(&saas, "wrong").await?;
    assert_eq!((status, cookie), (StatusCode::UNAUTHORIZED, None));
    let (status, cookie) = sign_in(&saas, RITA).await?;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let id = newest_change(&saas, invoice)?;
    assert_eq!(change(&saas, &cookie.unwrap(), id).await?, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn support_sees_the_changes_of_its_organization_only() -> anyhow::Result<()> {
    let mut saas = Saas::start().await?;
    let ours = saas.invoice().await?;
    saas.sign_up("Globex", "carol").await?;
    let acme = "SELECT id FROM organizations WHERE name = 'Acme'";
    let acme = saas.database.query_text(acme)?.unwrap().parse()?;
    saas.sessions
        .open_for_support(SAM.to_owned(), "sam", acme)?;
    saas.alice = saas.log_in("carol").await?;
    let theirs = saas.invoice().await?;

    let (_, cookie) = sign_in(&saas, SAM).await?;
    let cookie = cookie.unwrap();
    let ours = newest_change(&saas, ours)?;
    let theirs = newest_change(&saas, theirs)?;
    assert_eq!(change(&saas, &cookie, ours).await?, StatusCode::OK);
    assert_eq!(change(&saas, &cookie, theirs).await?, StatusCode::NOT_FOUND);

    // Nor does support act for members of another organization.
    let request = TestRequest::patch("/members/me")
        .by(SAM)
        .with("x-impersonate", "carol");
    let update = json!({ "email": "carol@home.example" });
    saas.send(request, update, StatusCode::NOT_FOUND).await?;
    Ok(())
}

#[tokio::test]
async fn a_member_does_not_learn_of_the_console() -> anyhow::Result<()> {
    let saas = Saas::start().await?;
    let (status, cookie) = sign_in(&saas, &saas.alice).await?;
    assert_eq!((status, cookie), (StatusCode::UNAUTHORIZED, None));
    let page = Request::get("/audit").header("authorization", format!("Bearer {}", saas.alice));
    let response = saas.respond(page.body(Body::empty())?).await?;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    Ok(())
}
