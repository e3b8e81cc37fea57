//! The shell around the endpoint's state: one line per message, effects, timers.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::message::{Message, Probe};
use super::probe::{self, Answer};
use super::report::Report;
use super::state::{Effects, Intervals, State};
use super::{Endpoint, Refusal};
use crate::fleet::lease::Lease;
use crate::fleet::registry;
use crate::fleet::seat::Seat;
use crate::fleet::waiting::Lines;
use crate::upstream::Client;

/// What was asked so lately need not be asked again.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// Everything an endpoint's actor needs to live, and to live again.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Setup {
    pub(in crate::fleet) endpoint: Arc<Endpoint>,
    pub(in crate::fleet) report: Report,
    pub(in crate::fleet) intervals: Intervals,
    pub(in crate::fleet) client: Client,
    pub(in crate::fleet) registry: registry::Handle,
    pub(in crate::fleet) lines: Arc<Lines>,
    pub(in crate::fleet) tracker: TaskTracker,
}

/// Dies with the actor, also when that is killed.
type Task = AbortOnDropHandle<()>;

pub(in crate::fleet) struct EndpointActor;

pub(in crate::fleet) struct Shell {
    setup: Setup,
    state: State,
    /// One timer per probe; a new one replaces the old.
    timers: [Option<Task>; Probe::ALL.len()],
    /// One question per probe at a time.
    asking: [Option<Task>; Probe::ALL.len()],
    asked: [Option<Instant>; Probe::ALL.len()],
    reconsider: Option<Task>,
}

impl Actor for EndpointActor {
    type Msg = Message;
    type State = Shell;
    type Arguments = Setup;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        setup: Setup,
    ) -> Result<Shell, ActorProcessingErr> {
        let endpoint = Arc::clone(&setup.endpoint);
        // First of all: what is sent from here on is heard.
        endpoint.attach(myself.clone());
        let loading = endpoint.loading();
        let loading = endpoint
            .seats()
            .into_iter()
            .find(|seat| seat.serial() == loading);
        let state = State::new(setup.report.clone(), loading, Instant::now());
        for seat in endpoint.seats() {
            seat.set_failing(false);
            seat.set_open(state.is_open(&seat));
        }
        endpoint.set_up(state.is_up());
        endpoint.set_loading(state.loading());
        let mut shell = Shell {
            setup,
            state,
            timers: Default::default(),
            asking: Default::default(),
            asked: Default::default(),
            reconsider: None,
        };
        for probe in Probe::ALL {
            shell.ask(probe, &myself);
        }
        // What a dead predecessor did not pass on: slots may be free.
        shell.setup.lines.freed();
        Ok(shell)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        match message {
            Message::Acquire { seat, reply } => shell.acquire(&seat, reply, &myself),
            Message::Answered { seat } => {
                let effects = shell.state.answered(&seat, now);
                shell.apply(effects, &myself);
                seat.set_open(shell.state.is_open(&seat));
            }
            Message::Released { seat, outcome } => {
                let effects = shell.state.released(&seat, outcome, now);
                shell.apply(effects, &myself);
                seat.set_open(shell.state.is_open(&seat));
            }
            Message::Due(probe) => shell.ask(probe, &myself),
            Message::Doubted(probe) => shell.doubted(probe, now, &myself),
            Message::Probed {
                probe,
                asked,
                answer,
            } => shell.probed(probe, asked, answer, &myself),
            Message::Reconsider => shell.reconsider(now, &myself),
        }
        Ok(())
    }
}

// === impl Shell ===

impl Shell {
    fn acquire(
        &mut self,
        seat: &Arc<Seat>,
        reply: oneshot::Sender<Result<Lease, Refusal>>,
        myself: &ActorRef<Message>,
    ) {
        if reply.is_closed() {
            return;
        }
        let (decision, effects) = self.state.acquire(seat, Instant::now());
        let lease = decision.map(|(grant, slot)| {
            let (endpoint, lines) = (
                Arc::clone(&self.setup.endpoint),
                Arc::clone(&self.setup.lines),
            );
            Lease::new(endpoint, slot, lines, grant.cold, grant.watched)
        });
        self.apply(effects, myself);
        seat.set_open(self.state.is_open(seat));
        // If the client has left, the lease drops here and its slot is free again.
        drop(reply.send(lease));
    }

