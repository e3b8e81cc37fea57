//! `herdsman spend …`: what is owed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Output;
use super::{Environment, Failure, Settings};
use crate::spend::recover;
use crate::store::Store;

/// A journal is a gigabyte at most, and a database that does not take it in this time takes it at the
/// next try.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring the journal of a router that never comes back into the database
    Recover {
        /// Its data folder
        dir: PathBuf,
    },
}

impl Arguments {
    pub(super) async fn run(self, before: Settings, env: Environment) -> Result<(), Failure> {
        let Action::Recover { dir } = self.action;
        let config = before.load(self.settings, env)?;
        let store = Store::open(config.store.url.expose(), &config.server.data_dir)
            .await
            .map_err(Failure::to("open the database"))?;
        store
            .migrate()
            .await
            .map_err(Failure::to("migrate the database"))?;
        let recovered = recover(&dir, store, PATIENCE)
            .await
            .map_err(Failure::to("recover the journal"))?;
        let (found, committed) = (recovered.found, recovered.committed);
        let dead = recovered.dead_lettered;
        let told = json!({ "found": found, "committed": committed, "dead_lettered": dead });
        self.output.tell(&told, || {
            Ok(format!(
                "{found} records found, {committed} in the database, {dead} dead-lettered"
            ))
        })
    }
}
