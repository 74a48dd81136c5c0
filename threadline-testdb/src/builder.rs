//! Options of a cluster.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::address::{Host, ServerAddress};
use crate::server::Server;
use crate::settings::Settings;
use crate::{Cluster, Error, MajorVersion, ServerBinaries};

/// Any number is free: no other server uses the socket's directory.
const SOCKET_PORT: u16 = 5432;

/// Another process may take a free port before the server binds it.
const PORT_ATTEMPTS: usize = 4;

/// The addresses on which a cluster accepts connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Listen {
    /// A Unix socket in the cluster's directory, which only this user (and root) can enter.
    #[default]
    UnixSocket,
    /// The socket and a free port of 127.0.0.1, which is the address in the URLs. Every user of the
    /// machine can connect to it, as superuser and without a password.
    Loopback,
}

/// What happens to a cluster's directory when the cluster is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// It is removed with all its data.
    #[default]
    Remove,
    /// It is kept for inspection: see [`Cluster::data_dir`] and [`Cluster::log`].
    Keep,
}

/// Options of a cluster. Created by [`Cluster::builder`].
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
            start_timeout: Duration::from_secs(60),
        }
    }

    /// The server to run. Default: the result of [`ServerBinaries::locate`].
    pub fn binaries(mut self, binaries: ServerBinaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// The major version to search for. Default: any. Ignored with
    /// [`binaries`](Self::binaries).
    pub fn version(mut self, version: MajorVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// A server setting, as in `postgresql.conf`. The last value of a name applies.
    ///
    /// Defaults, for speed: `fsync`, `full_page_writes` and `autovacuum` are `off`,
    /// `shared_buffers` is 32MB. Also `max_connections` is 100, `max_prepared_transactions` 20 and
    /// `timezone` UTC. `synchronous_commit` is on, which is cheap without `fsync`: if it is off,
    /// [`Cluster::kill`] may lose the last commits.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.set(name, value);
        self
    }

    /// The addresses to listen on. Default: [`Listen::UnixSocket`].
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// What happens to the cluster's directory. Default: [`OnDrop::Remove`].
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.on_drop = on_drop;
        self
    }

    /// How long the server may take to start. Default: 60 seconds.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Starts the cluster and returns when it accepts connections.
    ///
    /// # Errors
    ///
    /// [`Error::Binaries`] when no server is installed, [`Error::Setting`] for an invalid name or
    /// value of a setting, [`Error::Start`] and [`Error::StartTimeout`] with the server's log when
    /// it does not start (an unknown setting, for example).
    pub fn start(self) -> Result<Cluster, Error> {
        // Checked first, so that an invalid setting fails before files are created.
        let lines = self.settings.lines()?;
        let binaries = match self.binaries {
            Some(binaries) => binaries,
            None => ServerBinaries::locate(self.version)?,
        };
        let server = Server::create(binaries, self.start_timeout, self.on_drop)?;
        server.configure(&format!("\n# Written by threadline-testdb.\n{lines}"))?;
        let address = match self.listen {
            Listen::UnixSocket => start_on_socket(&server)?,
            Listen::Loopback => start_on_loopback(&server)?,
        };
        Ok(Cluster::from_server(server, address))
    }
}

fn start_on_socket(server: &Server) -> Result<ServerAddress, Error> {
    server.configure(&socket_settings(server, SOCKET_PORT)?)?;
    server.start()?;
    let host = Host::Socket(server.path().to_owned());
    Ok(ServerAddress::superuser(host, SOCKET_PORT))
}

fn start_on_loopback(server: &Server) -> Result<ServerAddress, Error> {
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        let address = socket_settings(server, port)?;
        server.configure(&format!("{address}listen_addresses = '127.0.0.1'\n"))?;
        match server.start() {
            Ok(()) => {
                let host = Host::Name(Ipv4Addr::LOCALHOST.to_string());
                return Ok(ServerAddress::superuser(host, port));
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

fn socket_settings(server: &Server, port: u16) -> Result<String, Error> {
    let mut settings = Settings::default();
    settings.set("unix_socket_directories", server.path().to_string_lossy());
    settings.set("port", port.to_string());
    settings.lines()
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("finding a free port on", "127.0.0.1"))
}
