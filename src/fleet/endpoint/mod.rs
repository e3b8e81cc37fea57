//! One server of the fleet.
//!
//! Owns everything that is known and decided about one server: whether it is up, what it lists,
//! what it has loaded, which of its models fail, and who gets its slots. The [`Endpoint`] is the
//! part that outlives its actor: identity, the cells everyone may read, and its slot pools. Each cell has one writer: the actor, but for what is wanted of the server (settings, and
//! whether it drains), which the registry writes. The actor decides which pools are direct, and grants
//! the slots of all others.
//!
//! It must not know the other servers, the queues' order, or what a request is about. It fails by
//! being restarted by the registry: the slots in use are counted by leases, which stay; what
//! the caches held comes back with the next probes, starting from the last report; a request
//! that was waiting for the actor's reply sees its reply channel close and asks again.

mod actor;
mod asking;
mod draining;
mod locking;
mod message;
mod news;
mod probe;
mod refusal;
mod relisting;
mod report;
mod slots;
mod state;
mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use http::HeaderValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use actor::{EndpointActor, Setup};
pub use locking::Locks;
use message::Message;
pub use refusal::Refusal;
pub use report::{Phase, Report};
pub use state::Intervals;
pub use watched::StateChange;
use watched::Watched;

use super::desired::{EndpointId, Settings, Spec};
use super::hold::Hold;
use super::refusals::Refusals;
use super::shares;
use super::slot_pool::SlotPool;
use super::unanswered::Unanswered;
use crate::backend::Probe;
use crate::cluster::bus::Event;
use crate::domain::ModelName;
use crate::supervision::Mailbox;
use crate::upstream::{Client, Connections, Remote};

/// One server, as the rest of the program sees it.
#[derive(Debug)]
pub struct Endpoint {
    id: EndpointId,
    url: Arc<str>,
    /// What all routers call it.
    identity: Box<str>,
    shares: shares::Handle,
    settings: ArcSwap<Settings>,
    connections: Arc<Connections>,
    /// A connection that only probes use.
    probing: Arc<Connections>,
    header: Option<HeaderValue>,
    up: AtomicBool,
    /// Answers, and refuses what it is asked about itself.
    refuses_probes: AtomicBool,
    /// Takes nothing new, and is removed when its streams have ended.
    draining: AtomicBool,
    /// Whether an operator lets it take new requests.
    hold: Hold,
    /// Serial of the pool whose model is being loaded; 0 when none is.
    loading: AtomicU64,
    /// How often it has loaded or unloaded something for a request of this router.
    changes: AtomicU64,
    taken: Arc<()>,
    /// Requests of other routers. Written by the actor that follows those.
    elsewhere: AtomicU32,
    pools: DashMap<ModelName, Arc<SlotPool>>,
    alive: ArcSwap<CancellationToken>,
    /// What it refuses for every model.
    refusals: Refusals,
    /// How it fails calls that take no slot.
    unanswered: Unanswered,
    /// What its actor reported last, for its next incarnation.
    report: ArcSwap<Report>,
    /// What people watch of it.
    watched: Watched,
    mailbox: Mailbox<Message>,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(spec: &Spec, client: &Client, shares: &shares::Handle, now: Instant) -> Self {
        let limit = spec.settings.backend.idle_limit();
        let hold = Hold::default();
        hold.set(spec.settings.drain.is_of_all());
        Self {
            id: EndpointId::next(&spec.name),
            url: Arc::clone(&spec.url),
            identity: spec.settings.target.identity().into(),
            shares: shares.clone(),
            settings: ArcSwap::from_pointee(spec.settings.clone()),
            connections: client.connections(limit),
            probing: client.connections(limit),
            header: HeaderValue::from_str(&spec.name).ok(),
            up: AtomicBool::new(false),
            refuses_probes: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            hold,
            loading: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            taken: Arc::new(()),
            elsewhere: AtomicU32::new(0),
            pools: DashMap::new(),
            alive: ArcSwap::from_pointee(CancellationToken::new()),
            refusals: Refusals::new(now),
            unanswered: Unanswered::new(now),
            report: ArcSwap::from_pointee(Report::unknown(now)),
            watched: Watched::default(),
            mailbox: Mailbox::new(),
        }
    }

    /// Which server it is.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// What all routers call it.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// News of it from another router.
    pub(super) fn heard(&self, event: Event) {
        self.tell(Message::Heard(event));
    }

    /// Requests of other routers that run there, as far as is known.
    #[must_use]
    pub fn elsewhere(&self) -> u32 {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// So many requests of other routers run in that pool.
    pub(super) fn set_elsewhere(&self, pool: &SlotPool, count: u32) {
        let former = pool.set_elsewhere(count);
        let others = self.elsewhere().saturating_sub(former);
        self.elsewhere
            .store(others.saturating_add(count), Ordering::Relaxed);
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.id.name
    }

    /// Its name as answers carry it, if a header can.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    /// Its address as configured.
    #[must_use]
    pub fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// What is wanted of it now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// True when this is the server that is wanted, whatever its settings.
    pub(super) fn is(&self, spec: &Spec) -> bool {
        spec.is_of(&self.id.name, &self.settings.load())
    }

    /// Where requests go.
    #[must_use]
    pub fn remote(&self, settings: &Settings) -> Remote {
        Remote {
            target: Arc::clone(&settings.target),
            connections: Arc::clone(&self.connections),
        }
    }

    /// Connections for requests that are idle now.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.connections.idle()
    }

