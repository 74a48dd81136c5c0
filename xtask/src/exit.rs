//! Results of commands and their exit codes.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use diesel::result::Error as DieselError;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_diesel::ReadError;
use threadline_diesel::coverage::CoverageError;
use threadline_diesel::evidence::EvidenceError;
use threadline_diesel::query::{InvalidFilter, InvalidFilters};

use crate::output::text::escape;

/// Printed before the error if the trail is missing.
const NO_TRAIL: &str = "there is no trail in this database, or one of another release: check the database \
    URL, or run `install` and apply the migrations that it writes";

/// Printed before the error if a privilege is missing.
const NO_PRIVILEGE: &str = "this role lacks a privilege; \
    https://github.com/threadline-rs/threadline/blob/main/guides/roles-and-trust.md lists those of a reader";

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
    /// Wrong usage, one message for each error. Exit code 2.
    #[error("{}", .0.join("; "))]
    Usage(Vec<String>),
    /// The command could not run. Exit code 3.
    #[error("{0:#}")]
    CouldNotRun(#[from] anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::Usage(vec![message.to_string()])
    }

    /// Collects the values of all results, or all errors as wrong usage.
    pub(crate) fn collect<T, E: Display>(
        results: impl IntoIterator<Item = Result<T, E>>,
    ) -> Result<Vec<T>, Self> {
        let mut values = Vec::new();
        let mut messages = Vec::new();
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(error) => messages.push(error.to_string()),
            }
        }
        if messages.is_empty() {
            Ok(values)
        } else {
            Err(Self::Usage(messages))
        }
    }
}

impl From<InvalidFilters> for Failure {
    fn from(InvalidFilters(filters): InvalidFilters) -> Self {
        let option = |invalid: InvalidFilter| {
            format!("--{}: {}", invalid.name.replace('_', "-"), invalid.reason)
        };
        Self::Usage(filters.into_iter().map(option).collect())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::CouldNotRun(anyhow::Error::new(error).context("cannot write the output"))
    }
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        ReadError::from(error).into()
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cursor(wrong) => Self::usage(wrong),
            ReadError::Query(wrong) => Self::usage(wrong),
            other => Self::CouldNotRun(anyhow::Error::new(other).context("cannot read the trail")),
        }
    }
}

impl From<EvidenceError> for Failure {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Read(error) => error.into(),
            EvidenceError::Database(error) => error.into(),
            EvidenceError::NoRetentionPolicy
            | EvidenceError::NoApplicationRole
            | EvidenceError::NoSuchRole(_)
            | EvidenceError::DocumentTooLarge { .. }
            | EvidenceError::Registry(_)
            | EvidenceError::TableName(_)
            | EvidenceError::Coverage(
                CoverageError::NoSuchSchema(_) | CoverageError::NoSuchRole(_),
            ) => Self::usage(error),
            other => Self::CouldNotRun(anyhow::Error::new(other)),
        }
    }
}

/// Adds what to do if the trail, or a privilege on it, is missing.
fn add_remedy(error: anyhow::Error) -> anyhow::Error {
    if let Some(CoverageError::NotInstalled) = error.downcast_ref() {
        return anyhow::Error::msg(NO_TRAIL);
    }
    // Diesel has no SQLSTATE for these errors.
    let has_cause = |is: fn(&str) -> bool| error.chain().any(|cause| is(&cause.to_string()));
    if has_cause(|cause| cause.contains("permission denied")) {
        error.context(NO_PRIVILEGE)
    } else if has_cause(|cause| cause.contains(STORAGE_SCHEMA) && cause.ends_with("does not exist"))
    {
        error.context(NO_TRAIL)
    } else {
        error
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
            Err(Failure::Usage(messages)) => {
                for message in messages {
                    eprintln!("error: {}", escape(&message));
                }
                Self::from(2)
            }
            // The reader of the output closed the pipe: `threadline timeline | head`.
            Err(Failure::CouldNotRun(error)) if is_closed_pipe(&error) => Self::SUCCESS,
            Err(Failure::CouldNotRun(error)) => {
                eprintln!("error: {}", escape(&format!("{:#}", add_remedy(error))));
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
