//! What the operator decided, read once, completely, before anything is bound.
//!
//! Three layers of one grammar make a [`Config`]: `config.toml`, then `HERDSMAN__TABLE__KEY`
//! variables, then `--set table.key=value`. Defaults live in Rust, beside the field they belong to,
//! never in a serialised copy. This folder knows text and values only: it opens no socket, starts
//! no clock, and reads the environment only as an argument. It fails with every [`Problem`] at once,
//! each with its key and the place where it was written; a configuration with one problem is no
//! configuration, and what this version cannot do is a problem too, never silently left out.

mod access;
mod alias;
mod cluster;
mod discovery;
mod display;
mod duration;
mod endpoint;
mod expand;
mod fleet;
mod itself;
mod keep;
mod key;
mod load;
mod log;
mod metrics;
mod model;
mod models;
mod network;
mod price;
mod problem;
mod read;
mod redis;
mod routing;
mod secret;
mod server;
mod size;
mod slots;
mod spend;
mod store;
mod text;
mod tree;
mod url;
mod validate;

#[cfg(test)]
mod tests;

pub use access::{Access, Management, WhenRedisAway};
pub use alias::Alias;
pub use cluster::{Cluster, SlotSharing};
pub use discovery::Discovery;
pub use display::to_toml;
pub use endpoint::{Endpoint, Kind};
pub use fleet::Fleet;
pub use itself::{is_itself, is_own_address, is_own_name};
pub use load::{DEFAULT_FILE, LoadArgs, load, load_endpoints};
pub use log::Log;
pub use metrics::Metrics;
pub use model::Model;
pub use models::{Models, Pull};
pub use network::Network;
pub use price::Price;
pub use problem::{Place, Problem};
pub use redis::{Database, DatabaseKind, HealthCheckPolicy, InitialHealthCheckPolicy, Redis};
pub use routing::Routing;
pub use secret::Secret;
pub use server::{Advertised, Server};
pub use slots::Slots;
pub use spend::{Durability, Spend};
pub use store::Store;
pub use url::{EndpointUrl, InvalidUrl};
pub use validate::endpoint_faults;

use serde::{Deserialize, Serialize};

/// The whole effective configuration. Serialising it never shows a secret.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Config {
    /// Where the router listens and what it keeps on disk.
    pub server: Server,
    /// The servers behind the router; after [`load()`] empty only if others are looked for.
    pub endpoint: Vec<Endpoint>,
    /// Which servers have which models.
    pub models: Models,
    /// What holds for single models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model: Vec<Model>,
    /// Names that stand for other models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alias: Vec<Alias>,
    /// How a request finds its server.
    pub routing: Routing,
    /// How the servers are watched.
    pub fleet: Fleet,
    /// What several routers do together.
    pub cluster: Cluster,
    /// Where further servers are found.
    pub discovery: Discovery,
    /// The database.
    pub store: Store,
    /// Redis between several routers; `None` is one process on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// How usage reaches the database.
    pub spend: Spend,
    /// Who may call.
    pub access: Access,
    /// What tokens cost; a model that is not listed costs nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub price: Vec<Price>,
    /// What is written down of requests.
    pub log: Log,
    /// What `/metrics` says.
    pub metrics: Metrics,
    /// The servers were named on the command line: they stand in place of stored ones too.
    #[serde(skip)]
    pub only_named: bool,
}

impl Config {
    /// Anybody who reaches the address the router listens on can use the models: what that means, if it is so.
    /// An error in the log, because nobody is to overlook it.
    #[must_use]
    pub fn exposed(&self) -> Option<String> {
        let listen = self.server.listen;
        (!listen.ip().to_canonical().is_loopback() && !self.access.require_key).then(|| {
            format!(
                "OPEN TO EVERYBODY: the router listens on {listen}, which is not only this machine, and \
                 access.require_key is false: whoever reaches that address uses the models, at your cost. \
                 Set access.require_key = true, or server.listen to an address of this machine"
            )
        })
    }

    /// What can be meant and is rarely wanted. Said at every start, and by `herdsman check`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.exposed().into_iter().collect();
        if self.redis.is_some() && self.store.url.expose().is_empty() {
            warnings.push(
                "[redis] without store.url: SQLite is a file of this router alone. With more than \
                 one router usage ends up in whichever file its writer has, and accounts and \
                 budgets are known to one router only. Give all of them a common store.url"
                    .to_owned(),
            );
        }
        let sized = self.model.iter().filter(|model| model.num_ctx > 0);
        warnings.extend(sized.map(|model| {
            format!(
                "num_ctx = {} of [[model]] {} is not for /v1: those calls cannot carry it, and a server \
                 loads the model again whenever calls of both kinds alternate. To have one context for \
                 all calls, set OLLAMA_CONTEXT_LENGTH on the servers, or PARAMETER num_ctx in the model",
                model.num_ctx, model.name,
            )
        }));
        for model in &self.model {
            let known = |name: &&String| {
                let mut endpoints = self.endpoint.iter();
                endpoints.any(|known| known.name == **name || known.labels.contains(name))
            };
            let unknown = model.endpoints.iter().filter(|name| !known(name));
            warnings.extend(unknown.map(|name| {
                format!(
                    "[[model]] {}: no [[endpoint]] has the name or label \"{name}\"",
                    model.name
                )
            }));
        }
        warnings
    }

    /// What a value means in this version, where a reader could expect more. Said by
    /// `herdsman check`.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let assumed = self
            .endpoint
            .iter()
            .filter(|endpoint| (endpoint.slots, self.routing.slots) == (Slots::Auto, Slots::Auto))
            .map(|endpoint| endpoint.name.as_str());
        let assumed: Vec<&str> = assumed.collect();
        if assumed.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "slots = \"auto\" means {} concurrent requests per model, because the number is not \
             measured in this version. This concerns {}",
            Slots::ASSUMED,
            assumed.join(", "),
        )]
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            endpoint: vec![Endpoint::default()],
            models: Models::default(),
            model: Vec::new(),
            alias: Vec::new(),
            routing: Routing::default(),
            fleet: Fleet::default(),
            cluster: Cluster::default(),
            discovery: Discovery::default(),
            store: Store::default(),
            redis: None,
            spend: Spend::default(),
            access: Access::default(),
            price: Vec::new(),
            log: Log::default(),
            metrics: Metrics::default(),
            only_named: false,
        }
    }
}
