//! The endpoint's actor: asks the server, gives slots, and writes the cells as the state decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Message;
use super::probe;
use super::state::{Effects, Intervals, State};
use super::{Endpoint, Refusal};
use crate::backend::{Answer, Probe};
use crate::fleet::lease::Lease;
use crate::fleet::registry;
use crate::fleet::seat::Seat;
use crate::fleet::waiting::Lines;
use crate::supervision::{Actor, Context, Reply};
use crate::upstream::{Client, Failure};

/// What was asked so lately need not be asked again.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// What every incarnation of an endpoint's actor begins with.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Setup {
    pub(in crate::fleet) endpoint: Arc<Endpoint>,
    pub(in crate::fleet) intervals: Intervals,
    pub(in crate::fleet) client: Client,
    pub(in crate::fleet) registry: registry::Handle,
    pub(in crate::fleet) lines: Arc<Lines>,
}

/// Its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fleet) enum Timer {
    /// Ask this now.
    Probe(Probe),
    /// Some model may have been failing for long enough to be tried again.
    Reconsider,
    /// Close connections that have been idle for too long.
    Sweep,
}

pub(in crate::fleet) struct EndpointActor {
    setup: Setup,
    state: State,
    /// The number of the question that is out, one per probe at a time.
    asking: [Option<u64>; Probe::ALL.len()],
    asked: [Option<Instant>; Probe::ALL.len()],
    questions: u64,
}

impl Actor for EndpointActor {
    type Message = Message;
    type Timer = Timer;
    type Setup = Setup;

    fn start(setup: Setup, context: &mut Context<Self>) -> Self {
        let endpoint = &setup.endpoint;
        let loading = endpoint.loading();
        let seats = endpoint.seats();
        let loading = seats.iter().find(|seat| seat.serial() == loading).cloned();
        let loads = endpoint.settings().backend.loads_models();
        let report = endpoint.report().as_ref().clone();
        let state = State::new(report, loads, loading, context.now());
        for seat in seats {
            seat.set_failing(false);
        }
        endpoint.set_up(state.is_up());
        endpoint.set_loading(state.loading());
        let mut actor = Self {
            setup,
            state,
            asking: Default::default(),
            asked: Default::default(),
            questions: 0,
        };
        actor.open_seats();
        for probe in Probe::ALL {
            actor.ask(probe, context);
        }
        // What a dead predecessor did not pass on: slots may be free.
        actor.setup.lines.freed();
        actor.sweep(context);
        actor.freed();
        // What a predecessor, of this actor or of the registry, may not have passed on.
        actor.report();
        actor
    }

    fn handle(&mut self, message: Message, context: &mut Context<Self>) {
        match message {
            Message::Acquire { seat, reply } => self.acquire(&seat, reply, context),
            Message::Answered { seat } => {
                let effects = self.state.answered(&seat, context.now());
                self.apply(effects, context);
                self.open(&seat);
            }
            Message::Released { seat, outcome } => {
                let effects = self.state.released(&seat, outcome, context.now());
                self.apply(effects, context);
                self.open(&seat);
            }
            Message::Doubted(probe) => self.doubted(probe, context),
            Message::Probed {
                probe,
                question,
                asked,
                answer,
            } => {
                if self.asking[probe as usize] == Some(question) {
                    self.probed(probe, asked, answer, context);
                }
            }
            Message::Drain => {
                self.open_seats();
                self.freed();
                self.setup.lines.freed();
            }
            Message::Outdated => {
                for probe in [Probe::Alive, Probe::Models] {
                    self.asking[probe as usize] = None;
                    self.ask(probe, context);
                }
            }
            Message::Freed => self.freed(),
        }
    }

    fn due(&mut self, timer: Timer, context: &mut Context<Self>) {
        match timer {
            Timer::Probe(probe) => self.ask(probe, context),
            Timer::Reconsider => self.reconsider(context),
            Timer::Sweep => self.sweep(context),
        }
    }
}

impl EndpointActor {
    fn acquire(
        &mut self,
        seat: &Arc<Seat>,
        reply: Reply<Result<Lease, Refusal>>,
        context: &mut Context<Self>,
    ) {
        if reply.is_closed() {
            return;
        }
        if self.setup.endpoint.is_draining() {
            drop(reply.send(Err(Refusal::Draining)));
            return;
        }
        let (decision, effects) = self.state.acquire(seat, context.now());
        let lease = decision.map(|(grant, slot)| {
            let (endpoint, lines) = (
                Arc::clone(&self.setup.endpoint),
                Arc::clone(&self.setup.lines),
            );
            Lease::new(endpoint, slot, lines, grant.cold, grant.watched)
        });
        self.apply(effects, context);
        self.open(seat);
        // If the client has left, the lease drops here and its slot is free again.
        drop(reply.send(lease));
    }

