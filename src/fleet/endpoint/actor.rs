//! The endpoint's actor: asks the server, gives slots, and writes the cells as the state decides.

use std::sync::Arc;

use tokio::time::Instant;

use super::asking::{Asking, schedule};
use super::locking::Locks;
use super::message::Message;
use super::state::{Effects, Intervals, State};
use super::{Endpoint, Refusal};
use crate::backend::Probe;
use crate::cluster::bus::Bus;
use crate::fleet::first_bytes::{Before, FirstBytes};
use crate::fleet::lease::Lease;
use crate::fleet::queue::Queues;
use crate::fleet::registry;
use crate::fleet::slot_pool::SlotPool;
use crate::supervision::{Actor, Context, Reply};
use crate::upstream::Client;

/// What every incarnation of an endpoint's actor begins with.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Setup {
    pub(in crate::fleet) endpoint: Arc<Endpoint>,
    pub(in crate::fleet) intervals: Intervals,
    /// Models of this registry are not seen.
    pub(in crate::fleet) hidden: Option<Arc<str>>,
    pub(in crate::fleet) client: Client,
    pub(in crate::fleet) registry: registry::Handle,
    pub(in crate::fleet) queues: Arc<Queues>,
    /// How long loads take, over all servers.
    pub(in crate::fleet) loads: Arc<FirstBytes>,
    /// What routers tell each other.
    pub(in crate::fleet) bus: Bus,
    /// With other routers, a load needs the server's lock.
    pub(in crate::fleet) locks: Option<Locks>,
}

/// Its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fleet) enum Timer {
    /// Ask this now.
    Probe(Probe),
    /// Requests wait for the list of models, which may be asked for again now.
    Relist,
    /// Some model may have been failing for long enough to be tried again.
    Reconsider,
    /// Look at the load that is running.
    Load,
    /// Another router's load may count no more.
    Elsewhere,
    /// Another router had the lock: it may be free now.
    Lock,
    /// A load of this router goes on.
    Renew,
    /// Close connections that have been idle for too long.
    Sweep,
}

pub(in crate::fleet) struct EndpointActor {
    pub(super) setup: Setup,
    pub(super) state: State,
    pub(super) asking: Asking,
    /// The lock for a load is being taken.
    pub(super) is_locking: bool,
    /// Serial of the pool whose load other routers were told of; 0: of none.
    pub(super) told_load: u64,
    /// The list of models that another router has told last, by its fingerprint.
    pub(super) heard_models: Option<Box<str>>,
}

