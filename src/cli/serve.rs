//! `herdsman serve`, and `herdsman` alone: the router.

use clap::Args;

use super::{Environment, Failure, Settings, servers};
use crate::app;
use crate::config::EndpointUrl;

#[derive(Args, Debug, Default)]
pub(super) struct Arguments {
    /// Servers in place of those of the configuration and of those that were added: a host, host:port or URL
    #[arg(value_name = "SERVER", value_parser = servers::server)]
    servers: Vec<EndpointUrl>,
    #[command(flatten)]
    settings: Settings,
}

impl Arguments {
    pub(super) async fn run(self, before: Settings, env: Environment) -> Result<(), Failure> {
        let settings = before.join(self.settings)?.with_servers(self.servers);
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
