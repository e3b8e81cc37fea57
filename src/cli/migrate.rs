//! `herdsman migrate`: migrates the database to this version.

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Environment, Failure, Settings};
use crate::store::Store;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    pub(super) async fn run(self, before: Settings, env: Environment) -> Result<(), Failure> {
        let config = before.load(self.settings, env)?;
        let store = Store::open(config.store.url.expose(), &config.server.data_dir)
            .await
            .map_err(Failure::to("open the database"))?;
        let applied = store
            .migrate()
            .await
            .map_err(Failure::to("migrate the database"))?;
        self.output
            .tell(&json!({ "applied": applied }), || Ok(told(&applied)))
    }
}

fn told(applied: &[String]) -> String {
    if applied.is_empty() {
        return "nothing to do".to_owned();
    }
    let line = |name: &String| format!("applied {name}\n");
    applied.iter().map(line).collect()
}
