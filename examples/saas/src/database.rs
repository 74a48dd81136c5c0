//! The database: connections and migrations.

use std::error::Error;

use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::{self, BuildError};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

/// The connection pool.
pub type Pool = deadpool::Pool<AsyncPgConnection>;

/// A pooled connection.
pub type Conn = deadpool::Object<AsyncPgConnection>;

/// The migrations of the application, including those that Threadline generated.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Creates a connection pool. It opens connections on demand.
///
/// # Errors
/// [`BuildError`] if the configuration of the pool is invalid.
pub fn pool(url: impl Into<String>) -> Result<Pool, BuildError> {
    Pool::builder(AsyncDieselConnectionManager::new(url)).build()
}

/// Runs pending migrations. Needs a multi-threaded tokio runtime.
///
/// # Errors
/// If the database cannot be reached or a migration fails.
pub async fn migrate(pool: &Pool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut harness = AsyncMigrationHarness::new(pool.get().await?);
    harness.run_pending_migrations(MIGRATIONS)?;
    Ok(())
}
