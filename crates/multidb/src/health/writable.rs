//! Does it take writes?

use futures_util::future::{BoxFuture, FutureExt};
use redis::Value;

use super::{HealthCheck, HealthTarget, Unhealthy};
use crate::member::role;
use crate::outcome::{self, Outcome};

/// `ROLE` (of a single server or a sentinel group's master) must say master, `CLUSTER INFO` (of every
/// node of a cluster) that its state is ok. PING alone finds a server healthy that answers every write
/// with `READONLY`. Where the user may not ask, it passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct WritableHealthCheck;

impl HealthCheck for WritableHealthCheck {
    fn name(&self) -> &str {
        "writable"
    }

    fn check<'a>(&'a self, target: &'a HealthTarget) -> BoxFuture<'a, Result<(), Unhealthy>> {
        async move {
            let mut question = redis::cmd("ROLE");
            if target.is_cluster() {
                question = redis::cmd("CLUSTER");
                question.arg("INFO");
            }
            for answer in target.ask_all(&question).await? {
                if let Outcome::Failure(kind) = outcome::of_value(&answer) {
                    return Err(Unhealthy(kind.as_str().to_owned()));
                }
                is_master(&answer)?;
                cluster_is_ok(&answer)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn is_quick(&self) -> bool {
        true
    }
}

fn is_master(answer: &Value) -> Result<(), Unhealthy> {
    match role(answer) {
        Some("master") | None => Ok(()),
        Some(role) => Err(Unhealthy(format!("it is a {role}"))),
    }
}

fn cluster_is_ok(answer: &Value) -> Result<(), Unhealthy> {
    let text = match answer {
        Value::BulkString(text) => String::from_utf8_lossy(text).into_owned(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => return Ok(()),
    };
    match text
        .lines()
        .find_map(|line| line.strip_prefix("cluster_state:"))
    {
        Some("ok") | None => Ok(()),
        Some(state) => Err(Unhealthy(format!("cluster_state is {state}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn only_a_master_takes_writes() {
        let role = |word: &str| is_master(&Value::Array(vec![bulk(word), Value::Int(0)]));
        assert_eq!(role("master"), Ok(()));
        assert_eq!(role("slave"), Err(Unhealthy("it is a slave".to_owned())));
    }

    #[test]
    fn a_cluster_takes_writes_while_its_state_is_ok() {
        let state = |word: &str| {
            cluster_is_ok(&bulk(&format!(
                "cluster_enabled:1\r\ncluster_state:{word}\r\ncluster_slots_assigned:16384\r\n"
            )))
        };
        assert_eq!(state("ok"), Ok(()));
        assert_eq!(
            state("fail"),
            Err(Unhealthy("cluster_state is fail".to_owned()))
        );
    }
}
