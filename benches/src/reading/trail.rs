//! A large trail, and the same changes in a layout of the common kind.

use anyhow::{Context, Result};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::install;
use threadline_testdb::Database;
use tokio_postgres::Client;

use crate::server::{self, Server};

const TRAIL: &str = include_str!("../../sql/reading/trail.sql");
const COMMON_LAYOUT: &str = include_str!("../../sql/reading/common_layout.sql");

/// Fifty changes a transaction, on average.
const CHANGES_OF_A_TRANSACTION: i64 = 50;

/// A database with both.
pub(crate) struct Trail {
    /// Dropped with this, unless it was there before.
    _database: Option<Database>,
    url: String,
    client: Client,
    changes: i64,
}

impl Trail {
    /// Fills a new database.
    pub(crate) async fn build(server: &Server, changes: i64) -> Result<Self> {
        let database = server.create_database()?;
        let client = server::connect(&database.url()).await?;
        eprintln!("about {changes} changes are being written");
        client.batch_execute(&install::up_sql()).await?;
        let transactions = changes / CHANGES_OF_A_TRANSACTION;
        let script = TRAIL
            .replace("$1", &changes.to_string())
            .replace("$2", &transactions.to_string());
        client.batch_execute(&script).await?;
        eprintln!("they are being copied into the common layout");
        client.batch_execute(COMMON_LAYOUT).await?;
        // Autovacuum is off, and never looks at what is partitioned as a whole.
        eprintln!("both are being vacuumed and analyzed");
        client.batch_execute("VACUUM ANALYZE").await?;
        client.batch_execute("CHECKPOINT").await?;
        let built = Self::existing(&database.url()).await?;
        Ok(Self {
            _database: Some(database),
            ..built
        })
    }

    /// One that is there already.
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

    /// How many changes there are.
    pub(crate) fn changes(&self) -> i64 {
        self.changes
    }

    /// For SQL.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// For the library.
    pub(crate) async fn connect(&self) -> Result<AsyncPgConnection> {
        Ok(AsyncPgConnection::establish(&self.url).await?)
    }

    /// One text that a query gives.
    pub(crate) async fn text(&self, sql: &str) -> Result<String> {
        let row = self.client.query_one(sql, &[]).await;
        Ok(row.with_context(|| sql.to_owned())?.get(0))
    }
}
