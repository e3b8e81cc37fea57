//! Why a command did not do its work, and the exit code that says so.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::Problem;

/// The kinds of failure that scripts tell apart.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command failed: 1.
    Failed {
        /// What was being done, as in "cannot …".
        doing: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The arguments are invalid: 2, as for the argument parser's own errors.
    Usage(String),
    /// The configuration is wrong: 64.
    Configuration(Vec<Problem>),
    /// No router answered: 69. Each address, and why it did not.
    Unreachable(Vec<String>),
    /// A variable outside the configuration is wrong: 64.
    Variable(String),
}

impl Failure {
    /// For `map_err`: what was being done when it failed.
    pub(super) fn to<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Failed {
            doing,
            source: source.into(),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::Usage(_) => 2,
            Self::Configuration(_) | Self::Variable(_) => 64,
            Self::Unreachable(_) => 69,
        }
    }

    /// Prints it on stderr. A closed stderr does not change the code.
    pub(super) fn report(&self) -> ExitCode {
        let _ = writeln!(std::io::stderr(), "{self}");
        ExitCode::from(self.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { doing, source } => {
                let mut told = source.to_string();
                let mut cause = source.source();
                while let Some(error) = cause {
                    let reason = error.to_string();
                    // Many errors contain their cause.
                    if !told.contains(&reason) {
                        told = format!("{told}: {reason}");
                    }
                    cause = error.source();
                }
                write!(f, "error: cannot {doing}: {told}")
            }
            Self::Usage(what) | Self::Variable(what) => write!(f, "error: {what}"),
            Self::Unreachable(said) => {
                write!(f, "error: no router can be reached")?;
                said.iter().try_for_each(|said| write!(f, "\n  {said}"))
            }
            Self::Configuration(problems) => {
                let count = problems.len();
                let noun = if count == 1 { "problem" } else { "problems" };
                for problem in problems {
                    writeln!(f, "{problem}")?;
                }
                write!(f, "error: {count} {noun} in the configuration")
            }
        }
    }
}
