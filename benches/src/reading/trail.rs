//! A large trail, and the same changes in a common layout.

use anyhow::{Context, Result};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::install;
use threadline_testdb::Database;
use tokio_postgres::Client;

use crate::server::{self, Server};

const TRAIL: &str = include_str!("../../sql/reading/trail.sql");
const COMMON_LAYOUT: &str = include_str!("../../sql/reading/common_layout.sql");

/// The average number of changes per transaction.
const CHANGES_OF_A_TRANSACTION: i64 = 50;

/// A database with both layouts.
pub(crate) struct Trail {
    /// Dropped with this value; `None` for an existing database.
    _database: Option<Database>,
    url: String,
    client: Client,
    changes: i64,
}

impl Trail {
    /// Creates and fills a database.
    pub(crate) async fn build(server: &Server, changes: i64) -> Result<Self> {
        let database = server.create_database()?;
        let client = server::connect(&database.url()).await?;
        eprintln!("writing about {changes} changes");
        client.batch_execute(&install::up_sql()).await?;
        let transactions = changes / CHANGES_OF_A_TRANSACTION;
        let script = TRAIL
            .replace("$1", &changes.to_string())
            .replace("$2", &transactions.to_string());
        client.batch_execute(&script).await?;
        eprintln!("copying the changes into the common layout");
        client.batch_execute(COMMON_LAYOUT).await?;
        // Autovacuum is off, and never analyzes partitioned parents.
        eprintln!("vacuuming and analyzing both layouts");
        client.batch_execute("VACUUM ANALYZE").await?;
        client.batch_execute("CHECKPOINT").await?;
        let built = Self::existing(&database.url()).await?;
        Ok(Self {
            _database: Some(database),
            ..built
        })
    }

    /// Connects to an existing database with both layouts.
    pub(crate) async fn existing(url: &str) -> Result<Self> {
        let client = server::connect(url).await?;
        let changes = client
            .query_one("SELECT count(*) FROM threadline.audit_changes", &[])
            .await?
            .get(0);
        Ok(Self {
            _database: None,
            url: url.to_owned(),
            client,
            changes,
        })
    }

    /// The number of changes.
    pub(crate) fn changes(&self) -> i64 {
        self.changes
    }

    /// The connection for SQL.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Opens a connection for the library.
    pub(crate) async fn connect(&self) -> Result<AsyncPgConnection> {
        Ok(AsyncPgConnection::establish(&self.url).await?)
    }

    /// The first value of a query, as text.
    pub(crate) async fn text(&self, sql: &str) -> Result<String> {
        let row = self.client.query_one(sql, &[]).await;
        Ok(row.with_context(|| sql.to_owned())?.get(0))
    }
}
