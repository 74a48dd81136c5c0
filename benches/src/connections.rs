//! The cost of capture per connection: the time of its first captured write, and the memory of its
//! backend after writes to fifty tables.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use threadline_core::capture::CaptureMigration;
use threadline_testdb::Database;

use crate::sampling::median;
use crate::server::{self, Server};
use crate::tables;

/// The number of tables that a connection writes to.
const TABLES: usize = 50;

/// Measured new connections per database.
const CONNECTIONS: usize = 9;

/// The medians of one database.
#[derive(Debug, Clone, Copy)]
struct Costs {
    first_write_ms: f64,
    memory_mb: f64,
}

/// The costs without and with capture.
#[derive(Debug)]
pub(crate) struct Connections {
    none: Costs,
    captured: Costs,
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| a connection | no capture | captured | over none |")?;
        writeln!(f, "|---|---|---|---|")?;
        let (none, captured) = (self.none.first_write_ms, self.captured.first_write_ms);
        writeln!(
            f,
            "| first write, ms | {none:.1} | {captured:.1} | {:.1} |",
            captured - none
        )?;
        let (none, captured) = (self.none.memory_mb, self.captured.memory_mb);
        writeln!(
            f,
            "| memory after {TABLES} tables, MB | {none:.1} | {captured:.1} | {:.1} |",
            captured - none
        )
    }
}

fn name(nth: usize) -> String {
    format!("orders_{nth}")
}

fn prepare(server: &Server, captured: bool) -> Result<Database> {
    let database = server.create_database()?;
    database.execute_script(&tables::schema())?;
    let mut audited = Vec::new();
    for nth in 0..TABLES {
        let name = name(nth);
        database.execute_script(&format!(
            "CREATE TABLE {name} (LIKE orders INCLUDING ALL);
             INSERT INTO {name} SELECT * FROM orders WHERE id <= 10"
        ))?;
        audited.push(tables::orders_as(&name)?);
    }
    if captured {
        database.execute_script(&threadline_core::install::up_sql())?;
        database.execute_script(CaptureMigration::new(&audited, |_| None).up())?;
    }
    Ok(database)
}

async fn costs(database: &Database) -> Result<Costs> {
    let (mut first_writes, mut memories) = (Vec::new(), Vec::new());
    for round in 0..CONNECTIONS {
        let client = server::connect(&database.url()).await?;
        let update = |nth: usize| {
            let name = name(nth);
            format!("UPDATE {name} SET status = 'round {round}' WHERE id = 1")
        };
        let start = Instant::now();
        client.batch_execute(&update(0)).await?;
        first_writes.push(start.elapsed().as_secs_f64() * 1e3);
        for nth in 1..TABLES {
            client.batch_execute(&update(nth)).await?;
        }
        let sql = "SELECT sum(total_bytes)::float8 / 1e6 FROM pg_backend_memory_contexts";
        memories.push(client.query_one(sql, &[]).await?.get(0));
    }
    Ok(Costs {
        first_write_ms: median(&first_writes),
        memory_mb: median(&memories),
    })
}

/// Measures new connections, one after the other.
pub(crate) async fn measure(server: &Server) -> Result<Connections> {
    Ok(Connections {
        none: costs(&prepare(server, false)?).await?,
        captured: costs(&prepare(server, true)?).await?,
    })
}
