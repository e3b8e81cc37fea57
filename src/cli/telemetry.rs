//! The program's own log, on stderr.
//!
//! `HERDSMAN_LOG` says what is logged, in the grammar of `tracing`'s filters (`info`,
//! `herdsman::fleet=debug`); `HERDSMAN_LOG_FORMAT` says how, `text` or `json`. Without it people at
//! a terminal get text and whatever collects a pipe gets JSON. Both are read before the
//! configuration, so that reading it can be logged; a mistake in them ends the program like a mistake there.

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal as _};
use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Environment, Failure};

const FILTER: &str = "HERDSMAN_LOG";
const FORMAT: &str = "HERDSMAN_LOG_FORMAT";

/// What is logged by default.
#[derive(Clone, Copy, Debug)]
pub(super) enum Level {
    /// For the router.
    Info,
    /// For commands that print a result.
    Warn,
}

#[derive(Debug, PartialEq)]
enum Format {
    Text,
    Json,
}

/// Starts logging and lets panics be logged too.
pub(super) fn init(env: &Environment, level: Level) -> Result<(), Failure> {
    let filter = filter(get(env, FILTER), level)?;
    let format = format(get(env, FORMAT), io::stderr().is_terminal())?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        Format::Text => registry
            .with(
                layer()
                    .with_writer(io::stderr)
                    .with_ansi(io::stderr().is_terminal()),
            )
            .try_init(),
        Format::Json => registry
            .with(
                layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_writer(io::stderr),
            )
            .try_init(),
    };
    started.map_err(Failure::to("start logging"))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn get<'a>(env: &'a Environment, variable: &str) -> Option<&'a str> {
    env.iter()
        .find(|(name, value)| name == variable && !value.is_empty())
        .map(|(_, value)| value.as_str())
}

fn filter(written: Option<&str>, level: Level) -> Result<EnvFilter, Failure> {
    let default = match level {
        Level::Info => "info",
        Level::Warn => "warn",
    };
    EnvFilter::try_new(written.unwrap_or(default))
        .map_err(|error| Failure::Variable(format!("{FILTER}: {error}")))
}

fn format(written: Option<&str>, terminal: bool) -> Result<Format, Failure> {
    match written {
        Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(Failure::Variable(format!(
            "{FORMAT}: \"{other}\" is neither text nor json"
        ))),
        None if terminal => Ok(Format::Text),
        None => Ok(Format::Json),
    }
}

/// A panic is a line of the log like any other event, not a text between JSON lines.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        message = info.payload_as_str().unwrap_or("panicked"),
        panic = true,
        thread = thread.name().unwrap_or_default(),
        location = info.location().map(tracing::field::display),
        backtrace = %Backtrace::capture(),
    );
}

#[cfg(test)]
mod tests {
    use super::{Format, Level, filter, format};

    #[test]
    fn people_get_text_and_programs_json_unless_told_otherwise() {
        assert_eq!(format(None, true).unwrap(), Format::Text);
        assert_eq!(format(None, false).unwrap(), Format::Json);
        assert_eq!(format(Some("text"), false).unwrap(), Format::Text);
        assert_eq!(format(Some("json"), true).unwrap(), Format::Json);
    }

    #[test]
    fn a_mistake_names_its_variable() {
        let told = format(Some("xml"), true).unwrap_err().to_string();
        assert!(told.contains("HERDSMAN_LOG_FORMAT"), "{told}");
        let told = filter(Some("herdsman=loud"), Level::Info)
            .unwrap_err()
            .to_string();
        assert!(told.contains("HERDSMAN_LOG"), "{told}");
    }
}
