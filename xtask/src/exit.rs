//! How a command ends.

use std::io;
use std::process::ExitCode;

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing to complain about.
    Fine,
    /// The answer is bad: something lags behind, is missing or was not found.
    Bad,
}

/// Why a command did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was asked wrongly.
    #[error("{0}")]
    Usage(String),
    /// It could not run.
    #[error("{0:#}")]
    CouldNotRun(#[from] anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

/// The end of a command: printed where there is something to say, and turned into an exit code.
#[derive(Debug)]
pub(crate) struct Ending(pub(crate) Result<Answer, Failure>);

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending.0 {
            Ok(Answer::Fine) => Self::SUCCESS,
            Ok(Answer::Bad) => Self::from(1),
            Err(Failure::Usage(message)) => {
                eprintln!("error: {message}");
                Self::from(2)
            }
            // Whoever reads our output has seen enough: `threadline timeline | head`.
            Err(Failure::CouldNotRun(error)) if is_closed_pipe(&error) => Self::SUCCESS,
            Err(failure @ Failure::CouldNotRun(_)) => {
                eprintln!("error: {failure}");
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
