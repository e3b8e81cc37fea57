//! The task around the state: a message in, a decision, its effects out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::member_tasks::{Environment, MemberOptions, MemberTasks, PendingMember};
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
const MIN_SAMPLE: Duration = Duration::from_millis(50);

/// What the task needs.
#[derive(Debug)]
pub(crate) struct ActorContext {
    pub(crate) views: Arc<Views>,
    pub(crate) tasks: TaskTracker,
    pub(crate) ended: CancellationToken,
    /// Its own, for the tasks it spawns.
    pub(crate) mailbox: Mailbox,
    pub(crate) options: MemberOptions,
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
    pub(super) context: ActorContext,
    pub(super) members: HashMap<DatabaseId, MemberTasks>,
    pub(super) pace: watch::Sender<Pace>,
    pub(super) switches: HashMap<Switch, u64>,
    /// Since when a database is chosen and has no connection.
    pub(super) undecided_since: Option<Instant>,
    checks: watch::Sender<Checks>,
    inbox: mpsc::Receiver<Message>,
}

impl Actor {
    /// With those who passed the first round, or did not.
    pub(crate) fn new(
        state: State,
        context: ActorContext,
        inbox: mpsc::Receiver<Message>,
        first: Vec<(PendingMember, Report)>,
    ) -> Self {
        let mut actor = Self {
            state,
            checks: watch::Sender::new(Arc::clone(&context.checks)),
            pace: watch::Sender::new(Pace::Steady),
            context,
            members: HashMap::new(),
            switches: HashMap::new(),
            undecided_since: None,
            inbox,
        };
        let now = Instant::now();
        for (pending, report) in first {
            actor.add_member(pending, report, now);
        }
        actor.state.begin(now);
        actor.apply_effects(now);
        actor
    }

