//! Errors of connections and statements.

use std::io;

/// A script or statement that did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The server refused the statement, or the connection.
    #[error("correct the SQL or the server: {message} (SQLSTATE {code}){context}")]
    Server {
        /// The five characters of the SQLSTATE.
        code: String,
        /// The server's own message.
        message: String,
        /// Detail, hint and position if the server gave any, each on its own line; else empty.
        context: String,
    },
    /// No connection could be made.
    #[error("check that the server runs and is reachable: connecting to {address} failed")]
    Connect {
        /// Socket path, or host and port.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The connection broke off while a statement ran, as it does when the server is killed.
    #[error("check the server's log: the connection to {address} broke off")]
    Broken {
        /// Socket path, or host and port.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// What answered does not speak PostgreSQL's protocol.
    #[error("check the address {address}: what answers there is no PostgreSQL server ({what})")]
    Protocol {
        /// Socket path, or host and port.
        address: String,
        /// What was wrong with the answer.
        what: String,
    },
    /// The server asks for a way of logging in that the built-in client does not know.
    #[error(
        "install `psql` (`apt-get install postgresql-client`), or allow `trust` or `password` \
         for the tests in pg_hba.conf: the server asks for {method}, which only psql can answer"
    )]
    UnsupportedAuthentication {
        /// The name of the method.
        method: String,
    },
    /// The server asks for a password and the URL has none.
    #[error("put the password into the URL (postgres://user:password@…): {user} needs one")]
    PasswordMissing {
        /// The user who was to log in.
        user: String,
    },
    /// `psql`, which stands in for the built-in client, reported a failure.
    #[error("correct the SQL or the server: psql said {message}")]
    Psql {
        /// What psql wrote to its standard error.
        message: String,
    },
}
