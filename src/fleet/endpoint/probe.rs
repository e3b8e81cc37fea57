//! Sending a probe.

use std::sync::Arc;

use super::Endpoint;
use crate::backend::{Answer, Plan, Probe, Unusable};
use crate::upstream::{Client, Failure};

/// What a server said about itself.
#[derive(Debug)]
pub struct Heard {
    /// What it said.
    pub(super) answer: Answer,
    /// The routers behind which it is, or which it is itself, as one list; nothing when it was not asked.
    pub(super) routers: Option<Arc<str>>,
}

/// A larger list is not read.
const LIST_LIMIT: usize = 16 << 20;

/// Sends one probe, as the server's kind needs it. The connection is one that only probes use: it is there
/// when all others are busy.
pub(super) async fn send(
    client: &Client,
    endpoint: &Endpoint,
    probe: Probe,
    plan: Plan,
) -> Result<Heard, Failure> {
    let request = match plan {
        Plan::Known(models) => {
            let (answer, routers) = (Answer::Models(models), None);
            return Ok(Heard { answer, routers });
        }
        Plan::Send(request) => request,
    };
    let remote = endpoint.probed_at();
    let (path, timeout) = (request.path, request.timeout);
    let asked = client.fetch(&remote, request.method, path, timeout, LIST_LIMIT);
    let fetched = asked.await?;
    let backend = &endpoint.settings().backend;
    let read = backend.read(probe, fetched.status, &fetched.body);
    let answer = read.map_err(|unusable| match unusable {
        Unusable::Useless(why) => Failure::Unusable(why),
        Unusable::Refused(status, _) => Failure::Rejected(status, unusable.to_string()),
    })?;
    let routers = Some(fetched.routers.unwrap_or_default().into());
    Ok(Heard { answer, routers })
}
