//! The fleet: which servers can serve a model now, and which request is next.
//!
//! Owns servers, slots, queues and the view of them all; [`Fleet`] is the only way in. It must not
//! know what a request says, who sent it, or what its answer costs. A request awaits here at most
//! the replies of a few endpoints' actors and, when all are busy, its permit from a queue.
//!
//! It fails in parts: an endpoint's, a queue's or the registry's actor is restarted alone, slots in
//! use stay counted by their leases, and whoever was waiting for a reply asks again.

mod desired;
mod endpoint;
mod gauges;
mod lease;
mod observed;
mod queue;
mod registry;
mod slot_pool;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

pub use desired::{Applied, Desired, DuplicateName, EndpointId, Settings, Spec};
pub use endpoint::{Endpoint, Intervals, Phase, Report};
pub use gauges::Gauges;
pub use lease::{Lease, Outcome};
pub use observed::{FailingModel, Held, Observed, Shown};
pub use queue::Arrival;
pub use slot_pool::SlotPool;
pub use view::{FleetView, ModelView, Server};

use crate::backend::Probe;
use crate::clock;
use crate::domain::ModelName;
use crate::protocol::Api;
use crate::routing::{self, Candidate as _, NoCandidate};
use crate::supervision::{Backoff, Child, RestartPolicy, StartError, Supervisor};
use crate::upstream::Client;
use queue::{NotEntered, Queue, Queues};
use view::Holder;

/// An endpoint's actor holds nothing that is expensive to rebuild, and without it its server is not
/// used: it is restarted at once, unless it keeps failing.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(2), Duration::from_secs(1)),
};

/// How the fleet is run.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How often servers are asked.
    pub intervals: Intervals,
    /// The models of a server that is down disappear after this.
    pub stale_after: Duration,
    /// How many requests may wait for one model.
    pub queue_limit: usize,
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
    supervisor: Arc<Supervisor>,
}

/// What a request needs of the fleet. The same value is used for every try of one request.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The model.
    pub model: ModelName,
    /// The API: only servers whose kind has it are considered.
    pub api: Api,
    /// Its arrival number, from [`Fleet::arrive`].
    pub arrival: Arrival,
    /// How long it waits in the queue.
    pub deadline: Instant,
    /// The client's own choice of servers, by name; empty for any.
    pub only: Vec<Box<str>>,
    /// Servers that have failed it already, by generation.
    pub tried: Vec<u64>,
}

/// Why the fleet does not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No server has, or lately had, the model.
    UnknownModel,
    /// Servers have it, none of those allowed is up.
    Unreachable,
    /// Servers have it, but none whose kind has the API.
    Unsupported,
    /// Too many requests wait for it already.
    QueueFull,
    /// It has waited until its deadline.
    TooLate,
}

/// A slot, and how it was obtained.
#[derive(Debug)]
pub struct Leased {
    /// The slot.
    pub lease: Lease,
    /// True when the request had to wait in the queue for it.
    pub waited: bool,
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
        let setup = registry::Setup {
            view: Arc::clone(&view),
            version: versions,
            removals: removed,
            intervals: rules.intervals,
            stale_after: rules.stale_after,
            client,
            queues: Arc::clone(&queues),
            handle: registry.clone(),
        };
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

    /// The fleet as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<FleetView> {
        self.view.load_full()
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

