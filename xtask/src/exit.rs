//! Results of commands and their exit codes.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use diesel::result::Error as DieselError;
use threadline_diesel::ReadError;

use crate::output::text::escape;

/// The result of a command that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Everything is in order. Exit code 0.
    Fine,
    /// Something is out of date, missing or was not found. Exit code 1.
    Bad,
}

impl Answer {
    /// [`Answer::Fine`] if a condition holds.
    pub(crate) fn fine_if(condition: bool) -> Self {
        if condition { Self::Fine } else { Self::Bad }
    }
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong usage. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The command could not run. Exit code 3.
    #[error("{0:#}")]
    CouldNotRun(#[from] anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::Usage(message.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::CouldNotRun(anyhow::Error::new(error).context("cannot write the output"))
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cursor(wrong) => Self::usage(wrong),
            ReadError::Query(wrong) => Self::usage(wrong),
            other => {
                let remedy = remedy(&other);
                let error = anyhow::Error::new(other).context("cannot read the trail");
                Self::CouldNotRun(match remedy {
                    Some(remedy) => error.context(remedy),
                    None => error,
                })
            }
        }
    }
}

/// What to do if the trail, or a privilege on it, is missing.
fn remedy(error: &ReadError) -> Option<&'static str> {
    let ReadError::Database(DieselError::DatabaseError(_, details)) = error else {
        return None;
    };
    let message = details.message();
    // Diesel has no SQLSTATE for these errors.
    if message.starts_with("permission denied") {
        Some("this role lacks a privilege; the guide Roles and trust lists those of a reader")
    } else if message.contains("does not exist") {
        Some("there is no trail in this database, or one of another release; check the URL")
    } else {
        None
    }
}

/// The end of a process: prints the error, if any, and converts to an exit code.
#[derive(Debug)]
pub(crate) struct Exit(pub(crate) Result<Answer, Failure>);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit.0 {
            Ok(Answer::Fine) => Self::SUCCESS,
            Ok(Answer::Bad) => Self::from(1),
            Err(Failure::Usage(message)) => {
                eprintln!("error: {}", escape(&message));
                Self::from(2)
            }
            // The reader of the output closed the pipe: `threadline timeline | head`.
            Err(Failure::CouldNotRun(error)) if is_closed_pipe(&error) => Self::SUCCESS,
            Err(failure @ Failure::CouldNotRun(_)) => {
                eprintln!("error: {}", escape(&failure.to_string()));
                Self::from(3)
            }
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    })
}
