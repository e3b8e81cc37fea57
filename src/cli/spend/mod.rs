//! `herdsman spend …`: what was spent, and what is pending.
//!
//! Most of it asks a router. `recover` and `verify --offline` do without one, and take the
//! configuration's database instead.

mod letters;
mod queue;
mod recover;
mod report;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::client::{self, Client, Target};
use super::output::{self, Output};
use super::{Environment, Failure, Settings, table};
use crate::config::Config;
use crate::store::Store;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What was spent, by account, model, endpoint or day
    Report(report::Query),
    /// Where every record is on its way to the database, on every router of --address
    Queue,
    /// What could not be counted: list it, show one, replay some
    DeadLetters(letters::Arguments),
    /// Prove that everything adds up; fails when it does not
    Verify {
        /// Ask the configured database itself, without any router
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Bring the journal of a router that never comes back into the database
    Recover {
        /// Its data folder
        dir: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
}

impl Arguments {
    pub(super) async fn run(self, before: Settings, env: Environment) -> Result<(), Failure> {
        let Self {
            action,
            target,
            output,
        } = self;
        match action {
            Action::Recover { dir, settings } => {
                recover::run(&dir, &before.load(settings, env)?, output).await
            }
            Action::Verify {
                offline: true,
                settings,
            } => verify::offline(&before.load(settings, env)?, output).await,
            Action::Verify {
                offline: false,
                settings,
            } => {
                settings.must_be_empty("spend verify without --offline")?;
                verify::run(&client_of(&before, &target, &env)?, output).await
            }
            Action::Report(asked) => {
                let client = client_of(&before, &target, &env)?;
                asked.run(&client, output).await
            }
            Action::Queue => queue::run(&client_of(&before, &target, &env)?, output).await,
            Action::DeadLetters(arguments) => {
                let client = client_of(&before, &target, &env)?;
                arguments.run(&client, output).await
            }
        }
    }
}

fn client_of(before: &Settings, target: &Target, env: &Environment) -> Result<Client, Failure> {
    before.must_be_empty("a command for running routers")?;
    target.client(env)
}

async fn database(config: &Config) -> Result<Store, Failure> {
    Store::open(config.store.url.expose(), &config.server.data_dir)
        .await
        .map_err(Failure::to("open the database"))
}
