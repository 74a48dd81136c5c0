//! Runs the function of a screen.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use futures_util::FutureExt;
use threadline_core::telemetry::console_timeout;

use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::route::{Handler, ReadScreen};
use crate::screens::moved::renamed_parameters;

/// Checks the capability and the limit on requests, and runs the function of the screen, with a deadline. A panic is an error.
pub(super) async fn run_screen(request: &GrantedRequest) -> Result<Screen, PageError> {
    if let Some(capability) = request.route.capability
        && !request.allows(capability)
    {
        return Err(PageError::Forbidden(capability));
    }
    if !matches!(request.route.handler, Handler::Static(_)) {
        let rates = &request.settings.request_rates;
        rates.admit(request.actor.as_ref(), request.settings.limits.requests)?;
    }
    if let Some(href) = renamed_parameters(request) {
        return Ok(Screen::Moved(href));
    }
    // A search in stored values reads rows one by one.
    let _scan = if request.parameters().texts("scan_values").is_empty() {
        None
    } else {
        let permit = request.settings.scans.try_acquire();
        Some(permit.map_err(|_| PageError::Busy)?)
    };
    let screen = AssertUnwindSafe(async {
        match request.route.handler {
            Handler::Static(show) => show(request),
            Handler::Async(show) => show(request).await,
            Handler::Read(show) => read(request, "REPEATABLE READ", show).await,
            Handler::ReadCommitted(show) => read(request, "READ COMMITTED", show).await,
        }
    });
    let limit = request.settings.limits.request;
    let outcome = match tokio::time::timeout(limit, screen.catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(PageError::Internal("panic")),
        Err(_) => Err(PageError::Unavailable("timeout")),
    };
    if let Err(PageError::TooBroad | PageError::Unavailable("timeout")) = outcome {
        console_timeout(request.route.screen);
    }
    outcome
}

/// Runs a screen in a read-only transaction of one connection.
///
/// If the request is given up on the way, Diesel's transaction manager still counts the transaction, and the
/// pool closes the connection.
async fn read(
    request: &GrantedRequest,
    isolation: &str,
    show: ReadScreen,
) -> Result<Screen, PageError> {
    let limits = &request.settings.limits;
    let mut connection = request.settings.reader().await?;
    let conn: &mut AsyncPgConnection = &mut connection;
    let begin = format!(
        "BEGIN ISOLATION LEVEL {isolation} READ ONLY; SET LOCAL jit = off; \
         SET LOCAL statement_timeout = {}",
        limits.statement.as_millis()
    );
    AnsiTransactionManager::begin_transaction_sql(conn, &begin)
        .await
        .map_err(|_| PageError::Unavailable("begin"))?;
    let started = Instant::now();
    let outcome = show(&mut PageContext { conn, request }).await;
    let is_slow = started.elapsed() >= limits.statement;
    // Nothing was written. A failed end closes the connection when the pool checks it.
    let _: QueryResult<()> = AnsiTransactionManager::rollback_transaction(conn).await;
    match outcome {
        Err(PageError::Internal("database")) if is_slow => Err(PageError::TooBroad),
        outcome => outcome,
    }
}
