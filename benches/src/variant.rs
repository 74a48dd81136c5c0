//! The compared variants of capture, each in its own database on the same server.

use anyhow::Result;
use serde::Serialize;
use threadline_core::capture::CaptureMigration;
use threadline_testdb::Database;
use tokio_postgres::Client;

use crate::server::{self, Server};
use crate::tables;

const COMMON_TRIGGER: &str = include_str!("../sql/common_trigger.sql");

/// A way to capture changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Variant {
    /// No capture.
    None,
    /// Threadline.
    Full,
    /// A plain row-level jsonb trigger.
    Common,
}

impl Variant {
    /// All variants in the order of a round.
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Full, Self::Common];

    /// The label in tables and charts.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::None => "no capture",
            Self::Full => "threadline",
            Self::Common => "common trigger",
        }
    }

    /// The schema of the stored changes.
    fn trail_schema(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Full => "threadline",
            Self::Common => "common",
        }
    }

    fn install(self, database: &Database) -> Result<()> {
        match self {
            Self::None => return Ok(()),
            Self::Common => {
                database.execute_script(COMMON_TRIGGER)?;
                for table in tables::names() {
                    database.execute_script(&format!(
                        "CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON {table} \
                         FOR EACH ROW EXECUTE FUNCTION common.capture('id')"
                    ))?;
                }
                return Ok(());
            }
            Self::Full => {}
        }
        database.execute_script(&threadline_core::install::up_sql())?;
        let audited = tables::audited()?;
        database.execute_script(CaptureMigration::new(&audited, |_| None).up())?;
        Ok(())
    }
}

/// A variant, its database, and a connection to it.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) variant: Variant,
    pub(crate) client: Client,
    database: Database,
}

impl Side {
    /// Opens another connection.
    pub(crate) async fn connect(&self) -> Result<Client> {
        server::connect(&self.database.url()).await
    }

    /// The size of the trail in bytes, including indexes.
    pub(crate) async fn trail_bytes(&self) -> Result<f64> {
        self.bytes_of(self.variant.trail_schema()).await
    }

    /// The size of all tables of a schema in bytes, including indexes.
    pub(crate) async fn bytes_of(&self, schema: &str) -> Result<f64> {
        let sql = "SELECT COALESCE(sum(pg_total_relation_size(oid)), 0)::float8 FROM pg_class \
                   WHERE relkind = 'r' AND relnamespace = to_regnamespace($1)";
        let schema = if schema.is_empty() { "none" } else { schema };
        Ok(self.client.query_one(sql, &[&schema]).await?.get(0))
    }

    /// The bytes of WAL that the server has written so far.
    pub(crate) async fn wal_bytes(&self) -> Result<f64> {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }
}

/// Creates a database for every variant.
pub(crate) async fn prepare(server: &Server) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    for variant in Variant::ALL {
        let database = server.create_database()?;
        database.execute_script(&tables::schema())?;
        variant.install(&database)?;
        let client = server::connect(&database.url()).await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        sides.push(Side {
            variant,
            client,
            database,
        });
    }
    Ok(sides)
}
