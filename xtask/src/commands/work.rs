//! `work`: runs background jobs and schedules.

use anyhow::Context;
use clap::Args;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use threadline_export::Worker;
use threadline_export::connections::{Connection, ConnectionPool, PoolError};
use threadline_export::jobs::CheckHandler;

use super::evidence;
use crate::args::{DatabaseArgs, StorageArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::text::{print_line, print_note};

#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// Run the jobs that can run now, then exit.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(host: Host, args: WorkArgs) -> Result<Answer, Failure> {
    let storages = args.storage.open(host)?;
    if storages.is_empty() {
        print_note("warning: there are no storages, so exports do not run: pass --storage-dir");
    }
    // An error of the address or of the privileges is shown at once.
    connect(&args.database).await?;
    let plan = evidence::plan_or_default(host)?;
    let mut worker = Worker::builder(Connector(args.database))
        .storages(storages)
        .handler(CheckHandler::new(plan));
    if let Some(notifier) = host.notifier {
        let notifier = notifier().context("cannot build the notifier of the host")?;
        worker = worker.notifier(notifier);
    }
    if let Some(resolver) = host.scope_resolver {
        let resolver = resolver().context("cannot build the scope resolver of the host")?;
        worker = worker.scope_resolver(resolver);
    }
    let worker = worker.build();
    if args.once {
        let count = worker.run_pending().await.context("cannot run the jobs")?;
        print_line(&format!("{count} jobs run"))?;
        return Ok(Answer::Fine);
    }
    let stop = stop_signal().context("cannot handle signals")?;
    print_note("working; Ctrl-C stops");
    worker.run(stop).await;
    Ok(Answer::Fine)
}

/// Completes at Ctrl-C and SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Connects for each use, so that a lost connection does no harm.
struct Connector(DatabaseArgs);

impl ConnectionPool for Connector {
    fn connection(&self) -> BoxFuture<'_, Result<Connection, PoolError>> {
        async {
            let conn = connect(&self.0).await?;
            Ok(Box::new(Box::new(conn)) as Connection)
        }
        .boxed()
    }
}
