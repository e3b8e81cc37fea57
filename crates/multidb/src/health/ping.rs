//! Does it answer?

use futures_util::future::{BoxFuture, FutureExt};

use super::{HealthCheck, HealthTarget, Unhealthy};

/// `PING`: the server, or every node of the cluster, must answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct PingHealthCheck;

impl HealthCheck for PingHealthCheck {
    fn name(&self) -> &str {
        "ping"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        async move {
            for answer in target.ask_all(&redis::cmd("PING")).await? {
                answer.extract_error()?;
            }
            Ok(())
        }
        .boxed()
    }

    fn is_quick(&self) -> bool {
        true
    }
}
