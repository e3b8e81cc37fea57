//! The fleet: who can serve a model now, and whose turn it is.
//!
//! Owns servers, slots, lines and the view of them all; [`Fleet`] is the only door. It must not
//! know what a request says, who sent it, or what its answer costs. A request awaits here at most
//! the replies of a few endpoints' actors and, when all are busy, its turn in a line.
//!
//! It fails in parts: an endpoint's, a line's or the registry's actor is restarted alone, slots in
//! use stay counted by their leases, and whoever was waiting for a reply asks again.

mod desired;
mod endpoint;
mod gauges;
mod lease;
mod observed;
mod registry;
mod seat;
mod view;
mod waiting;

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
pub use seat::Seat;
pub use view::{FleetView, ModelView, Server};
pub use waiting::Ticket;

use crate::backend::Probe;
use crate::clock;
use crate::domain::ModelName;
use crate::protocol::Api;
use crate::routing::{self, Candidate as _, Nothing};
use crate::supervision::{Backoff, Child, RestartPolicy, StartError, Supervisor};
use crate::upstream::Client;
use view::Holder;
use waiting::{Line, Lines, NoPlace};

/// An endpoint's actor holds nothing that is dear, and while it is away its server is not used: it
/// is back at once, unless it keeps dying.
const RESTARTS: RestartPolicy = RestartPolicy {
    max: 10,
    within: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_millis(2), Duration::from_secs(1)),
};

/// The rules the fleet is kept by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How often servers are asked.
    pub intervals: Intervals,
    /// A dead server's models disappear after this.
    pub stale_after: Duration,
    /// How many requests may wait for one model.
    pub queue_limit: usize,
}

/// The door to the fleet.
#[derive(Clone, Debug)]
pub struct Fleet {
    view: Arc<ArcSwap<FleetView>>,
    version: watch::Receiver<u64>,
    removals: watch::Receiver<u64>,
    lines: Arc<Lines>,
    registry: registry::Handle,
    arrivals: Arc<AtomicU64>,
    queue_limit: usize,
    supervisor: Arc<Supervisor>,
}

/// What a request wants of the fleet. The same `Ask` is used for every try of one request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The model.
    pub model: ModelName,
    /// The call: only servers whose kind has it are asked.
    pub api: Api,
    /// Its place in the order of arrival, from [`Fleet::arrive`].
    pub ticket: Ticket,
    /// How long it is willing to wait in line.
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
    /// Servers have it, but none whose kind has the call.
    Unsupported,
    /// Too many requests wait for it already.
    QueueFull,
    /// It waited for as long as it was willing to.
    TooLate,
}

/// A slot, and how it was come by.
#[derive(Debug)]
pub struct Leased {
    /// The slot.
    pub lease: Lease,
    /// True when the request had to wait in line for it.
    pub waited: bool,
}

// === impl Fleet ===

