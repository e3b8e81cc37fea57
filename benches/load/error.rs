//! What can stop a measurement.
//!
//! A failed *request* is not here: it is a figure of the run (see [`crate::plan::Outcome`]), and a
//! table with failures in it is still printed. These errors mean that there is no figure to print.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The machine refused something: a file, a socket, a program that is not installed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A process ended while it was needed.
    #[error("{who} ended too early ({status}); end of its log:\n{log_tail}")]
    Ended {
        /// The process.
        who: String,
        /// How it ended.
        status: ExitStatus,
        /// The tail of its log.
        log_tail: String,
    },
    /// A proxy runs but its answers are not correct.
    #[error("{who} did not become ready within {limit:?}: {why}; end of its log:\n{log_tail}")]
    NotReady {
        /// The proxy.
        who: String,
        /// How long it was given.
        limit: Duration,
        /// The error of the last attempt.
        why: String,
        /// The tail of its log.
        log_tail: String,
    },
    /// A child's report took longer than its plan can take.
    #[error("{who} did not report within {limit:?}")]
    Late {
        /// The process.
        who: String,
        /// How long it was given.
        limit: Duration,
    },
    /// A child reported something that is no report.
    #[error("{who} reported {line:?} where {expected} was expected")]
    Report {
        /// The process.
        who: String,
        /// What was expected.
        expected: &'static str,
        /// What came.
        line: String,
    },
    /// The process may not open enough sockets for the scenarios.
    #[error("{needed} open files are needed, the hard limit is {limit}")]
    OpenFiles {
        /// What the largest scenario opens in one process.
        needed: u64,
        /// What the system allows.
        limit: u64,
    },
    /// The self-test failed: what the harness counts is not what happened.
    #[error("the self-test of the harness failed: {0}")]
    Unfit(String),
    /// Ctrl-C or a request to end.
    #[error("interrupted")]
    Interrupted,
}

/// Names what was being done when the system refused.
pub trait Doing<T> {
    /// Turns an [`io::Error`] into a [`BenchError`] that says what was being done.
    ///
    /// # Errors
    /// [`BenchError::Io`] whenever `self` is an error.
    fn doing(self, what: impl Into<String>) -> Result<T, BenchError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io {
            what: what.into(),
            source: source.into(),
        })
    }
}
