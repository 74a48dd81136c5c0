//! A server for tests.

use std::env;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::address::ServerAddress;
use crate::server::Server;
use crate::shared::Shared;
use crate::{ClusterBuilder, Database, Error, MajorVersion, SqlError, Template, session};

/// The environment variables for the URL of an existing server, in order of precedence.
const URL_VARIABLES: [&str; 2] = ["THREADLINE_TEST_DATABASE_URL", "DATABASE_URL"];

/// A PostgreSQL server for tests.
///
/// The clones and databases of a cluster share its server, which stops when the last of them is
/// dropped or the process ends. A cluster can therefore be a `static`:
///
/// ```
/// use std::sync::OnceLock;
/// use threadline_testdb::Cluster;
///
/// fn cluster() -> &'static Cluster {
///     static CLUSTER: OnceLock<Cluster> = OnceLock::new();
///     CLUSTER.get_or_init(|| Cluster::from_env_or_start().expect("a server for the tests"))
/// }
///
/// let database = cluster().create_database()?;
/// database.execute_script("create table t (id int primary key)")?;
/// # Ok::<(), threadline_testdb::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

impl Cluster {
    /// Starts a cluster with the defaults of [`ClusterBuilder`].
    ///
    /// # Errors
    ///
    /// Those of [`ClusterBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// The options of a new cluster.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    /// Uses the server in `THREADLINE_TEST_DATABASE_URL` or, if that is not set, in
    /// `DATABASE_URL`. Starts a cluster if neither is set.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] for an invalid URL, otherwise those of
    /// [`existing`](Self::existing) and [`start`](Self::start).
    pub fn from_env_or_start() -> Result<Self, Error> {
        let found = URL_VARIABLES
            .into_iter()
            .find_map(|name| Some((name, env::var(name).ok().filter(|url| !url.is_empty())?)));
        match found {
            Some((variable, url)) => Self::connect(variable, &url),
            None => Self::start(),
        }
    }

    /// Uses a running server. The role in the URL needs CREATEDB.
    ///
    /// The names of the databases start with `threadline_`. They are dropped as on any other
    /// cluster, except those of a process that was killed or whose cluster is a `static`. The
    /// server is never stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] for an invalid URL or one that requires TLS, which is not supported, and
    /// [`Error::Sql`] when the server rejects the connection or cannot be reached.
    pub fn existing(url: &str) -> Result<Self, Error> {
        Self::connect("url", url)
    }

    pub(crate) fn from_server(server: Server, address: ServerAddress) -> Self {
        let version = server.version();
        Self::new(address, version, Some(server))
    }

    fn connect(variable: &'static str, url: &str) -> Result<Self, Error> {
        let address = ServerAddress::parse(url).map_err(|what| Error::Url { variable, what })?;
        let number =
            session::query_text(&address, &address.maintenance, "show server_version_num")?
                .unwrap_or_default();
        let version = number
            .parse::<u32>()
            .ok()
            .and_then(|number| u16::try_from(number / 10_000).ok())
            .ok_or_else(|| SqlError::UnknownVersion {
                address: address.to_string(),
                found: number,
            })?;
        Ok(Self::new(address, MajorVersion::new(version), None))
    }

    fn new(address: ServerAddress, version: MajorVersion, server: Option<Server>) -> Self {
        Self {
            shared: Arc::new(Shared::new(address, version, server)),
        }
    }

    /// Creates an empty database, a copy of `template1`.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server rejects the statement or cannot be reached.
    pub fn create_database(&self) -> Result<Database, Error> {
        self.create_database_from("template1")
    }

    /// Creates a copy of a database. The original must have no other connections meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server rejects the statement (there is no such database, or it has
    /// other connections) or cannot be reached.
    pub fn create_database_from(&self, template: &str) -> Result<Database, Error> {
        Database::create(&self.shared, template)
    }

    /// Returns a template: a database that `prepare` sets up once and that can be copied.
    ///
    /// `prepare` receives the URL of an empty database and sets it up, for example by running
    /// migrations. It runs once for each `name` on this cluster; other calls with the same name
    /// wait. After a failure the next call tries again.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] with the error of `prepare`, [`Error::Sql`] when the database cannot be
    /// created.
    pub fn template<E>(
        &self,
        name: &str,
        prepare: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<Template, Error>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Template::prepare(&self.shared, name, prepare)
    }

    /// Runs a script in the database `postgres`, or on an existing server in the database of its
    /// URL: for roles and settings of the server.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] with the server's message.
    pub fn execute_script(&self, sql: &str) -> Result<(), Error> {
        self.shared.execute(sql)
    }

    /// Sends SIGKILL to the server and all its sessions. [`restart`](Self::restart) recovers the
    /// committed transactions.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if the server is stopped, [`Error::ExistingServer`] for an existing
    /// server.
    pub fn kill(&self) -> Result<(), Error> {
        self.shared.server()?.kill()
    }

    /// Runs a fast shutdown: ends all sessions and rolls back their transactions. Does nothing if
    /// the server is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::StopTimeout`] after 60 seconds, [`Error::ExistingServer`] for an existing server.
    pub fn stop(&self) -> Result<(), Error> {
        self.shared.server()?.stop()
    }

    /// Starts the server again with the same data and URLs. Stops it first if it runs.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop) and [`start`](Self::start).
    pub fn restart(&self) -> Result<(), Error> {
        self.shared.server()?.start()
    }

    /// The URL of the database `postgres`, or the URL of the existing server.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&self.shared.address.maintenance)
    }

    /// The URL of the database with this name.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        self.shared.address.url(database)
    }

    /// The major version of the server.
    #[must_use]
    pub fn version(&self) -> MajorVersion {
        self.shared.version
    }

    /// The port of the server, also part of the file name of its Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.address.port
    }

    /// The directory of the Unix socket. `None` for an existing server.
    #[must_use]
    pub fn socket_dir(&self) -> Option<&Path> {
        self.shared.server.as_ref().map(Server::path)
    }

    /// The data directory. `None` for an existing server.
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.shared.server.as_ref().map(Server::data)
    }

    /// The process id of the postmaster. `None` for an existing or stopped server.
    #[must_use]
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.shared.server.as_ref()?.postmaster_pid()
    }

    /// The server's log.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read, [`Error::ExistingServer`] for an existing server.
    pub fn log(&self) -> Result<String, Error> {
        self.shared.server()?.log()
    }
}
