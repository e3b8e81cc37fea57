//! Asking a server about itself: one request of each probe at a time, and no more often than is good for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::{EndpointActor, Timer};
use super::message::Message;
use super::probe::{self, Heard};
use super::relisting::Relisting;
use crate::backend::Probe;
use crate::supervision::{Context, Reply};
use crate::upstream::Failure;

/// What was asked less than this ago is not asked again.
const RECHECK_PAUSE: Duration = Duration::from_secs(1);

/// What is being asked, and when it was.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The number of the request that is out, one per probe at a time.
    out: [Option<u64>; Probe::ALL.len()],
    asked: [Option<Instant>; Probe::ALL.len()],
    requests: u64,
    /// How many changes there were when the server was last asked what it has loaded.
    as_of: u64,
    /// When that was another number last.
    changed: Option<Instant>,
    relisting: Relisting,
}

impl Asking {
    /// Whatever comes back does not count any more.
    pub(super) fn forget(&mut self, probe: Probe) {
        self.out[probe as usize] = None;
    }

    /// An answer has come; says whether it is the one that counts.
    pub(super) fn ended(&mut self, probe: Probe, number: u64) -> bool {
        let counts = self.out[probe as usize] == Some(number);
        if counts {
            self.forget(probe);
        }
        counts
    }

    /// How many changes to what is loaded the last question about it can show.
    pub(super) const fn as_of(&self) -> u64 {
        self.as_of
    }

    /// Whether this router has changed nothing lately.
    pub(super) fn is_quiet(&self, changes: u64, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < RECHECK_PAUSE;
        changes == self.as_of && !self.changed.is_some_and(lately)
    }

    fn is_out(&self, probe: Probe) -> bool {
        self.out[probe as usize].is_some()
    }

    /// How long it is to be left alone.
    pub(super) fn pause(&self, probe: Probe, now: Instant) -> Duration {
        self.asked[probe as usize].map_or(Duration::ZERO, |asked| {
            RECHECK_PAUSE.saturating_sub(now.saturating_duration_since(asked))
        })
    }
}

impl EndpointActor {
    /// Clients can cause rechecks at any rate; servers are not asked at any rate.
    pub(super) fn recheck(&mut self, probe: Probe, context: &mut Context<Self>) {
        if self.asking.pause(probe, context.now()).is_zero() {
            self.ask(probe, context);
        }
    }

    /// A request waits for a list that is newer than it is, or the one that is on its way.
    pub(super) fn relist(&mut self, reply: Reply<()>, context: &mut Context<Self>) {
        let pause = self.asking.pause(Probe::Models, context.now());
        if !self.asking.relisting.wait(reply) || self.asking.is_out(Probe::Models) {
            return;
        }
        match pause.is_zero() {
            true => self.ask(Probe::Models, context),
            false => context.arm(Timer::Relist, pause),
        }
    }

    /// What it has was changed by a call, which waits for a list that shows it. Such calls are few, and each has
    /// cost the server more than its list does.
    pub(super) fn models_changed(&mut self, reply: Reply<()>, context: &mut Context<Self>) {
        if self.asking.is_out(Probe::Models) {
            self.asking.relisting.wait_for_next(reply);
        } else if self.asking.relisting.wait(reply) {
            self.ask(Probe::Models, context);
        }
    }

    pub(super) fn probed(
        &mut self,
        probe: Probe,
        asked: Instant,
        heard: Result<Heard, Failure>,
        context: &mut Context<Self>,
    ) {
        if let Err(failure) = &heard {
            tracing::debug!(endpoint = %self.setup.endpoint.name(), ?probe, %failure, "probe failed");
        }
        let is_alive = probe == Probe::Alive && heard.is_ok();
        self.tell_answer(probe, &heard);
        let mut effects = self.state.heard(heard, probe, asked, context.now());
        if probe == Probe::Loaded {
            // Also when it says nothing: then nobody is to wait for it.
            effects.changed |= self.state.settled(self.asking.as_of, context.now());
        }
        let next = self.state.next(probe, &self.setup.intervals);
        self.apply(effects, context);
        if let Some(pause) = next {
            schedule(probe, pause, self.setup.bus.is_on(), context);
        }
        if is_alive && self.setup.endpoint.was_closed() {
            // It may have been restarted between two probes, as another version.
            let pause = self.asking.pause(Probe::Version, context.now());
            match pause.is_zero() {
                true => self.ask(Probe::Version, context),
                false => context.arm(Timer::Probe(Probe::Version), pause),
            }
        }
        if probe == Probe::Models {
            context.disarm(Timer::Relist);
            if self.asking.relisting.listed() {
                self.ask(Probe::Models, context);
            }
        }
    }

    pub(super) fn ask(&mut self, probe: Probe, context: &mut Context<Self>) {
        if self.asking.is_out(probe) {
            return;
        }
        let endpoint = Arc::clone(&self.setup.endpoint);
        let Some(plan) = endpoint.settings().backend.plan(probe) else {
            return;
        };
        let asking = &mut self.asking;
        let (number, asked) = (asking.requests, context.now());
        asking.requests += 1;
        asking.out[probe as usize] = Some(number);
        asking.asked[probe as usize] = Some(asked);
        if probe == Probe::Loaded && asking.as_of != endpoint.changes() {
            asking.as_of = endpoint.changes();
            asking.changed = Some(asked);
        }
        let client = self.setup.client.clone();
        let hidden = self.setup.hidden.clone();
        context.spawn(async move {
            let mut answer = probe::send(&client, &endpoint, probe, plan).await;
            if let (Ok(heard), Some(host)) = (&mut answer, hidden) {
                heard.answer.hide(&host);
            }
            Message::Probed {
                probe,
                number,
                asked,
                answer,
            }
        });
    }
}

/// Timers are spread by up to a tenth, so that not all servers are asked at once; where other routers ask as well,
/// by half, so that mostly one is first.
pub(super) fn schedule(
    probe: Probe,
    pause: Duration,
    is_shared: bool,
    context: &mut Context<EndpointActor>,
) {
    let spread = match is_shared {
        true => 0.75 + 0.5 * context.random(),
        false => 1.0 - 0.1 * context.random(),
    };
    let pause = pause.mul_f64(spread);
    context.arm(Timer::Probe(probe), pause);
}
