//! `herdsman check`: is the configuration right, and what comes out of its layers?

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Environment, Failure, Settings};
use crate::config;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    pub(super) fn run(self, before: Settings, env: Environment) -> Result<(), Failure> {
        match before.load(self.settings, env) {
            Ok(config) => self
                .output
                .tell(&json!({ "problems": [], "config": config }), || {
                    config::to_toml(&config).map_err(Failure::to("write the configuration"))
                }),
            Err(Failure::Configuration(problems)) if self.output.is_json() => {
                self.output
                    .tell(&json!({ "problems": problems }), || Ok(String::new()))?;
                Err(Failure::Configuration(problems))
            }
            Err(failure) => Err(failure),
        }
    }
}
