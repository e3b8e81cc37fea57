//! How the pipeline is put together, with Redis and without.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use redis::aio::ConnectionLike;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::journal::{Journal, Limits, OpenError};
use super::prune::Prune;
use super::stream::Stream;
use super::transport::Transport;
use super::{
    Durability, Inner, Options, RESTARTS, Redis, Shared, Spend, SpendStats, drain, flush,
    forwarder, sealing,
};
use crate::cluster::lease;
use crate::store::Store;
use crate::supervision::{self, Supervisor};

/// How long a batch stays open at most while the database is away: a new one every minute is enough
/// to lose nothing.
const LONGEST: Duration = Duration::from_secs(60);
/// The same, and at first, where requests wait until their batch is closed and sent.
const LONGEST_AWAITED: Duration = Duration::from_millis(100);
const AWAITED: Duration = Duration::from_millis(5);

/// What the database gets after that for Redis, before answers do not wait for it, either.
const AFTER_REDIS: Duration = Duration::from_secs(5);

/// After this it is checked whether a batch that is in Redis is still there.
const CHECK: Duration = Duration::from_secs(5);

/// The counting pipeline did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No journal.
    #[error("usage journal: {0}")]
    Journal(#[from] OpenError),
    /// No actors: the runtime is shutting down.
    #[error("the counting actors did not start: {0}")]
    Actors(#[from] supervision::StartError),
    /// The thread that reads the journal was cancelled.
    #[error("reading the usage journal was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Spend {
    /// Replays the journal, then starts: this router writes to the database what it counted. What
    /// former processes left behind is on its way when this returns; `store` has to be migrated.
    ///
    /// # Errors
    /// When the journal's folder cannot be used.
    pub async fn start(
        options: Options,
        store: Store,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let stats = Arc::new(SpendStats::default());
        let limits = Limits::within(options.journal_bytes);
        let journal = open(&options, limits, &stats).await?;
        let (sealing, flush) = (sealing::Handle::new(), flush::Handle::new());
        let children = vec![
            flush.child(flush::Setup {
                prune: Prune::new(store.clone(), tracker.clone()),
                store,
                interval: options.flush_interval,
                sealing: sealing.clone(),
                stats: Arc::clone(&stats),
            }),
            sealing.child(sealing_setup(
                &options,
                &journal,
                Transport::InProcess(flush.clone()),
            )),
        ];
        Ok(Self(Arc::new(Inner {
            supervisor: Supervisor::start(RESTARTS, tracker, children).await?,
            journal,
            sealing,
            flush,
            shared: None,
            stats,
        })))
    }

    /// As [`Spend::start`], among other routers: batches go over Redis, and whoever leads writes.
    ///
    /// # Errors
    /// When the journal's folder cannot be used. Redis may be away.
    pub async fn start_over<C>(
        options: Options,
        store: Store,
        redis: Redis<C>,
        tracker: TaskTracker,
    ) -> Result<Self, StartError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let stream = Stream::new(redis.connection.clone(), &redis.key_prefix, redis.limits);
        let asked = stream.clone();
        let shared = Shared {
            lease: lease::Handle::new(),
            forwarder: forwarder::Handle::new(),
            drain: drain::Handle::new(),
            depth: Box::new(move || {
                let stream = asked.clone();
                async move { stream.depth().await }.boxed()
            }),
        };
        let stats = Arc::new(SpendStats::new(Some(shared.lease.clone())));
        let limits = Limits {
            awaited: redis.accept_timeout + AFTER_REDIS,
            ..Limits::within(options.journal_bytes)
        };
        let journal = open(&options, limits, &stats).await?;
        let (sealing, flush) = (sealing::Handle::new(), flush::Handle::new());
        // The same for the lease and for the fence: of two who lead under one number, one writes.
        let leader: Arc<str> = format!("{}/{}", redis.name, Uuid::now_v7()).into();
        let prune = Prune::new(store.clone(), tracker.clone());
        let children = vec![
            flush.child(flush::Setup {
                prune: prune.clone(),
                store: store.clone(),
                interval: options.flush_interval,
                sealing: sealing.clone(),
                stats: Arc::clone(&stats),
            }),
            shared.forwarder.child(forwarder::Setup {
                rules: forwarder::Rules {
                    accept_timeout: redis.accept_timeout,
                    query_interval: options.flush_interval,
                    check_interval: CHECK.max(options.flush_interval),
                    give_up: redis.give_up,
                },
                stream: stream.clone(),
                store: store.clone(),
                journal: journal.clone(),
                sealing: sealing.clone(),
                flush: flush.clone(),
                stats: Arc::clone(&stats),
            }),
            sealing.child(sealing_setup(
                &options,
                &journal,
                Transport::Redis(shared.forwarder.clone()),
            )),
            shared.lease.child(lease::Setup {
                connection: redis.connection,
                prefix: redis.key_prefix.into(),
                name: "spend",
                owner: Arc::clone(&leader),
                ttl: redis.lease_ttl,
            }),
            shared.drain.child(drain::Setup {
                prune,
                stream,
                store,
                lease: shared.lease.clone(),
                leader,
                interval: options.flush_interval,
                stats: Arc::clone(&stats),
            }),
        ];
        Ok(Self(Arc::new(Inner {
            supervisor: Supervisor::start(RESTARTS, tracker, children).await?,
            journal,
            sealing,
            flush,
            shared: Some(shared),
            stats,
        })))
    }
}

fn sealing_setup(options: &Options, journal: &Journal, transport: Transport) -> sealing::Setup {
    let (interval, longest) = match options.durability {
        Durability::Redis => (options.seal_interval.min(AWAITED), LONGEST_AWAITED),
        Durability::Memory | Durability::Journal | Durability::Fsync => {
            (options.seal_interval, LONGEST)
        }
    };
    sealing::Setup {
        journal: journal.clone(),
        transport,
        interval,
        longest,
    }
}

async fn open(
    options: &Options,
    limits: Limits,
    stats: &Arc<SpendStats>,
) -> Result<Journal, StartError> {
    let (folder, durability) = (options.data_dir.join("journal"), options.durability);
    let stats = Arc::clone(stats);
    let opened =
        tokio::task::spawn_blocking(move || Journal::open(&folder, durability, limits, stats))
            .await?;
    Ok(opened?)
}
