//! The mirror of models, as the configuration has it.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::metrics::Registry;
use crate::mirror::{CannotStart, Mirror, MirrorStats, Names, Rules};
use crate::protocol::Instance;
use crate::upstream::Client;

/// The registry is farther away than a server.
const CONNECT: Duration = Duration::from_secs(10);

/// Under which names servers pull from this router, if they do.
pub(super) fn names(config: &Config) -> Option<Names> {
    let (true, [pulled, blobs]) = (config.models.mirror, &config.server.advertise[..]) else {
        return None;
    };
    Some(Names {
        pulled: pulled.as_str().to_owned(),
        blobs: blobs.as_str().to_owned(),
        encrypted: config.server.tls().is_some(),
    })
}

/// Starts it, if there is to be one.
pub(super) async fn start(
    config: &Config,
    instance: Instance,
    registry: &mut Registry,
    tracker: TaskTracker,
) -> Result<Option<Mirror>, CannotStart> {
    let Some(names) = names(config) else {
        return Ok(None);
    };
    let rules = Rules {
        folder: config.server.data_dir.join("mirror"),
        limit: config.models.cache_size,
        registry: config.models.registry.clone(),
        names,
    };
    let stats = MirrorStats::default();
    stats.register(registry);
    let client = Client::new(CONNECT, instance);
    Mirror::start(rules, client, stats, tracker).await.map(Some)
}

/// Names that the router answers to, beside those that `server.hosts` has.
pub(super) fn hosts(config: &Config) -> Vec<String> {
    let advertised = config.server.advertise.iter().map(|name| name.host());
    let hosts = config.server.hosts.iter().map(String::as_str);
    hosts.chain(advertised).map(str::to_owned).collect()
}
