//! `herdsman serve`, and `herdsman` alone: the router.

use clap::Args;

use super::{Environment, Failure, Settings};
use crate::app;

#[derive(Args, Debug, Default)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

impl Arguments {
    pub(super) async fn run(self, before: Settings, env: Environment) -> Result<(), Failure> {
        let config = before.load(self.settings, env)?;
        app::run(config)
            .await
            .map_err(Failure::to("run the router"))
    }
}
