//! Which database comes next.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::circuit::CircuitState;
use super::database::DatabaseId;

/// A database to choose from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Which.
    pub id: DatabaseId,
    /// Its weight.
    pub weight: f64,
    /// Whether it is trusted.
    pub circuit: CircuitState,
    /// Whether it takes the commands now.
    pub active: bool,
}

/// Chooses the database that takes the commands.
pub trait FailoverStrategy: Debug + Send + Sync + 'static {
    /// One of `candidates` (in order of insertion; only such as may be chosen now), or none. Asked
    /// after every change, so the answer must depend on nothing that changes without one.
    fn database(&self, candidates: &[Candidate]) -> Option<DatabaseId>;

    /// Whether `other` is worth leaving a healthy `active` for. Heavier: moving among equals would only
    /// disturb.
    fn prefers(&self, other: &Candidate, active: &Candidate) -> bool {
        other.weight > active.weight
    }
}

/// A strategy, which may be a caller's, inside the failover actor: when it panics, weights decide.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn FailoverStrategy>);

impl Guarded {
    fn ask<T>(&self, ask: impl Fn(&dyn FailoverStrategy) -> T) -> T {
        catch_unwind(AssertUnwindSafe(|| ask(self.0.as_ref()))).unwrap_or_else(|_| {
            tracing::error!("the failover strategy panicked; weights decide");
            ask(&WeightBasedFailoverStrategy)
        })
    }
}

impl FailoverStrategy for Guarded {
    fn database(&self, candidates: &[Candidate]) -> Option<DatabaseId> {
        self.ask(|strategy| strategy.database(candidates))
    }

    fn prefers(&self, other: &Candidate, active: &Candidate) -> bool {
        self.ask(|strategy| strategy.prefers(other, active))
    }
}

/// The heaviest; of equals, the first added.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightBasedFailoverStrategy;

impl FailoverStrategy for WeightBasedFailoverStrategy {
    fn database(&self, candidates: &[Candidate]) -> Option<DatabaseId> {
        // `max_by` takes the last of equals, hence from behind.
        candidates
            .iter()
            .rev()
            .max_by(|one, other| one.weight.total_cmp(&other.weight))
            .map(|candidate| candidate.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u64, weight: f64) -> Candidate {
        Candidate {
            id: DatabaseId(id),
            weight,
            circuit: CircuitState::Closed,
            active: false,
        }
    }

    #[derive(Debug)]
    struct Panicking;

    impl FailoverStrategy for Panicking {
        fn database(&self, _: &[Candidate]) -> Option<DatabaseId> {
            unreachable!("panicking")
        }

        fn prefers(&self, _: &Candidate, _: &Candidate) -> bool {
            unreachable!("panicking")
        }
    }

    #[test]
    fn where_a_strategy_panics_weights_decide() {
        let strategy = Guarded(Arc::new(Panicking));
        let candidates = [candidate(1, 0.1), candidate(2, 1.0)];
        assert_eq!(strategy.database(&candidates), Some(DatabaseId(2)));
        assert!(strategy.prefers(&candidates[1], &candidates[0]));
        assert!(!strategy.prefers(&candidates[0], &candidates[1]));
    }

    #[test]
    fn the_heaviest_is_chosen_and_of_equals_the_first_added() {
        let choose = |candidates: &[Candidate]| WeightBasedFailoverStrategy.database(candidates);
        assert_eq!(choose(&[]), None);
        assert_eq!(
            choose(&[candidate(1, 0.1), candidate(2, 1.0), candidate(3, 1.0)]),
            Some(DatabaseId(2))
        );
        assert_eq!(
            choose(&[candidate(4, 0.0), candidate(5, 0.0)]),
            Some(DatabaseId(4))
        );
    }
}