    fn probed(&mut self, probe: Probe, asked: Instant, answer: Answer, myself: &ActorRef<Message>) {
        self.asking[probe as usize] = None;
        if let Answer::Nothing(failure) = &answer {
            tracing::debug!(endpoint = %self.setup.endpoint.name(), ?probe, %failure, "probe failed");
        }
        let effects = self.state.probed(answer, probe, asked, Instant::now());
        let next = self.state.next(probe, &self.setup.intervals);
        self.apply(effects, myself);
        if let Some(pause) = next {
            self.schedule(probe, pause, myself);
        }
    }

    fn reconsider(&mut self, now: Instant, myself: &ActorRef<Message>) {
        for model in self.state.doubtful() {
            let failing = self.state.is_failing(&model, now);
            self.setup.endpoint.seat(&model).set_failing(failing);
        }
        self.arm(now, myself);
        self.setup.lines.freed();
    }

    fn apply(&mut self, effects: Effects, myself: &ActorRef<Message>) {
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
            for seat in endpoint.seats() {
                seat.set_open(self.state.is_open(&seat));
            }
            self.setup.registry.reported(endpoint.id(), report.clone());
        }
        for probe in effects.ask {
            // What is being asked already will be answered; a second question adds load only.
            if probe == Probe::Alive && !self.state.is_up() {
                let pause = self
                    .state
                    .next(probe, &self.setup.intervals)
                    .unwrap_or_default();
                self.schedule(probe, pause, myself);
            } else {
                self.ask(probe, myself);
            }
        }
        if effects.reconsider {
            self.arm(Instant::now(), myself);
        }
    }

    /// One timer for all failing models, set for the next of them.
    fn arm(&mut self, now: Instant, myself: &ActorRef<Message>) {
        self.reconsider = None;
        if let Some(at) = self.state.next_trial(now) {
            let myself = myself.clone();
            let timer = self.setup.tracker.spawn(async move {
                tokio::time::sleep_until(at).await;
                let _ = myself.cast(Message::Reconsider);
            });
            self.reconsider = Some(Task::new(timer));
        }
    }

    /// Clients can raise doubts at any rate; servers are not asked at any rate.
    fn doubted(&mut self, probe: Probe, now: Instant, myself: &ActorRef<Message>) {
        let asked = self.asked[probe as usize];
        if asked.is_none_or(|asked| now.saturating_duration_since(asked) >= DOUBT_PAUSE) {
            self.ask(probe, myself);
        }
    }

    fn ask(&mut self, probe: Probe, myself: &ActorRef<Message>) {
        if self.asking[probe as usize].is_some() {
            return;
        }
        self.asked[probe as usize] = Some(Instant::now());
        let (client, endpoint, myself) = (
            self.setup.client.clone(),
            Arc::clone(&self.setup.endpoint),
            myself.clone(),
        );
        let question = self.setup.tracker.spawn(async move {
            let asked = Instant::now();
            let answer = probe::ask(&client, endpoint.target(), probe).await;
            let _ = myself.cast(Message::Probed {
                probe,
                asked,
                answer,
            });
        });
        self.asking[probe as usize] = Some(Task::new(question));
    }

    /// Timers are spread by up to a tenth, so that a herd is not asked in one breath.
    fn schedule(&mut self, probe: Probe, pause: Duration, myself: &ActorRef<Message>) {
        let pause = pause.mul_f64(1.0 - 0.1 * fastrand::f64());
        let myself = myself.clone();
        let timer = self.setup.tracker.spawn(async move {
            sleep(pause).await;
            let _ = myself.cast(Message::Due(probe));
        });
        self.timers[probe as usize] = Some(Task::new(timer));
    }
}
