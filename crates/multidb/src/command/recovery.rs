//! A command that did not simply succeed.
//!
//! The failure is reported to the failover actor, and its decision is waited for: it takes microseconds
//! when the matter is clear and a confirmation's few dozen milliseconds when it is not, and after it
//! there is a better route or a reason to stay. Then the rule: what certainly had no effect is sent
//! again, what may be repeated too, and of the rest the caller gets the error that the outcome is unknown.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use redis::{RedisError, RedisResult};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Executor, Job};
use crate::circuit::Trial;
use crate::error::Error;
use crate::failover::Message;
use crate::outcome::{Effect, FailureKind, Outcome};
use crate::views::{Path, Route};

/// What is to be done about an answer.
enum Next {
    /// It is the caller's.
    Return,
    /// It may be sent again.
    Again,
    /// It was perhaps carried out, and must not be sent again.
    Unknown,
}

impl Executor {
    /// There is no simple route: waits for one, or says since when there is none.
    pub(super) async fn route_and_send<J: Job>(&self, job: J) -> RedisResult<J::Answer> {
        let (route, trial) = self.open_route(Instant::now()).await?;
        let answer = self.send(job, &route, trial).await;
        self.go_on(job, route, answer).await
    }

    /// With an answer that came over this route, until there is one for the caller.
    pub(super) async fn go_on<J: Job>(
        &self,
        job: J,
        mut route: Arc<Route>,
        mut answer: RedisResult<J::Answer>,
    ) -> RedisResult<J::Answer> {
        let mut repetitions = 0;
        while let Route::Open(path) = &*route {
            match self.evaluate(job, path, &answer).await {
                Next::Return => return answer,
                Next::Again if repetitions < self.retry.retries => {}
                Next::Again if answer.is_ok() || !sent(&job, path, &answer) => return answer,
                Next::Again | Next::Unknown => return self.unknown(path, answer),
            }
            repetitions += 1;
            self.views.counters.retries.add_one();
            let began = Instant::now();
            self.pause(path, repetitions).await;
            // Nothing has been sent again yet; if there is no route, the first outcome stands.
            let (next, trial) = match self.open_route(began).await {
                Ok(found) => found,
                Err(_) if sent(&job, path, &answer) => return self.unknown(path, answer),
                Err(error) => return Err(error.into()),
            };
            answer = self.send(job, &next, trial).await;
            route = next;
        }
        answer
    }

    /// Where commands go now, waiting while that is undecided.
    pub(super) async fn active(&self) -> Result<Arc<Route>, Error> {
        let (route, _trial) = self.open_route(Instant::now()).await?;
        Ok(route)
    }

    async fn send<J: Job>(
        &self,
        job: J,
        route: &Route,
        trial: Option<Trial>,
    ) -> RedisResult<J::Answer> {
        let Route::Open(path) = route else {
            return Err(Error::Closed.into());
        };
        let answer = self.ask(job, path).await;
        if let (Some(trial), (Outcome::Success, _)) = (&trial, classify(&job, path, &answer)) {
            let message = Message::TrialSucceeded {
                id: path.member.id(),
                episode: trial.episode(),
            };
            // A full mailbox: this success is not needed.
            drop(self.mailbox.try_send(message));
        }
        answer
    }

    async fn evaluate<J: Job>(&self, job: J, path: &Path, answer: &RedisResult<J::Answer>) -> Next {
        let (outcome, effect) = classify(&job, path, answer);
        let kind = match outcome {
            Outcome::Success => {
                path.member.stats().successes.add_one();
                return Next::Return;
            }
            Outcome::Neutral => return Next::Return,
            Outcome::Failure(kind) => kind,
        };
        self.report(job, path, kind, answer).await;
        match effect {
            Effect::None => Next::Again,
            Effect::Unknown if job.may_repeat() => Next::Again,
            // Part of a pipeline was carried out: its own answers say which.
            Effect::Unknown if answer.is_ok() => Next::Return,
            Effect::Unknown => Next::Unknown,
        }
    }

    /// Until it has been decided what this failure means.
    async fn report<J: Job>(
        &self,
        job: J,
        path: &Path,
        kind: FailureKind,
        answer: &RedisResult<J::Answer>,
    ) {
        path.member.stats().failed(kind);
        let (reply, decided) = oneshot::channel();
        let message = Message::Failed {
            id: path.member.id(),
            episode: path.episode,
            link: path.link.id(),
            kind,
            commands: job.names().into(),
            error: J::error_text(answer).into(),
            reply,
        };
        if self.mailbox.send(message).await.is_ok() {
            drop(timeout(self.response_timeout, decided).await);
        }
    }

