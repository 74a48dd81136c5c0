//! The database of the demonstration.

use std::io::Write;

use threadline_testdb::{Cluster, Listen, OnDrop, Progress, ServerBinaries};
use threadline_xtask::DemoArgs;

use super::heading;
use super::kept::KeptCluster;
use super::report::Report;

/// The name of the database on a throwaway server.
const DATABASE: &str = "saas";

/// The database server of the demonstration.
#[derive(Debug)]
pub(crate) enum Server {
    /// A temporary server, removed at the end.
    Throwaway(Cluster),
    /// A temporary server that keeps running.
    Kept(KeptCluster),
    /// The database of `--database-url`.
    Existing(String),
}

impl Server {
    /// Starts a server, unless the arguments name a database.
    pub(crate) fn start(args: &DemoArgs, out: &mut impl Write) -> anyhow::Result<Self> {
        if let Some(url) = &args.database_url {
            writeln!(
                out,
                "Runs on the given database: migrates it and leaves the rows of the demonstration in it."
            )?;
            return Ok(Self::Existing(url.clone()));
        }
        let binaries = ServerBinaries::obtain(None, Progress::Terminal)?;
        writeln!(
            out,
            "Starts a temporary PostgreSQL {} ({}).",
            binaries.version(),
            binaries.bin_dir().display()
        )?;
        let cluster = Cluster::builder().binaries(binaries.clone());
        if args.keep {
            let cluster = cluster.listen(Listen::Loopback).on_drop(OnDrop::Keep);
            let cluster = with_database(cluster.start()?)?;
            return Ok(Self::Kept(KeptCluster::new(cluster, binaries)));
        }
        Ok(Self::Throwaway(with_database(cluster.start()?)?))
    }

    /// Whether this process started the server, so that the database was empty.
    pub(crate) fn is_throwaway(&self) -> bool {
        !matches!(self, Self::Existing(_))
    }

    fn url(&self) -> String {
        match self {
            Self::Throwaway(cluster) => cluster.url_of(DATABASE),
            Self::Kept(kept) => kept.cluster().url_of(DATABASE),
            Self::Existing(url) => url.clone(),
        }
    }

    /// The database's URL with an `application_name`.
    pub(crate) fn url_for(&self, program: &str) -> String {
        let url = self.url();
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}application_name={program}")
    }

    /// Stops the server, or prints how to use it.
    pub(crate) fn end(self, report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
        let url = self.url();
        match self {
            Self::Throwaway(cluster) => {
                drop(cluster);
                writeln!(
                    out,
                    "\nThe server is stopped and its data removed. With --keep it keeps running, with --serve the\n\
                     application, too."
                )?;
            }
            Self::Existing(_) => {
                writeln!(out, "\nThe rows and the trail are still in the database.")?;
            }
            Self::Kept(kept) => {
                let running = kept.run()?;
                heading(out, "Your turn", "The server keeps running:")?;
                print_commands(out, &url, report)?;
                writeln!(
                    out,
                    "\nTo stop and remove it:\n\n  kill -QUIT {}; sleep 1; rm -rf {}",
                    running.process_id,
                    running.folder.display()
                )?;
            }
        }
        Ok(())
    }
}

fn with_database(cluster: Cluster) -> anyhow::Result<Cluster> {
    cluster.execute_script(&format!("CREATE DATABASE {DATABASE}"))?;
    Ok(cluster)
}

fn print_commands(out: &mut impl Write, url: &str, report: &Report) -> std::io::Result<()> {
    let Report { incident, member } = report;
    writeln!(
        out,
        "  psql '{url}'\n\n  \
         export DATABASE_URL='{url}'\n  \
         cargo xtask timeline --unattributed\n  \
         cargo xtask timeline --correlation order-7002\n  \
         cargo xtask timeline --actor admin:rita --json\n  \
         cargo xtask history members {member}\n  \
         cargo xtask incident {incident}"
    )
}
