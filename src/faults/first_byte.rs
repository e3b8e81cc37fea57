//! How long a first byte takes, and when it has taken too long.
//!
//! A server that hangs is not found by its own timeouts when every client is more impatient than they
//! are. A client that leaves much later than an answer usually begins is evidence too; one alone may
//! have lost interest, several in a row without a first byte between them have not.

use std::time::Duration;

/// So many clients in a row, each of another request, with no first byte between them.
pub const LATE_IN_A_ROW: u32 = 3;

/// Before this nobody is late.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long an answer that nobody waits for any more may be computed where it is not known how long
/// that usually takes. A server that hangs must not keep all its slots for long.
const UNKNOWN: Duration = Duration::from_secs(5);

/// True when a client that leaves after `waited` has waited for much longer than usual.
#[must_use]
pub fn is_late(waited: Duration, p95: Option<Duration>) -> bool {
    waited > late_after(p95.unwrap_or_default())
}

/// For how long a server that computes an answer to its end, though its client has left, may be taken to
/// do so: until it is late.
#[must_use]
pub fn worth_a_slot(p95: Option<Duration>) -> Duration {
    p95.map_or(UNKNOWN, late_after)
}

fn late_after(p95: Duration) -> Duration {
    p95.saturating_mul(3).max(SHORTEST)
}

/// The estimate of the 95th percentile after one more sample. It moves by a fifth of itself upwards
/// for a sample above it and by a hundredth downwards for one below, so it rests where
/// one sample of twenty is above: no samples are kept. After Ma, Muthukrishnan, Sandler, "Frugal
/// streaming for estimating quantiles" (2013).
#[must_use]
pub fn next_p95(current: Option<Duration>, sample: Duration) -> Duration {
    match current {
        None => sample,
        Some(current) if sample > current => current.mul_f64(1.19).max(Duration::from_micros(1)),
        Some(current) => current.mul_f64(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_estimate_rests_near_the_percentile() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut estimate = None;
        let mut sum = 0.0;
        for i in 0..20_000 {
            let sample = ms(random.u64(0..1_000));
            let next = next_p95(estimate, sample);
            estimate = Some(next);
            if i >= 10_000 {
                sum += next.as_secs_f64();
            }
        }
        let mean = sum / 10_000.0;
        assert!((0.85..1.05).contains(&mean), "{mean}");
    }

    #[test]
    fn an_estimate_of_nothing_grows_again() {
        let mut estimate = Duration::ZERO;
        for _ in 0..200 {
            estimate = next_p95(Some(estimate), ms(100));
        }
        assert!(estimate > ms(90));
    }

    #[test]
    fn late_is_three_times_the_usual_and_a_second() {
        assert!(!is_late(ms(1_000), None) && is_late(ms(1_001), None));
        assert!(!is_late(ms(1_000), Some(ms(10))) && is_late(ms(1_001), Some(ms(10))));
        assert!(!is_late(ms(6_000), Some(ms(2_000))) && is_late(ms(6_001), Some(ms(2_000))));
    }

    #[test]
    fn what_nobody_waits_for_is_worth_a_slot_until_it_is_late() {
        for p95 in [ms(1), ms(400), ms(2_000)] {
            let until = worth_a_slot(Some(p95));
            assert!(!is_late(until, Some(p95)) && is_late(until + ms(1), Some(p95)));
        }
        assert_eq!(worth_a_slot(None), UNKNOWN);
    }
}
