//! How long answers are, for requests that do not say how long they may be.
//!
//! What a request reserves should be about what it will use. Who names a limit reserves all of it.
//! For the others it is how long this model's answers have been recently, on this router: a running
//! average with a window of sixteen answers.

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
    pub(super) fn estimate(&self, model: &ModelName) -> u64 {
        let sum = self.0.get(model).map(|sum| sum.load(Ordering::Relaxed));
        sum.map_or(FIRST, |sum| sum >> MEMORY)
    }

    /// Two answers at once may count as one: it is an estimate.
    pub(super) fn record(&self, model: &ModelName, tokens: u64) {
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
    fn it_follows_the_length_of_answers() {
        let (outputs, model) = (Outputs::default(), ModelName::parse("m").unwrap());
        assert_eq!(outputs.estimate(&model), 256);
        for _ in 0..200 {
            outputs.record(&model, 1000);
        }
        assert!(
            (985..=1000).contains(&outputs.estimate(&model)),
            "{}",
            outputs.estimate(&model)
        );
        for _ in 0..200 {
            outputs.record(&model, 8);
        }
        assert!(
            (8..24).contains(&outputs.estimate(&model)),
            "{}",
            outputs.estimate(&model)
        );
    }
}
