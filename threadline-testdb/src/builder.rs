//! What can be chosen about a cluster before it starts.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::address::{Host, ServerAddress};
use crate::server::Server;
use crate::settings::Settings;
use crate::{Cluster, Error, MajorVersion, ServerBinaries};

/// Any will do: the socket lies in a folder that no other server uses.
const SOCKET_PORT: u16 = 5432;

/// A port found free may be taken by somebody else before the server has it.
const PORT_ATTEMPTS: usize = 4;

/// Where a cluster takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Listen {
    /// On a Unix socket in the cluster's own folder, which only this user (and root) can enter.
    #[default]
    UnixSocket,
    /// On that socket and on a free port of 127.0.0.1, which the URLs then name. Every user of
    /// the machine can connect there, as superuser and without a password.
    Loopback,
}

/// What becomes of a cluster's folder in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// It is removed with all data.
    #[default]
    Remove,
    /// It stays, to be looked at: see [`Cluster::data_dir`] and [`Cluster::log`].
    Keep,
}

/// Options for a cluster. Made by [`Cluster::builder`].
///
/// ```
/// use threadline_testdb::{Cluster, Listen};
///
/// let cluster = Cluster::builder()
///     .listen(Listen::Loopback)
///     .setting("log_statement", "all")
///     .start()?;
/// assert!(cluster.url().contains("@127.0.0.1:"));
/// # Ok::<(), threadline_testdb::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder starts nothing until `start` is called"]
pub struct ClusterBuilder {
    binaries: Option<ServerBinaries>,
    version: Option<MajorVersion>,
    settings: Settings,
    listen: Listen,
    on_drop: OnDrop,
    start_timeout: Duration,
}

impl ClusterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            binaries: None,
            version: None,
            settings: Settings::defaults(),
            listen: Listen::default(),
            on_drop: OnDrop::default(),
            start_timeout: Duration::from_mins(1),
        }
    }

    /// The server to run. Default: what [`ServerBinaries::locate`] finds.
    pub fn binaries(mut self, binaries: ServerBinaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// The major version to look for. Default: any. Has no effect with
    /// [`binaries`](Self::binaries).
    pub fn version(mut self, version: MajorVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// A server setting, as in `postgresql.conf`; given twice, the last holds.
    ///
    /// Defaults, for speed: `fsync`, `full_page_writes` and `autovacuum` are `off`,
    /// `shared_buffers` is 32MB. Further `max_connections` is 100, `max_prepared_transactions`
    /// 20 and `timezone` UTC. `synchronous_commit` is on, which is cheap without `fsync`: turned
    /// off, [`Cluster::kill`] may lose the last commits.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.set(name, value);
        self
    }

    /// Where to take connections. Default: [`Listen::UnixSocket`].
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// What becomes of the cluster's folder. Default: [`OnDrop::Remove`].
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.on_drop = on_drop;
        self
    }

    /// How long the server may take to come up. Default: 60 seconds.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// Starts the cluster and returns when it takes connections.
    ///
    /// # Errors
    ///
    /// [`Error::Binaries`] when there is no server to run, [`Error::Setting`] for a setting that
    /// cannot be written down, [`Error::Start`] and [`Error::StartTimeout`] with the server's log
    /// when it does not come up (an unknown setting, for example).
    pub fn start(self) -> Result<Cluster, Error> {
        // Before anything is made, so that a typing error costs no time.
        let lines = self.settings.lines()?;
        let binaries = match self.binaries {
            Some(binaries) => binaries,
            None => ServerBinaries::locate(self.version)?,
        };
        let server = Server::prepare(binaries, self.start_timeout, self.on_drop)?;
        server.configure(&format!("\n# Written by threadline-testdb.\n{lines}"))?;
        let address = match self.listen {
            Listen::UnixSocket => start_on_socket(&server)?,
            Listen::Loopback => start_on_loopback(&server)?,
        };
        Ok(Cluster::of_server(server, address))
    }
}

fn start_on_socket(server: &Server) -> Result<ServerAddress, Error> {
    server.configure(&place(server, SOCKET_PORT)?)?;
    server.start()?;
    let host = Host::Socket(server.path().to_owned());
    Ok(ServerAddress::ours(host, SOCKET_PORT))
}

fn start_on_loopback(server: &Server) -> Result<ServerAddress, Error> {
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        let place = place(server, port)?;
        server.configure(&format!("{place}listen_addresses = '127.0.0.1'\n"))?;
        match server.start() {
            Ok(()) => {
                let host = Host::Name(Ipv4Addr::LOCALHOST.to_string());
                return Ok(ServerAddress::ours(host, port));
            }
            Err(Error::Start { log, .. })
                if log.contains("Address already in use") && attempt < PORT_ATTEMPTS =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn place(server: &Server, port: u16) -> Result<String, Error> {
    let mut settings = Settings::default();
    let folder = server.path().to_string_lossy();
    settings.set("unix_socket_directories", folder);
    settings.set("port", port.to_string());
    settings.lines()
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("finding a free port on", "127.0.0.1"))
}
