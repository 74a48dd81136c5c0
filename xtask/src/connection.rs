//! The connection of a command.

use anyhow::Context;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::cli::DatabaseArgs;
use crate::exit::Failure;

/// Connects to the database that was named.
pub(crate) async fn connect(database: &DatabaseArgs) -> Result<AsyncPgConnection, Failure> {
    let Some(url) = &database.database_url else {
        return Err(Failure::usage(
            "no database is named: pass --database-url or set DATABASE_URL",
        ));
    };
    let conn = AsyncPgConnection::establish(url)
        .await
        .context("cannot connect to the database")?;
    Ok(conn)
}

/// A runtime for one command.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(command);
    // A write to a pipe that nobody reads must not keep a command that was stopped.
    runtime.shutdown_background();
    outcome
}
