//! One server of the herd.
//!
//! Owns everything that is known and decided about one server: whether it is up, what it lists,
//! what it has loaded, which of its models fail, and who gets its slots. The [`Endpoint`] is the
//! part that outlives its actor: identity, the cells everyone may read, and the token counts of
//! its seats. The actor is the only writer of the cells and the only one who hands out slots.
//!
//! It must not know the other servers, the queues' order, or what a request is about. It fails by
//! being restarted by the registry: the slots in use are counted by leases, which live on; what
//! the caches held comes back with the next probes, starting from the last report; a request
//! that was waiting for the dead actor's reply sees its reply channel close and asks again.

mod actor;
mod breaker;
mod message;
mod probe;
mod report;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use http::HeaderValue;
use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(super) use actor::{EndpointActor, Setup};
use message::Message;
pub use message::Probe;
pub use report::{Phase, Report};
pub use state::Intervals;

use super::lease::{Lease, Outcome};
use super::seat::{Seat, count};
use super::waiting::Lines;
use crate::domain::ModelName;
use crate::supervision::Slot;
use crate::upstream::Target;

/// What the configuration says about one server.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its place in the configuration.
    pub id: usize,
    /// Its name, unique in the herd.
    pub name: Arc<str>,
    /// Its address as configured, for people.
    pub url: Arc<str>,
    /// Its address, for requests.
    pub target: Target,
    /// Its share of the work.
    pub weight: f64,
    /// Its tier; lower is used first.
    pub priority: i32,
    /// Concurrent requests per model.
    pub slots: u32,
}

/// One server, as the rest of the program sees it.
#[derive(Debug)]
pub struct Endpoint {
    identity: Identity,
    header: Option<HeaderValue>,
    up: AtomicBool,
    /// Serial of the seat whose model is being loaded; 0 when none is.
    loading: AtomicU64,
    taken: Arc<()>,
    seats: DashMap<ModelName, Arc<Seat>>,
    alive: ArcSwap<CancellationToken>,
    mailbox: Slot<Message>,
}

/// Why an endpoint did not give a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is down.
    Down,
    /// All slots of the model are taken.
    Full,
    /// It is loading another model.
    Loading,
    /// Its actor is being restarted.
    Restarting,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            header: HeaderValue::from_str(&identity.name).ok(),
            identity,
            up: AtomicBool::new(false),
            loading: AtomicU64::new(0),
            taken: Arc::new(()),
            seats: DashMap::new(),
            alive: ArcSwap::from_pointee(CancellationToken::new()),
            mailbox: Slot::empty(),
        }
    }

    /// Its place in the configuration.
    #[must_use]
    pub fn id(&self) -> usize {
        self.identity.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.identity.name
    }

    /// Its name as answers carry it, if a header can.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    /// Its address as configured.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.identity.url
    }

    /// Its address, for requests.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.identity.target
    }

    /// Its share of the work.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.identity.weight
    }

    /// Its tier.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.identity.priority
    }

    /// True while it answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Requests of all models running there now.
    #[must_use]
    pub fn total_in_flight(&self) -> u32 {
        count(&self.taken)
    }

    /// True while it loads a model other than the seat's.
    #[must_use]
    pub fn is_loading_other(&self, seat: &Seat) -> bool {
        let loading = self.loading.load(Ordering::Relaxed);
        loading != 0 && loading != seat.serial()
    }

    /// Every (model, requests running) pair this server has ever listed.
    #[must_use]
    pub fn seats(&self) -> Vec<Arc<Seat>> {
        self.seats
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect()
    }

    /// The seat of a model, made on first sight.
    pub(super) fn seat(&self, model: &ModelName) -> Arc<Seat> {
        if let Some(seat) = self.seats.get(model) {
            return Arc::clone(&seat);
        }
        let seat = self
            .seats
            .entry(model.clone())
            .or_insert_with(|| Arc::new(Seat::new(model.clone(), self.identity.slots)));
        Arc::clone(&seat)
    }

    /// A slot: taken where there is nothing to decide, else asked of the actor.
    ///
    /// # Errors
    /// [`Refusal`], the actor's word on why not.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        seat: &Arc<Seat>,
        lines: &Arc<Lines>,
    ) -> Result<Lease, Refusal> {
        if let Some(slot) = seat.take_if_open() {
            let (endpoint, lines) = (Arc::clone(self), Arc::clone(lines));
            return Ok(Lease::new(endpoint, slot, lines, false, false));
        }
        let (reply, granted) = oneshot::channel();
        self.tell(Message::Acquire {
            seat: Arc::clone(seat),
            reply,
        });
        granted.await.unwrap_or(Err(Refusal::Restarting))
    }

    /// Something said about this server's catalogue is out of date: look again soon.
    pub fn refresh(&self, probe: Probe) {
        self.tell(Message::Doubted(probe));
    }

    /// Kills the actor as a panic would; the registry restarts it. For fault drills.
    pub fn kill_actor(&self) {
        if let Some(actor) = self.mailbox.occupant() {
            actor.kill();
        }
    }

    pub(super) fn answered(&self, seat: &Arc<Seat>) {
        self.tell(Message::Answered {
            seat: Arc::clone(seat),
        });
    }

    pub(super) fn released(&self, seat: &Arc<Seat>, outcome: Outcome) {
        self.tell(Message::Released {
            seat: Arc::clone(seat),
            outcome,
        });
    }

    /// Ends when the server is found dead. Worth watching before the first byte only: after it the
    /// stream itself tells.
    #[must_use]
    pub fn ejected(&self) -> CancellationToken {
        CancellationToken::clone(&self.alive.load())
    }

    pub(super) fn take(&self) -> Arc<()> {
        Arc::clone(&self.taken)
    }

    pub(super) fn attach(&self, actor: ActorRef<Message>) {
        self.mailbox.occupy(actor);
    }

    /// A message to a dead actor is dropped, and with it any reply port: the asker sees that.
    fn tell(&self, message: Message) {
        self.mailbox.cast(message);
    }

    // The cells, written by the actor alone.

    fn set_up(&self, up: bool) {
        if up == self.is_up() {
            return;
        }
        if up {
            self.alive.store(Arc::new(CancellationToken::new()));
        }
        self.up.store(up, Ordering::Relaxed);
        if !up {
            self.alive.load().cancel();
        }
    }

    fn set_loading(&self, serial: u64) {
        self.loading.store(serial, Ordering::Relaxed);
    }

    fn loading(&self) -> u64 {
        self.loading.load(Ordering::Relaxed)
    }
}
