//! From a configuration to a running router.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::given::{aliases, kept, prices, spread, terms};
use super::migrate::migrate;
use super::redis::RedisGauges;
use super::{App, DirLock, Error, mirror, redis, sharing};
use crate::access::{self, Access, RedisLedger};
use crate::clock;
use crate::config::{Config, Durability};
use crate::discovery::{self, Discovery};
use crate::fleet::{Fleet, Gauges, Intervals, Rules};
use crate::gateway::{self, AccessLog, Gateway, Meters, Requests};
use crate::http::{
    self, Actions, Admin, Front, Hosts, Joiners, Limits, Managers, Origins, Patience, Proxies,
    State, Ticks, Tls,
};
use crate::inventory::{self, Inventory};
use crate::metrics::{LITELLM_PREFIX, PREFIX, Registry};
use crate::models::{self, Models};
use crate::protocol::Instance;
use crate::registrar::{self, Identity, Registrar, RouterFacts};
use crate::replicas::Replicas;
use crate::spend::{self, Retention, Spend};
use crate::store::Store;
use crate::upstream::Client;
use crate::usage::{Running, Usage};
use herdsman_multidb::{Idempotent, MultiDb};

/// A record younger than this may not be in the journal's own count yet.
const UNCERTAIN: Duration = Duration::from_secs(3);
/// How long the first requests may wait for the first probes of the fleet.
const FIRST_PROBES: Duration = Duration::from_secs(2);
/// How long the start may wait for the flush of what the journal holds.
const FIRST_FLUSH: Duration = Duration::from_secs(2);

