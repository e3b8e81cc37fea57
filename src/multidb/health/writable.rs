//! Does it take writes?

use futures_util::future::{BoxFuture, FutureExt};

use super::{HealthCheck, HealthTarget, Unhealthy};

/// `ROLE` (of a single server or a sentinel's master) must say master, `CLUSTER INFO` (of a cluster)
/// that it is ok. PING alone finds a server well that answers every write with `READONLY`. Where the
/// user may not ask, it passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct WritableHealthCheck;

impl HealthCheck for WritableHealthCheck {
    fn name(&self) -> &str {
        "writable"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        async move {
            drop(target.ask_all(&redis::cmd("ROLE")).await?);
            Ok(())
        }
        .boxed()
    }
}
