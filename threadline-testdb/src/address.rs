//! The address of a server: parsing URLs, writing URLs and keyword/value connection strings.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::quote::{keyword_value, percent_encode};

const DEFAULT_PORT: u16 = 5432;

/// URL parameters that repeat a part of the URL itself.
const ADDRESS_PARAMETERS: [&str; 5] = ["host", "port", "user", "password", "dbname"];

/// A host, as PostgreSQL defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// The directory of a Unix socket.
    Socket(PathBuf),
    /// A name or an IP address, without brackets.
    Name(String),
}

/// Host, port and login of a server. `Debug` and `Display` omit the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) host: Host,
    pub(crate) port: u16,
    user: String,
    password: Option<String>,
    /// The database for statements about the server as a whole, such as CREATE DATABASE.
    pub(crate) maintenance: String,
    /// The other parameters of the URL, unchanged, without the `?`.
    parameters: String,
}

impl ServerAddress {
    /// The address of a server started by this crate: superuser `postgres`, no password.
    pub(crate) fn superuser(host: Host, port: u16) -> Self {
        Self {
            host,
            port,
            user: "postgres".to_owned(),
            password: None,
            maintenance: "postgres".to_owned(),
            parameters: String::new(),
        }
    }

    /// Parses a `postgres://` or `postgresql://` URL with one host. The error is the reason.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("the scheme is not postgres://".to_owned());
        }
        let config: Config = url.parse().map_err(|error| parse_error(&error))?;
        if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
            return Err("TLS connections are not supported".to_owned());
        }
        let host = match config.get_hosts() {
            [] => Host::Name("localhost".to_owned()),
            [tokio_postgres::config::Host::Tcp(name)] => Host::Name(name.clone()),
            [tokio_postgres::config::Host::Unix(directory)] => Host::Socket(directory.clone()),
            _ => return Err("it has more than one host".to_owned()),
        };
        let password = match config.get_password() {
            None => None,
            Some(password) => Some(
                String::from_utf8(password.to_owned())
                    .map_err(|_| "the password is not UTF-8".to_owned())?,
            ),
        };
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let parameters: Vec<&str> = query
            .split('&')
            .filter(|parameter| {
                let name = parameter
                    .split_once('=')
                    .map_or(*parameter, |(name, _)| name);
                !ADDRESS_PARAMETERS.contains(&name)
            })
            .collect();
        Ok(Self {
            host,
            port: config.get_ports().last().copied().unwrap_or(DEFAULT_PORT),
            user: config.get_user().unwrap_or("postgres").to_owned(),
            password,
            maintenance: config.get_dbname().unwrap_or("postgres").to_owned(),
            parameters: parameters.join("&"),
        })
    }

    /// The client configuration for a database.
    pub(crate) fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        match &self.host {
            Host::Socket(directory) => config.host_path(directory),
            Host::Name(name) => config.host(name),
        };
        if let Some(password) = &self.password {
            config.password(password);
        }
        config.port(self.port).user(&self.user).dbname(database);
        config
    }

    /// The URL of a database, in the form that libpq and tokio-postgres accept.
    pub(crate) fn url(&self, database: &str) -> String {
        let password = self.password.as_ref().map_or_else(String::new, |password| {
            format!(":{}", percent_encode(password))
        });
        self.build_url(
            &format!("{}{password}", percent_encode(&self.user)),
            database,
        )
    }

    /// The URL of a database for another role, without a password.
    pub(crate) fn url_as(&self, role: &str, database: &str) -> String {
        self.build_url(&percent_encode(role), database)
    }

    /// The keyword/value connection string of a database.
    pub(crate) fn keywords(&self, database: &str) -> String {
        let host = match &self.host {
            Host::Socket(directory) => directory.to_string_lossy().into_owned(),
            Host::Name(name) => name.clone(),
        };
        let mut text = format!(
            "host={} port={} user={} dbname={}",
            keyword_value(&host),
            self.port,
            keyword_value(&self.user),
            keyword_value(database)
        );
        if let Some(password) = &self.password {
            text.push_str(" password=");
            text.push_str(&keyword_value(password));
        }
        text
    }

    fn build_url(&self, login: &str, database: &str) -> String {
        let host = match &self.host {
            Host::Socket(directory) => percent_encode(&directory.to_string_lossy()),
            Host::Name(name) if name.contains(':') => format!("[{name}]"),
            Host::Name(name) => percent_encode(name),
        };
        let separator = if self.parameters.is_empty() { "" } else { "?" };
        format!(
            "postgres://{login}@{host}:{}/{}{separator}{}",
            self.port,
            percent_encode(database),
            self.parameters
        )
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Socket(directory) => socket_path(directory, self.port).display().fmt(f),
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerAddress({} as {})", self, self.user)
    }
}

/// The path of the socket that PostgreSQL creates in a directory.
pub(crate) fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

fn parse_error(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_directory_is_a_percent_encoded_host() {
        let address = ServerAddress::superuser(Host::Socket("/tmp/a b".into()), 5432);

        assert_eq!(
            address.url("x"),
            "postgres://postgres@%2Ftmp%2Fa%20b:5432/x"
        );
        assert_eq!(
            address.keywords("it's"),
            r"host='/tmp/a b' port=5432 user='postgres' dbname='it\'s'"
        );
        assert_eq!(ServerAddress::parse(&address.url("postgres")), Ok(address));
    }

    #[test]
    fn a_url_for_another_role_has_no_password() {
        let address = ServerAddress::parse("postgres://me:s%40crt@db.example:6000/app").unwrap();

        assert_eq!(address.password.as_deref(), Some("s@crt"));
        assert_eq!(address.url("t"), "postgres://me:s%40crt@db.example:6000/t");
        assert_eq!(
            address.url_as("reader", "t"),
            "postgres://reader@db.example:6000/t"
        );
        assert!(!format!("{address:?} {address}").contains("s@crt"));
    }

    #[test]
    fn url_parameters_other_than_the_address_are_kept() {
        let url = "postgresql:///app?host=/run/pg&sslmode=disable&port=6543";
        let address = ServerAddress::parse(url).unwrap();

        assert_eq!(address.host, Host::Socket("/run/pg".into()));
        assert_eq!(
            address.url("t"),
            "postgres://postgres@%2Frun%2Fpg:6543/t?sslmode=disable"
        );
    }

    #[test]
    fn an_ipv6_host_is_written_in_brackets() {
        let address = ServerAddress::parse("postgres://u@[::1]:5433/d").unwrap();

        assert_eq!(address.host, Host::Name("::1".to_owned()));
        assert_eq!(address.url("d"), "postgres://u@[::1]:5433/d");
    }

    #[test]
    fn invalid_urls_are_rejected_with_the_reason() {
        for (url, reason) in [
            ("mysql://x/y", "postgres://"),
            ("postgres://h/d?sslmode=require", "TLS"),
            ("postgres://h:99999/d", "port"),
            ("postgres://a,b/d", "more than one host"),
            ("postgres://u%ff@h/d", "utf-8"),
        ] {
            let what = ServerAddress::parse(url).unwrap_err();
            assert!(what.contains(reason), "{url}: {what}");
        }
    }
}