    /// A slot for a request, as soon as it is next.
    ///
    /// # Errors
    /// [`Denied`], the reason why there will be none.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Leased, Denied> {
        // Nearly always no request waits.
        let queue = match self.queues.anyone_waits() {
            true => self.queues.get(&request.model),
            false => None,
        };
        if queue.as_ref().is_none_or(|queue| queue.is_empty())
            && let Some(lease) = self.try_lease(request).await?
        {
            return Ok(Leased {
                lease,
                waited: false,
            });
        }
        // Boxed, because most requests do not wait, and its size would be part of each.
        Box::pin(self.wait(request, queue)).await
    }

    async fn wait(
        &self,
        request: &LeaseRequest,
        queue: Option<Arc<Queue>>,
    ) -> Result<Leased, Denied> {
        let constrained = !request.only.is_empty() || !request.tried.is_empty();
        let mut known = queue.or_else(|| self.queues.get(&request.model));
        let entry = loop {
            let queue = match known.take() {
                Some(queue) => queue,
                None => self.open_queue(request).await?,
            };
            match queue.enter(request.arrival, constrained, self.queue_limit) {
                Ok(entry) => break entry,
                Err(NotEntered::Full) => return Err(Denied::QueueFull),
                Err(NotEntered::Closed) => {}
            }
        };
        let late = |_| Denied::TooLate;
        let mut permit = timeout_at(request.deadline, entry.permit())
            .await
            .map_err(late)?;
        loop {
            if let Some(lease) = self.try_lease(request).await? {
                return Ok(Leased {
                    lease,
                    waited: true,
                });
            }
            permit = timeout_at(request.deadline, entry.again(permit))
                .await
                .map_err(late)?;
        }
    }

    /// A server that has the model, for a request that takes no slot.
    ///
    /// # Errors
    /// [`Denied`] when no server has it or none is up.
    pub fn pick(&self, request: &LeaseRequest) -> Result<Arc<Endpoint>, Denied> {
        let view = self.view.load();
        let model = view.model(&request.model).ok_or_else(|| unknown(&view))?;
        model
            .tiers
            .iter()
            .enumerate()
            .flat_map(|(at, tier)| {
                let holders = tier.warm.iter().chain(&tier.cold);
                holders.map(move |holder| (at, holder))
            })
            .filter(|(_, holder)| holder.is_up() && request.allows(holder))
            .min_by_key(|(tier, holder)| (*tier, holder.total_in_flight()))
            .map(|(_, holder)| Arc::clone(&holder.endpoint))
            .ok_or_else(|| request.unreachable(model))
    }

    /// Asks every server that answers for its catalogue: a request named a model that no server lists.
    pub fn refresh_catalogues(&self) {
        for server in self.view.load().up() {
            server.endpoint.refresh(Probe::Models);
        }
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

    /// Stops the probes and every actor.
    pub async fn stop(&self) {
        self.supervisor.stop().await;
    }

    async fn open_queue(&self, request: &LeaseRequest) -> Result<Arc<Queue>, Denied> {
        loop {
            let mut version = self.version();
            version.mark_unchanged();
            if let Some(queue) = self.registry.open_queue(&request.model).await {
                return Ok(queue);
            }
            // The registry is being restarted; its first act is a new view.
            let changed = timeout_at(request.deadline, version.changed()).await;
            changed
                .map_err(|_| Denied::TooLate)?
                .map_err(|_| Denied::Unreachable)?;
        }
    }

    /// One try: `None` when servers are there but none has room.
    async fn try_lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, Denied> {
        let view = self.view.load_full();
        let model = view.model(&request.model).ok_or_else(|| unknown(&view))?;
        let allowed = |holder: &Holder| request.allows(holder);
        let rank = match routing::rank(&model.tiers, allowed, fastrand::usize(..)) {
            Ok(rank) => rank,
            Err(NoCandidate::Busy) => return Ok(None),
            Err(NoCandidate::Unreachable) => return Err(request.unreachable(model)),
        };
        for choice in rank.iter() {
            let holder = choice.candidate;
            if let Ok(lease) = holder.endpoint.acquire(&holder.pool, &self.queues).await {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }
}

/// A model that no server lists is unknown only if a server is up, and all have sent their lists.
fn unknown(view: &FleetView) -> Denied {
    let starting =
        |server: &Server| server.report.phase == Phase::Starting && !server.endpoint.is_draining();
    if view.up().next().is_some() && !view.servers.iter().any(starting) {
        Denied::UnknownModel
    } else {
        Denied::Unreachable
    }
}

// === impl LeaseRequest ===

impl LeaseRequest {
    fn allows(&self, holder: &Holder) -> bool {
        let endpoint = &holder.endpoint;
        let named =
            self.only.is_empty() || self.only.iter().any(|name| **name == **endpoint.name());
        named && self.is_served_by(holder) && !self.tried.contains(&endpoint.id().generation)
    }

    fn is_served_by(&self, holder: &Holder) -> bool {
        holder.kind.serves(self.api)
    }

    /// Why no holder of the model can be asked.
    fn unreachable(&self, model: &ModelView) -> Denied {
        let mut holders = model
            .tiers
            .iter()
            .flat_map(|tier| tier.warm.iter().chain(&tier.cold));
        match holders.any(|holder| self.is_served_by(holder)) {
            true => Denied::Unreachable,
            false => Denied::Unsupported,
        }
    }
}