pub(super) async fn build(config: Config) -> Result<App, Error> {
    for warning in config.warnings() {
        // That one is said last, where it is seen.
        if config.exposed().as_ref() != Some(&warning) {
            tracing::warn!("{warning}");
        }
    }
    let tls = match config.server.tls() {
        Some((certificate, key)) => Some(Tls::read(certificate, key)?),
        None => None,
    };
    let lock = DirLock::take(&config.server.data_dir)?;
    let tracker = TaskTracker::new();
    let mut all = Registry::default();

    let redis = match &config.redis {
        Some(redis) => Some(redis::connect(redis).await?),
        None => None,
    };
    let store = Store::open(config.store.url.expose(), &config.server.data_dir).await?;
    migrate(&store, &tracker).await?;
    let router: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let identity = identity(&config, &lock, &router);
    registrar::claim(&store, &identity).await?;
    let options = spend::Options {
        data_dir: config.server.data_dir.clone(),
        durability: durability(config.spend.durability),
        seal_interval: config.spend.seal_interval,
        flush_interval: config.spend.flush_interval,
        journal_bytes: config.spend.journal_size,
    };
    let (to_store, tasks) = (store.clone(), tracker.clone());
    let spend = match over_redis(&config, redis.as_ref(), &router) {
        Some(redis) => Spend::start_over(options, to_store, redis, tasks).await?,
        None => Spend::start(options, to_store, tasks).await?,
    };
    if config.metrics.litellm_names {
        spend
            .stats()
            .register_queues(all.sub_registry_with_prefix(LITELLM_PREFIX));
    }
    let registry = all.sub_registry_with_prefix(PREFIX);
    spend.stats().register(registry);
    if let Some(redis) = &redis {
        registry.register_collector(Box::new(RedisGauges(redis.clone())));
    }

    let keeping = spend::Keeping::new(config.store.keep_minutes, config.store.keep_days);
    let (in_store, stats) = (store.clone(), Arc::clone(spend.stats()));
    let retention = Retention::start(keeping, in_store, stats, tracker.clone()).await?;
    retention.register(registry);

    let instance = Instance::new(&router);
    let client = Client::new(config.routing.connect_timeout, instance.clone());
    let folder = identity.folder.clone();
    let registrar = Registrar::start(identity, store.clone(), tracker.clone()).await?;
    let shared = sharing::shared(&config, redis.as_ref(), &folder, &registrar, &tracker).await?;
    let bus = shared
        .as_ref()
        .map(|shared| shared.bus.clone())
        .unwrap_or_default();
    let fleet = Fleet::start(
        &inventory::desired(&config.endpoint, config.routing.slots)?,
        rules(&config, shared.as_ref()),
        client.clone(),
        tracker.clone(),
    )
    .await?;
    if let Some(shared) = shared {
        shared.listen(&fleet, &tracker);
    }
    registry.register_collector(Box::new(Gauges::new(fleet.clone())));
    fleet.name(&aliases(&config)).await;
    let inventory = inventory(&config, folder, &fleet, &store, &registrar, &tracker).await?;
    let discovery = Discovery::start(&config.discovery, inventory.clone(), tracker.clone()).await?;
    registry.register_collector(Box::new(discovery::Gauges::new(discovery.clone())));
    // What an earlier run left in the journal belongs to the totals that are shown from the start.
    if let Err(unflushed) = spend.flush_now(FIRST_FLUSH).await {
        tracing::warn!("{unflushed}; live totals start without them");
    }
    let usage = Usage::start(&store, running(&fleet), tracker.clone()).await?;

    let access = Access::start(
        limits(&config, &router),
        store.clone(),
        shared_ledger(&config, redis.as_ref(), &router),
        applied_until(&spend),
        tracker.clone(),
    )
    .await?;
    access.stats().register(registry);
    sharing::follow(&bus, &access, &inventory, &tracker);

    let model_rules = models::Rules {
        spread: spread(&config),
        silence: config.routing.idle_timeout,
    };
    let counted = models::Meters::register(registry);
    let mirror = mirror::start(&config, instance.clone(), registry, tracker.clone()).await?;
    let (ours, of, tasks) = (client.clone(), mirror.clone(), tracker.clone());
    let models = Models::start(model_rules, fleet.clone(), ours, counted, of, tasks).await?;

    let access_log = access_log(&config)?;
    let meters = Meters::register(registry, Requests::new(access_log.clone()));
    let request_rules = gateway::Rules {
        attempts: config.routing.attempts,
        queue_timeout: config.routing.queue_timeout,
        first_byte_timeout: config.routing.first_byte_timeout,
        answer_timeout: config.routing.answer_timeout,
        idle_timeout: config.routing.idle_timeout,
    };
    let gateway = Gateway::new(
        fleet.clone(),
        client,
        spend.clone(),
        usage,
        access.clone(),
        meters,
        request_rules,
    );
    gateway.set_models(terms(&config));
    tracker.spawn(Arc::clone(&gateway).forget_removed());
    fleet.wait_until_complete(FIRST_PROBES).await;
    let replicas = Replicas::start(kept(&config), Arc::clone(&gateway), tracker.clone()).await?;

    let admin = Admin::new(config.access.admin_key.expose());
    let joiners = Joiners::new(config.access.join_key.expose());
    let managers = Managers::new(admin.clone(), config.access.management);
    let state = State {
        gateway: Arc::clone(&gateway),
        store,
        spend: spend.clone(),
        folding: spend::Folding::default(),
        models: models.clone(),
        mirror: mirror.clone(),
        access: access.clone(),
        actions: Actions::telling(bus.clone()),
        ticks: Ticks::default(),
        inventory: inventory.clone(),
        registrar: registrar.clone(),
        joiners: joiners.clone(),
        discovery: discovery.clone(),
        redis: redis.clone(),
        tasks: tracker.clone(),
        admin: admin.clone(),
        managers: managers.clone(),
        registry: Arc::new(all),
        limits: Limits::new(config.server.max_body),
        instance,
    };
    let listen = config.server.listen;
    let origins = Origins::new(&config.server.cors_origins);
    let hosts = Hosts::new(
        &mirror::hosts(&config),
        &config.server.cors_origins,
        listen.ip().to_canonical().is_loopback(),
    );
    let proxies = Proxies::new(&config.server.trusted_proxies);
    let front = Front::new(state, origins, hosts, proxies);
    let patience = Patience {
        idle: config.server.idle,
        reader: config.server.reader_timeout,
    };
    let server = http::serve(listen, front, patience, tls.clone())
        .await
        .map_err(|error| Error::Listen(listen, error))?;
    inventory.listens_at(server.addr());
    if let Some(exposed) = config.exposed() {
        tracing::error!("{exposed}");
    }
    Ok(App {
        server,
        gateway,
        fleet,
        inventory,
        registrar,
        joiners,
        discovery,
        replicas,
        spend,
        retention,
        models,
        mirror,
        access,
        admin,
        tls,
        managers,
        redis,
        access_log,
        bus,
        grace: config.server.grace,
        lead_in: config.server.lead_in,
        tracker,
        _lock: lock,
    })
}

fn access_log(config: &Config) -> Result<Option<AccessLog>, Error> {
    let file = &config.log.access;
    let log = (!file.as_os_str().is_empty()).then(|| AccessLog::open(file));
    Ok(log.transpose()?)
}

