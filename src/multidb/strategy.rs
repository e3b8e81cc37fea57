//! Who comes next.

use std::fmt::Debug;

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
    /// One of `candidates` (in order of insertion; only such as may be chosen now), or nobody. Asked
    /// after every change, so the answer must depend on nothing that changes without one.
    fn database(&self, candidates: &[Candidate]) -> Option<DatabaseId>;

    /// Whether `other` is worth leaving a well `active` for. Heavier: moving among equals would only
    /// disturb.
    fn prefers(&self, other: &Candidate, active: &Candidate) -> bool {
        other.weight > active.weight
    }
}

/// The heaviest; of equals, who was added first.
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
