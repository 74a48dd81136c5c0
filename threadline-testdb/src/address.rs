//! Where a server is reached and as whom, and the URLs and keyword strings that say so.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::quote::{decode, encode, keyword_value};

const DEFAULT_PORT: u16 = 5432;

/// A host in PostgreSQL's sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// The folder of a Unix socket.
    Socket(PathBuf),
    /// A name or an IP address, without brackets.
    Name(String),
}

/// How to reach a server. `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    /// The database to connect to for work on the server as a whole.
    pub(crate) maintenance: String,
    /// Further parameters of the URL, kept as they were written, without the `?`.
    parameters: String,
}

impl ServerAddress {
    /// A server of ours: superuser `postgres`, no password.
    pub(crate) fn ours(host: Host, port: u16) -> Self {
        Self {
            host,
            port,
            user: "postgres".to_owned(),
            password: None,
            maintenance: "postgres".to_owned(),
            parameters: String::new(),
        }
    }

    /// Reads a `postgres://` or `postgresql://` URL with one host. Says what is wrong otherwise.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("it does not start with postgres://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (login, None),
        };
        if host_and_port.contains(',') {
            return Err("it names more than one host");
        }
        let (host, port) = split_port(host_and_port);
        let mut address = Self {
            host: as_host(decode(host)?),
            port: parse_port(port)?,
            user: or_default(decode(user)?, "postgres"),
            password,
            maintenance: or_default(decode(database)?, "postgres"),
            parameters: String::new(),
        };
        address.take_parameters(query)?;
        Ok(address)
    }

    /// The URL of a database, as both libpq and tokio-postgres read it.
    pub(crate) fn url(&self, database: &str) -> String {
        let password = self
            .password
            .as_ref()
            .map_or_else(String::new, |password| format!(":{}", encode(password)));
        self.assemble(&format!("{}{password}", encode(&self.user)), database)
    }

    /// The URL of a database for another role, without a password: ours is not theirs.
    pub(crate) fn url_as(&self, role: &str, database: &str) -> String {
        self.assemble(&encode(role), database)
    }

    /// The URL without the password, for places others can read.
    pub(crate) fn url_without_password(&self, database: &str) -> String {
        self.url_as(&self.user, database)
    }

    /// `host=… port=… user=… dbname=…`, as libpq and tokio-postgres read it.
    pub(crate) fn keywords(&self, database: &str) -> String {
        let host = match &self.host {
            Host::Socket(folder) => folder.to_string_lossy().into_owned(),
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

    /// Whether the URL insists on an encrypted connection.
    pub(crate) fn wants_tls(&self) -> bool {
        self.parameters.split('&').any(|parameter| {
            matches!(
                parameter,
                "sslmode=require" | "sslmode=verify-ca" | "sslmode=verify-full"
            )
        })
    }

    /// The path of the Unix socket, if the server is reached by one.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Socket(folder) => Some(socket_in(folder, self.port)),
            Host::Name(_) => None,
        }
    }

    fn assemble(&self, login: &str, database: &str) -> String {
        let host = match &self.host {
            Host::Socket(folder) => encode(&folder.to_string_lossy()),
            Host::Name(name) if name.contains(':') => format!("[{name}]"),
            Host::Name(name) => encode(name),
        };
        let mark = if self.parameters.is_empty() { "" } else { "?" };
        format!(
            "postgres://{login}@{host}:{}/{}{mark}{}",
            self.port,
            encode(database),
            self.parameters
        )
    }

    /// Parameters may repeat what the URL's own parts say, and libpq lets them win.
    fn take_parameters(&mut self, query: &str) -> Result<(), &'static str> {
        let mut kept = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match key {
                "host" => self.host = as_host(decode(value)?),
                "port" => self.port = parse_port(value)?,
                "user" => self.user = decode(value)?,
                "password" => self.password = Some(decode(value)?),
                "dbname" => self.maintenance = decode(value)?,
                _ => kept.push(parameter),
            }
        }
        self.parameters = kept.join("&");
        Ok(())
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.socket()) {
            (Host::Name(name), _) => write!(f, "{name}:{}", self.port),
            (_, Some(socket)) => socket.display().fmt(f),
            (Host::Socket(folder), None) => folder.display().fmt(f),
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerAddress({} as {})", self, self.user)
    }
}

/// The socket PostgreSQL makes in a folder.
pub(crate) fn socket_in(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

fn as_host(text: String) -> Host {
    if text.starts_with('/') {
        Host::Socket(PathBuf::from(text))
    } else {
        Host::Name(or_default(text, "localhost"))
    }
}

fn split_port(text: &str) -> (&str, &str) {
    if let Some((address, rest)) = text
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        return (address, rest.trim_start_matches(':'));
    }
    text.split_once(':').unwrap_or((text, ""))
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    text.parse()
        .map_err(|_| "the port is not a number up to 65535")
}

fn or_default(text: String, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_folder_becomes_a_percent_encoded_host() {
        let address = ServerAddress::ours(Host::Socket("/tmp/a b".into()), 5432);

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
    fn other_parameters_are_kept_and_the_host_parameter_wins() {
        let url = "postgresql:///app?host=/run/pg&sslmode=require&port=6543";
        let address = ServerAddress::parse(url).unwrap();

        assert_eq!(address.host, Host::Socket("/run/pg".into()));
        assert!(address.wants_tls());
        assert_eq!(
            address.url("t"),
            "postgres://postgres@%2Frun%2Fpg:6543/t?sslmode=require"
        );
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets() {
        let address = ServerAddress::parse("postgres://u@[::1]:5433/d").unwrap();

        assert_eq!(address.host, Host::Name("::1".to_owned()));
        assert_eq!(address.url("d"), "postgres://u@[::1]:5433/d");
    }

    #[test]
    fn unusable_urls_are_refused_with_the_reason() {
        for (url, reason) in [
            ("mysql://x/y", "postgres://"),
            ("postgres://h:99999/d", "port"),
            ("postgres://a,b/d", "more than one host"),
            ("postgres://u%zz@h/d", "percent"),
        ] {
            let what = ServerAddress::parse(url).unwrap_err();
            assert!(what.contains(reason), "{url}: {what}");
        }
    }
}
