//! The fleet: which servers can serve a model now, and which request is next.
//!
//! Owns servers, slots, queues and the view of them all; [`Fleet`] is the only way in. It must not
//! know what a request says, who sent it, or what its answer costs. A request awaits here at most
//! the replies of a few endpoints' actors and, when all are busy, its permit from a queue.
//!
//! It fails in parts: an endpoint's, a queue's or the registry's actor is restarted alone, slots in
//! use stay counted by their leases, and whoever was waiting for a reply asks again.

mod aliases;
mod asking_for_slots;
mod considered;
mod desired;
mod elsewhere;
mod endpoint;
mod first_bytes;
mod gauges;
mod hold;
mod lease;
mod leasing;
mod observed;
mod places;
mod precedence;
mod quantiles;
mod queue;
mod refusals;
mod registry;
mod shares;
mod slot_pool;
mod unanswered;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

pub use aliases::{Alias, AliasTarget, Aliases};
pub use considered::{Considered, Reason};
pub use desired::{Applied, Desired, Drain, DuplicateName, EndpointId, Settings, Spec};
pub use endpoint::{Endpoint, Intervals, Locks, Phase, Refusal, Report, StateChange};
pub use gauges::Gauges;
pub use lease::{Lease, Outcome};
pub use leasing::{Denied, LeaseRequest, Leased};
pub use observed::{FailingModel, Held, Observed, Shown};
pub use places::Place;
pub use quantiles::FirstByteQuantiles;
pub use queue::Arrival;
pub use refusals::{Refusable, Refusals};
pub use shares::{Asked, LOOK, Learnt, Others, SharePool, ShareState, Sharing, Want, ask};
pub use slot_pool::{SlotPool, Suspicion};
pub use view::{FleetView, ModelView, Server};

use crate::clock;
use crate::cluster::bus::Bus;
use crate::domain::ModelName;
use crate::supervision::{Backoff, Child, RestartPolicy, StartError, Supervisor};
use crate::upstream::Client;
use queue::Queues;

/// An endpoint's actor holds nothing that is expensive to rebuild, and without it its server is not
/// used: it is restarted at once, unless it keeps failing.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(2), Duration::from_secs(1)),
};

/// How long a request for a model that no server lists waits for their lists.
const RELISTED_WITHIN: Duration = Duration::from_secs(1);

/// How long a call that has changed what a server has waits for the server's new list.
const CHANGED_WITHIN: Duration = Duration::from_secs(5);

/// How long a list of what is loaded waits for a server that has loaded or unloaded something just now.
const SETTLED_WITHIN: Duration = Duration::from_millis(500);

/// How the fleet is run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How often servers are asked.
    pub intervals: Intervals,
    /// The models of a server that is down disappear after this.
    pub stale_after: Duration,
    /// How many requests may wait for one model.
    pub queue_limit: usize,
    /// Names of models under this host are the router's own: on no server they are seen.
    pub hidden: Option<Arc<str>>,
    /// With other routers, slots are shared like this.
    pub sharing: Option<Sharing>,
    /// What routers tell each other.
    pub bus: Bus,
    /// With other routers, a load needs the server's lock.
    pub locks: Option<Locks>,
}

/// The interface of the fleet.
#[derive(Clone, Debug)]
pub struct Fleet {
    view: Arc<ArcSwap<FleetView>>,
    version: watch::Receiver<u64>,
    removals: watch::Receiver<u64>,
    queues: Arc<Queues>,
    registry: registry::Handle,
    arrivals: Arc<AtomicU64>,
    queue_limit: usize,
    shares: shares::Handle,
    sharing: Option<Arc<Supervisor>>,
    following: Option<Arc<Supervisor>>,
    supervisor: Arc<Supervisor>,
}

// === impl Fleet ===

impl Fleet {
    /// Starts the fleet with these servers. Returns at once; [`Fleet::wait_until_complete`] waits for the first reports.
    ///
    /// # Errors
    /// When the actors cannot be started.
    pub async fn start(
        desired: &Desired,
        rules: Rules,
        client: Client,
        tracker: TaskTracker,
    ) -> Result<Self, StartError> {
        let view = Arc::new(ArcSwap::from_pointee(FleetView::default()));
        let (versions, version) = watch::channel(0);
        let (removed, removals) = watch::channel(0);
        let queues = Arc::new(Queues::default());
        let registry = registry::Handle::new();
        let shares = shares::Handle::new(rules.sharing.as_ref());
        let setup = registry::Setup {
            view: Arc::clone(&view),
            version: versions,
            removals: removed,
            intervals: rules.intervals,
            stale_after: rules.stale_after,
            hidden: rules.hidden,
            client,
            queues: Arc::clone(&queues),
            handle: registry.clone(),
            loads: Arc::default(),
            shares: shares.clone(),
            bus: rules.bus.clone(),
            locks: rules.locks,
        };
        let sharing = shares
            .start(rules.sharing, &view, &queues, tracker.clone())
            .await?;
        let following = elsewhere::follow(&rules.bus, &view, tracker.clone()).await?;
        let child = Child::new::<registry::Registry>("fleet/registry", registry.mailbox(), setup);
        let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
        let fleet = Self {
            view,
            version,
            removals,
            queues,
            registry,
            arrivals: Arc::default(),
            queue_limit: rules.queue_limit,
            shares,
            sharing,
            following,
            supervisor: Arc::new(supervisor),
        };
        fleet.apply(desired).await;
        Ok(fleet)
    }

