//! How often a command is repeated, and after which pause.

use std::time::Duration;

/// redis-py's `Retry(ExponentialWithJitterBackoff(base, cap), retries)`.
///
/// A pause ends early when the active database changes: the pause is there for a server that needs
/// a moment, not for a command that could already go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CommandRetry {
    /// Repetitions after the first try. 2 (redis-py: 10).
    pub retries: u32,
    /// The first pause, before jitter. 10 ms.
    pub base: Duration,
    /// No pause is longer. 1 s.
    pub cap: Duration,
}

impl Default for CommandRetry {
    fn default() -> Self {
        Self {
            retries: 2,
            base: Duration::from_millis(10),
            cap: Duration::from_secs(1),
        }
    }
}

impl CommandRetry {
    /// The pause before repetition `n` (from 1): `min(cap, jitter · base · 2ⁿ)`, `jitter` in 0..1.
    pub fn pause(&self, n: u32, jitter: f64) -> Duration {
        let doubled = self.base.as_secs_f64() * 2f64.powi(n.min(63).cast_signed());
        Duration::try_from_secs_f64(doubled * jitter).map_or(self.cap, |pause| pause.min(self.cap))
    }
}
