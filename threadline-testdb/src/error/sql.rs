//! Errors of connections and statements.

use std::error::Error as StdError;

use tokio_postgres::error::{DbError, ErrorPosition};

/// A script or statement that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The server rejected the statement or the connection.
    #[error("correct the SQL or the server: {message} (SQLSTATE {code}){context}")]
    Server {
        /// The five characters of the SQLSTATE.
        code: String,
        /// The server's own message.
        message: String,
        /// The server's detail, hint, position and context, each on its own line. May be empty.
        context: String,
    },
    /// No connection could be opened.
    #[error(
        "check that the server runs, is reachable, accepts unencrypted connections, and that the \
         URL has the password it asks for: connecting to {address} failed"
    )]
    Connect {
        /// Socket path, or host and port.
        address: String,
        /// The error of the client library.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The connection ended before the script did, as it does when the server is killed, or the
    /// script contains COPY from or to the client, which is not supported.
    #[error(
        "check the server's log, and that the script has no COPY FROM STDIN or COPY TO STDOUT: \
         the connection to {address} was interrupted"
    )]
    Interrupted {
        /// Socket path, or host and port.
        address: String,
        /// The error of the client library.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server did not report a PostgreSQL version.
    #[error(
        "connect to a PostgreSQL server, not to a pooler's console: {address} reported {found}"
    )]
    UnknownVersion {
        /// Socket path, or host and port.
        address: String,
        /// The value of `server_version_num`.
        found: String,
    },
}

impl From<&DbError> for SqlError {
    fn from(error: &DbError) -> Self {
        let position = error.position().map(|position| match position {
            ErrorPosition::Original(position) | ErrorPosition::Internal { position, .. } => {
                position.to_string()
            }
        });
        let context = [
            ("detail", error.detail()),
            ("hint", error.hint()),
            ("at character", position.as_deref()),
            ("context", error.where_()),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some(format!("\n{name}: {}", text?)))
        .collect();
        Self::Server {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            context,
        }
    }
}
