//! The Ollama servers behind the routers, and what their models cost.

use std::time::Duration;

use futures_util::future::join_all;
use herdsman_simulator::{Config, Model, Simulator};

/// No answer is longer.
pub const LONGEST: u64 = 24;

/// A model, and its price in nano-USD per million tokens read and written: such that a token costs no
/// whole number of nano-USD, and each request has to be rounded by itself.
#[derive(Debug)]
pub struct Priced {
    pub name: &'static str,
    pub input: i64,
    pub output: i64,
}

pub const MODELS: [Priced; 3] = [
    Priced {
        name: "ewe:latest",
        input: 33_700_000,
        output: 201_300_001,
    },
    Priced {
        name: "ram:1b",
        input: 999_999,
        output: 1_500_000,
    },
    Priced {
        name: "wether:7b",
        input: 2_500_000_000,
        output: 10_000_000_007,
    },
];

impl Priced {
    /// What these tokens cost, in whole nano-USD, half of one upwards.
    pub fn cost(&self, [input, output]: [i64; 2]) -> i64 {
        (self.input * input + self.output * output + 500_000) / 1_000_000
    }
}

/// Two of them, each with every model.
pub struct Servers(Vec<Simulator>);

impl Servers {
    pub async fn start() -> Self {
        let start = |n| {
            Simulator::start(Config {
                node: format!("gpu-{n}"),
                models: MODELS.map(|model| Model::named(model.name)).to_vec(),
                parallel: 64,
                default_predict: 1_000,
                // Long enough to be cut in the middle.
                decode_interval: Duration::from_millis(2),
                ..Config::default()
            })
        };
        let servers = join_all((0..2).map(start)).await;
        Self(servers.into_iter().map(Result::unwrap).collect())
    }

    pub async fn stop(&self) {
        join_all(self.0.iter().map(Simulator::stop)).await;
    }

    /// As a router's configuration says it.
    pub fn configuration(&self) -> String {
        let servers = self.0.iter().zip(0..).map(|(server, n)| {
            let url = server.url();
            format!("[[endpoint]]\nurl = \"{url}\"\nname = \"gpu-{n}\"\nslots = 64\n")
        });
        let prices = MODELS.iter().map(|model| {
            let [input, output] = [model.input, model.output].map(usd);
            let name = model.name;
            format!("[[price]]\nmodel = \"{name}\"\ninput = {input}\noutput = {output}\n")
        });
        servers.chain(prices).collect()
    }
}

fn usd(nano: i64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}
