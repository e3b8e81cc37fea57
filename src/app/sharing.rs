//! What this router shares with those that use the same database and Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt as _;
use futures_util::{FutureExt as _, stream};
use redis::RedisError;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::cluster::bus::{Bus, Event, Heard, Messages, Wire};
use crate::cluster::loads::RedisLoadLocks;
use crate::cluster::slots::{RedisLedger, TERMS};
use crate::config::Config;
use crate::fleet::{Fleet, Locks, Sharing};
use crate::inventory::Inventory;
use crate::registrar::Registrar;
use crate::supervision::StartError;
use herdsman_multidb::{Item, MultiDb};

/// A view of the registrations that is older says nothing about who is there.
const CURRENT: Duration = Duration::from_secs(5);

/// The number of what is published, and of the loads' locks.
const VERSION: u32 = 1;

/// What is shared over Redis.
pub(super) struct Shared {
    pub(super) sharing: Sharing,
    pub(super) bus: Bus,
    pub(super) locks: Locks,
    redis: MultiDb,
    /// Where this router is told that the ledger of slots has something for it.
    channel: String,
}

/// Publish and subscribe.
struct Channel {
    redis: MultiDb,
    name: Arc<str>,
}

/// With `[redis]`, much is shared. `folder` tells this router's runs from those of all others.
pub(super) async fn shared(
    config: &Config,
    redis: Option<&MultiDb>,
    folder: &str,
    registrar: &Registrar,
    tracker: &TaskTracker,
) -> Result<Option<Shared>, StartError> {
    let (Some(settings), Some(redis)) = (&config.redis, redis) else {
        return Ok(None);
    };
    let me: Arc<str> = folder.into();
    let prefix = &settings.key_prefix;
    let ledger = RedisLedger::new(redis.clone(), prefix, Arc::clone(&me), TERMS);
    let channel = ledger.channel();
    let registrar = registrar.clone();
    let others = move || {
        let view = registrar.view();
        view.other_routers(Instant::now(), CURRENT)
    };
    let wire = Channel {
        redis: redis.clone(),
        name: format!("{prefix}:bus:{VERSION}").into(),
    };
    let prefix = format!("{prefix}:cluster:{VERSION}");
    let locks = RedisLoadLocks::new(redis.clone(), &prefix, Arc::clone(&me));
    Ok(Some(Shared {
        sharing: Sharing {
            ledger: Arc::new(ledger),
            slots: config.cluster.slots,
            others: Arc::new(others),
        },
        bus: Bus::start(me, Arc::new(wire), tracker.clone()).await?,
        locks: Locks(Arc::new(locks)),
        redis: redis.clone(),
        channel,
    }))
}

impl Shared {
    /// Passes on what the ledger of slots has for this router. A message that is lost delays that by a second.
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

/// Reads again what another router says it has changed in the database.
pub(super) fn follow(bus: &Bus, access: &Access, inventory: &Inventory, tracker: &TaskTracker) {
    let Some(mut listener) = bus.listener() else {
        return;
    };
    let (access, inventory) = (access.clone(), inventory.clone());
    tracker.spawn(async move {
        while let Some(heard) = listener.next().await {
            let is_news = match heard {
                Heard::Gap => true,
                Heard::Event { event, .. } => event == Event::Changed,
            };
            if is_news {
                access.changed();
                inventory.changed().await;
            }
        }
    });
}

impl Wire for Channel {
    fn publish(&self, message: Vec<u8>) -> BoxFuture<'static, Result<(), RedisError>> {
        let (mut redis, name) = (self.redis.clone(), Arc::clone(&self.name));
        async move {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&*name).arg(message);
            publish.query_async::<i64>(&mut redis).await.map(drop)
        }
        .boxed()
    }

    fn listen(&self) -> Messages {
        let (messages, name) = (self.redis.pubsub(), Arc::clone(&self.name));
        let subscribed = async move {
            let mut messages = messages;
            if let Err(refused) = messages.subscribe(&*name).await {
                tracing::warn!(%refused, "what other routers tell is not heard");
            }
            messages.map(|item| match item {
                Item::Message(message) => Some(message.payload),
                _ => None::<Bytes>,
            })
        };
        stream::once(subscribed).flatten().boxed()
    }
}
