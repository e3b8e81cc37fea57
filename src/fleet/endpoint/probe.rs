//! Asking a server about itself.

use super::Endpoint;
use crate::backend::{Answer, Plan, Probe};
use crate::upstream::{Client, Failure};

/// No catalogue is this large.
const LIST_LIMIT: usize = 16 << 20;

/// Asks once, as the server's kind is asked. The connection is one that only probes use: it is there
/// when all others are busy.
pub(super) async fn ask(
    client: &Client,
    endpoint: &Endpoint,
    probe: Probe,
    plan: Plan,
) -> Result<Answer, Failure> {
    let question = match plan {
        Plan::Known(models) => return Ok(Answer::Models(models)),
        Plan::Ask(question) => question,
    };
    let remote = endpoint.probed_at();
    let (path, patience) = (question.path, question.patience);
    let asked = client.ask(&remote, question.method, path, patience, LIST_LIMIT);
    let (status, body) = asked.await?;
    let read = endpoint.settings().backend.read(probe, status, &body);
    read.map_err(|unusable| Failure::Unusable(unusable.to_string()))
}
