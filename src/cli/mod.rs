//! The command line: arguments in, an exit code out.
//!
//! One file per command; each reads its arguments, calls one public function of a lower layer and prints the
//! result. Nothing here decides anything about requests, servers or money. Output for people and
//! programs goes to stdout, errors and logs to stderr; a command fails with a [`Failure`], whose
//! kind is the exit code, so that no command knows a number.

mod account;
mod account_options;
mod agent;
mod check;
mod client;
mod completions;
mod demo;
mod endpoint;
mod failure;
mod interrupt;
mod migrate;
mod model;
mod output;
mod redis;
mod request;
mod serve;
mod servers;
mod settings;
mod simulate;
mod spend;
mod table;
mod telemetry;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use account::Kind;
use failure::Failure;
use settings::Settings;

/// Every variable of the process, read once in `main`.
pub type Environment = Vec<(String, String)>;

/// One dependable address for a fleet of Ollama servers.
///
/// Without a command it runs the router.
#[derive(Debug, Parser)]
#[command(name = "herdsman", version)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router
    Serve(serve::Arguments),
    /// Validate the whole configuration and print it, secrets redacted
    Check(check::Arguments),
    /// Run pending database migrations
    Migrate(migrate::Arguments),
    /// A first demonstration: three simulated servers and a router in front of them, in one process
    Demo(demo::Arguments),
    /// Run beside a server: register it with any healthy router, and take it out at the end
    Agent(agent::Arguments),
    /// Run one simulated Ollama server, for tests
    Simulate(simulate::Arguments),
    /// Models of the servers, through any healthy router
    Model(model::Arguments),
    /// Servers of a router, likewise
    Endpoint(endpoint::Arguments),
    /// What a router is doing, likewise
    Request(request::Arguments),
    /// API keys, likewise
    Key(account::Arguments),
    /// Users, likewise
    User(account::Arguments),
    /// Teams and their members, likewise
    Team(account::Arguments),
    /// Organisations, likewise
    Org(account::Arguments),
    /// Budgets that accounts name, likewise
    Budget(account::Arguments),
    /// What was spent and what is pending, likewise; journals of routers that are gone
    Spend(spend::Arguments),
    /// Redis databases of a router, likewise
    Redis(redis::Arguments),
    /// Print shell completions
    Completions(completions::Arguments),
}

impl Cli {
    /// Reads the arguments of the process, the first of which is its name.
    ///
    /// # Errors
    /// What the parser says of them; help and the version come this way too.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments = arguments.into_iter().collect();
        Self::try_parse_from(servers::with_command(arguments))
    }

    /// Runs the command. Every failure has been printed on stderr when this returns.
    ///
    /// Boxed: what it awaits is compiled with this library, and not once more with the program.
    pub fn run(self, environment: Environment) -> BoxFuture<'static, ExitCode> {
        async {
            match self.dispatch(environment).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => failure.report(),
            }
        }
        .boxed()
    }

    async fn dispatch(self, env: Environment) -> Result<(), Failure> {
        let Self { settings, command } = self;
        let command = command.unwrap_or(Command::Serve(serve::Arguments::default()));
        let log = match command {
            Command::Serve(_) | Command::Agent(_) => telemetry::Level::Info,
            _ => telemetry::Level::Warn,
        };
        telemetry::init(&env, log)?;
        match command {
            Command::Serve(arguments) => arguments.run(settings, env).await,
            Command::Check(arguments) => arguments.run(settings, env),
            Command::Migrate(arguments) => arguments.run(settings, env).await,
            Command::Demo(arguments) => {
                settings.must_be_empty("demo")?;
                arguments.run().await
            }
            Command::Agent(arguments) => {
                settings.must_be_empty("agent")?;
                arguments.run(&env).await
            }
            Command::Simulate(arguments) => {
                settings.must_be_empty("simulate")?;
                arguments.run().await
            }
            Command::Model(arguments) => {
                settings.must_be_empty("a command for running routers")?;
                arguments.run(&env).await
            }
            Command::Endpoint(arguments) => {
                settings.must_be_empty("a command for running routers")?;
                arguments.run(&env).await
            }
            Command::Request(arguments) => {
                settings.must_be_empty("a command for running routers")?;
                arguments.run(&env).await
            }
            Command::Key(arguments) => account(settings, arguments, Kind::Key, &env).await,
            Command::User(arguments) => account(settings, arguments, Kind::User, &env).await,
            Command::Team(arguments) => account(settings, arguments, Kind::Team, &env).await,
            Command::Org(arguments) => account(settings, arguments, Kind::Org, &env).await,
            Command::Budget(arguments) => account(settings, arguments, Kind::Budget, &env).await,
            Command::Spend(arguments) => arguments.run(settings, env).await,
            Command::Redis(arguments) => {
                settings.must_be_empty("redis")?;
                arguments.run(&env).await
            }
            Command::Completions(arguments) => {
                settings.must_be_empty("completions")?;
                arguments.run()
            }
        }
    }
}

async fn account(
    settings: Settings,
    arguments: account::Arguments,
    kind: Kind,
    env: &Environment,
) -> Result<(), Failure> {
    settings.must_be_empty("a command for running routers")?;
    arguments.run(kind, env).await
}
