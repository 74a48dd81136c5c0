//! The smallest useful client of PostgreSQL's frontend/backend protocol: log in, run one script,
//! collect the rows as text. It keeps this crate free of drivers, so that a host's tests link
//! only the driver that the host has chosen.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::SqlError;
use crate::address::{Host, ServerAddress};

/// Rows as text, `None` for NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Version 3.0 of the protocol, which every supported server speaks.
const PROTOCOL: i32 = 3 << 16;

trait Transport: Read + Write + Send {}
impl<T: Read + Write + Send> Transport for T {}

/// A logged-in session.
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Transport>>,
    address: String,
}

impl Connection {
    pub(crate) fn open(address: &ServerAddress, database: &str) -> Result<Self, SqlError> {
        let stream = connect(address).map_err(|source| SqlError::Connect {
            address: address.to_string(),
            source,
        })?;
        let mut connection = Self {
            stream: BufReader::new(stream),
            address: address.to_string(),
        };
        connection.log_in(address, database)?;
        Ok(connection)
    }

    /// Runs statements, separated by semicolons, in one message. Without BEGIN and COMMIT of
    /// their own they are one transaction. Returns the rows of all of them.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Rows, SqlError> {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat())?;
        let mut rows = Rows::new();
        let mut failure = None;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'Z' => return failure.map_or(Ok(rows), Err),
                b'E' => {
                    let error = server_error(&body);
                    // A server that says goodbye sends no ReadyForQuery after it.
                    if is_fatal(&body) {
                        return Err(error);
                    }
                    failure.get_or_insert(error);
                }
                b'D' => rows.push(self.row(&body)?),
                // COPY FROM STDIN: there is no data to give, and the server would wait for it.
                b'G' => self.send(b'f', b"no data in a script\0")?,
                _ => {}
            }
        }
    }

    fn log_in(&mut self, address: &ServerAddress, database: &str) -> Result<(), SqlError> {
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        for text in [
            "user",
            &address.user,
            "database",
            database,
            "application_name",
            "threadline-testdb",
            "client_encoding",
            "UTF8",
        ] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        self.send_bare(&body)?;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'Z' => return Ok(()),
                b'E' => return Err(server_error(&body)),
                b'R' => self.authenticate(&body, address)?,
                // Parameters of the session, its cancellation key, notices.
                b'S' | b'K' | b'N' => {}
                other => return Err(self.garbled(format!("message {other} while logging in"))),
            }
        }
    }

    fn authenticate(&mut self, body: &[u8], address: &ServerAddress) -> Result<(), SqlError> {
        let method = match body {
            [0, 0, 0, 0, ..] => return Ok(()),
            [0, 0, 0, 3, ..] => {
                let password = address.password.as_ref();
                let password = password.ok_or_else(|| SqlError::PasswordMissing {
                    user: address.user.clone(),
                })?;
                return self.send(b'p', &[password.as_bytes(), b"\0"].concat());
            }
            [0, 0, 0, 5, ..] => "md5".to_owned(),
            [0, 0, 0, 10, ..] => "scram-sha-256".to_owned(),
            other => format!("method {other:?}"),
        };
        Err(SqlError::UnsupportedAuthentication { method })
    }

    fn row(&self, body: &[u8]) -> Result<Vec<Option<String>>, SqlError> {
        parse_row(body).ok_or_else(|| self.garbled("a row that ends early".to_owned()))
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), SqlError> {
        let sent = self.stream.get_mut().write_all(&[kind]);
        sent.map_err(|source| self.broken(source))?;
        self.send_bare(body)
    }

    /// The body with its length before it; the length counts itself.
    fn send_bare(&mut self, body: &[u8]) -> Result<(), SqlError> {
        let sent = i32::try_from(body.len() + 4)
            .map_err(|_| io::Error::other("the script is larger than 2 GB"))
            .and_then(|length| {
                let stream = self.stream.get_mut();
                stream.write_all(&length.to_be_bytes())?;
                stream.write_all(body)?;
                stream.flush()
            });
        sent.map_err(|source| self.broken(source))
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>), SqlError> {
        let mut head = [0; 5];
        let read = self.stream.read_exact(&mut head);
        read.map_err(|source| self.broken(source))?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length))
            .ok()
            .and_then(|length| length.checked_sub(4))
            .ok_or_else(|| self.garbled(format!("message {kind} with an impossible length")))?;
        let mut body = vec![0; length];
        let read = self.stream.read_exact(&mut body);
        read.map_err(|source| self.broken(source))?;
        Ok((kind, body))
    }

    fn broken(&self, source: io::Error) -> SqlError {
        SqlError::Broken {
            address: self.address.clone(),
            source,
        }
    }

    fn garbled(&self, what: String) -> SqlError {
        SqlError::Protocol {
            address: self.address.clone(),
            what,
        }
    }
}

impl Drop for Connection {
    /// Says goodbye, so that the server's log is not filled with broken connections. A session
    /// that is broken already needs no goodbye.
    fn drop(&mut self) {
        self.send(b'X', &[]).ok();
    }
}

fn connect(address: &ServerAddress) -> io::Result<Box<dyn Transport>> {
    let name = match (&address.host, address.socket()) {
        (_, Some(socket)) => return Ok(Box::new(UnixStream::connect(socket)?)),
        (Host::Name(name), None) => name.as_str(),
        (Host::Socket(_), None) => return Err(io::ErrorKind::AddrNotAvailable.into()),
    };
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for candidate in (name, address.port).to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT);
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn parse_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        // A negative length stands for NULL.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            row.push(None);
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length)?;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(row)
}

/// A field of an `ErrorResponse`, which is a list of a letter and a text each.
fn field(body: &[u8], letter: u8) -> Option<String> {
    body.split(|byte| *byte == 0)
        .filter_map(|part| part.split_first())
        .find(|(first, _)| **first == letter)
        .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
}

fn is_fatal(body: &[u8]) -> bool {
    // `V` is the severity that is never translated.
    field(body, b'V').is_some_and(|severity| severity == "FATAL" || severity == "PANIC")
}

fn server_error(body: &[u8]) -> SqlError {
    let context = [
        (b'D', "detail"),
        (b'H', "hint"),
        (b'P', "at character"),
        (b'W', "context"),
    ]
    .into_iter()
    .filter_map(|(letter, name)| Some(format!("\n{name}: {}", field(body, letter)?)))
    .collect();
    SqlError::Server {
        code: field(body, b'C').unwrap_or_default(),
        message: field(body, b'M').unwrap_or_default(),
        context,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_response_is_told_with_its_hint() {
        let body = b"SERROR\0VERROR\0C42P01\0Mrelation \"x\" does not exist\0Htry y\0P15\0\0";

        let error = server_error(body).to_string();

        assert!(
            error.contains("relation \"x\" does not exist (SQLSTATE 42P01)"),
            "{error}"
        );
        assert!(error.contains("hint: try y"), "{error}");
        assert!(!is_fatal(body));
    }

    #[test]
    fn a_row_may_hold_null_and_must_be_whole() {
        let body = [0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, b'o', b'k'];

        assert_eq!(parse_row(&body), Some(vec![None, Some("ok".to_owned())]));
        assert_eq!(parse_row(&body[..11]), None);
    }
}
