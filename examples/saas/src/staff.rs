//! The form with which staff sign in to the console.

use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::app::App;
use crate::session::{Identity, STAFF_COOKIE};

/// The path of the form.
pub(crate) const SIGN_IN: &str = "/staff/sign-in";

const FORM: &str = r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Staff</title>
<h1>Staff</h1>
<form method="post">
  <label>Token <input type="password" name="token" required autofocus></label>
  <button>Sign in</button>
</form>
"#;

/// `GET /staff/sign-in`: the form.
pub(crate) async fn show_form() -> Html<&'static str> {
    Html(FORM)
}

/// The form's fields.
#[derive(Debug, Deserialize)]
pub(crate) struct SignIn {
    token: String,
}

/// `POST /staff/sign-in`: sets the cookie of an open session of staff and goes to the console. Behind TLS the
/// cookie also needs `Secure`.
pub(crate) async fn sign_in(State(app): State<App>, Form(form): Form<SignIn>) -> Response {
    match app.sessions().find(&form.token) {
        Some(Identity::Staff { .. }) => {
            let cookie = format!(
                "{STAFF_COOKIE}={}; Path=/audit; HttpOnly; SameSite=Lax",
                form.token
            );
            ([(SET_COOKIE, cookie)], Redirect::to("/audit")).into_response()
        }
        _ => (StatusCode::UNAUTHORIZED, Html(FORM)).into_response(),
    }
}
