//! `herdsman completions SHELL`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure, output};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// For which shell
    shell: Shell,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "herdsman", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
