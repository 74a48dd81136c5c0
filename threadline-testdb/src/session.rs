//! Running SQL: through the built-in client, or through `psql` where that one cannot log in.

use std::io;
use std::process::Command;

use crate::SqlError;
use crate::address::ServerAddress;
use crate::wire::{Connection, Rows};

/// Runs a script in a session of its own and returns the rows of all its statements.
pub(crate) fn run(address: &ServerAddress, database: &str, sql: &str) -> Result<Rows, SqlError> {
    if address.wants_tls() {
        return through_psql(address, database, sql, "an encrypted connection");
    }
    match Connection::open(address, database) {
        Ok(mut connection) => connection.run(sql),
        Err(SqlError::UnsupportedAuthentication { method }) => {
            through_psql(address, database, sql, &method)
        }
        Err(error) => Err(error),
    }
}

/// The first column of the first row, if there is a row and it is not NULL.
pub(crate) fn value(
    address: &ServerAddress,
    database: &str,
    sql: &str,
) -> Result<Option<String>, SqlError> {
    let rows = run(address, database, sql)?;
    Ok(rows.into_iter().flatten().next().flatten())
}

/// `--command` sends the whole script as one message, as the built-in client does, so both treat
/// transactions alike. NULL is told from the empty string by a text that no value has.
fn through_psql(
    address: &ServerAddress,
    database: &str,
    sql: &str,
    method: &str,
) -> Result<Rows, SqlError> {
    const FIELD: char = '\u{1f}';
    const RECORD: char = '\u{1e}';
    const NULL: &str = "\u{1}null\u{1}";
    let mut command = Command::new("psql");
    command
        .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
        .args(["--set=ON_ERROR_STOP=1", "--no-password"])
        .arg(format!("--field-separator={FIELD}"))
        .arg(format!("--record-separator={RECORD}"))
        .arg(format!("--pset=null={NULL}"))
        .arg(format!("--command={sql}"))
        .arg(address.url_without_password(database));
    // The command line is there for every user to see, the environment is not.
    if let Some(password) = &address.password {
        command.env("PGPASSWORD", password);
    }
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SqlError::UnsupportedAuthentication {
            method: method.to_owned(),
        },
        _ => SqlError::Psql {
            message: error.to_string(),
        },
    })?;
    if !output.status.success() {
        return Err(SqlError::Psql {
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .trim_end_matches(['\n', RECORD])
        .split(RECORD)
        .filter(|record| !record.is_empty())
        .map(|record| {
            let fields = record.split(FIELD);
            fields
                .map(|field| (field != NULL).then(|| field.to_owned()))
                .collect()
        })
        .collect())
}