    /// The pause before a repetition; none when there is another route now.
    async fn pause(&self, last: &Path, repetition: u32) {
        let mut changes = self.views.changes.subscribe();
        let until = Instant::now() + self.retry.pause(repetition, fastrand::f64());
        while leads_over(&self.views.route.load(), last) {
            tokio::select! {
                () = sleep_until(until) => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// An open route, and on a half-open database a trial slot. Waits while that is undecided, for as long as a
    /// response may take; and when no database is available, for as long as the pauses between all
    /// repetitions would take.
    async fn open_route(&self, began: Instant) -> Result<(Arc<Route>, Option<Trial>), Error> {
        let mut changes = self.views.changes.subscribe();
        loop {
            let route = self.views.route.load_full();
            let trials = match &*route {
                Route::Open(path) if path.trial.is_some() => Some(Arc::clone(path.member.trials())),
                _ => None,
            };
            // Waits for a notification before it asks for a slot, so that none is missed.
            let mut freed = pin!(trials.as_ref().map(|trials| trials.freed().notified()));
            if let Some(freed) = freed.as_mut().as_pin_mut() {
                freed.enable();
            }
            let (max_wait, since) = match &*route {
                Route::Open(path) => {
                    let slot = match path.trial {
                        None => Some(None),
                        Some(limit) => path.member.trials().reserve(path.episode, limit).map(Some),
                    };
                    if let Some(trial) = slot
                        && !path.link.is_over()
                    {
                        return Ok((route, trial));
                    }
                    (self.response_timeout, path.down_since.unwrap_or(began))
                }
                Route::Undecided { since } => (self.response_timeout, *since),
                Route::Unavailable { since } => (self.all_pauses(), *since),
                Route::Closed => return Err(Error::Closed),
            };
            let until = began + max_wait;
            if Instant::now() >= until {
                return Err(self.unavailable(since));
            }
            let freed = async {
                match freed.as_mut().as_pin_mut() {
                    Some(freed) => freed.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(until) => {}
                () = freed => {}
                changed = changes.changed() => if changed.is_err() { return Err(Error::Closed) },
            }
        }
    }

    fn all_pauses(&self) -> std::time::Duration {
        let pauses = (1..=self.retry.retries).map(|n| self.retry.pause(n, 1.0));
        pauses.sum()
    }

    fn unavailable(&self, since: Instant) -> Error {
        self.views.counters.unavailable.add_one();
        let down_for = since.elapsed();
        if down_for < self.temporary_limit {
            Error::TemporarilyUnavailable { down_for }
        } else {
            Error::NoValidDatabase { down_for }
        }
    }

    fn unknown<T>(&self, path: &Path, answer: RedisResult<T>) -> RedisResult<T> {
        self.views.counters.outcomes_unknown.add_one();
        let database = path.member.database().clone();
        answer.map_err(|source| RedisError::from(Error::OutcomeUnknown { database, source }))
    }
}

fn leads_over(route: &Route, last: &Path) -> bool {
    matches!(route, Route::Open(path) if Arc::ptr_eq(&path.link, &last.link))
}

/// Whether it may have had an effect.
fn sent<J: Job>(job: &J, path: &Path, answer: &RedisResult<J::Answer>) -> bool {
    classify(job, path, answer).1 == Effect::Unknown
}

/// As the job says; but of an error from a cluster's client less is certain: it may be another
/// node's, or about something the client did besides. And of a pipeline it is one refusal among
/// answers that are not shown: the commands before it may well have been carried out.
fn classify<J: Job>(job: &J, path: &Path, answer: &RedisResult<J::Answer>) -> (Outcome, Effect) {
    let (outcome, effect) = job.classify(answer);
    if answer.is_ok() || !path.member.dialer().is_cluster() {
        return (outcome, effect);
    }
    let certain = matches!(
        outcome,
        Outcome::Neutral
            | Outcome::Failure(
                FailureKind::Redirected
                    | FailureKind::ReadOnly
                    | FailureKind::TryAgain
                    | FailureKind::NoWrites
                    | FailureKind::ClusterDown
            )
    ) && !job.is_spread()
        && !job.is_non_atomic();
    (outcome, if certain { effect } else { Effect::Unknown })
}
