//! Which models fail on this server, and when to try them again.
//!
//! A failure is about one model on one server: the server may serve its other models well, and the
//! model may run well elsewhere. The pair is then avoided for a second, doubling up to a minute while
//! failures go on; other servers are preferred meanwhile. After the pause it is *half-open*: one request
//! at a time is a trial, and an answer that begins closes it again. Requests that were running already
//! are no trials: they take nothing from one, and a stream of theirs that delivers shows as
//! well that the model works. A server that has said until when it takes nothing gets nothing until then.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::fault::{Avoid, Fault, Pause};
use crate::domain::ModelName;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A trial keeps others waiting for so long: one that is not streamed may take minutes.
const ALONE: Duration = Duration::from_secs(1);

/// The failures of one server, by model.
#[derive(Debug, Default)]
pub struct Breakers {
    models: HashMap<ModelName, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    until: Instant,
    fault: Fault,
    /// The server has asked for nothing before then: also where no other server is left.
    closed: Option<Closed>,
    /// A trial is running, and keeps others waiting until then.
    trial: Option<Instant>,
}

/// A pause that a server has asked for, as it is known from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When it is over.
    pub until: Instant,
    /// The status it was asked for with.
    pub status: u16,
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing is known against it.
    Free,
    /// It has failed a moment ago, or a trial has been running for a while: only if no other server is left.
    Avoided,
    /// Half-open: this request is the trial.
    Trial,
    /// No: a trial has just begun, or the server has asked for a pause.
    Refused,
}

/// What is on record of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The model.
    pub model: ModelName,
    /// How it failed last.
    pub fault: Fault,
    /// Failures that each extended the pause.
    pub failures: u32,
    /// Until when it is avoided.
    pub until: Instant,
}

impl Breakers {
    /// Counts a failure, if it is one that makes requests avoid the server; says whether it is.
    pub fn failed(&mut self, model: &ModelName, fault: Fault, now: Instant) -> bool {
        let pause = match fault.consequence().avoid {
            Avoid::No => return false,
            Avoid::Doubling => None,
            Avoid::For(pause) => Some(pause),
        };
        let record = self.models.entry(model.clone()).or_insert(Record {
            failures: 0,
            until: now,
            fault,
            closed: None,
            trial: None,
        });
        record.fault = fault;
        if let Some(pause) = pause {
            record.failures += 1;
            record.close(pause, now);
        } else if record.failures == 0 || now >= record.until {
            // Requests that were already running when it opened say nothing new.
            let doubled = FIRST.saturating_mul(1 << record.failures.min(16));
            record.failures += 1;
            record.until = now + doubled.min(LONGEST);
        }
        true
    }

    /// It works: forget its failures; says whether there were any. A pause that the server has asked for
    /// stays: what works now was sent before.
    pub fn worked(&mut self, model: &ModelName, now: Instant) -> bool {
        match self.models.get(model) {
            Some(record) if record.is_closed(now) => false,
            _ => self.models.remove(model).is_some(),
        }
    }

    /// A stream that was running delivers: as good as a trial, once the pause is over.
    pub fn delivered(&mut self, model: &ModelName, now: Instant) -> bool {
        self.is_half_open(model, now) && self.worked(model, now)
    }

    /// Decides on one more request; a trial is running from then on.
    pub fn admit(&mut self, model: &ModelName, now: Instant) -> Admission {
        let Some(record) = self.models.get_mut(model) else {
            return Admission::Free;
        };
        if record.is_closed(now) {
            return Admission::Refused;
        }
        match record.trial {
            _ if now < record.until => Admission::Avoided,
            Some(alone) if now < alone => Admission::Refused,
            Some(_) => Admission::Avoided,
            None => {
                record.trial = Some(now + ALONE);
                Admission::Trial
            }
        }
    }

    /// True while it would refuse every request.
    #[must_use]
    pub fn refuses(&self, model: &ModelName, now: Instant) -> bool {
        self.models
            .get(model)
            .is_some_and(|record| record.is_closed(now) || record.awaits_trial(now))
    }

    /// The pause that is not over, if the server has asked for one.
    #[must_use]
    pub fn closed(&self, model: &ModelName, now: Instant) -> Option<Closed> {
        let record = self.models.get(model)?;
        record.closed.filter(|closed| now < closed.until)
    }

    /// The trial is over, however it ended.
    pub fn trial_ended(&mut self, model: &ModelName) {
        if let Some(record) = self.models.get_mut(model) {
            record.trial = None;
        }
    }

    /// True while the model is avoided here: also while a trial takes so long that others are let through.
    #[must_use]
    pub fn is_open(&self, model: &ModelName, now: Instant) -> bool {
        self.models.get(model).is_some_and(|record| {
            now < record.pause_ends() || record.trial.is_some_and(|alone| now >= alone)
        })
    }

    /// True when the pause is over, and it has not worked since.
    #[must_use]
    pub fn is_half_open(&self, model: &ModelName, now: Instant) -> bool {
        self.models
            .get(model)
            .is_some_and(|record| now >= record.pause_ends())
    }

    /// True when it has failed and not worked since.
    #[must_use]
    pub fn is_suspect(&self, model: &ModelName) -> bool {
        self.models.contains_key(model)
    }

    /// When the next model may be tried again, or its trial no longer keeps others waiting.
    #[must_use]
    pub fn next_trial(&self, now: Instant) -> Option<Instant> {
        self.models
            .values()
            .flat_map(|record| [Some(record.pause_ends()), record.trial])
            .flatten()
            .filter(|until| *until > now)
            .min()
    }

    /// A refusal between servers that is on record.
    #[must_use]
    pub fn rejection(&self) -> Option<Fault> {
        let mut faults = self.models.values().map(|record| record.fault);
        faults.find(|fault| matches!(fault, Fault::Rejected(_)))
    }

