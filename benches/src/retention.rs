//! A purge of a million changes, by partition and in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::install;
use threadline_core::retention::{Keep, RetentionPolicy};
use threadline_diesel::retention::{PurgeOptions, purge_with_progress};
use tokio_postgres::Client;

use crate::server::{Server, connect};

/// The number of purged changes.
const CHANGES: i64 = 1_000_000;

/// Changes per transaction.
const CHANGES_OF_A_TRANSACTION: i64 = 3;

/// The position of the changes relative to the cut-off.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a month that is completely expired.
    WholeMonth,
    /// In the month that contains the cut-off.
    PartOfAMonth,
}

/// Measures both places and prints the results.
pub(crate) async fn measure(server: &Server) -> Result<()> {
    println!("{}\n", server.facts().await?);
    println!(
        "by partition: {}",
        purge_million(server, Place::WholeMonth).await?
    );
    println!(
        "in batches:   {}",
        purge_million(server, Place::PartOfAMonth).await?
    );
    Ok(())
}

/// The result of a purge.
struct Taken {
    whole: Duration,
    steps: Vec<Duration>,
    changes: i64,
    transactions: i64,
    /// The durations of the inserts of a concurrent writer.
    writes: Vec<Duration>,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let mut steps = self.steps.clone();
        let mut writes = self.writes.clone();
        steps.sort_unstable();
        writes.sort_unstable();
        write!(
            f,
            "{} changes and {} transactions in {:.2} s; {} steps, median {:.0} ms, p99 {:.0} ms, \
             longest {:.0} ms; concurrent writer: median {:.1} ms, longest {:.0} ms",
            self.changes,
            self.transactions,
            self.whole.as_secs_f64(),
            steps.len(),
            millis(steps[steps.len() / 2]),
            millis(steps[steps.len() * 99 / 100]),
            millis(steps[steps.len() - 1]),
            millis(writes[writes.len() / 2]),
            millis(writes[writes.len() - 1]),
        )
    }
}

async fn purge_million(server: &Server, place: Place) -> Result<Taken> {
    let database = server.create_database()?;
    database.execute_script(&install::up_sql())?;
    let months_ago = match place {
        Place::WholeMonth => 5,
        Place::PartOfAMonth => 4,
    };
    database.execute_script(&fill(months_ago))?;
    let client = connect(&database.url()).await?;
    // The cut-off: the 25th day of the month four months ago, in hours before now.
    let hours: String = client
        .query_one(
            "SELECT ceil(EXTRACT(EPOCH FROM now() - (date_trunc('month', now()) - interval '4 months' + interval '25 days')) / 3600)::text",
            &[],
        )
        .await?
        .get(0);
    let policy = RetentionPolicy::keep(Keep::hours(hours.parse()?)?)
        .enabled()
        .build()?;
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(connect(&database.url()).await?, Arc::clone(&is_done)));
    let mut conn = AsyncPgConnection::establish(&database.url()).await?;
    let options = PurgeOptions::new().pause(Duration::ZERO);
    let mut steps = Vec::new();
    let start = Instant::now();
    let mut last = start;
    let outcome = purge_with_progress(&mut conn, &policy, &options, &mut |_| {
        steps.push(last.elapsed());
        last = Instant::now();
    })
    .await?;
    let whole = start.elapsed();
    is_done.store(true, Ordering::Relaxed);
    Ok(Taken {
        whole,
        steps,
        changes: outcome.run.changes,
        transactions: outcome.run.transactions,
        writes: writer.await??,
    })
}

/// Inserts changes as capture does, one per transaction, until the purge is done.
async fn write(client: Client, is_done: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut taken = Vec::new();
    let sql = "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name) \
        SELECT nextval('threadline.audit_changes_id_seq'), now(), threadline.current_transaction_id(), 'insert', 'public', 'orders'"
        .replace("threadline.", &format!("{}.", threadline_core::storage::STORAGE_SCHEMA));
    while !is_done.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.batch_execute(&sql).await?;
        taken.push(start.elapsed());
    }
    Ok(taken)
}

/// The script that inserts the changes into the first twenty days of a month.
fn fill(months_ago: i32) -> String {
    format!(
        "SELECT threadline.create_partition(parent, period, 0)
         FROM unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) AS parent,
            generate_series(date_trunc('month', now() - interval '5 months'), now(), '1 month') AS period;
         CREATE TEMP TABLE step AS
         SELECT i, began + interval '20 days' * (i::float8 / {CHANGES}) AS at,
            began + interval '20 days' * ((i - i % {CHANGES_OF_A_TRANSACTION})::float8 / {CHANGES}) AS begun
         FROM generate_series(0, {CHANGES} - 1) AS i,
            (SELECT date_trunc('month', now()) - interval '{months_ago} months') AS month (began);
         INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user, actor)
         SELECT DISTINCT encode(timestamptz_send(begun) || int8send(i / {CHANGES_OF_A_TRANSACTION}), 'hex')::uuid,
            begun, '1'::xid8, 1, 'app', 'user:42' FROM step;
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after, changed_from)
         SELECT i, at, encode(timestamptz_send(begun) || int8send(i / {CHANGES_OF_A_TRANSACTION}), 'hex')::uuid,
            'update', 'public', 'orders', (i % 50000)::text, jsonb_build_object('id', (i % 50000)::text),
            jsonb_build_object('id', i % 50000, 'customer', i % 500, 'status', 'open', 'note', repeat('a note text ', 20), 'total', 12.3),
            jsonb_build_object('total', 12.2)
         FROM step;
         ANALYZE threadline.audit_changes; ANALYZE threadline.audit_transactions; CHECKPOINT"
    )
    .replace("threadline.", &format!("{}.", threadline_core::storage::STORAGE_SCHEMA))
}
