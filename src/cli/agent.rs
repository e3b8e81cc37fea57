//! `herdsman agent`: registers a server with running routers, for as long as it runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::interrupt::Interrupt;
use super::{Environment, Failure, servers};
use crate::agent::{self, Error, Options};
use crate::config::{EndpointUrl, Kind};

const JOIN_KEY: &str = "HERDSMAN_JOIN_KEY";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Routers to register with, any of them that answers
    #[arg(
        long,
        value_name = "URL,URL",
        value_delimiter = ',',
        required_unless_present = "announce"
    )]
    join: Vec<EndpointUrl>,
    /// The server: a host, host:port or URL
    #[arg(long, value_name = "SERVER", default_value = "127.0.0.1:11434", value_parser = servers::server)]
    server: EndpointUrl,
    /// How routers reach it [default: as the agent does; of a server of this machine, under the address from which this machine reaches them]
    #[arg(long, value_name = "URL", value_parser = servers::server)]
    advertise: Option<EndpointUrl>,
    /// How it is called; unique [default: the machine's name, with the port if it is not 11434]
    #[arg(long)]
    name: Option<String>,
    /// What routers want to be shown: their access.join_key [env: HERDSMAN_JOIN_KEY]
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// File with that key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What it speaks: ollama or openai
    #[arg(long, default_value = "ollama", value_parser = kind)]
    kind: Kind,
    /// Concurrent requests per model [default: OLLAMA_NUM_PARALLEL of the agent's environment, else as the routers say]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,
    /// Its share among servers of equal priority
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    weight: f64,
    /// Lower is used first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    priority: i32,
    /// What it is also called, together with others; repeatable
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Folder with its models, whose free space is told [default: that of OLLAMA_MODELS, or Ollama's own]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// How long what runs there may go on when the agent is told to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
    /// Also offer the server on the local network (mDNS), where operators of routers can take it
    #[arg(long)]
    announce: bool,
}

fn kind(written: &str) -> Result<Kind, String> {
    let known = Kind::parse(written).filter(|kind| *kind != Kind::LlamaServer);
    known.ok_or_else(|| "ollama and openai can be registered".to_owned())
}

impl Arguments {
    pub(super) async fn run(self, env: &Environment) -> Result<(), Failure> {
        let options = self.options(env)?;
        let (mut first, mut second) = (Interrupt::listen()?, Interrupt::listen()?);
        let hurry = async {
            second.arrived().await;
            second.arrived().await;
        };
        let ended = agent::run(options, first.arrived(), hurry).await;
        ended.map_err(|error| match error {
            Error::Unusable(what) => Failure::Usage(what),
            Error::Unreachable(said) => Failure::Unreachable(vec![said]),
            error => Failure::to("keep the server registered")(error),
        })
    }

    fn options(self, env: &Environment) -> Result<Options, Failure> {
        let variable = |name: &str| {
            let found = env
                .iter()
                .find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let key = match (self.key, self.key_file) {
            (Some(key), _) => key,
            (None, Some(file)) => {
                let read = std::fs::read_to_string(file);
                read.map_err(Failure::to("read the join key"))?
                    .trim()
                    .to_owned()
            }
            (None, None) => variable(JOIN_KEY).unwrap_or_default(),
        };
        let parallel = variable("OLLAMA_NUM_PARALLEL").and_then(|number| number.parse().ok());
        let home = variable("HOME").map(|home| PathBuf::from(home).join(".ollama/models"));
        let named = self
            .models
            .or_else(|| variable("OLLAMA_MODELS").map(PathBuf::from));
        let usual = PathBuf::from("/usr/share/ollama/.ollama/models");
        Ok(Options {
            join: self.join,
            key,
            server: self.server,
            advertise: self.advertise,
            name: self.name.unwrap_or_default(),
            kind: self.kind,
            slots: self.slots.or(parallel).filter(|slots| *slots > 0),
            weight: self.weight,
            priority: self.priority,
            labels: self.labels,
            models: named.into_iter().chain(home).chain([usual]).collect(),
            grace: Duration::from_secs(self.grace),
            announce: self.announce,
        })
    }
}
