//! `work`: runs background jobs, schedules and the sealer.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use threadline_export::Worker;
use threadline_export::connections::{Connection, ConnectionPool, PoolError};
use threadline_export::jobs::CheckHandler;
use threadline_export::seal::SealWorker;
use threadline_export::storage::Storages;

use super::evidence;
use super::seal::{open_publication, read_key, read_origin};
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
    seal: SealArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// The sealer beside the jobs.
#[derive(Debug, Args)]
struct SealArgs {
    /// Also seal records and publish checkpoints, with the key in this PEM file.
    #[arg(
        long = "seal-key-file",
        value_name = "FILE",
        conflicts_with = "key_variable"
    )]
    key_file: Option<PathBuf>,
    /// Also seal records and publish checkpoints, with the key in this environment variable.
    #[arg(long = "seal-key-variable", value_name = "VARIABLE")]
    key_variable: Option<String>,
    /// The directory for checkpoints.
    #[arg(
        long = "seal-publish",
        value_name = "DIR",
        conflicts_with = "publish_storage"
    )]
    publish: Option<PathBuf>,
    /// The name of the storage for checkpoints.
    #[arg(long = "seal-publish-storage", value_name = "NAME")]
    publish_storage: Option<String>,
    /// Also publish tiles and entries.
    #[arg(long = "seal-publish-tiles")]
    publish_tiles: bool,
    /// The pause between two rounds of the sealer.
    #[arg(long = "seal-every", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
}

impl SealArgs {
    /// The sealer; none if no option of it is given.
    async fn build(
        &self,
        storages: &Storages,
        database: &DatabaseArgs,
    ) -> Result<Option<SealWorker>, Failure> {
        let (file, variable) = (self.key_file.as_deref(), self.key_variable.as_deref());
        let (directory, storage) = (self.publish.as_deref(), self.publish_storage.as_deref());
        let is_asked = file.is_some()
            || variable.is_some()
            || directory.is_some()
            || storage.is_some()
            || self.publish_tiles;
        if !is_asked {
            return Ok(None);
        }
        if file.is_none() && variable.is_none() {
            return Err(Failure::usage(
                "the sealer has no key: pass --seal-key-file or --seal-key-variable",
            ));
        }
        if directory.is_none() && storage.is_none() {
            return Err(Failure::usage(
                "the sealer has no place for checkpoints: pass --seal-publish or --seal-publish-storage",
            ));
        }
        let mut publication = open_publication(directory, storage, storages)?;
        if self.publish_tiles {
            publication = publication.with_tiles();
        }
        let key = read_key(&read_origin(database).await?, file, variable)?;
        let interval = Duration::from_secs(self.every.into());
        let worker = SealWorker::new(Connector(database.clone()), key, publication);
        Ok(Some(worker.interval(interval)))
    }
}

pub(crate) async fn run(host: Host, args: WorkArgs) -> Result<Answer, Failure> {
    let storages = args.storage.open(host)?;
    if storages.is_empty() {
        print_note("warning: there are no storages, so exports do not run: pass --storage-dir");
    }
    // An error of the address or of the privileges is shown at once.
    connect(&args.database).await?;
    let sealer = args.seal.build(&storages, &args.database).await?;
    if let Some(sealer) = &sealer {
        let round = sealer.run_once().await.context("cannot seal")?;
        print_note(&format!("sealed {} record(s)", round.sealed));
    }
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
    let stop = stop_signal().context("cannot handle signals")?.shared();
    print_note("working; Ctrl-C stops");
    let sealing = async {
        if let Some(sealer) = &sealer {
            sealer.run(stop.clone()).await;
        }
    };
    tokio::join!(worker.run(stop.clone()), sealing);
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