impl Actor for EndpointActor {
    type Message = Message;
    type Timer = Timer;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let endpoint = &setup.endpoint;
        let loading = endpoint.loading();
        let pools = endpoint.pools();
        let loading = pools.iter().find(|pool| pool.serial() == loading).cloned();
        let loads = endpoint.settings().backend.loads_models();
        let report = endpoint.report().as_ref().clone();
        let state = State::new(report, loads, loading, context.now());
        for pool in pools {
            pool.set_failing(false);
            pool.set_half_open(false);
        }
        endpoint.set_up(state.takes_requests());
        endpoint.set_refuses_probes(state.refuses_probes());
        endpoint.set_loading(state.shown_loading());
        let mut actor = Self {
            setup,
            state,
            asking: Asking::default(),
            is_locking: false,
            told_load: 0,
            heard_models: None,
        };
        actor.update_pools(context.now());
        for probe in Probe::ALL {
            actor.ask(probe, context);
        }
        // What a crashed predecessor did not pass on: slots may be free.
        actor.setup.queues.freed();
        actor.arm_load(context);
        actor.sweep(context);
        actor.freed();
        // What a predecessor, of this actor or of the registry, may not have passed on.
        actor.report();
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Acquire { pool, reply } => self.acquire(&pool, reply, context),
            Message::Answered { pool, loaded } => {
                if let Some(loaded) = loaded {
                    self.setup.loads.came(loaded, Before::LOAD);
                }
                let effects = self.state.answered(&pool, context.now());
                self.learnt(effects, &pool, context);
            }
            Message::Loaded { pool } => {
                let effects = self.state.loaded(&pool, context.now());
                self.learnt(effects, &pool, context);
            }
            Message::Unloaded { pool, for_sure } => {
                let effects = self.state.unloaded(&pool, for_sure, context.now());
                self.apply(effects, context);
            }
            Message::Relist(reply) => self.relist(reply, context),
            Message::ModelsChanged(reply) => self.models_changed(reply, context),
            Message::Delivered { pool } => {
                let effects = self.state.delivered(&pool, context.now());
                self.learnt(effects, &pool, context);
            }
            Message::Released {
                pool,
                outcome,
                trial,
            } => {
                let effects = self.state.released(&pool, outcome, trial, context.now());
                self.learnt(effects, &pool, context);
                if trial {
                    // The next trial may begin.
                    self.setup.queues.freed();
                }
            }
            Message::Failed { pool, fault } => {
                let mut effects = Effects::default();
                self.state.failed(&pool, fault, context.now(), &mut effects);
                self.learnt(effects, &pool, context);
            }
            Message::Recheck(probe) => self.recheck(probe, context),
            Message::Probed {
                probe,
                number,
                asked,
                answer,
            } => {
                if self.asking.ended(probe, number) {
                    self.probed(probe, asked, answer, context);
                }
            }
            Message::Drain => {
                self.renew();
                self.update_pools(context.now());
                self.freed();
                self.setup.queues.freed();
            }
            Message::Outdated => {
                for probe in [Probe::Alive, Probe::Models] {
                    self.asking.forget(probe);
                    self.ask(probe, context);
                }
            }
            Message::Heard(event) => self.heard(event, context),
            Message::Locked { pool, reply, taken } => self.locked(&pool, reply, taken, context),
            Message::Freed => self.freed(),
            Message::Abandoned => {
                self.setup.endpoint.eject();
                self.renew();
            }
        }
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        match timer {
            Timer::Probe(probe) => self.ask(probe, context),
            Timer::Relist => self.ask(Probe::Models, context),
            Timer::Reconsider => self.reconsider(context),
            Timer::Load => self.look_at_load(context),
            Timer::Elsewhere => {
                let effects = self.look_elsewhere(context.now());
                self.apply(effects, context);
            }
            Timer::Lock => self.setup.queues.freed(),
            Timer::Renew => self.renew_load(context),
            Timer::Sweep => self.sweep(context),
        }
    }
}

impl EndpointActor {
    fn acquire(
        &mut self,
        pool: &Arc<SlotPool>,
        reply: Reply<Result<Lease, Refusal>>,
        context: &mut Context<Self>,
    ) {
        if reply.is_closed() {
            return;
        }
        if self.setup.endpoint.takes_nothing(pool) {
            drop(reply.send(Err(Refusal::Draining)));
            return;
        }
        if self.setup.locks.is_some() && self.state.would_load(pool) {
            return self.lock(pool, reply, context);
        }
        self.grant(pool, reply, context);
    }

    /// A slot, as the state decides.
    pub(super) fn grant(
        &mut self,
        pool: &Arc<SlotPool>,
        reply: Reply<Result<Lease, Refusal>>,
        context: &mut Context<Self>,
    ) {
        let usual = self.setup.loads.usual_load();
        let (decision, effects) = self.state.acquire(pool, usual, context.now());
        let lease = decision.map(|(grant, slot)| {
            let (endpoint, queues) = (&self.setup.endpoint, &self.setup.queues);
            Lease::new(Arc::clone(endpoint), slot, Arc::clone(queues), grant)
        });
        self.apply(effects, context);
        self.update_pool(pool, context.now());
        // If the client has left, the lease drops here and its slot is free again.
        drop(reply.send(lease));
    }

    /// Something was learnt from a request of this pool.
    fn learnt(&mut self, effects: Effects, pool: &SlotPool, context: &mut Context<Self>) {
        self.apply(effects, context);
        self.update_pool(pool, context.now());
    }

    fn look_at_load(&mut self, context: &mut Context<Self>) {
        let endpoint = &self.setup.endpoint;
        let pools = endpoint.pools();
        let loading = pools
            .iter()
            .find(|pool| pool.serial() == self.state.loading());
        let of_load = loading.map_or(0, |pool| pool.in_flight());
        let others_run = endpoint.total_in_flight() > of_load;
        let effects = self.state.look_at_load(others_run, context.now());
        self.apply(effects, context);
        self.arm_load(context);
    }

