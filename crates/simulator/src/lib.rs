//! A faithful simulated Ollama server, for tests, benches and a first try.
//!
//! It answers on real sockets with Ollama's shapes, texts, key order and timing, and has Ollama's
//! scheduler: a bounded queue before one loader, slots in order behind it, runners that expire, are
//! evicted, and are reloaded when a request wants other options. The text of a token names the
//! server that wrote it ([`token_text`]), and token counts can be computed beforehand
//! ([`prompt_tokens`]). It can fail in every way a server can ([`Fault`]), on demand and while
//! running.
//!
//! It must not share code with whatever is tested with it: a mistake in one would then be invisible
//! to a test with the other. It fails only at start, when an address cannot be had.
//!
//! ```
//! use herdsman_simulator::{Config, Fault, Model, Simulator};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let models = vec![Model::named("llama3.2")];
//! let server = Simulator::start(Config { models, ..Config::default() }).await?;
//! server.fault(Fault::ErrorLine { after: 3 }.on("llama3.2").next(1));
//! println!("ask {} for something", server.url());
//! server.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod api;
mod catalogue;
pub mod cli;
mod clock;
mod config;
mod counters;
mod fault;
mod go;
mod model;
mod name;
mod node;
mod scheduler;
mod tokens;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use config::Config;
pub use counters::{Counters, ModelCounters};
pub use fault::{Fault, Rule};
pub use model::Model;
pub use tokens::{prompt_tokens, text_tokens, token_text};

use node::Node;
use wire::ListenSocket;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server could not be started or reopened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the main port.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The address of the control port.
    #[error("cannot listen for control on {0}: {1}")]
    Control(SocketAddr, #[source] io::Error),
}

/// A running server. Dropping it stops it without waiting.
pub struct Simulator {
    node: Arc<Node>,
    control: ListenSocket,
}

impl Simulator {
    /// Binds and serves. When this returns it can be asked.
    ///
    /// # Errors
    /// An address cannot be had.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let address = config.listen.unwrap_or(ANY_PORT);
        let (listen_socket, listeners) =
            ListenSocket::open_at(address).map_err(|error| Error::Listen(address, error))?;
        let control = config.control_listen.unwrap_or(ANY_PORT);
        let (control, control_listeners) =
            ListenSocket::open_at(control).map_err(|error| Error::Control(control, error))?;
        let node = Arc::new(Node::new(config, listen_socket));

        let served = node.clone();
        node.tasks.spawn(wire::accept(
            listeners,
            node.stop.clone(),
            move |stream, cut| {
                let node = served.clone();
                let answer = move |request| api::handle(node.clone(), request);
                served.connections.spawn(wire::serve(stream, cut, answer));
            },
        ));
        let controlled = node.clone();
        node.tasks.spawn(wire::accept(
            control_listeners,
            node.stop.clone(),
            move |stream, cut| {
                let node = controlled.clone();
                let answer = move |request| {
                    let node = node.clone();
                    async move { Ok(api::control(node, request).await) }
                };
                controlled.tasks.spawn(wire::serve(stream, cut, answer));
            },
        ));
        Ok(Self { node, control })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.node.listen_socket.address()
    }

    /// Where it listens, as a base URL without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Where `/_sim` can be reached, whatever happens to the main port.
    #[must_use]
    pub fn control_addr(&self) -> SocketAddr {
        self.control.address()
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.node.counters()
    }

    /// Switches a fault on, for requests that come from now on.
    pub fn fault(&self, rule: impl Into<Rule>) {
        self.node.fault(rule.into());
    }

    /// Switches all faults off. A server that refused listens again when this returns.
    pub fn clear_faults(&self) {
        // The port is reserved; should the system refuse the socket all the same, the server goes
        // on refusing, which its user will see.
        let _ = self.node.clear_faults();
    }

    /// Replaces its models, for requests that come from now on.
    pub fn set_models(&self, models: &[Model]) {
        self.node.set_models(models);
    }

    /// Blobs that it has are not there any more, nor parts of them; its models stay listed.
    pub fn forget_blobs(&self) {
        self.node.blob_store.clear();
    }

    /// From now on it is this version, as after an update.
    pub fn set_version(&self, version: &str) {
        self.node.version.store(Arc::new(version.to_owned()));
    }

    /// Stops as if killed and starts again: every connection is cut, nothing is loaded, and after
    /// `pause` the same port listens again. Returns then; goes on when the caller does not wait.
    pub async fn restart(&self, pause: Duration) {
        let node = self.node.clone();
        let task = self
            .node
            .tasks
            .spawn(async move { node.restart(pause).await });
        // As with `clear_faults`, a refused socket is seen from outside.
        let _ = task.await;
    }

    /// Cuts what is open and waits until everything has ended.
    pub async fn stop(&self) {
        self.halt();
        self.node.connections.close();
        self.node.connections.wait().await;
        self.node.tasks.close();
        self.node.tasks.wait().await;
    }

    fn halt(&self) {
        self.node.stop.cancel();
        self.node.listen_socket.close();
        self.control.close();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.halt();
    }
}
