//! The result of a command, on stdout.

use std::io::{self, ErrorKind, Write as _};

use clap::Args;
use serde::Serialize;

use super::Failure;

/// For commands that programs read too.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct Output {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl Output {
    /// The value as one line of JSON if that was asked for, else the text for people.
    pub(super) fn tell<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string(value).map_err(Failure::to("write JSON"))?;
            print(&json)
        } else {
            print(&text()?)
        }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }
}

/// Prints text as it is: what another standard says where its lines end.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    ended(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints text and a newline, at once. A reader that closes the pipe (`herdsman check | head`) is no
/// failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    ended(writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()))
}

fn ended(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::to("write to stdout")(error))
        }
        _ => Ok(()),
    }
}
