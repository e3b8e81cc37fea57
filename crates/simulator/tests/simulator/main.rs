//! The simulated server against real sockets, byte by byte, and against Ollama's own clients.
//!
//! Everything else is tested with the simulator, so it is tested here without our own code: a
//! plain HTTP client that keeps frames apart, and the official Python and JavaScript clients.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "a test awaits what it spawns")]

mod clients;
mod control;
mod faults;
mod guards;
mod inspect;
mod manage;
mod modern;
mod registry;
mod scheduling;
mod streams;
mod wire;

use herdsman_simulator::{Config, Counters, Model, Simulator};

const MODEL: &str = "llama3.2";

/// A server with `llama3.2` and otherwise this configuration.
async fn start(config: Config) -> Simulator {
    let models = match config.models.is_empty() {
        true => vec![Model::named(MODEL)],
        false => config.models.clone(),
    };
    Simulator::start(Config { models, ..config }).await.unwrap()
}

/// Waits until the counters say so. What is awaited happens in the server's own tasks after the
/// client's last byte; the timeout is only for a server that never does it.
async fn eventually(server: &Simulator, holds: impl Fn(&Counters) -> bool) -> Counters {
    let wait = async {
        loop {
            let counters = server.counters();
            if holds(&counters) {
                return counters;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    match tokio::time::timeout(std::time::Duration::from_secs(20), wait).await {
        Ok(counters) => counters,
        Err(_) => panic!("never came true; {:#?}", server.counters()),
    }
}
