//! A running server, and what is asked of it.

use std::env;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::address::ServerAddress;
use crate::server::Server;
use crate::shared::Shared;
use crate::{ClusterBuilder, Database, Error, MajorVersion, SqlError, Template, session};

/// The variables that name an existing server, in the order in which they are asked.
const URL_VARIABLES: [&str; 2] = ["THREADLINE_TEST_DATABASE_URL", "DATABASE_URL"];

/// A PostgreSQL server for tests.
///
/// Clones and the databases made from a cluster share the server, which stops when the last of
/// them is dropped; with the process at the latest, so a cluster may live in a `static`:
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

    /// Options to choose before the start.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    /// Uses the server that `THREADLINE_TEST_DATABASE_URL` or, if that is not set,
    /// `DATABASE_URL` names, and starts a cluster if neither is set.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] for a URL that cannot be read, otherwise those of
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

    /// Uses a server that runs already. The role in the URL must be allowed to create databases.
    ///
    /// Databases made here have names that start with `threadline_` and are dropped like those
    /// of any other cluster. Those of a process that was killed, or that kept its cluster in a
    /// `static`, stay. The server itself is never stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] for a URL that cannot be read and [`Error::Sql`] when the server cannot be
    /// reached. Servers that ask for a SCRAM or MD5 login, or for TLS, need `psql` on this
    /// machine.
    pub fn existing(url: &str) -> Result<Self, Error> {
        Self::connect("url", url)
    }

    pub(crate) fn of_server(server: Server, address: ServerAddress) -> Self {
        let version = server.version();
        Self::new(address, version, Some(server))
    }

    fn connect(variable: &'static str, url: &str) -> Result<Self, Error> {
        let address = ServerAddress::parse(url).map_err(|what| Error::Url { variable, what })?;
        let number = session::value(&address, &address.maintenance, "show server_version_num")?;
        let version = number
            .and_then(|text| text.trim().parse::<u32>().ok())
            .and_then(|number| u16::try_from(number / 10_000).ok())
            .ok_or_else(|| SqlError::Protocol {
                address: address.to_string(),
                what: "it has no version number".to_owned(),
            })?;
        Ok(Self::new(address, MajorVersion::new(version), None))
    }

    fn new(address: ServerAddress, version: MajorVersion, server: Option<Server>) -> Self {
        Self {
            shared: Arc::new(Shared::new(address, version, server)),
        }
    }

    /// Makes an empty database, a copy of `template1`.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server refuses or cannot be reached.
    pub fn create_database(&self) -> Result<Database, Error> {
        self.create_database_from("template1")
    }

    /// Makes a copy of a database, to which nobody may be connected meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server refuses (there is no such database, somebody stays
    /// connected to it) or cannot be reached.
    pub fn create_database_from(&self, template: &str) -> Result<Database, Error> {
        Database::create(&self.shared, template)
    }

    /// A database prepared once, by `prepare`, to be copied as often as needed.
    ///
    /// `prepare` gets the URL of an empty database and fills it, by running migrations for
    /// example. It runs once for a `name` on this cluster; who asks for the same name meanwhile
    /// waits. After a failure the next call tries again.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] with the error of `prepare`, [`Error::Sql`] when the database cannot
    /// be made.
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

    /// Runs a script in the database `postgres` (on an existing server, in that of its URL), for
    /// what concerns the whole server: roles, settings.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] with the server's message.
    pub fn execute_script(&self, sql: &str) -> Result<(), Error> {
        self.shared.administer(sql)
    }

    /// SIGKILL to the server and all its sessions, as when the machine loses power. What was
    /// committed is there again after [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if it is stopped already, [`Error::NotOurs`] for an existing server.
    pub fn kill(&self) -> Result<(), Error> {
        self.shared.own_server()?.kill()
    }

    /// Stops the server in an orderly way: sessions are ended, their transactions rolled back.
    /// One that is stopped already stays so.
    ///
    /// # Errors
    ///
    /// [`Error::StopTimeout`] after 60 seconds, [`Error::NotOurs`] for an existing server.
    pub fn stop(&self) -> Result<(), Error> {
        self.shared.own_server()?.stop()
    }

    /// Starts the server again on the same data and under the same URLs. One that runs is
    /// stopped first.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop) and of a start.
    pub fn restart(&self) -> Result<(), Error> {
        self.shared.own_server()?.start()
    }

    /// The URL of the database `postgres`; on an existing server, that of the URL given.
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

    /// The port of the server, which on a Unix socket is part of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.address.port
    }

    /// The folder of the Unix socket. `None` for an existing server.
    #[must_use]
    pub fn socket_dir(&self) -> Option<&Path> {
        self.shared.server.as_ref().map(Server::path)
    }

    /// The data directory. `None` for an existing server.
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.shared.server.as_ref().map(Server::data)
    }

    /// The process id of the postmaster. `None` for an existing server and for one that is
    /// stopped.
    #[must_use]
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.shared.server.as_ref()?.postmaster_pid()
    }

    /// What the server has logged so far.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read, [`Error::NotOurs`] for an existing server.
    pub fn log(&self) -> Result<String, Error> {
        self.shared.own_server()?.log()
    }
}
