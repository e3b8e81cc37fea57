//! A command that did not simply succeed.
//!
//! What failed is told to the one who decides, and the decision is waited for: it takes microseconds
//! when the matter is clear and a confirmation's few dozen milliseconds when it is not, and after it
//! there is a better way or a reason to stay. Then the rule: what certainly had no effect is sent
//! again, what may be repeated too, and of the rest the caller is told that the outcome is unknown.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use redis::{RedisError, RedisResult};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Carrier, Job};
use crate::circuit::Trial;
use crate::error::Error;
use crate::failover::Message;
use crate::outcome::{Effect, FailureKind, Outcome};
use crate::views::{Route, Way};

/// What is to be done about an answer.
enum Next {
    /// It is the caller's.
    Return,
    /// It may be sent again.
    Again,
    /// It was perhaps carried out, and must not be sent again.
    Unknown,
}

impl Carrier {
    /// There is no plain way: finds one, or says since when there is none.
    pub(super) async fn find_a_way<J: Job>(&self, job: J) -> RedisResult<J::Answer> {
        let (route, trial) = self.way(Instant::now()).await?;
        let answer = self.send(job, &route, trial).await;
        self.go_on(job, route, answer).await
    }

    /// With an answer that came this way, until there is one for the caller.
    pub(super) async fn go_on<J: Job>(
        &self,
        job: J,
        mut route: Arc<Route>,
        mut answer: RedisResult<J::Answer>,
    ) -> RedisResult<J::Answer> {
        let mut repetitions = 0;
        while let Route::Open(way) = &*route {
            match self.consider(job, way, &answer).await {
                Next::Return => return answer,
                Next::Again if repetitions < self.retry.retries => {}
                Next::Again if answer.is_ok() || !sent(&job, way, &answer) => return answer,
                Next::Again | Next::Unknown => return self.unknown(way, answer),
            }
            repetitions += 1;
            self.views.counters.retries.add_one();
            let began = Instant::now();
            self.pause(way, repetitions).await;
            // Nothing has been sent again yet; if there is no way, the first outcome stands.
            let (next, trial) = match self.way(began).await {
                Ok(found) => found,
                Err(_) if sent(&job, way, &answer) => return self.unknown(way, answer),
                Err(error) => return Err(error.into()),
            };
            answer = self.send(job, &next, trial).await;
            route = next;
        }
        answer
    }

    /// Where commands go now, waiting while that is undecided.
    pub(super) async fn active(&self) -> Result<Arc<Route>, Error> {
        let (route, _place) = self.way(Instant::now()).await?;
        Ok(route)
    }

    async fn send<J: Job>(
        &self,
        job: J,
        route: &Route,
        trial: Option<Trial>,
    ) -> RedisResult<J::Answer> {
        let Route::Open(way) = route else {
            return Err(Error::Closed.into());
        };
        let answer = self.ask(job, way).await;
        if let (Some(trial), (Outcome::Success, _)) = (&trial, judge(&job, way, &answer)) {
            let message = Message::TrialSucceeded {
                id: way.member.id(),
                episode: trial.episode(),
            };
            // Full of news: this success is not needed.
            drop(self.mailbox.try_send(message));
        }
        answer
    }

    async fn consider<J: Job>(&self, job: J, way: &Way, answer: &RedisResult<J::Answer>) -> Next {
        let (outcome, effect) = judge(&job, way, answer);
        let kind = match outcome {
            Outcome::Success => {
                way.member.stats().successes.add_one();
                return Next::Return;
            }
            Outcome::Neutral => return Next::Return,
            Outcome::Failure(kind) => kind,
        };
        self.report(job, way, kind, answer).await;
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
        way: &Way,
        kind: FailureKind,
        answer: &RedisResult<J::Answer>,
    ) {
        way.member.stats().failed(kind);
        let (reply, decided) = oneshot::channel();
        let message = Message::Failed {
            id: way.member.id(),
            episode: way.episode,
            link: way.link.id(),
            kind,
            commands: job.names().into(),
            error: J::complaint(answer).into(),
            reply,
        };
        if self.mailbox.send(message).await.is_ok() {
            drop(timeout(self.patience, decided).await);
        }
    }

    /// The pause before a repetition; none when there is another way now.
    async fn pause(&self, last: &Way, repetition: u32) {
        let mut changes = self.views.changes.subscribe();
        let until = Instant::now() + self.retry.pause(repetition, fastrand::f64());
        while leads_over(&self.views.route.load(), last) {
            tokio::select! {
                () = sleep_until(until) => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// A way, and on a half-open database a place. Waits while that is undecided, for as long as a
    /// response may take; and when nobody is there, for as long as the pauses between all
    /// repetitions would take.
    async fn way(&self, began: Instant) -> Result<(Arc<Route>, Option<Trial>), Error> {
        let mut changes = self.views.changes.subscribe();
        loop {
            let route = self.views.route.load_full();
            let trials = match &*route {
                Route::Open(way) if way.trial.is_some() => Some(Arc::clone(way.member.trials())),
                _ => None,
            };
            // Listens before it asks for a place, so that none is given back unheard.
            let mut freed = pin!(trials.as_ref().map(|trials| trials.freed().notified()));
            if let Some(freed) = freed.as_mut().as_pin_mut() {
                freed.enable();
            }
            let (patience, since) = match &*route {
                Route::Open(way) => {
                    let place = match way.trial {
                        None => Some(None),
                        Some(limit) => way.member.trials().reserve(way.episode, limit).map(Some),
                    };
                    if let Some(trial) = place
                        && !way.link.is_over()
                    {
                        return Ok((route, trial));
                    }
                    (self.patience, way.down_since.unwrap_or(began))
                }
                Route::Undecided { since } => (self.patience, *since),
                Route::Nobody { since } => (self.all_pauses(), *since),
                Route::Closed => return Err(Error::Closed),
            };
            let until = began + patience;
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
        if down_for < self.temporarily {
            Error::TemporarilyUnavailable { down_for }
        } else {
            Error::NoValidDatabase { down_for }
        }
    }

    fn unknown<T>(&self, way: &Way, answer: RedisResult<T>) -> RedisResult<T> {
        self.views.counters.outcomes_unknown.add_one();
        let database = way.member.database().clone();
        answer.map_err(|source| RedisError::from(Error::OutcomeUnknown { database, source }))
    }
}

fn leads_over(route: &Route, last: &Way) -> bool {
    matches!(route, Route::Open(way) if Arc::ptr_eq(&way.link, &last.link))
}

/// Whether it may have had an effect.
fn sent<J: Job>(job: &J, way: &Way, answer: &RedisResult<J::Answer>) -> bool {
    judge(job, way, answer).1 == Effect::Unknown
}

/// As the job says; but of an error from a cluster's client less is certain: it may be another
/// node's, or about something the client did besides. And of a pipeline it is one refusal among
/// answers that are not shown: the commands before it may well have been carried out.
fn judge<J: Job>(job: &J, way: &Way, answer: &RedisResult<J::Answer>) -> (Outcome, Effect) {
    let (outcome, effect) = job.judge(answer);
    if answer.is_ok() || !way.member.dialer().is_cluster() {
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
        && !job.is_loose();
    (outcome, if certain { effect } else { Effect::Unknown })
}
