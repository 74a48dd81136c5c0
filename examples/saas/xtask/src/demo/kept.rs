//! A server that keeps running after the demonstration.
//!
//! A cluster stops with the process that started it. `--keep` keeps its data, and this module starts a
//! server without a watchdog on it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use threadline_testdb::{Cluster, ServerBinaries};

/// The timeout for the restart of the server.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The user that runs the server if root starts the demonstration; PostgreSQL does not run as root.
const NOBODY: u32 = 65534;

/// A cluster whose data is kept, and the programs of its server.
#[derive(Debug)]
pub(crate) struct KeptCluster {
    cluster: Cluster,
    binaries: ServerBinaries,
}

/// A server that runs independently of this process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process_id: u32,
    pub(crate) folder: PathBuf,
}

impl KeptCluster {
    /// Wraps a cluster, which must listen on the loopback interface and keep its data.
    pub(crate) fn new(cluster: Cluster, binaries: ServerBinaries) -> Self {
        Self { cluster, binaries }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Stops the cluster and starts its server on the same data and port.
    pub(crate) fn run(self) -> anyhow::Result<Running> {
        let data = self
            .cluster
            .data_dir()
            .context("the server is not one that this process started")?;
        let folder = data.parent().unwrap_or(&data).to_owned();
        let port = self.cluster.port();
        drop(self.cluster);
        let mut server = start(&self.binaries, &data, &folder)?;
        await_port(&mut server, port, &folder)?;
        Ok(Running {
            process_id: server.id(),
            folder,
        })
    }
}

fn start(binaries: &ServerBinaries, data: &Path, folder: &Path) -> anyhow::Result<Child> {
    let log = File::options()
        .append(true)
        .open(folder.join("server.log"))?;
    let mut command = Command::new(binaries.bin_dir().join("postgres"));
    command
        .arg("-D")
        .arg(data)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    if data.metadata()?.uid() == NOBODY {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().context("cannot start the server again")
}

fn await_port(server: &mut Child, port: u16, folder: &Path) -> anyhow::Result<()> {
    let end = Instant::now() + START_LIMIT;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if server.try_wait()?.is_some() || Instant::now() > end {
            bail!(
                "the server did not start again: see {}",
                folder.join("server.log").display()
            );
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
