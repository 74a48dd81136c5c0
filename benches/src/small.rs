//! Single-row statements, one or ten per transaction.
//!
//! Statements are pipelined, so that the server never waits for the client and the time of a batch is
//! that of the server. Commits are asynchronous: the disk flush is not part of capture (`clients`
//! measures both kinds of commit).

use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::sampling::{Effort, median};
use crate::tables::{self, order_values};
use crate::variant::{Side, Variant};

/// Pipelined statements at a time. `try_join_all` polls up to this many futures in order.
const AHEAD: usize = 24;

/// The first id of inserted rows, above the ids of the initial rows.
const FIRST_NUMBER: i64 = 1_000_000;

/// A small workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// An update of one row in its own transaction.
    Update,
    /// An insert of one row in its own transaction.
    Insert,
    /// A delete of one row in its own transaction.
    Delete,
    /// An update of one of 60 columns in its own transaction.
    UpdateWide,
    /// Ten single-row statements on three tables in one transaction.
    TenStatements,
    /// Ten single-row updates of the 12-column table in one transaction.
    TenUpdates,
}

impl Workload {
    const ALL: [Self; 6] = [
        Self::Update,
        Self::Insert,
        Self::Delete,
        Self::UpdateWide,
        Self::TenStatements,
        Self::TenUpdates,
    ];

    /// The label in tables and charts.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Update => "update, own transaction",
            Self::Insert => "insert, own transaction",
            Self::Delete => "delete, own transaction",
            Self::UpdateWide => "update 1 of 60 columns",
            Self::TenStatements => "one of ten, three small tables",
            Self::TenUpdates => "update, one of ten in a transaction",
        }
    }

    /// The statements of one transaction. Their parameter is a number that is used once.
    fn statements(self) -> Vec<String> {
        let rows = tables::ROWS;
        let update = |step: i64| {
            format!(
                "UPDATE orders SET status = 'status ' || $1::bigint \
                 WHERE id = 1 + ($1::bigint * 7919 + {step}) % {rows}"
            )
        };
        match self {
            Self::Update => vec![update(0)],
            Self::Insert => vec![format!(
                "INSERT INTO orders SELECT {}",
                order_values("$1::bigint")
            )],
            Self::Delete => vec!["DELETE FROM orders WHERE id = $1::bigint".to_owned()],
            Self::UpdateWide => vec![format!(
                "UPDATE wide SET c1 = 'value ' || $1::bigint WHERE id = 1 + $1::bigint * 7919 % {rows}"
            )],
            Self::TenUpdates => (0..10).map(|step| update(step * 13)).collect(),
            Self::TenStatements => {
                let mut statements = Vec::new();
                for table in ["small_a", "small_b", "small_c"] {
                    statements.push(format!(
                        "INSERT INTO {table} SELECT $1::bigint, 'new', 1, now()"
                    ));
                    statements.push(format!(
                        "UPDATE {table} SET amount = 2 WHERE id = $1::bigint"
                    ));
                    statements.push(format!("DELETE FROM {table} WHERE id = $1::bigint"));
                }
                statements
                    .push("INSERT INTO small_a SELECT $1::bigint, 'kept', 1, now()".to_owned());
                statements
            }
        }
    }
}

/// The cost of a statement of a workload in a variant.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Small {
    pub(crate) workload: Workload,
    pub(crate) variant: Variant,
    /// Microseconds per statement, with its share of the commit.
    pub(crate) micros: f64,
    /// Bytes of WAL per statement.
    pub(crate) wal: f64,
}

/// The prepared statements of a workload on a connection.
struct Prepared<'a> {
    client: &'a Client,
    begin: Statement,
    commit: Statement,
    statements: Vec<Statement>,
}

impl<'a> Prepared<'a> {
    async fn new(client: &'a Client, workload: Workload) -> Result<Self> {
        let mut statements = Vec::new();
        for sql in workload.statements() {
            statements.push(client.prepare(&sql).await?);
        }
        Ok(Self {
            client,
            begin: client.prepare("BEGIN").await?,
            commit: client.prepare("COMMIT").await?,
            statements,
        })
    }

    async fn run(&self, numbers: &[i64]) -> Result<()> {
        if let [statement] = self.statements.as_slice() {
            for batch in numbers.chunks(AHEAD) {
                let sent = batch
                    .iter()
                    .map(|number| async move { self.client.execute(statement, &[number]).await });
                try_join_all(sent).await?;
            }
            return Ok(());
        }
        for number in numbers {
            let one = [number as &(dyn ToSql + Sync)];
            let changes = self
                .statements
                .iter()
                .map(|statement| (statement, &one[..]));
            let whole = std::iter::once((&self.begin, &[][..]))
                .chain(changes)
                .chain(std::iter::once((&self.commit, &[][..])));
            let sent = whole.map(|(statement, values)| self.client.execute(statement, values));
            try_join_all(sent).await?;
        }
        Ok(())
    }
}

/// Measures every workload in every variant, interleaved.
pub(crate) async fn measure(sides: &[Side], effort: Effort) -> Result<Vec<Small>> {
    for side in sides {
        side.client
            .batch_execute("SET synchronous_commit = off")
            .await?;
    }
    let mut prepared = Vec::new();
    for side in sides {
        let mut workloads = Vec::new();
        for workload in Workload::ALL {
            workloads.push((workload, Prepared::new(&side.client, workload).await?));
        }
        prepared.push((side, workloads));
    }
    let mut samples: Vec<(Workload, Variant, Vec<f64>, Vec<f64>)> = Vec::new();
    // The first round is a warm-up and is discarded.
    for (round, first) in (FIRST_NUMBER..)
        .step_by(usize::try_from(effort.transactions)?)
        .take(effort.rounds + 1)
        .enumerate()
    {
        eprintln!("single rows: round {round} of {}", effort.rounds);
        let numbers: Vec<i64> = (first..first + effort.transactions).collect();
        for (at, workload) in Workload::ALL.into_iter().enumerate() {
            for (side, workloads) in &prepared {
                let (_, statements) = &workloads[at];
                let count = effort.transactions * i64::try_from(statements.statements.len())?;
                let per_statement = 1.0 / f64::from(i32::try_from(count)?);
                let wal = side.wal_bytes().await?;
                let start = Instant::now();
                statements.run(&numbers).await?;
                let micros = start.elapsed().as_secs_f64() * 1e6 * per_statement;
                let wal = (side.wal_bytes().await? - wal) * per_statement;
                if round == 0 {
                    continue;
                }
                let key = (workload, side.variant);
                match samples.iter_mut().find(|kept| (kept.0, kept.1) == key) {
                    Some(kept) => {
                        kept.2.push(micros);
                        kept.3.push(wal);
                    }
                    None => samples.push((key.0, key.1, vec![micros], vec![wal])),
                }
            }
        }
    }
    Ok(samples
        .into_iter()
        .map(|(workload, variant, micros, wal)| Small {
            workload,
            variant,
            micros: median(&micros),
            wal: median(&wal),
        })
        .collect())
}
