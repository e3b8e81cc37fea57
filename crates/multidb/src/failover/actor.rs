//! The task around the state: a message in, a decision, its effects out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::crew::{Applicant, Crew, Manners, Workplace};
use super::message::{Message, Reply};
use super::state::State;
use super::{Mailbox, publish};
use crate::config::{DatabaseConfig, bounded, valid_weight};
use crate::database::DatabaseId;
use crate::detector;
use crate::error::Error;
use crate::event::Event;
use crate::health::watcher::{Checks, Pace};
use crate::health::{ProbeSettings, Report};
use crate::metrics::Switch;
use crate::views::Views;

/// The finest a detector's window is looked at.
const LEAST_SAMPLE: Duration = Duration::from_millis(50);

/// What the task stands on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) views: Arc<Views>,
    pub(crate) tasks: TaskTracker,
    pub(crate) ended: CancellationToken,
    /// Its own, for those it sends out.
    pub(crate) mailbox: Mailbox,
    pub(crate) manners: Manners,
    /// `failures_detection_window`.
    pub(crate) window: Duration,
    pub(crate) half_open_slots: u16,
    pub(crate) checks: Checks,
    /// The first id that is free.
    pub(crate) next_id: u64,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(super) state: State,
    pub(super) ground: Ground,
    pub(super) crews: HashMap<DatabaseId, Crew>,
    pub(super) pace: watch::Sender<Pace>,
    pub(super) switches: HashMap<Switch, u64>,
    /// Since when somebody is chosen and has no connection.
    pub(super) undecided_since: Option<Instant>,
    checks: watch::Sender<Checks>,
    inbox: mpsc::Receiver<Message>,
}

impl Actor {
    /// With those who passed the first round, or did not.
    pub(crate) fn new(
        state: State,
        ground: Ground,
        inbox: mpsc::Receiver<Message>,
        first: Vec<(Applicant, Report)>,
    ) -> Self {
        let mut actor = Self {
            state,
            checks: watch::Sender::new(Arc::clone(&ground.checks)),
            pace: watch::Sender::new(Pace::Steady),
            ground,
            crews: HashMap::new(),
            switches: HashMap::new(),
            undecided_since: None,
            inbox,
        };
        let now = Instant::now();
        for (applicant, report) in first {
            actor.hire(applicant, report, now);
        }
        actor.state.begin(now);
        actor.carry_out(now);
        actor
    }

    /// Until cancelled.
    pub(crate) async fn run(mut self) {
        let sample = (self.ground.window / 10).max(LEAST_SAMPLE);
        let ended = self.ground.ended.clone();
        let mut next_sample = Instant::now() + sample;
        loop {
            let wake = self
                .state
                .deadline()
                .map_or(next_sample, |deadline| deadline.min(next_sample));
            let message = tokio::select! {
                biased;
                () = ended.cancelled() => break,
                message = self.inbox.recv() => message,
                () = sleep_until(wake) => None,
            };
            let now = Instant::now();
            self.take_news(now);
            match message {
                Some(message) => self.handle(message, now),
                None => self.state.tick(now),
            }
            if now >= next_sample {
                next_sample = now + sample;
            }
            self.carry_out(now);
        }
    }

    /// Commands count their successes in one atomic each; here they reach the detectors, before
    /// anything is decided.
    fn take_news(&mut self, now: Instant) {
        for (id, crew) in &mut self.crews {
            self.state.succeeded(*id, crew.news(), now);
        }
    }

    fn handle(&mut self, message: Message, now: Instant) {
        match message {
            Message::Failed {
                id,
                episode,
                link,
                kind,
                commands,
                error,
                reply,
            } => {
                self.tell_failure(id, commands, error);
                let settled = self.state.failed(id, episode, link, kind, now);
                match self.crews.get_mut(&id) {
                    Some(crew) if !settled => crew.waiting.push(reply),
                    // After the effects, so that the new route can be seen: `reply` lives until
                    // then, and its end is as good as an answer.
                    _ => {
                        self.carry_out(now);
                        drop(reply);
                    }
                }
            }
            Message::Waited { id, episode } => self.state.waited(id, episode, now),
            Message::TrialSucceeded { id, episode } => self.state.trial_succeeded(id, episode, now),
            Message::LinkUp { id, link } => {
                if let Some(crew) = self.crews.get_mut(&id) {
                    crew.link = Some(link);
                    self.state.link_up(id, now);
                }
            }
            Message::LinkLost { id, link } => {
                if let Some(crew) = self.crews.get_mut(&id)
                    && crew.link.as_ref().is_some_and(|held| held.id() == link)
                {
                    crew.link = None;
                    self.state.link_lost(id, now);
                }
            }
            Message::ConnectFailed { id, kind, error } => {
                let cause = format!("no connection ({}): {error}", kind.as_str());
                self.state.connect_failed(id, kind, &cause, now);
            }
            Message::Confirmed { id, report } => self.state.confirmed(id, &report, now),
            Message::Health { id, report } => self.state.health(id, &report, now),
            Message::Add { config, reply } => self.check_first(*config, reply),
            Message::Checked {
                applicant,
                report,
                reply,
            } => self.add(*applicant, report, reply, now),
            Message::Remove { id, reply } => {
                let done = self.remove(id, now);
                self.answer(reply, done, now);
            }
            Message::Weight { id, weight, reply } => {
                let done = self.set_weight(id, weight, now);
                self.answer(reply, done, now);
            }
            Message::SetActive { id, reply } => self.probe(id, reply),
            Message::Probed { id, report, reply } => {
                let done = self.state.set_active(id, &report, now);
                self.answer(reply, done, now);
            }
            Message::Force { id, reply } => {
                let done = self.state.force(id, now);
                self.answer(reply, done, now);
            }
            Message::AddHealthCheck { check, reply } => {
                self.checks.send_modify(|checks| {
                    *checks = checks.iter().cloned().chain([check]).collect();
                });
                self.answer(reply, Ok(()), now);
            }
            Message::AddFailureDetector { detector, reply } => {
                self.state.add_detector(detector::guarded(detector));
                self.answer(reply, Ok(()), now);
            }
            Message::SetFallback { interval, reply } => {
                let done = bounded("auto_fallback_interval", interval.unwrap_or_default())
                    .map(|_| self.state.set_fallback(interval, now))
                    .map_err(Error::from);
                self.answer(reply, done, now);
            }
        }
    }

