//! How long answers are, for requests that do not say how long they may be.
//!
//! What a request reserves should be about what it will use. Who names a limit reserves all of it.
//! For the others it is what this model's answers have been like lately, on this router: a running
//! average with a memory of sixteen answers.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::domain::ModelName;

/// Before a model has answered.
const FIRST: u64 = 256;
/// Answers remembered, as a shift.
const MEMORY: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Outputs(DashMap<ModelName, AtomicU64>);

impl Outputs {
    pub(super) fn expect(&self, model: &ModelName) -> u64 {
        let sum = self.0.get(model).map(|sum| sum.load(Ordering::Relaxed));
        sum.map_or(FIRST, |sum| sum >> MEMORY)
    }

    /// Two answers at once may count as one: it is an estimate.
    pub(super) fn saw(&self, model: &ModelName, tokens: u64) {
        if !self.0.contains_key(model) {
            self.0
                .entry(model.clone())
                .or_insert(AtomicU64::new(FIRST << MEMORY));
        }
        if let Some(sum) = self.0.get(model) {
            let old = sum.load(Ordering::Relaxed);
            sum.store(
                old - (old >> MEMORY) + tokens.min(1 << 40),
                Ordering::Relaxed,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_answers_are_like() {
        let (outputs, model) = (Outputs::default(), ModelName::parse("m").unwrap());
        assert_eq!(outputs.expect(&model), 256);
        for _ in 0..200 {
            outputs.saw(&model, 1000);
        }
        assert!(
            (985..=1000).contains(&outputs.expect(&model)),
            "{}",
            outputs.expect(&model)
        );
        for _ in 0..200 {
            outputs.saw(&model, 8);
        }
        assert!(
            (8..24).contains(&outputs.expect(&model)),
            "{}",
            outputs.expect(&model)
        );
    }
}
