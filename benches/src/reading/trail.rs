//! A large trail, and the same changes in a common layout.

use anyhow::{Context, Result};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::capture::CaptureMigration;
use threadline_core::install;
use threadline_diesel::introspect;
use threadline_testdb::Database;
use tokio_postgres::Client;

use crate::server::{self, Server};

const TRAIL: &str = include_str!("../../sql/reading/trail.sql");
const COMMON_LAYOUT: &str = include_str!("../../sql/reading/common_layout.sql");

/// The average number of changes per transaction.
const CHANGES_OF_A_TRANSACTION: i64 = 50;

/// The number of tables in the trail, `table_1` and so on.
const TABLES: u32 = 40;

/// The columns of a table in the trail.
const COLUMNS: &str = "(id text PRIMARY KEY, customer_id int, number text, status text, total numeric,
    currency text, placed_at timestamptz, paid boolean, tags jsonb, shipped_on date, details jsonb, note text)";

/// Writes the changes.
async fn fill(client: &Client, changes: i64) -> Result<()> {
    eprintln!("writing about {changes} changes");
    let transactions = changes / CHANGES_OF_A_TRANSACTION;
    let script = TRAIL
        .replace("$1", &changes.to_string())
        .replace("$2", &transactions.to_string());
    Ok(client.batch_execute(&script).await?)
}

/// Vacuums and analyzes: autovacuum is off, and never analyzes partitioned parents.
async fn finish(client: &Client) -> Result<()> {
    eprintln!("vacuuming and analyzing");
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(client.batch_execute("CHECKPOINT").await?)
}

/// A database with a large trail.
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
        client.batch_execute(&install::up_sql()).await?;
        fill(&client, changes).await?;
        eprintln!("copying the changes into the common layout");
        client.batch_execute(COMMON_LAYOUT).await?;
        finish(&client).await?;
        let built = Self::existing(&database.url()).await?;
        Ok(Self {
            _database: Some(database),
            ..built
        })
    }

    /// Creates and fills a database whose tables exist and are captured, without the common layout.
    pub(crate) async fn build_captured(server: &Server, changes: i64) -> Result<Self> {
        let database = server.create_database()?;
        let client = server::connect(&database.url()).await?;
        client.batch_execute(&install::up_sql()).await?;
        let mut conn = AsyncPgConnection::establish(&database.url()).await?;
        for number in 1..=TABLES {
            let name = format!("table_{number}");
            client
                .batch_execute(&format!("CREATE TABLE {name} {COLUMNS}"))
                .await?;
            let table = introspect(&mut conn, &name.parse()?).await?;
            let capture = CaptureMigration::new([&table], |_| None);
            client.batch_execute(capture.up()).await?;
        }
        // The trail begins earlier than this run. The guards refuse the update, except for replication.
        client
            .batch_execute(
                "BEGIN; SET LOCAL session_replication_role = replica;
                UPDATE threadline.audit_enrolments SET recorded_at = '2026-01-01'; COMMIT",
            )
            .await?;
        fill(&client, changes).await?;
        finish(&client).await?;
        let built = Self::existing(&database.url()).await?;
        Ok(Self {
            _database: Some(database),
            ..built
        })
    }

    /// Connects to an existing database, which has what the measurement reads.
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

    /// The URL of the database.
    pub(crate) fn url(&self) -> &str {
        &self.url
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
