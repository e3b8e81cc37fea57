//! `herdsman simulate`: one simulated Ollama server, until it is interrupted.
//!
//! Healthy when it starts; faults are switched on while it runs, over its control address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::interrupt::Interrupt;
use super::output::Output;
use herdsman_simulator::{Config, Model, Simulator};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 11434)]
    port: u16,
    /// Address it listens on; its control address is always 127.0.0.1
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    host: IpAddr,
    /// Port of its control address; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// A model it has; repeatable
    #[arg(long = "model", value_name = "NAME", default_value = "llama3.2")]
    models: Vec<String>,
    /// Requests a loaded model answers at once
    #[arg(long, value_name = "SLOTS", default_value_t = 4)]
    parallel: usize,
    /// Models in memory at once
    #[arg(long, value_name = "MODELS", default_value_t = 3)]
    max_loaded: usize,
    /// Time to load a model
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "500ms")]
    load: Duration,
    /// Time between two tokens
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "20ms")]
    decode_interval: Duration,
    /// Prompt tokens read per second; 0 is at once
    #[arg(long, value_name = "TOKENS", value_parser = speed, default_value = "0")]
    prefill_rate: f64,
    /// Tokens of an answer without num_predict
    #[arg(long, value_name = "TOKENS", default_value_t = 32)]
    predict: usize,
    /// How it calls itself in its answers
    #[arg(long, value_name = "NAME", default_value = "sim")]
    node: String,
    /// How long an idle model stays in memory
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5m")]
    keep_alive: Duration,
    /// What /api/version says
    #[arg(long, value_name = "TEXT")]
    version_text: Option<String>,
    /// Factor on every simulated time
    #[arg(long, value_name = "FACTOR", value_parser = speed, default_value = "1")]
    time_scale: f64,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut interrupt = Interrupt::listen()?;
        let output = self.output;
        let models = self.models.join(", ");
        let simulator = Simulator::start(self.config())
            .await
            .map_err(Failure::to("start the simulated server"))?;
        let url = simulator.url();
        let control = format!("http://{}/_sim", simulator.control_addr());
        output.tell(&json!({ "url": url, "control": control }), || {
            Ok(format!("{url} has {models}\n{control} controls it"))
        })?;
        interrupt.arrived().await;
        simulator.stop().await;
        Ok(())
    }

    fn config(self) -> Config {
        let defaults = Config::default();
        Config {
            node: self.node,
            listen: Some((self.host, self.port).into()),
            control_listen: Some(local(self.control_port)),
            models: self.models.into_iter().map(Model::named).collect(),
            parallel: self.parallel,
            max_loaded: self.max_loaded,
            load: self.load,
            decode_interval: self.decode_interval,
            prefill_tokens_per_second: self.prefill_rate,
            default_predict: self.predict,
            keep_alive: self.keep_alive,
            version: self.version_text.unwrap_or(defaults.version),
            time_scale: self.time_scale,
            ..Config::default()
        }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A rate or factor: a number from 0.
fn speed(written: &str) -> Result<f64, String> {
    match written.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("must be a number from 0".into()),
    }
}
