//! `herdsman demo`: a first demonstration without a graphics card.
//!
//! Three simulated servers that differ as real ones do, and the router exactly as `serve` runs it,
//! on a data folder that goes away with it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::interrupt::Interrupt;
use super::output::Output;
use crate::app::App;
use crate::config::{Config, Endpoint, InvalidUrl};
use herdsman_simulator::{Model, Simulator};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Port of the router on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 11435)]
    port: u16,
    #[command(flatten)]
    output: Output,
}

/// A data folder for as long as the demo runs.
struct Folder(PathBuf);

impl Arguments {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut interrupt = Interrupt::listen()?;
        let folder = Folder::create().map_err(Failure::to("make a temporary folder"))?;
        let mut simulators = Vec::new();
        for config in servers() {
            let started = Simulator::start(config).await;
            simulators.push(started.map_err(Failure::to("start a simulated server"))?);
        }
        let config = router(&simulators, &folder, self.port)
            .map_err(Failure::to("address a simulated server"))?;
        let endpoints: Vec<_> = config
            .endpoint
            .iter()
            .map(|endpoint| json!({ "name": endpoint.name, "url": endpoint.url.as_str() }))
            .collect();
        let app = App::start(config)
            .await
            .map_err(Failure::to("start the router"))?;
        let url = format!("http://{}", app.addr());
        self.output
            .tell(&json!({ "url": url, "endpoints": endpoints }), || {
                Ok(summary(&url, &simulators))
            })?;
        interrupt.arrived().await;
        app.shutdown().await;
        for server in simulators {
            server.stop().await;
        }
        Ok(())
    }
}

/// A fast one, a large one and a small one; `llama3.2` is on all of them.
fn servers() -> [herdsman_simulator::Config; 3] {
    let server = |node: &str, models: Vec<Model>| herdsman_simulator::Config {
        node: node.to_owned(),
        models,
        default_predict: 64,
        prefill_tokens_per_second: 4000.0,
        ..herdsman_simulator::Config::default()
    };
    [
        herdsman_simulator::Config {
            parallel: 4,
            load: Duration::from_millis(800),
            decode_interval: Duration::from_millis(8),
            ..server(
                "workstation",
                vec![
                    Model::named("llama3.2"),
                    Model::named("qwen3:8b").thinking(),
                ],
            )
        },
        herdsman_simulator::Config {
            parallel: 8,
            load: Duration::from_secs(3),
            decode_interval: Duration::from_millis(15),
            ..server(
                "rack",
                vec![Model::named("llama3.2"), Model::named("gpt-oss:120b")],
            )
        },
        herdsman_simulator::Config {
            parallel: 1,
            load: Duration::from_millis(1500),
            decode_interval: Duration::from_millis(40),
            ..server(
                "laptop",
                vec![
                    Model::named("llama3.2"),
                    Model::embedding("nomic-embed-text"),
                ],
            )
        },
    ]
}

fn router(simulators: &[Simulator], folder: &Folder, port: u16) -> Result<Config, InvalidUrl> {
    let mut config = Config::default();
    config.server.listen = (Ipv4Addr::LOCALHOST, port).into();
    config.server.data_dir.clone_from(&folder.0);
    config.endpoint = simulators
        .iter()
        .zip(servers())
        .map(|(server, simulated)| {
            Ok(Endpoint {
                name: simulated.node,
                ..Endpoint::at(server.url().parse()?)
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(config)
}

fn summary(url: &str, simulators: &[Simulator]) -> String {
    let mut text = format!("{url} is the router, as if it were one Ollama server. Behind it:\n");
    for (server, simulated) in simulators.iter().zip(servers()) {
        let names: Vec<_> = simulated
            .models
            .iter()
            .map(|model| model.name.as_str())
            .collect();
        let (url, node, names) = (server.url(), simulated.node, names.join(", "));
        text += &format!("  {node:<12} {url}  {names}\n");
    }
    text += &format!(
        r#"
Try, from another terminal:
  curl {url}/api/chat -d '{{"model":"llama3.2","messages":[{{"role":"user","content":"hello"}}]}}'
  curl -s -D - {url}/v1/chat/completions -H 'content-type: application/json' \
    -d '{{"model":"qwen3:8b","messages":[{{"role":"user","content":"hello"}}]}}'
  curl {url}/api/ps
  curl {url}/health
  curl {url}/metrics
  OLLAMA_HOST={url} ollama run llama3.2

Ctrl-c ends it."#
    );
    text
}

impl Folder {
    fn create() -> io::Result<Self> {
        let name = format!("herdsman-demo-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is a small folder in a place that is emptied anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}