    /// Requests may take slots of an open seat without asking; of a draining server nobody may.
    fn open(&self, seat: &Seat) {
        seat.set_open(!self.setup.endpoint.is_draining() && self.state.is_open(seat));
    }

    fn open_seats(&self) {
        for seat in self.setup.endpoint.seats() {
            self.open(&seat);
        }
    }

    /// A draining server is drained when its last lease has ended.
    fn freed(&self) {
        let endpoint = &self.setup.endpoint;
        if endpoint.is_draining() && endpoint.total_in_flight() == 0 {
            self.setup.registry.drained(endpoint.id());
        }
    }

    fn sweep(&mut self, context: &mut Context<Self>) {
        context.arm(Timer::Sweep, self.setup.endpoint.sweep());
    }

    fn probed(
        &mut self,
        probe: Probe,
        asked: Instant,
        answer: Result<Answer, Failure>,
        context: &mut Context<Self>,
    ) {
        self.asking[probe as usize] = None;
        if let Err(failure) = &answer {
            tracing::debug!(endpoint = %self.setup.endpoint.name(), ?probe, %failure, "probe failed");
        }
        let effects = self.state.probed(answer, probe, asked, context.now());
        let next = self.state.next(probe, &self.setup.intervals);
        self.apply(effects, context);
        if let Some(pause) = next {
            schedule(probe, pause, context);
        }
    }

    fn reconsider(&mut self, context: &mut Context<Self>) {
        let now = context.now();
        for seat in self.setup.endpoint.seats() {
            if self.state.is_doubtful(seat.model()) {
                seat.set_failing(self.state.is_failing(seat.model(), now));
            }
        }
        self.arm(context);
        self.setup.lines.freed();
    }

    fn apply(&mut self, effects: Effects, context: &mut Context<Self>) {
        if effects.changed {
            let endpoint = &self.setup.endpoint;
            let report = self.state.report();
            if endpoint.is_up() != self.state.is_up() {
                match &report.trouble {
                    Some(why) => tracing::warn!(endpoint = %endpoint.name(), %why, "endpoint down"),
                    None => tracing::info!(endpoint = %endpoint.name(), "endpoint up"),
                }
                endpoint.set_up(self.state.is_up());
            }
            endpoint.set_loading(self.state.loading());
            // Before the view says that a model is loaded: who reads that shall find its seat open.
            self.open_seats();
            self.report();
        }
        for probe in effects.ask {
            // What is being asked already will be answered; a second question adds load only.
            if probe == Probe::Alive && !self.state.is_up() {
                let pause = self.state.next(probe, &self.setup.intervals);
                schedule(probe, pause.unwrap_or_default(), context);
            } else {
                self.ask(probe, context);
            }
        }
        if effects.reconsider {
            self.arm(context);
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

    /// Clients can raise doubts at any rate; servers are not asked at any rate.
    fn doubted(&mut self, probe: Probe, context: &mut Context<Self>) {
        let (asked, now) = (self.asked[probe as usize], context.now());
        if asked.is_none_or(|asked| now.saturating_duration_since(asked) >= DOUBT_PAUSE) {
            self.ask(probe, context);
        }
    }

    fn ask(&mut self, probe: Probe, context: &mut Context<Self>) {
        if self.asking[probe as usize].is_some() {
            return;
        }
        let endpoint = Arc::clone(&self.setup.endpoint);
        let Some(plan) = endpoint.settings().backend.plan(probe) else {
            return;
        };
        let (question, asked) = (self.questions, context.now());
        self.questions += 1;
        self.asking[probe as usize] = Some(question);
        self.asked[probe as usize] = Some(asked);
        let client = self.setup.client.clone();
        context.spawn(async move {
            let answer = probe::ask(&client, &endpoint, probe, plan).await;
            Message::Probed {
                probe,
                question,
                asked,
                answer,
            }
        });
    }
}

/// Timers are spread by up to a tenth, so that not all servers are asked at once.
fn schedule(probe: Probe, pause: Duration, context: &mut Context<EndpointActor>) {
    let pause = pause.mul_f64(1.0 - 0.1 * context.dice());
    context.arm(Timer::Probe(probe), pause);
}
