//! Which models fail on this server, and when to try them again.
//!
//! A 500 is about one model on one server: the server may serve its other models well, and the
//! model may run well elsewhere. After a failure the pair is avoided for a second, doubling up to
//! a minute while failures go on; then one request at a time is let through, and the first answer
//! that begins clears the record.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::report::Evidence;
use crate::backend::Fault;
use crate::domain::ModelName;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Breakers {
    models: HashMap<ModelName, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    until: Instant,
    fault: Fault,
}

impl Breakers {
    /// Counts a failure; returns when the model may be tried again.
    pub(super) fn failed(&mut self, model: &ModelName, fault: Fault, now: Instant) -> Instant {
        let record = self.models.entry(model.clone()).or_insert(Record {
            failures: 0,
            until: now,
            fault,
        });
        record.fault = fault;
        // Requests that were already running when it opened say nothing new.
        if record.failures == 0 || now >= record.until {
            let pause = FIRST
                .saturating_mul(1 << record.failures.min(16))
                .min(LONGEST);
            record.failures += 1;
            record.until = now + pause;
        }
        record.until
    }

    /// It works: forget its failures.
    pub(super) fn worked(&mut self, model: &ModelName) -> bool {
        self.models.remove(model).is_some()
    }

    /// True while the model is avoided here.
    pub(super) fn is_open(&self, model: &ModelName, now: Instant) -> bool {
        self.models
            .get(model)
            .is_some_and(|record| now < record.until)
    }

    /// True when it has failed and not worked since.
    pub(super) fn is_suspect(&self, model: &ModelName) -> bool {
        self.models.contains_key(model)
    }

    /// When the next model may be tried again.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        self.models
            .values()
            .map(|record| record.until)
            .filter(|until| *until > now)
            .min()
    }

    /// The records, to be shown.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let evidence = |(model, record): (&ModelName, &Record)| Evidence {
            model: model.clone(),
            fault: record.fault,
            failures: record.failures,
            until: record.until,
        };
        let mut all: Vec<_> = self.models.iter().map(evidence).collect();
        all.sort_unstable_by(|a, b| a.model.cmp(&b.model));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelName {
        ModelName::parse("m").unwrap()
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_the_first_success() {
        let mut now = Instant::now();
        let mut breakers = Breakers::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let until = breakers.failed(&model(), Fault::Status, now);
            assert!(breakers.is_open(&model(), now));
            pauses.push((until - now).as_secs());
            now = until;
            assert!(!breakers.is_open(&model(), now) && breakers.is_suspect(&model()));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(breakers.worked(&model()));
        assert!(!breakers.is_suspect(&model()));
    }

    #[test]
    fn failures_of_requests_already_running_count_once() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        let first = breakers.failed(&model(), Fault::Status, now);
        assert_eq!(breakers.failed(&model(), Fault::Status, now), first);
    }
}