impl Fleet {
    /// Starts the fleet with these servers. Returns at once; [`Fleet::first_look`] waits for the first answers.
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
        let lines = Arc::new(Lines::default());
        let registry = registry::Handle::new();
        let setup = registry::Setup {
            view: Arc::clone(&view),
            version: versions,
            removals: removed,
            intervals: rules.intervals,
            stale_after: rules.stale_after,
            client,
            lines: Arc::clone(&lines),
            handle: registry.clone(),
        };
        let child = Child::new::<registry::Registry>("fleet/registry", registry.mailbox(), setup);
        let supervisor = Supervisor::start(RESTARTS, tracker, vec![child]).await?;
        let fleet = Self {
            view,
            version,
            removals,
            lines,
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
    /// is new has not been heard from then.
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

    /// Waits until every server has answered or been found missing, but not longer than `patience`.
    pub async fn first_look(&self, patience: Duration) {
        let mut version = self.version();
        let complete = version.wait_for(|_| self.view.load().is_complete());
        let _ = timeout(patience, complete).await;
    }

    /// A request has arrived: its place in the order of arrival.
    #[must_use]
    pub fn arrive(&self) -> Ticket {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// A slot for a request, as soon as it is its turn.
    ///
    /// # Errors
    /// [`Denied`], the reason why there will be none.
    pub async fn lease(&self, ask: &Ask) -> Result<Leased, Denied> {
        // Nearly always nobody waits for anything.
        let line = match self.lines.anyone_waits() {
            true => self.lines.get(&ask.model),
            false => None,
        };
        if line.as_ref().is_none_or(|line| line.is_empty())
            && let Some(lease) = self.try_lease(ask).await?
        {
            return Ok(Leased {
                lease,
                waited: false,
            });
        }
        // Boxed, because most requests do not wait and carry its room around.
        Box::pin(self.wait(ask, line)).await
    }

    async fn wait(&self, ask: &Ask, line: Option<Arc<Line>>) -> Result<Leased, Denied> {
        let constrained = !ask.only.is_empty() || !ask.tried.is_empty();
        let mut known = line.or_else(|| self.lines.get(&ask.model));
        let place = loop {
            let line = match known.take() {
                Some(line) => line,
                None => self.open_line(ask).await?,
            };
            match line.enter(ask.ticket, constrained, self.queue_limit) {
                Ok(place) => break place,
                Err(NoPlace::Full) => return Err(Denied::QueueFull),
                Err(NoPlace::Closed) => {}
            }
        };
        let late = |_| Denied::TooLate;
        let mut turn = timeout_at(ask.deadline, place.turn()).await.map_err(late)?;
        loop {
            if let Some(lease) = self.try_lease(ask).await? {
                return Ok(Leased {
                    lease,
                    waited: true,
                });
            }
            turn = timeout_at(ask.deadline, place.again(turn))
                .await
                .map_err(late)?;
        }
    }

    /// A server that has the model, for a question that takes no slot.
    ///
    /// # Errors
    /// [`Denied`] when nobody has it or nobody is up.
    pub fn pick(&self, ask: &Ask) -> Result<Arc<Endpoint>, Denied> {
        let view = self.view.load();
        let model = view.model(&ask.model).ok_or_else(|| unknown(&view))?;
        model
            .tiers
            .iter()
            .enumerate()
            .flat_map(|(at, tier)| {
                let holders = tier.warm.iter().chain(&tier.cold);
                holders.map(move |holder| (at, holder))
            })
            .filter(|(_, holder)| holder.is_up() && ask.allows(holder))
            .min_by_key(|(tier, holder)| (*tier, holder.total_in_flight()))
            .map(|(_, holder)| Arc::clone(&holder.endpoint))
            .ok_or_else(|| ask.unreachable(model))
    }

    /// Asks every server that answers for its catalogue: somebody named a model nobody lists.
    pub fn refresh_catalogues(&self) {
        for server in self.view.load().up() {
            server.endpoint.refresh(Probe::Models);
        }
    }

    /// How many requests wait, per model that ever had a line.
    #[must_use]
    pub fn queue_lengths(&self) -> Vec<(ModelName, usize)> {
        self.lines
            .all()
            .iter()
            .map(|line| (line.model().clone(), line.len()))
            .collect()
    }

    /// Kills the registry and everything below it as a panic would. For fault drills.
    pub fn kill_registry(&self) {
        self.registry.kill_actor();
    }

    /// Kills the actor of a model's line as a panic would. For fault drills.
    pub fn kill_line(&self, model: &ModelName) {
        if let Some(line) = self.lines.get(model) {
            line.kill_actor();
        }
    }

    /// Stops the probes and every actor.
    pub async fn stop(&self) {
        self.supervisor.stop().await;
    }

    async fn open_line(&self, ask: &Ask) -> Result<Arc<Line>, Denied> {
        loop {
            let mut version = self.version();
            version.mark_unchanged();
            if let Some(line) = self.registry.open_line(&ask.model).await {
                return Ok(line);
            }
            // The registry is being restarted; its first act is a new view.
            let changed = timeout_at(ask.deadline, version.changed()).await;
            changed
                .map_err(|_| Denied::TooLate)?
                .map_err(|_| Denied::Unreachable)?;
        }
    }

    /// One try: `None` when servers are there but none has room.
    async fn try_lease(&self, ask: &Ask) -> Result<Option<Lease>, Denied> {
        let view = self.view.load_full();
        let model = view.model(&ask.model).ok_or_else(|| unknown(&view))?;
        let allowed = |holder: &Holder| ask.allows(holder);
        let rank = match routing::rank(&model.tiers, allowed, fastrand::usize(..)) {
            Ok(rank) => rank,
            Err(Nothing::Busy) => return Ok(None),
            Err(Nothing::Unreachable) => return Err(ask.unreachable(model)),
        };
        for choice in rank.iter() {
            let holder = choice.candidate;
            if let Ok(lease) = holder.endpoint.acquire(&holder.seat, &self.lines).await {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }
}

/// A model that nobody lists is unknown only if there is somebody to list it, and everybody has.
fn unknown(view: &FleetView) -> Denied {
    let starting =
        |server: &Server| server.report.phase == Phase::Starting && !server.endpoint.is_draining();
    if view.up().next().is_some() && !view.servers.iter().any(starting) {
        Denied::UnknownModel
    } else {
        Denied::Unreachable
    }
}

// === impl Ask ===

impl Ask {
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
