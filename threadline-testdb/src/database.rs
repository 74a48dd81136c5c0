//! A database of a cluster.

use std::sync::Arc;

use crate::shared::Shared;
use crate::{Error, session};

/// A database with a unique name. Dropping this value drops the database and its connections.
///
/// The value keeps its cluster's server running.
#[derive(Debug)]
pub struct Database {
    cluster: Arc<Shared>,
    name: String,
    /// Whether `drop` drops the database.
    is_owned: bool,
}

impl Database {
    pub(crate) fn create(cluster: &Arc<Shared>, template: &str) -> Result<Self, Error> {
        Self::create_named(cluster, template, cluster.new_name("test"))
    }

    pub(crate) fn create_named(
        cluster: &Arc<Shared>,
        template: &str,
        name: String,
    ) -> Result<Self, Error> {
        cluster.copy_database(template, &name)?;
        Ok(Self {
            cluster: Arc::clone(cluster),
            name,
            is_owned: true,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A `postgres://` URL for libpq (Diesel, psql), tokio-postgres (diesel-async) and sqlx. Its host
    /// is the percent-encoded directory of the Unix socket.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster.address.url(&self.name)
    }

    /// The URL for another role, without a password: clusters of this crate use `trust`.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        self.cluster.address.url_as(role, &self.name)
    }

    /// The keyword/value connection string: `host='…' port=… user='…' dbname='…'`.
    #[must_use]
    pub fn keyword_string(&self) -> String {
        self.cluster.address.keywords(&self.name)
    }

    /// Runs statements, separated by semicolons, in a new session and discards their rows. Without
    /// BEGIN and COMMIT they are one transaction. COPY FROM STDIN and COPY TO STDOUT fail.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] with the server's message for the first statement that fails.
    pub fn execute_script(&self, sql: &str) -> Result<(), Error> {
        session::execute(&self.cluster.address, &self.name, sql)?;
        Ok(())
    }

    /// The first column of the first row of a query, as text. `None` for NULL or no row.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] with the server's message.
    pub fn query_text(&self, sql: &str) -> Result<Option<String>, Error> {
        Ok(session::query_text(&self.cluster.address, &self.name, sql)?)
    }

    /// Drops the database and returns the error, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server rejects the statement or is not running.
    pub fn close(mut self) -> Result<(), Error> {
        self.is_owned = false;
        self.cluster.drop_database(&self.name)
    }

    /// Keeps the database and returns its name.
    pub(crate) fn into_name(mut self) -> String {
        self.is_owned = false;
        self.name.clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The last handle of a cluster removes the server with all its databases.
        let is_last_handle = self.cluster.server.is_some() && Arc::strong_count(&self.cluster) == 1;
        if self.is_owned && !is_last_handle {
            // Fails if the server is stopped; `close` returns the error.
            self.cluster.drop_database(&self.name).ok();
        }
    }
}
