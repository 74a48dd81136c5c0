//! The server on which everything is measured.

use std::fmt;

use anyhow::{Context, Result};
use serde::Serialize;
use threadline_testdb::{Cluster, Database};
use tokio_postgres::{Client, NoTls};

/// Settings of a durable server with enough memory for the tables of the benchmark.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "30min"),
    ("wal_buffers", "16MB"),
    ("autovacuum", "off"),
];

/// The server and settings of a measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Facts {
    /// `version()` of the server.
    pub(crate) postgres: String,
    /// Cores available to this process.
    pub(crate) cores: usize,
    /// The settings of the server that affect the result.
    pub(crate) settings: Vec<(String, String)>,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{} cores", self.postgres, self.cores)?;
        for (name, value) in &self.settings {
            write!(f, "{name}={value} ")?;
        }
        Ok(())
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    cluster: Cluster,
}

impl Server {
    /// Starts a throwaway server, or uses the server at `url`.
    pub(crate) fn start(url: Option<&str>) -> Result<Self> {
        let cluster = if let Some(url) = url {
            Cluster::existing(url)?
        } else {
            let mut builder = Cluster::builder();
            for (name, value) in SETTINGS {
                builder = builder.setting(*name, *value);
            }
            builder.start()?
        };
        Ok(Self { cluster })
    }

    /// A new database.
    pub(crate) fn create_database(&self) -> Result<Database> {
        Ok(self.cluster.create_database()?)
    }

    /// Reads the version and the settings of the server.
    pub(crate) async fn facts(&self) -> Result<Facts> {
        let client = connect(&self.cluster.url()).await?;
        let postgres = client.query_one("SELECT version()", &[]).await?.get(0);
        let names: Vec<_> = SETTINGS.iter().map(|(name, _)| *name).collect();
        let rows = client
            .query(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY ($1)",
                &[&names],
            )
            .await?;
        Ok(Facts {
            postgres,
            cores: std::thread::available_parallelism()?.get(),
            settings: rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }
}

/// Opens a connection and drives it in a background task.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connecting")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("a connection ended: {error}");
        }
    });
    client.batch_execute("SET jit = off").await?;
    Ok(client)
}
