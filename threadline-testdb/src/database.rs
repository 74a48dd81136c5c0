//! One database of a cluster.

use std::sync::Arc;

use crate::shared::Shared;
use crate::{Error, session};

/// A database with a name of its own, dropped with this value, whoever is still connected.
///
/// It keeps its cluster's server running.
#[derive(Debug)]
pub struct Database {
    cluster: Arc<Shared>,
    name: String,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Drop,
    Leave,
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
            fate: Fate::Drop,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A `postgres://` URL, as libpq (Diesel, psql) and tokio-postgres (diesel-async, sqlx) read
    /// it. A socket folder is its percent-encoded host.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster.address.url(&self.name)
    }

    /// The URL for another role, without a password: a cluster started here asks for none.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        self.cluster.address.url_as(role, &self.name)
    }

    /// The same as `host='…' port=… user='…' dbname='…'`, for what does not read URLs.
    #[must_use]
    pub fn keyword_string(&self) -> String {
        self.cluster.address.keywords(&self.name)
    }

    /// Runs statements, separated by semicolons, in a session of their own. Without BEGIN and
    /// COMMIT among them they are one transaction. Rows are thrown away.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] with the server's message for the first statement that fails.
    pub fn execute_script(&self, sql: &str) -> Result<(), Error> {
        session::run(&self.cluster.address, &self.name, sql)?;
        Ok(())
    }

    /// The first column of the first row of a query, as text; `None` for NULL or no row. Enough
    /// to look at a result without a driver.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] with the server's message.
    pub fn query_text(&self, sql: &str) -> Result<Option<String>, Error> {
        Ok(session::value(&self.cluster.address, &self.name, sql)?)
    }

    /// Drops the database now, and says whether that worked.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server refuses or is not running.
    pub fn close(mut self) -> Result<(), Error> {
        self.fate = Fate::Leave;
        self.cluster.drop_database(&self.name)
    }

    /// Gives up the responsibility for dropping it.
    pub(crate) fn leave(mut self) -> String {
        self.fate = Fate::Leave;
        self.name.clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The last one out of a cluster of ours takes the whole server down anyway.
        let server_goes_too = self.cluster.is_ours() && Arc::strong_count(&self.cluster) == 1;
        if self.fate == Fate::Drop && !server_goes_too {
            // Fails if the server was stopped meanwhile; `close` is for who needs to know.
            self.cluster.drop_database(&self.name).ok();
        }
    }
}
