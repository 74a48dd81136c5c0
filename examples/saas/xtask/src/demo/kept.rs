//! A server that outlives the demonstration.
//!
//! A cluster stops with the process that started it. Its data stays if that is asked for, so the
//! server is started once more on it, on its own.

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

/// How long the server may take to come up again.
const START_LIMIT: Duration = Duration::from_secs(30);

/// As whom the server runs when root starts the demonstration, which PostgreSQL would refuse.
const NOBODY: u32 = 65534;

/// A cluster, and what is needed to start its server without it.
#[derive(Debug)]
pub(crate) struct Kept {
    cluster: Cluster,
    binaries: ServerBinaries,
}

/// A server that runs on its own.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process_id: u32,
    pub(crate) folder: PathBuf,
}

impl Kept {
    /// The cluster must listen on the loopback interface and keep its data.
    pub(crate) fn new(cluster: Cluster, binaries: ServerBinaries) -> Self {
        Self { cluster, binaries }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Stops the cluster and starts its server on the same data and port.
    pub(crate) fn run(self) -> anyhow::Result<Running> {
        let data = self.cluster.data_dir().context("the server is not ours")?;
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
                "the server did not come up again: see {}",
                folder.join("server.log").display()
            );
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