/// This router among those that share the database.
fn identity(config: &Config, lock: &DirLock, router: &Arc<str>) -> Identity {
    Identity {
        folder: lock.id().to_owned(),
        run: Arc::clone(router),
        facts: RouterFacts {
            listen: config.server.listen.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shares: config.redis.is_some(),
        },
    }
}

/// The list of wanted servers. Those that were named on the command line stand in place of stored ones.
async fn inventory(
    config: &Config,
    router: String,
    fleet: &Fleet,
    store: &Store,
    registrar: &Registrar,
    tracker: &TaskTracker,
) -> Result<Inventory, Error> {
    let options = inventory::Options {
        configured: config.endpoint.clone(),
        slots: config.routing.slots,
        listen: config.server.listen,
        router,
        registered: (!config.only_named).then(|| registrar.servers()),
    };
    let store = (!config.only_named).then(|| store.clone());
    Ok(Inventory::start(options, fleet.clone(), store, tracker.clone()).await?)
}

fn limits(config: &Config, router: &Arc<str>) -> access::Options {
    access::Options {
        require_key: config.access.require_key,
        end_users: config.access.end_users,
        outage_grace: config.access.outage_grace,
        when_redis_away: config.access.when_redis_away,
        prices: prices(config),
        sweep: access::SWEEP,
        router: Arc::clone(router),
    }
}

/// How batches are exchanged between routers. Each step may be repeated, also when nobody knows whether it
/// was done: a batch is counted once by its id, and an epoch that is skipped is not used by any router.
fn over_redis(
    config: &Config,
    redis: Option<&MultiDb>,
    router: &Arc<str>,
) -> Option<spend::Redis<Idempotent>> {
    let (prefix, redis) = (&config.redis.as_ref()?.key_prefix, redis?);
    Some(spend::Redis {
        lease_ttl: config.spend.lease_ttl,
        ..spend::Redis::new(redis.idempotent(), prefix.as_str(), &**router)
    })
}

/// The ledger in which the routers account for common limits.
fn shared_ledger(
    config: &Config,
    redis: Option<&MultiDb>,
    router: &Arc<str>,
) -> Option<Arc<dyn access::Shared>> {
    let (prefix, redis) = (&config.redis.as_ref()?.key_prefix, redis?);
    let ledger = RedisLedger::new(redis.clone(), prefix, Arc::clone(router), access::TERMS);
    Some(Arc::new(ledger))
}

/// Until when everything that was counted here is in the database. A record may be on its way to the
/// journal for a moment, and its time is in whole seconds.
fn applied_until(spend: &Spend) -> access::AppliedUntil {
    let stats = Arc::clone(spend.stats());
    Arc::new(move || {
        let age = stats.oldest_age().max(UNCERTAIN) + Duration::from_secs(1);
        let until = clock::since_epoch().as_secs().saturating_sub(age.as_secs());
        i64::try_from(until).unwrap_or_default()
    })
}

fn durability(asked: Durability) -> spend::Durability {
    match asked {
        Durability::Memory => spend::Durability::Memory,
        Durability::Journal => spend::Durability::Journal,
        Durability::Fsync => spend::Durability::Fsync,
        Durability::Redis => spend::Durability::Redis,
    }
}

fn rules(config: &Config, shared: Option<&sharing::Shared>) -> Rules {
    Rules {
        intervals: Intervals {
            alive: config.fleet.probe_interval,
            loaded: config.fleet.loaded_interval,
            models: config.fleet.models_interval,
        },
        stale_after: config.fleet.stale_after,
        queue_limit: config.routing.queue_limit,
        hidden: mirror::names(config).map(|names| names.pulled.into()),
        sharing: shared.map(|shared| shared.sharing.clone()),
        bus: shared.map(|shared| shared.bus.clone()).unwrap_or_default(),
        locks: shared.map(|shared| shared.locks.clone()),
    }
}

/// The requests running, as the leases count them.
fn running(fleet: &Fleet) -> Arc<dyn Fn() -> Running + Send + Sync> {
    let fleet = fleet.clone();
    Arc::new(move || {
        let mut running = Running::new();
        for server in fleet.observed() {
            let models = running.entry(server.id.name).or_default();
            for held in server.held {
                *models.entry(held.model.shared()).or_default() += u64::from(held.in_flight);
            }
        }
        running
    })
}
