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
            Ok(config) => {
                let warnings = config.warnings();
                let notes = config.notes();
                let told = json!({
                    "problems": [], "warnings": warnings, "notes": notes, "config": config,
                });
                self.output.tell(&told, || {
                    let toml = config::to_toml(&config);
                    let toml = toml.map_err(Failure::to("write the configuration"))?;
                    let warnings = warnings
                        .iter()
                        .map(|warning| format!("# warning: {warning}\n"));
                    let notes = notes.iter().map(|note| format!("# note: {note}\n"));
                    Ok(warnings.chain(notes).chain([toml]).collect())
                })
            }
            Err(Failure::Configuration(problems)) if self.output.is_json() => {
                self.output
                    .tell(&json!({ "problems": problems }), || Ok(String::new()))?;
                Err(Failure::Configuration(problems))
            }
            Err(failure) => Err(failure),
        }
    }
}
