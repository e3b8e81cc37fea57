//! Sending a probe.

use super::Endpoint;
use crate::backend::{Answer, Plan, Probe};
use crate::upstream::{Client, Failure};

/// A larger list is not read.
const LIST_LIMIT: usize = 16 << 20;

/// Sends one probe, as the server's kind needs it. The connection is one that only probes use: it is there
/// when all others are busy.
pub(super) async fn send(
    client: &Client,
    endpoint: &Endpoint,
    probe: Probe,
    plan: Plan,
) -> Result<Answer, Failure> {
    let request = match plan {
        Plan::Known(models) => return Ok(Answer::Models(models)),
        Plan::Send(request) => request,
    };
    let remote = endpoint.probed_at();
    let (path, timeout) = (request.path, request.timeout);
    let asked = client.fetch(&remote, request.method, path, timeout, LIST_LIMIT);
    let (status, body) = asked.await?;
    let read = endpoint.settings().backend.read(probe, status, &body);
    read.map_err(|unusable| Failure::Unusable(unusable.to_string()))
}