    fn arm_load(&self, context: &mut Context<Self>) {
        let now = context.now();
        match self.state.next_look(now) {
            Some(at) => context.arm(Timer::Load, at.saturating_duration_since(now)),
            None => context.disarm(Timer::Load),
        }
    }

    /// Writes the cells of a pool. Requests take the slots of a direct one without a message; of a draining
    /// server none may.
    fn update_pool(&self, pool: &SlotPool, now: Instant) {
        pool.set_failing(self.state.is_failing(pool.model(), now));
        pool.set_half_open(self.state.is_half_open(pool.model(), now));
        pool.set_refusing(self.state.refuses(pool, now));
        pool.set_direct(!self.setup.endpoint.takes_nothing(pool) && self.state.is_direct(pool));
        if pool.set_closed(self.state.closed(pool.model(), now)) {
            self.setup.queues.freed(); // who waits may have nothing left to wait for
        }
    }

    fn update_pools(&self, now: Instant) {
        for pool in self.setup.endpoint.pools() {
            self.update_pool(&pool, now);
        }
    }

    /// One that was abandoned and is wanted again ejects no new requests.
    fn renew(&self) {
        let endpoint = &self.setup.endpoint;
        if !endpoint.is_draining() {
            endpoint.set_up(self.state.takes_requests());
        }
    }

    /// A draining server is drained when its last lease has ended.
    fn freed(&self) {
        let endpoint = &self.setup.endpoint;
        if endpoint.is_draining() && endpoint.total_in_flight() == 0 {
            self.setup.registry.drained(endpoint.id());
        }
        endpoint.say_drained();
    }

    fn sweep(&mut self, context: &mut Context<Self>) {
        context.arm(Timer::Sweep, self.setup.endpoint.sweep());
    }

    fn reconsider(&mut self, context: &mut Context<Self>) {
        let now = context.now();
        self.update_pools(now);
        self.arm(context);
        self.setup.queues.freed();
    }

    pub(super) fn apply(&mut self, effects: Effects, context: &mut Context<Self>) {
        if effects.changed {
            let endpoint = &self.setup.endpoint;
            let report = self.state.report();
            let up = self.state.takes_requests();
            if endpoint.is_up() != up {
                match &report.trouble {
                    _ if up => tracing::info!(endpoint = %endpoint.name(), "endpoint up"),
                    Some(why) => tracing::warn!(endpoint = %endpoint.name(), %why, "endpoint down"),
                    None => {
                        tracing::info!(endpoint = %endpoint.name(), "connection refused: no new requests until a probe is answered")
                    }
                }
                endpoint.set_up(up);
                if !up {
                    self.tell_down();
                }
            }
            if effects.eject {
                endpoint.eject();
            }
            endpoint.set_refuses_probes(self.state.refuses_probes());
            self.tell_of_load(context);
            self.setup.endpoint.set_loading(self.state.shown_loading());
            // Before the view says that a model is loaded: who reads that shall find its pool direct.
            self.update_pools(context.now());
            self.report();
            self.arm_load(context);
        }
        if effects.reconnect {
            self.setup.endpoint.close_probing();
            self.asking.forget(Probe::Alive);
        }
        for probe in effects.ask {
            // What is being asked already will be answered; a second request adds load only.
            if probe == Probe::Alive && !self.state.is_up() {
                let pause = self.state.next(probe, &self.setup.intervals);
                let is_shared = self.setup.bus.is_on();
                schedule(probe, pause.unwrap_or_default(), is_shared, context);
            } else {
                self.ask(probe, context);
            }
        }
        if effects.reconsider {
            self.arm(context);
        }
        if self.setup.endpoint.changes() > self.asking.as_of() {
            // Something was loaded or unloaded since the server was asked.
            self.ask(Probe::Loaded, context);
        }
    }

    fn report(&self) {
        let (endpoint, report) = (&self.setup.endpoint, self.state.report());
        endpoint.set_report(report);
        self.setup.registry.reported(endpoint.id(), report.clone());
    }

    /// One timer for all failing models, set for the next of them.
    fn arm(&mut self, context: &mut Context<Self>) {
        let now = context.now();
        match self.state.next_trial(now) {
            Some(at) => context.arm(Timer::Reconsider, at.saturating_duration_since(now)),
            None => context.disarm(Timer::Reconsider),
        }
    }
}
