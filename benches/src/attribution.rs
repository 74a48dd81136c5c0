//! What an audited write adds to a captured transaction.

use std::time::{Duration, Instant};

use anyhow::Result;
use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use threadline_core::action::Action;
use threadline_core::actor::ActorRef;
use threadline_core::capture::CaptureMigration;
use threadline_core::context::{AuditContext, ContextId};
use threadline_core::install;
use threadline_diesel::{AuditError, AuditedWrite, blocking};

use crate::server::Server;

/// Measured pairs of transactions, one plain and one audited.
const PAIRS: usize = 1_500;

const UPDATE: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = 1";

/// The durations of plain transactions and of audited writes.
#[derive(Debug, Default)]
struct Timed {
    plain: Vec<Duration>,
    audited: Vec<Duration>,
}

impl Timed {
    fn sorted(mut self) -> Self {
        self.plain.sort_unstable();
        self.audited.sort_unstable();
        self
    }
}

/// The medians and the 10th percentiles; the latter exclude most disturbances.
impl std::fmt::Display for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, percent) in [("median", 50), ("10th percentile", 10)] {
            let at = |times: &[Duration]| times[times.len() * percent / 100].as_secs_f64();
            let (plain, audited) = (at(&self.plain), at(&self.audited));
            write!(
                f,
                "\n  {name}: {:.0} µs plain, {:.0} µs audited ({:.2}x)",
                plain * 1e6,
                audited * 1e6,
                audited / plain
            )?;
        }
        Ok(())
    }
}

/// Measures async and sync connections and prints the results.
pub(crate) async fn measure(server: &Server) -> Result<()> {
    let database = server.create_database()?;
    database.execute_script(&install::up_sql())?;
    database.execute_script(
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int, note text);
         INSERT INTO accounts VALUES (1, 0, 'x')",
    )?;
    let mut conn = AsyncPgConnection::establish(&database.url()).await?;
    let table = threadline_diesel::introspect(&mut conn, &"accounts".parse()?).await?;
    database.execute_script(CaptureMigration::new([&table], |_| None).up())?;
    let context = AuditContext::new(ActorRef::user("42")?)
        .request_id(ContextId::new("0af7651916cd43dd8448eb211c80319c")?)
        .correlation_id(ContextId::new("order-7001")?);
    let context_alone = AuditedWrite::new(context);
    let with_action = context_alone.clone().action(Action::new("account.change")?);
    for commit in ["off", "on"] {
        for (label, write) in [
            ("context alone", &context_alone),
            ("with an action", &with_action),
        ] {
            let found = with_async(&mut conn, write, commit).await?;
            println!("synchronous_commit = {commit}, {label}, async: {found}");
            let (url, write) = (database.url(), write.clone());
            let found =
                tokio::task::spawn_blocking(move || with_sync(&url, &write, commit)).await??;
            println!("synchronous_commit = {commit}, {label}, sync: {found}");
        }
    }
    Ok(())
}

async fn with_async(
    conn: &mut AsyncPgConnection,
    write: &AuditedWrite,
    commit: &str,
) -> Result<Timed> {
    let mut timed = Timed::default();
    conn.batch_execute(&format!("SET synchronous_commit = {commit}"))
        .await?;
    for _ in 0..PAIRS {
        let start = Instant::now();
        conn.transaction(async |conn| conn.batch_execute(UPDATE).await)
            .await?;
        timed.plain.push(start.elapsed());
        let start = Instant::now();
        threadline_diesel::audited(conn, write, async |conn| {
            conn.batch_execute(UPDATE).await.map_err(AuditError::from)
        })
        .await?;
        timed.audited.push(start.elapsed());
    }
    Ok(timed.sorted())
}

fn with_sync(url: &str, write: &AuditedWrite, commit: &str) -> Result<Timed> {
    use diesel::connection::SimpleConnection;
    let mut conn = PgConnection::establish(url)?;
    let mut timed = Timed::default();
    conn.batch_execute(&format!("SET synchronous_commit = {commit}"))?;
    for _ in 0..PAIRS {
        let start = Instant::now();
        conn.transaction(|conn| conn.batch_execute(UPDATE))?;
        timed.plain.push(start.elapsed());
        let start = Instant::now();
        blocking::audited(&mut conn, write, |conn| {
            conn.batch_execute(UPDATE).map_err(AuditError::from)
        })?;
        timed.audited.push(start.elapsed());
    }
    Ok(timed.sorted())
}