    /// Makes these servers, and no others, those of the fleet: the only way in which one is added, changed or
    /// removed. No stream is interrupted: a server that goes finishes what it has, and settings
    /// that change count from the next request on. Returns when the view shows it; a server that
    /// is new may not have answered by then.
    pub async fn apply(&self, desired: &Desired) -> Applied {
        loop {
            let mut version = self.version();
            version.mark_unchanged();
            if let Some(applied) = self.registry.apply(desired).await {
                return applied;
            }
            // The registry is being restarted; its first act is a new view. What it may have applied
            // already is no change any more. Without a registry for good, there is nothing to do.
            if version.changed().await.is_err() {
                return Applied::default();
            }
        }
    }

    /// Makes these names, and no others, stand for other models, from the next request on. Returns when the view
    /// shows it.
    pub async fn name(&self, aliases: &Aliases) {
        loop {
            let mut version = self.version();
            version.mark_unchanged();
            // As for servers.
            if self.registry.name(aliases).await.is_some() || version.changed().await.is_err() {
                return;
            }
        }
    }

    /// The server with an account at ollama.com has this model, though it does not list it: it takes requests for it
    /// from now on. As many are remembered as Ollama's cloud may have.
    pub async fn found(&self, model: &ModelName, spelling: &str) {
        // While the registry is being restarted, nobody remembers: the next request finds it again.
        let _ = self.registry.found(model.clone(), spelling.into()).await;
    }

    /// The fleet as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<FleetView> {
        self.view.load_full()
    }

    /// What this name stands for, if it is an alias.
    #[must_use]
    pub fn alias(&self, name: &ModelName) -> Option<Alias> {
        self.view.load().aliases().get(name).cloned()
    }

    /// Every server as it is now.
    #[must_use]
    pub fn observed(&self) -> Vec<Observed> {
        let view = self.view.load();
        view.observed(Instant::now(), clock::unix_seconds())
            .collect()
    }

    /// Changes whenever the view does.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.clone()
    }

    /// Changes whenever a server has been removed, for whoever keeps something by server.
    #[must_use]
    pub fn removals(&self) -> watch::Receiver<u64> {
        self.removals.clone()
    }

    /// Waits until every server has answered or been found missing, but not longer than `limit`.
    pub async fn wait_until_complete(&self, limit: Duration) {
        let mut version = self.version();
        let complete = version.wait_for(|_| self.view.load().is_complete());
        let _ = timeout(limit, complete).await;
    }

    /// A request has arrived: its arrival number.
    #[must_use]
    pub fn arrive(&self) -> Arrival {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks every server that answers for its models, since a model is not listed: it may be new.
    /// Servers are asked once for all who ask meanwhile, and at most once a second. Returns when it `is_listed`,
    /// when all have answered, or after a second.
    pub async fn relist(&self, is_listed: impl Fn(&FleetView) -> bool) {
        let view = self.view();
        let asked = async {
            join_all(view.up().map(|server| server.endpoint.relist())).await;
            self.registry.settle().await;
        };
        let mut version = self.version();
        let listed = version.wait_for(|_| is_listed(&self.view.load()));
        let either = async {
            tokio::select! {
                () = asked => {}
                _ = listed => {}
            }
        };
        let _ = timeout(RELISTED_WITHIN, either).await;
    }

    /// A call has changed which models these servers have. Returns when the view shows what they have now, or after
    /// a time in which a healthy server says so.
    pub async fn models_changed(&self, endpoints: &[Arc<Endpoint>]) {
        let listed = async {
            join_all(endpoints.iter().map(|endpoint| endpoint.models_changed())).await;
            self.registry.settle().await;
        };
        let _ = timeout(CHANGED_WITHIN, listed).await;
    }

    /// The fleet as it is now, what is loaded included: if a server has loaded or unloaded something for a
    /// request of this router and was not asked since, this waits for it, though not for long.
    pub async fn settled_view(&self) -> Arc<FleetView> {
        let mut version = self.version();
        let settled = version.wait_for(|_| self.view.load().is_settled());
        let _ = timeout(SETTLED_WITHIN, settled).await;
        self.view()
    }

    /// How many requests wait, per model that ever had a queue.
    #[must_use]
    pub fn queue_lengths(&self) -> Vec<(ModelName, usize)> {
        self.queues
            .all()
            .iter()
            .map(|queue| (queue.model().clone(), queue.len()))
            .collect()
    }

    /// Kills the registry and everything below it as a panic would. For fault injection.
    pub fn kill_registry(&self) {
        self.registry.kill_actor();
    }

    /// Kills the actor of a model's queue as a panic would. For fault injection.
    pub fn kill_queue(&self, model: &ModelName) {
        if let Some(queue) = self.queues.get(model) {
            queue.kill_actor();
        }
    }

    /// Among how many routers slots are divided that nobody asks for in particular; 0: this one has no part of them yet.
    #[must_use]
    pub fn slots_divided(&self) -> i64 {
        self.shares.divides()
    }

    /// Another router has changed something about slots that are shared.
    pub fn wake_shares(&self) {
        self.shares.wake();
    }

    /// Kills the actor that shares slots with other routers as a panic would. For fault injection.
    pub fn kill_shares(&self) {
        self.shares.kill();
    }

    /// What this router had of shared slots is free for others from now on; it takes no requests any more.
    pub async fn leave_slots(&self) {
        self.shares.leave().await;
    }

    /// Stops the probes and every actor.
    pub async fn stop(&self) {
        for others in [&self.sharing, &self.following].into_iter().flatten() {
            others.stop().await;
        }
        self.supervisor.stop().await;
    }
}
