use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::post;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;

use crate::auth::authenticate;
use crate::invoices;

type Db = Pool<AsyncPgConnection>;

pub fn router(db: Db) -> Router {
    Router::new()
        .route("/invoices/{id}/pay", post(pay))
        .layer(from_fn(authenticate))
        .with_state(db)
}

async fn pay(State(db): State<Db>, Path(id): Path<i64>) -> Result<String, StatusCode> {
    let mut conn = db.get().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    match invoices::pay(&mut conn, id).await {
        Ok(rows) => Ok(format!("{rows} paid\n")),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
