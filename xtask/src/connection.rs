//! The database connection and async runtime of a command.

use anyhow::Context;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::args::DatabaseArgs;
use crate::exit::Failure;

/// Connects to the database of `--database-url` or `DATABASE_URL`.
pub(crate) async fn connect(database: &DatabaseArgs) -> Result<AsyncPgConnection, Failure> {
    let Some(url) = &database.database_url else {
        return Err(Failure::usage(
            "no database is given: pass --database-url or set DATABASE_URL",
        ));
    };
    let conn = AsyncPgConnection::establish(url)
        .await
        .context("cannot connect to the database")?;
    Ok(conn)
}

/// Runs a command on an async runtime of its own.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(command);
    // Does not wait for a blocked write to a full pipe after the command was interrupted.
    runtime.shutdown_background();
    outcome
}
