//! The database connection, the transactions and the async runtime of a command.
//!
//! tokio-postgres sends every statement as a named prepared statement, in two messages. PgBouncer in
//! transaction mode without support for prepared statements may pass them to two server connections, or to
//! one on which another client has prepared the name. Commands therefore disable the statement cache and
//! send statements in transactions, which [`BEGIN`] starts.

use std::error::Error as _;

use anyhow::{Context, anyhow};
use diesel::connection::CacheSize;
use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};

use crate::args::DatabaseArgs;
use crate::diesel_config::database_url_from_dotenv;
use crate::exit::Failure;

/// Begins a transaction and drops the prepared statements that other clients of tokio-postgres left on the
/// server connection. On a direct connection there are none. PgBouncer with support for prepared statements
/// gives them names of its own, which stay.
const BEGIN: &str = "BEGIN;
    DO $$
    DECLARE
        statement text;
    BEGIN
        FOR statement IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE name ~ '^s[0-9]+$' LOOP
            EXECUTE pg_catalog.format('DEALLOCATE %I', statement);
        END LOOP;
    END
    $$";

/// Connects to the database of `--database-url` or of `DATABASE_URL`, in the environment or in `.env`.
pub(crate) async fn connect(database: &DatabaseArgs) -> Result<AsyncPgConnection, Failure> {
    let url = match &database.database_url {
        Some(url) => url.clone(),
        None => database_url_from_dotenv()?.ok_or_else(|| {
            Failure::usage("no database is given: pass --database-url or set DATABASE_URL")
        })?,
    };
    let config = parse_url(&url)?;
    let place = describe_target(&config);
    establish(&config)
        .await
        .with_context(|| format!("cannot connect to {place}"))
        .map_err(Failure::CouldNotRun)
}

/// Connects, and runs `work` in a transaction.
pub(crate) async fn read<T>(
    database: &DatabaseArgs,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut conn = connect(database).await?;
    transaction(&mut conn, work).await
}

/// Runs `work` in a transaction: commits after success, and rolls back after an error.
pub(crate) async fn transaction<T, E: From<DieselError>>(
    conn: &mut AsyncPgConnection,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>,
) -> Result<T, E> {
    AnsiTransactionManager::begin_transaction_sql(conn, BEGIN).await?;
    let outcome = work(conn).await;
    if outcome.is_ok() {
        AnsiTransactionManager::commit_transaction(conn).await?;
    } else {
        // The error of the work is more useful than one of the rollback.
        let _: QueryResult<()> = AnsiTransactionManager::rollback_transaction(conn).await;
    }
    outcome
}

async fn establish(config: &Config) -> anyhow::Result<AsyncPgConnection> {
    let (client, mut connection) = config.connect(NoTls).await.map_err(explain)?;
    // The set-up of Diesel's connection sends statements, too.
    let begun = tokio::select! {
        begun = client.batch_execute(BEGIN) => begun,
        closed = &mut connection => closed,
    };
    begun.map_err(explain)?;
    let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    conn.batch_execute("COMMIT").await?;
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    Ok(conn)
}

/// The cause of a failed connection, and what to do if it is TLS.
fn explain(error: tokio_postgres::Error) -> anyhow::Error {
    if let Some(refused) = error.as_db_error() {
        return anyhow!("{}", refused.message());
    }
    let is_tls = error.to_string().contains("TLS");
    let error = anyhow::Error::new(error);
    if is_tls {
        error.context(
            "this command connects without TLS; use a Unix socket, a tunnel or PgBouncer, without \
             sslmode=require",
        )
    } else {
        error
    }
}

/// Parses a URL. The error does not have the parts of it that could belong to a password.
fn parse_url(url: &str) -> Result<Config, Failure> {
    let invalid = |cause: &str| {
        Failure::usage(format!(
            "the database URL is not valid{cause}; write postgres://user:password@host:port/database, and \
             percent-encode special characters in the user and the password"
        ))
    };
    // An `@` in a password would make the rest of it a host.
    if url.contains("://") && url.matches('@').count() > 1 {
        return Err(invalid(": it has more than one `@`"));
    }
    url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        if cause.starts_with("invalid value for option") {
            invalid(&format!(": {cause}"))
        } else {
            invalid("")
        }
    })
}

/// Database, servers and user of a connection, without the password.
fn describe_target(config: &Config) -> String {
    let hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let ports = config.get_ports();
            let port = ports.get(index).or(ports.first()).unwrap_or(&5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(folder) => format!("{}:{port}", folder.display()),
            }
        })
        .collect();
    let user = config.get_user().unwrap_or("the default user");
    format!(
        "database {} on {} as {user}",
        config.get_dbname().unwrap_or(user),
        hosts.join(", ")
    )
}

/// Runs a command on an async runtime of its own.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(command);
    // Does not wait for a blocked write to a full pipe after the command was interrupted.
    runtime.shutdown_background();
    outcome
}
