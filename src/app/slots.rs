//! The servers' slots, shared with the routers that use the same database and Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::cluster::slots::{RedisLedger, TERMS};
use crate::config::Config;
use crate::fleet::{Fleet, Sharing};
use crate::registrar::Registrar;
use herdsman_multidb::MultiDb;

/// A view of the registrations that is older says nothing about who is there.
const CURRENT: Duration = Duration::from_secs(5);

/// How slots are shared, and where this router is told of changes.
pub(super) struct Shared {
    pub(super) sharing: Sharing,
    redis: MultiDb,
    channel: String,
}

/// With `[redis]`, they are shared. `folder` tells this router's runs from those of all others.
pub(super) fn shared(
    config: &Config,
    redis: Option<&MultiDb>,
    folder: &str,
    registrar: &Registrar,
) -> Option<Shared> {
    let (prefix, redis) = (&config.redis.as_ref()?.key_prefix, redis?);
    let ledger = RedisLedger::new(redis.clone(), prefix, folder.into(), TERMS);
    let channel = ledger.channel();
    let registrar = registrar.clone();
    let others = move || {
        let view = registrar.view();
        view.other_routers(Instant::now(), CURRENT)
    };
    Some(Shared {
        sharing: Sharing {
            ledger: Arc::new(ledger),
            slots: config.cluster.slots,
            others: Arc::new(others),
        },
        redis: redis.clone(),
        channel,
    })
}

impl Shared {
    /// Passes on what other routers tell this one. A message that is lost delays what it says by a second.
    pub(super) fn listen(self, fleet: &Fleet, tracker: &TaskTracker) {
        let fleet = fleet.clone();
        tracker.spawn(async move {
            let mut messages = self.redis.pubsub();
            if let Err(refused) = messages.subscribe(&self.channel).await {
                tracing::warn!(%refused, "slots that others free are seen with a delay");
                return;
            }
            while messages.recv().await.is_some() {
                fleet.wake_shares();
            }
        });
    }
}
