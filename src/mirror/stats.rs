//! What is measured of the mirror.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Registry;

/// Clones are the same numbers.
#[derive(Clone, Debug, Default)]
pub struct MirrorStats {
    pub(super) fetched: Counter,
    pub(super) served: Counter,
    pub(super) evicted: Counter,
    pub(super) cached: Gauge,
}

impl MirrorStats {
    /// Makes the metrics known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "mirror_fetched_bytes",
            "Bytes of blobs fetched from the registry of models",
            self.fetched.clone(),
        );
        registry.register(
            "mirror_served_bytes",
            "Bytes of blobs given to servers",
            self.served.clone(),
        );
        registry.register(
            "mirror_evicted_bytes",
            "Bytes of blobs that made room for others",
            self.evicted.clone(),
        );
        registry.register(
            "mirror_cache_bytes",
            "Bytes that the cache of models takes, those included that are being fetched",
            self.cached.clone(),
        );
    }
}
