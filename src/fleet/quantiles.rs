//! How long first bytes take on one server, as quantiles of the last minutes.
//!
//! A histogram of a few cells that leases count into, each bucket a quarter longer than the one before. The
//! endpoint's actor halves all counts again and again, so that what was long ago weighs less and less.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// From a tenth of a millisecond to an hour.
const BUCKETS: usize = 80;
const SHORTEST: f64 = 0.000_1;
const GROWTH: f64 = 1.25;

/// What was counted weighs half after so long.
const HALF_LIFE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Quantiles {
    counts: [AtomicU32; BUCKETS],
    /// Since the counts were halved, in milliseconds; written by the actor alone.
    age_ms: AtomicU64,
}

/// In milliseconds, to a quarter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FirstByteQuantiles {
    /// Half of them came within this.
    pub p50: f64,
    /// 95 of a hundred.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            age_ms: AtomicU64::new(0),
        }
    }
}

impl Quantiles {
    /// A first byte has come after so long.
    pub(super) fn came(&self, after: Duration) {
        self.counts[bucket(after)].fetch_add(1, Ordering::Relaxed);
    }

    /// So much time has passed. What is counted at the moment at which the counts are halved may be lost.
    pub(super) fn passed(&self, time: Duration) {
        let passed = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let age = self.age_ms.load(Ordering::Relaxed).saturating_add(passed);
        let is_over = u128::from(age) >= HALF_LIFE.as_millis();
        let rest = if is_over { 0 } else { age };
        self.age_ms.store(rest, Ordering::Relaxed);
        for count in self.counts.iter().filter(|_| is_over) {
            count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }

    /// As they are; nothing while nothing was counted.
    pub(super) fn get(&self) -> Option<FirstByteQuantiles> {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed).into())
            .collect();
        let total: u64 = counts.iter().sum();
        (total > 0).then(|| {
            let of = |percent: u64| quantile(&counts, (total * percent).div_ceil(100));
            FirstByteQuantiles {
                p50: of(50),
                p95: of(95),
                p99: of(99),
            }
        })
    }
}

fn bucket(after: Duration) -> usize {
    let steps = (after.as_secs_f64() / SHORTEST).max(1.0).log(GROWTH);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and an hour is far from the largest number"
    )]
    let at = steps as usize;
    at.min(BUCKETS - 1)
}

/// The upper bound of the bucket in which the `rank`th of all counts is.
fn quantile(counts: &[u64], rank: u64) -> f64 {
    let mut seen = 0;
    let at = counts.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    let steps = i32::try_from(at.unwrap_or(BUCKETS - 1) + 1).unwrap_or_default();
    let ms = SHORTEST * GROWTH.powi(steps) * 1_000.0;
    (ms * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_to_a_quarter() {
        let quantiles = Quantiles::default();
        assert_eq!(quantiles.get(), None);
        for ms in 1..=1_000 {
            quantiles.came(Duration::from_millis(ms));
        }
        let FirstByteQuantiles { p50, p95, p99 } = quantiles.get().unwrap();
        for (found, exact) in [(p50, 500.0), (p95, 950.0), (p99, 990.0)] {
            assert!(
                (exact..exact * 1.25).contains(&found),
                "{found} for {exact}"
            );
        }
    }

    #[test]
    fn what_was_long_ago_weighs_less_and_less() {
        let quantiles = Quantiles::default();
        for _ in 0..100 {
            quantiles.came(Duration::from_secs(1));
        }
        for _ in 0..6 * 30 {
            quantiles.passed(HALF_LIFE / 30);
        }
        assert!(quantiles.get().is_some(), "of a hundred one is left");
        quantiles.passed(HALF_LIFE);
        assert_eq!(quantiles.get(), None, "of a hundred none is left");
        quantiles.came(Duration::ZERO);
        quantiles.came(Duration::from_secs(1 << 40));
        assert!(quantiles.get().is_some(), "anything has its bucket");
    }
}
