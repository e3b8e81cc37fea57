//! How many probes of one check must pass.

/// How many probes must pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthCheckPolicy {
    /// Every one. Ends with the first that fails.
    #[default]
    HealthyAll,
    /// More than half: of 3 and of 4 probes one may fail, of 5 two. Ends as soon as either is
    /// certain (redis-py always asks on).
    HealthyMajority,
    /// One. Ends with the first that passes.
    HealthyAny,
}

/// What is known after some probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is well, however the rest would end.
    Healthy,
    /// It is not, however the rest would end.
    Unhealthy,
    /// Ask again.
    Undecided,
}

impl HealthCheckPolicy {
    /// What is known of `probes` after so many passed and so many failed.
    pub fn verdict(self, probes: u32, passed: u32, failed: u32) -> Verdict {
        let may_fail = match self {
            Self::HealthyAll => 0,
            Self::HealthyMajority => probes.saturating_sub(1) / 2,
            Self::HealthyAny => probes.saturating_sub(1),
        };
        if failed > may_fail {
            Verdict::Unhealthy
        } else if passed >= probes.saturating_sub(may_fail) {
            Verdict::Healthy
        } else {
            Verdict::Undecided
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs probes until the verdict: (how many were asked, the verdict).
    fn round(policy: HealthCheckPolicy, probes: &[bool]) -> (usize, Verdict) {
        let total = u32::try_from(probes.len()).expect("few probes");
        let (mut passed, mut failed) = (0, 0);
        for (asked, probe) in probes.iter().enumerate() {
            if *probe {
                passed += 1;
            } else {
                failed += 1;
            }
            let verdict = policy.verdict(total, passed, failed);
            if verdict != Verdict::Undecided {
                return (asked + 1, verdict);
            }
        }
        (probes.len(), Verdict::Undecided)
    }

    #[test]
    fn all_ends_with_the_first_failure() {
        let all = |probes: &[bool]| round(HealthCheckPolicy::HealthyAll, probes);
        assert_eq!(all(&[true, true, true]), (3, Verdict::Healthy));
        assert_eq!(all(&[false, true, true]), (1, Verdict::Unhealthy));
        assert_eq!(all(&[true, true, false]), (3, Verdict::Unhealthy));
    }

    #[test]
    fn a_majority_may_lose_one_of_three_one_of_four_two_of_five() {
        let majority = |probes: &[bool]| round(HealthCheckPolicy::HealthyMajority, probes).1;
        assert_eq!(majority(&[true]), Verdict::Healthy);
        assert_eq!(majority(&[false]), Verdict::Unhealthy);
        assert_eq!(majority(&[true, false]), Verdict::Unhealthy);
        assert_eq!(majority(&[false, true, true]), Verdict::Healthy);
        assert_eq!(majority(&[false, true, false]), Verdict::Unhealthy);
        assert_eq!(majority(&[false, true, true, true]), Verdict::Healthy);
        assert_eq!(majority(&[false, true, true, false]), Verdict::Unhealthy);
        assert_eq!(
            majority(&[false, true, true, false, true]),
            Verdict::Healthy
        );
        assert_eq!(
            majority(&[false, true, false, false, true]),
            Verdict::Unhealthy
        );
    }

    #[test]
    fn any_ends_with_the_first_success() {
        let any = |probes: &[bool]| round(HealthCheckPolicy::HealthyAny, probes);
        assert_eq!(any(&[false, true, false]), (2, Verdict::Healthy));
        assert_eq!(any(&[false, false, false]), (3, Verdict::Unhealthy));
        assert_eq!(any(&[true]), (1, Verdict::Healthy));
    }

    proptest! {
        /// A verdict given early is the one all probes would have given, and after all probes there
        /// is one.
        #[test]
        fn ending_early_changes_no_verdict(probes in proptest::collection::vec(any::<bool>(), 1..12)) {
            let total = probes.len();
            let passed = probes.iter().filter(|probe| **probe).count();
            for (policy, healthy) in [
                (HealthCheckPolicy::HealthyAll, passed == total),
                (HealthCheckPolicy::HealthyMajority, total - passed <= (total - 1) / 2),
                (HealthCheckPolicy::HealthyAny, passed > 0),
            ] {
                let expected = if healthy { Verdict::Healthy } else { Verdict::Unhealthy };
                prop_assert_eq!(round(policy, &probes).1, expected);
            }
        }
    }
}