    /// Where probes go.
    fn probed_at(&self) -> Remote {
        Remote {
            target: Arc::clone(&self.settings.load().target),
            connections: Arc::clone(&self.probing),
        }
    }

    /// True once nothing new may be sent there.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// True while it answers and gets new requests.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// True while it refuses this router's probes: others are preferred.
    #[must_use]
    pub fn refuses_probes(&self) -> bool {
        self.refuses_probes.load(Ordering::Relaxed)
    }

    /// Whether what it lists may stand for what other servers list: it takes requests, and does not refuse to say
    /// what it has.
    pub(super) fn stands(&self) -> bool {
        self.is_up() && !self.is_on_hold() && !self.refuses_probes()
    }

    /// What is known of this server may be out of date: probe it again soon.
    pub fn refresh(&self, probe: Probe) {
        self.tell(Message::Recheck(probe));
    }

    /// Kills the actor as a panic would; the registry restarts it. For fault injection.
    pub fn kill_actor(&self) {
        self.mailbox.kill();
    }

    /// The mailbox of its actor.
    pub(super) fn mailbox(&self) -> &Mailbox<Message> {
        &self.mailbox
    }

    /// What its actor reported last.
    pub(super) fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// A request of this router has unloaded the model there.
    pub fn unloaded(&self, model: &ModelName) {
        self.changed();
        if let Some(pool) = self.pools.get(model) {
            pool.count_unload();
            self.tell(Message::Unloaded {
                pool: Arc::clone(&pool),
                for_sure: true,
            });
        }
    }

    /// The last request of this router is over that used a model which is to be unloaded.
    pub(super) fn unloads(&self, pool: &Arc<SlotPool>) {
        pool.count_unload();
        self.changed();
        self.tell(Message::Unloaded {
            pool: Arc::clone(pool),
            for_sure: false,
        });
    }

    /// How often it has loaded or unloaded something for a request of this router; counted before the
    /// client can know of it.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// It has loaded or unloaded something for a request, or does so at the end of it.
    pub(super) fn changed(&self) {
        if self.settings.load().backend.loads_models() {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Returns when the server has been asked for its models, at once or when it may be asked again.
    pub(super) async fn relist(&self) {
        self.mailbox.call(Message::Relist).await;
    }

    /// Returns when the server has been asked for its models after now.
    pub(super) async fn models_changed(&self) {
        self.mailbox.call(Message::ModelsChanged).await;
    }

    /// Cancelled when the server is found down. Worth watching before the first byte only: after it the
    /// stream itself tells.
    #[must_use]
    pub fn ejected(&self) -> CancellationToken {
        CancellationToken::clone(&self.alive.load())
    }

    /// A message to an actor that has ended is dropped, and with it any reply channel: the caller sees that.
    fn tell(&self, message: Message) {
        self.mailbox.cast(message);
    }

    // Written by the registry alone.

    /// Takes over what is wanted now; says whether anything is different.
    pub(super) fn configure(&self, wanted: &Settings) -> bool {
        let former = self.settings.load_full();
        if *former == *wanted {
            return false;
        }
        self.settings.store(Arc::new(wanted.clone()));
        for pool in self.pools() {
            pool.set_slots(wanted.slots);
        }
        self.set_hold(&wanted.drain);
        if former.target != wanted.target || former.backend != wanted.backend {
            self.tell(Message::Outdated);
        }
        true
    }

    // Written by the actor alone.

    /// Closes what has been idle for too long; returns when to look again.
    fn sweep(&self) -> Duration {
        self.connections.expire();
        self.probing.expire();
        self.first_bytes().passed(self.connections.limit() / 2);
        self.connections.limit() / 2
    }

    /// The next probe is sent over a new connection.
    fn close_probing(&self) {
        self.probing.close();
    }

    /// Whether it has closed a connection for probes since this was asked.
    fn was_closed(&self) -> bool {
        self.probing.takes_closed()
    }

    fn set_report(&self, report: &Report) {
        self.report.store(Arc::new(report.clone()));
        self.note_state();
    }

    fn set_up(&self, up: bool) {
        if up && !self.is_up() {
            self.forget_refusals();
            self.unanswered.worked();
        }
        if up && self.alive.load().is_cancelled() {
            self.alive.store(Arc::new(CancellationToken::new()));
        }
        self.up.store(up, Ordering::Relaxed);
    }

    fn set_refuses_probes(&self, refuses: bool) {
        self.refuses_probes.store(refuses, Ordering::Relaxed);
    }

    /// Requests that wait here for a first byte move to other servers.
    fn eject(&self) {
        self.alive.load().cancel();
    }

    fn set_loading(&self, serial: u64) {
        self.loading.store(serial, Ordering::Relaxed);
    }

    fn loading(&self) -> u64 {
        self.loading.load(Ordering::Relaxed)
    }
}