    /// The records, to be shown, by model.
    #[must_use]
    pub fn all(&self) -> Vec<Failing> {
        let failing = |(model, record): (&ModelName, &Record)| Failing {
            model: model.clone(),
            fault: record.fault,
            failures: record.failures,
            until: record.pause_ends(),
        };
        let mut all: Vec<_> = self.models.iter().map(failing).collect();
        all.sort_unstable_by(|a, b| a.model.cmp(&b.model));
        all
    }
}

// === impl Record ===

impl Record {
    /// Of several pauses the one that ends last counts.
    fn close(&mut self, pause: Pause, now: Instant) {
        let until = now + pause.length;
        if self.closed.is_none_or(|closed| closed.until <= until) {
            self.closed = Some(Closed {
                until,
                status: pause.status,
            });
        }
    }

    fn is_closed(&self, now: Instant) -> bool {
        self.closed.is_some_and(|closed| now < closed.until)
    }

    fn awaits_trial(&self, now: Instant) -> bool {
        now >= self.until && self.trial.is_some_and(|alone| now < alone)
    }

    fn pause_ends(&self) -> Instant {
        self.closed
            .map_or(self.until, |closed| closed.until.max(self.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelName {
        ModelName::parse("m").unwrap()
    }

    fn busy(status: u16, length: Duration) -> Fault {
        Fault::Busy(Some(Pause { status, length }))
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_the_first_success() {
        let mut now = Instant::now();
        let mut breakers = Breakers::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(breakers.failed(&model(), Fault::Status, now));
            let until = breakers.next_trial(now).unwrap();
            assert_eq!(breakers.admit(&model(), now), Admission::Avoided);
            pauses.push((until - now).as_secs());
            now = until;
            assert!(breakers.is_half_open(&model(), now));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(breakers.worked(&model(), now));
        assert_eq!(breakers.admit(&model(), now), Admission::Free);
    }

    #[test]
    fn failures_of_requests_already_running_count_once() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        breakers.failed(&model(), Fault::Status, now);
        let first = breakers.next_trial(now);
        breakers.failed(&model(), Fault::Status, now);
        assert_eq!(breakers.next_trial(now), first);
    }

    #[test]
    fn half_open_lets_one_trial_through_at_a_time() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        breakers.failed(&model(), Fault::Broken, now);
        let later = breakers.next_trial(now).unwrap();
        assert_eq!(breakers.admit(&model(), later), Admission::Trial);
        assert_eq!(breakers.admit(&model(), later), Admission::Refused);
        breakers.trial_ended(&model());
        assert_eq!(breakers.admit(&model(), later), Admission::Trial);
    }

    #[test]
    fn a_trial_that_takes_long_keeps_nobody_waiting() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        breakers.failed(&model(), Fault::Broken, now);
        let later = breakers.next_trial(now).unwrap();
        assert_eq!(breakers.admit(&model(), later), Admission::Trial);
        assert!(breakers.refuses(&model(), later));
        let alone = breakers.next_trial(later).unwrap();
        assert_eq!(alone - later, ALONE);
        assert!(!breakers.is_open(&model(), later) && breakers.is_open(&model(), alone));
        assert!(!breakers.refuses(&model(), alone));
        assert_eq!(breakers.admit(&model(), alone), Admission::Avoided);
    }

    #[test]
    fn a_stream_that_delivers_counts_once_the_pause_is_over() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        breakers.failed(&model(), Fault::Status, now);
        assert!(!breakers.delivered(&model(), now));
        let later = breakers.next_trial(now).unwrap();
        assert!(breakers.delivered(&model(), later));
        assert!(!breakers.is_suspect(&model()));
    }

    #[test]
    fn a_server_that_has_asked_for_a_pause_gets_nothing_until_then() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        let pause = Duration::from_secs(7);
        breakers.failed(&model(), busy(503, pause), now);
        assert_eq!(breakers.admit(&model(), now), Admission::Refused);
        // What was sent before says nothing about the pause.
        assert!(!breakers.worked(&model(), now) && breakers.refuses(&model(), now));
        assert_eq!(breakers.next_trial(now), Some(now + pause));
        let closed = breakers.closed(&model(), now).unwrap();
        assert_eq!((closed.until, closed.status), (now + pause, 503));
        assert_eq!(breakers.closed(&model(), now + pause), None);
        assert_eq!(breakers.admit(&model(), now + pause), Admission::Trial);
    }

    #[test]
    fn of_two_pauses_that_were_asked_for_the_one_that_ends_last_counts() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        breakers.failed(&model(), busy(429, Duration::from_secs(7)), now);
        breakers.failed(&model(), busy(503, Duration::from_secs(5)), now);
        assert_eq!(breakers.closed(&model(), now).unwrap().status, 429);
        breakers.failed(&model(), busy(503, Duration::from_secs(9)), now);
        assert_eq!(breakers.closed(&model(), now).unwrap().status, 503);
    }

    #[test]
    fn a_short_pause_that_was_asked_for_does_not_close_a_long_one_of_failures() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        breakers.failed(&model(), Fault::Status, now);
        breakers.failed(&model(), busy(503, Duration::from_millis(1)), now);
        let later = now + Duration::from_millis(2);
        assert_eq!(breakers.admit(&model(), later), Admission::Avoided);
    }

    #[test]
    fn what_says_nothing_about_the_model_is_not_on_record() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        for fault in [Fault::Refused, Fault::Missing, Fault::Unsupported] {
            assert!(!breakers.failed(&model(), fault, now));
        }
        assert!(breakers.all().is_empty());
    }
}
