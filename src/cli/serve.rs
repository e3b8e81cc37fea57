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
        let settings = before.join(self.settings)?;
        let config = settings.load_again(&env).map_err(Failure::Configuration)?;
        let source = app::Source {
            file: settings.file(),
            read: Box::new(move || settings.load_again(&env)),
        };
        app::run(config, source)
            .await
            .map_err(Failure::to("run the router"))
    }
}
