//! `--config` and `--set`, before or after the command.

use std::path::PathBuf;

use clap::Args;

use super::{Environment, Failure};
use crate::app;
use crate::config::{self, Config, DEFAULT_FILE, EndpointUrl, LoadArgs, Problem};

/// Where the configuration comes from.
///
/// Both places are read and joined here, because of arguments given on both sides of a command the
/// parser would keep only the later ones, and say nothing of the others.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Settings {
    /// Configuration file [default: ./config.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one value of the configuration; repeatable
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Servers in place of every `[[endpoint]]`.
    #[arg(skip)]
    servers: Vec<EndpointUrl>,
}

impl Settings {
    /// These, and then those that stand behind the command.
    pub(super) fn join(mut self, later: Self) -> Result<Self, Failure> {
        if self.config.is_some() && later.config.is_some() {
            return Err(Failure::Usage("--config is given twice".into()));
        }
        self.config = later.config.or(self.config);
        self.set.extend(later.set);
        Ok(self)
    }

    /// These, with servers in place of those of the configuration, if there are any.
    pub(super) fn with_servers(self, servers: Vec<EndpointUrl>) -> Self {
        Self { servers, ..self }
    }

    /// The configuration these, `later` and the environment make.
    pub(super) fn load(self, later: Self, env: Environment) -> Result<Config, Failure> {
        let settings = self.join(later)?;
        settings.load_again(&env).map_err(Failure::Configuration)
    }

    /// The configuration these and the environment make now.
    pub(super) fn load_again(&self, env: &Environment) -> Result<Config, Vec<Problem>> {
        let config = config::load(LoadArgs {
            file: self.config.clone(),
            env: env.clone(),
            set: self.set.clone(),
            servers: self.servers.clone(),
        })?;
        app::check(&config)?;
        Ok(config)
    }

    /// The file that is part of it, if it is there.
    pub(super) fn file(&self) -> PathBuf {
        let named = self.config.clone();
        named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
    }

    /// For commands without a configuration: an argument without effect is a mistake.
    pub(super) fn must_be_empty(&self, command: &str) -> Result<(), Failure> {
        if self.config.is_none() && self.set.is_empty() {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "{command} takes no --config and no --set"
        )))
    }
}
