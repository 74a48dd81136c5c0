//! The database: connections and migrations.

use std::error::Error;

use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::{self, BuildError};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

/// Connections that are handed out and come back.
pub type Pool = deadpool::Pool<AsyncPgConnection>;

/// A connection that was handed out.
pub type Conn = deadpool::Object<AsyncPgConnection>;

/// The application's migrations; Threadline's stand among them.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Connections to a database; none is made yet.
///
/// # Errors
/// [`BuildError`] when the pool cannot work at all.
pub fn pool(url: impl Into<String>) -> Result<Pool, BuildError> {
    Pool::builder(AsyncDieselConnectionManager::new(url)).build()
}

/// Brings the database up to date. Needs a multi-threaded tokio runtime.
///
/// # Errors
/// When there is no connection or a migration fails.
pub async fn migrate(pool: &Pool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut harness = AsyncMigrationHarness::new(pool.get().await?);
    harness.run_pending_migrations(MIGRATIONS)?;
    Ok(())
}