    /// Whoever asked sees what came of it.
    fn answer<T>(&mut self, reply: Reply<T>, done: Result<T, Error>, now: Instant) {
        self.carry_out(now);
        drop(reply.send(done));
    }

    fn check_first(&mut self, config: DatabaseConfig, reply: Reply<DatabaseId>) {
        let id = DatabaseId(self.ground.next_id);
        self.ground.next_id += 1;
        let Ground { manners, tasks, .. } = &self.ground;
        match Applicant::new(id, config, manners, tasks) {
            Err(invalid) => drop(reply.send(Err(invalid.into()))),
            Ok(applicant) => {
                let checks = self.checks.borrow().clone();
                let settings = once(manners.settings);
                self.send_out(async move {
                    let report = applicant.check(&checks, settings).await;
                    Message::Checked {
                        applicant: Box::new(applicant),
                        report,
                        reply,
                    }
                });
            }
        }
    }

    fn add(
        &mut self,
        applicant: Applicant,
        report: Report,
        reply: Reply<DatabaseId>,
        now: Instant,
    ) {
        let database = applicant.member.database().clone();
        let id = database.id;
        if let Some(reason) = report.unhealthy.clone()
            && !applicant.config.skip_initial_health_check
        {
            return drop(reply.send(Err(Error::Unhealthy { database, reason })));
        }
        self.hire(applicant, report, now);
        self.ground.views.tell(Event::DatabaseAdded(database));
        self.answer(reply, Ok(id), now);
    }

    fn hire(&mut self, applicant: Applicant, report: Report, now: Instant) {
        let id = applicant.member.id();
        self.state.add(applicant.newcomer(report), now);
        let place = Workplace {
            tasks: &self.ground.tasks,
            mailbox: &self.ground.mailbox,
            ended: &self.ground.ended,
            checks: self.checks.subscribe(),
            pace: self.pace.subscribe(),
            manners: &self.ground.manners,
        };
        self.crews.insert(id, Crew::hire(applicant, place));
    }

    fn remove(&mut self, id: DatabaseId, now: Instant) -> Result<(), Error> {
        self.state.remove(id, now)?;
        // First the others see the way to the new one, then this one ends.
        self.carry_out(now);
        if let Some(crew) = self.crews.remove(&id) {
            let database = crew.member.database().clone();
            self.dismiss(crew);
            self.forget_switches(id);
            self.publish(now);
            self.ground.views.tell(Event::DatabaseRemoved(database));
        }
        Ok(())
    }

    /// Commands on their way get their answers before the connection ends.
    fn dismiss(&self, mut crew: Crew) {
        crew.settle();
        let patience = self.ground.manners.timeouts.response;
        let ended = self.ground.ended.clone();
        self.ground.tasks.spawn(async move {
            ended
                .run_until_cancelled(tokio::time::sleep(patience))
                .await;
            drop(crew);
        });
    }

    fn set_weight(&mut self, id: DatabaseId, weight: f64, now: Instant) -> Result<(), Error> {
        let crew = self.crews.get(&id).ok_or(Error::UnknownDatabase(id))?;
        let weight = valid_weight(&crew.member.database().name, weight)?;
        self.state.set_weight(id, weight, now)
    }

    fn probe(&mut self, id: DatabaseId, reply: Reply<()>) {
        let Some(crew) = self.crews.get(&id) else {
            return drop(reply.send(Err(Error::UnknownDatabase(id))));
        };
        let target = Arc::clone(&crew.target);
        let checks = self.checks.borrow().clone();
        let settings = once(self.ground.manners.settings);
        self.send_out(async move {
            let report = crate::health::round(&target, &checks, settings).await;
            Message::Probed { id, report, reply }
        });
    }

    /// What takes time is done elsewhere, and comes back as a message.
    pub(super) fn send_out(&self, work: impl Future<Output = Message> + Send + 'static) {
        let mailbox = self.ground.mailbox.clone();
        let ended = self.ground.ended.clone();
        self.ground.tasks.spawn(async move {
            ended
                .run_until_cancelled(async {
                    let message = work.await;
                    drop(mailbox.send(message).await);
                })
                .await;
        });
    }

    /// The checks as they are now.
    pub(super) fn checks(&self) -> Checks {
        self.checks.borrow().clone()
    }
}

/// However it ends: nobody waits for a decision that nobody makes.
impl Drop for Actor {
    fn drop(&mut self) {
        publish::end(&self.ground.views);
        self.ground.ended.cancel();
    }
}

/// One probe is enough for somebody who is waiting.
fn once(settings: ProbeSettings) -> ProbeSettings {
    ProbeSettings {
        probes: 1,
        delay: Duration::ZERO,
        ..settings
    }
}