    /// Until cancelled.
    pub(crate) async fn run(mut self) {
        let sample = (self.context.window / 10).max(MIN_SAMPLE);
        let ended = self.context.ended.clone();
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
            self.count_successes(now);
            match message {
                Some(message) => self.handle(message, now),
                None => self.state.tick(now),
            }
            if now >= next_sample {
                next_sample = now + sample;
            }
            self.apply_effects(now);
        }
    }

    /// Commands count their successes in one atomic each; here they reach the detectors, before
    /// anything is decided.
    fn count_successes(&mut self, now: Instant) {
        for (id, member_tasks) in &mut self.members {
            self.state.succeeded(*id, member_tasks.new_successes(), now);
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
                self.emit_failure(id, commands, error);
                let settled = self.state.failed(id, episode, link, kind, now);
                match self.members.get_mut(&id) {
                    Some(member_tasks) if !settled => member_tasks.waiting.push(reply),
                    // After the effects, so that the new route can be seen: `reply` is kept until
                    // then, and its end is as good as an answer.
                    _ => {
                        self.apply_effects(now);
                        drop(reply);
                    }
                }
            }
            Message::Waited { id, episode } => self.state.waited(id, episode, now),
            Message::TrialSucceeded { id, episode } => self.state.trial_succeeded(id, episode, now),
            Message::LinkUp { id, link } => {
                if let Some(member_tasks) = self.members.get_mut(&id) {
                    member_tasks.link = Some(link);
                    self.state.link_up(id, now);
                }
            }
            Message::LinkLost { id, link } => {
                if let Some(member_tasks) = self.members.get_mut(&id)
                    && member_tasks
                        .link
                        .as_ref()
                        .is_some_and(|held| held.id() == link)
                {
                    member_tasks.link = None;
                    self.state.link_lost(id, now);
                }
            }
            Message::ConnectFailed { id, kind, error } => {
                let cause = format!("no connection ({}): {error}", kind.as_str());
                self.state.connect_failed(id, kind, &cause, now);
            }
            Message::Confirmed { id, report } => self.state.confirmed(id, &report, now),
            Message::Health { id, report } => self.state.health(id, &report, now),
            Message::Add { config, reply } => self.check_and_add(*config, reply),
            Message::Checked {
                pending,
                report,
                reply,
            } => self.add(*pending, report, reply, now),
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

    /// The effects are visible before the reply is sent.
    fn answer<T>(&mut self, reply: Reply<T>, done: Result<T, Error>, now: Instant) {
        self.apply_effects(now);
        drop(reply.send(done));
    }

    fn check_and_add(&mut self, config: DatabaseConfig, reply: Reply<DatabaseId>) {
        let id = DatabaseId(self.context.next_id);
        self.context.next_id += 1;
        let ActorContext { options, tasks, .. } = &self.context;
        match PendingMember::new(id, config, options, tasks) {
            Err(invalid) => drop(reply.send(Err(invalid.into()))),
            Ok(pending) => {
                let checks = self.checks.borrow().clone();
                let settings = once(options.settings);
                self.spawn_background(async move {
                    let report = pending.check(&checks, settings).await;
                    Message::Checked {
                        pending: Box::new(pending),
                        report,
                        reply,
                    }
                });
            }
        }
    }

    fn add(
        &mut self,
        pending: PendingMember,
        report: Report,
        reply: Reply<DatabaseId>,
        now: Instant,
    ) {
        let database = pending.member.database().clone();
        let id = database.id;
        if let Some(reason) = report.unhealthy.clone()
            && !pending.config.skip_initial_health_check
        {
            return drop(reply.send(Err(Error::Unhealthy { database, reason })));
        }
        self.add_member(pending, report, now);
        self.context.views.emit(Event::DatabaseAdded(database));
        self.answer(reply, Ok(id), now);
    }

    fn add_member(&mut self, pending: PendingMember, report: Report, now: Instant) {
        let id = pending.member.id();
        self.state.add(pending.new_member(report), now);
        let environment = Environment {
            tasks: &self.context.tasks,
            mailbox: &self.context.mailbox,
            ended: &self.context.ended,
            checks: self.checks.subscribe(),
            pace: self.pace.subscribe(),
            options: &self.context.options,
        };
        self.members
            .insert(id, MemberTasks::spawn(pending, environment));
    }

    fn remove(&mut self, id: DatabaseId, now: Instant) -> Result<(), Error> {
        self.state.remove(id, now)?;
        // First the route to the new one is published, then this one ends.
        self.apply_effects(now);
        if let Some(member_tasks) = self.members.remove(&id) {
            let database = member_tasks.member.database().clone();
            self.shut_down(member_tasks);
            self.forget_switches(id);
            self.publish(now);
            self.context.views.emit(Event::DatabaseRemoved(database));
        }
        Ok(())
    }

    /// Commands in flight get their answers before the connection ends.
    fn shut_down(&self, mut member_tasks: MemberTasks) {
        member_tasks.settle();
        let drain_timeout = self.context.options.timeouts.response;
        let ended = self.context.ended.clone();
        self.context.tasks.spawn(async move {
            ended
                .run_until_cancelled(tokio::time::sleep(drain_timeout))
                .await;
            drop(member_tasks);
        });
    }

    fn set_weight(&mut self, id: DatabaseId, weight: f64, now: Instant) -> Result<(), Error> {
        let member_tasks = self.members.get(&id).ok_or(Error::UnknownDatabase(id))?;
        let weight = valid_weight(&member_tasks.member.database().name, weight)?;
        self.state.set_weight(id, weight, now)
    }

    fn probe(&mut self, id: DatabaseId, reply: Reply<()>) {
        let Some(member_tasks) = self.members.get(&id) else {
            return drop(reply.send(Err(Error::UnknownDatabase(id))));
        };
        let target = Arc::clone(&member_tasks.target);
        let checks = self.checks.borrow().clone();
        let settings = once(self.context.options.settings);
        self.spawn_background(async move {
            let report = crate::health::round(&target, &checks, settings).await;
            Message::Probed { id, report, reply }
        });
    }

    /// What takes time is done elsewhere, and comes back as a message.
    pub(super) fn spawn_background(&self, work: impl Future<Output = Message> + Send + 'static) {
        let mailbox = self.context.mailbox.clone();
        let ended = self.context.ended.clone();
        self.context.tasks.spawn(async move {
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

/// However it ends: no command waits for a decision that is not made.
impl Drop for Actor {
    fn drop(&mut self) {
        publish::end(&self.context.views);
        self.context.ended.cancel();
    }
}

/// One probe is enough while a caller waits.
fn once(settings: ProbeSettings) -> ProbeSettings {
    ProbeSettings {
        probes: 1,
        delay: Duration::ZERO,
        ..settings
    }
}
