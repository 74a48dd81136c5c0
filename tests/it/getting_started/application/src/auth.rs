use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

/// The user of a request.
#[derive(Clone)]
pub struct CurrentUser(pub String);

/// Trusts a header, as behind an authenticating proxy.
pub async fn authenticate(mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user");
    if let Some(user) = user.and_then(|user| user.to_str().ok()) {
        let user = CurrentUser(user.to_owned());
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}
