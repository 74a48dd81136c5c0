//! SQL sessions: one connection for each script or query.

use std::time::Duration;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::SqlError;
use crate::address::ServerAddress;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a script and discards its rows.
pub(crate) fn execute(address: &ServerAddress, database: &str, sql: &str) -> Result<(), SqlError> {
    run(address, database, async |client| {
        client.batch_execute(sql).await
    })
}

/// Returns the first column of the first row. `None` for NULL or no row.
pub(crate) fn query_text(
    address: &ServerAddress,
    database: &str,
    sql: &str,
) -> Result<Option<String>, SqlError> {
    let messages = run(address, database, async |client| {
        client.simple_query(sql).await
    })?;
    let first_row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(first_row.and_then(|row| row.get(0).map(str::to_owned)))
}

/// Runs `work` on a thread of its own: the caller may be inside an async runtime, where a second
/// runtime cannot block.
fn run<T: Send>(
    address: &ServerAddress,
    database: &str,
    work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error> + Send,
) -> Result<T, SqlError> {
    let session = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| connect_error(address, source))?
            .block_on(connect_and_run(address, database, work))
    };
    std::thread::scope(|scope| scope.spawn(session).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

async fn connect_and_run<T>(
    address: &ServerAddress,
    database: &str,
    work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, SqlError> {
    let mut config = address.config(database);
    config
        .application_name("threadline-testdb")
        .connect_timeout(CONNECT_TIMEOUT);
    let connected = config.connect(NoTls).await;
    let (client, connection) = connected.map_err(|error| match error.as_db_error() {
        Some(refusal) => refusal.into(),
        None => connect_error(address, error),
    })?;
    let connection = tokio::spawn(connection);
    let outcome = work(&client).await;
    let value = outcome.map_err(|error| run_error(address, error))?;
    drop(client);
    // Sends Terminate. The result is already here, so an error no longer matters.
    connection.await.ok();
    Ok(value)
}

fn connect_error(
    address: &ServerAddress,
    source: impl std::error::Error + Send + Sync + 'static,
) -> SqlError {
    SqlError::Connect {
        address: address.to_string(),
        source: Box::new(source),
    }
}

fn run_error(address: &ServerAddress, error: tokio_postgres::Error) -> SqlError {
    match error.as_db_error() {
        Some(refusal) => refusal.into(),
        None => SqlError::Interrupted {
            address: address.to_string(),
            source: Box::new(error),
        },
    }
}
