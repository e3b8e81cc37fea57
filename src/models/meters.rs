//! What is measured of the calls: how they ended, which servers failed, and how many bytes went.
//!
//! A call that is refused before it begins is its client's affair, and not counted. Which model it was about is not
//! a label: names come from clients.

use std::collections::HashSet;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use super::merge::{Failed, Share, Standing};
use crate::fleet::Fleet;
use crate::metrics::{Labelled, Registry};
use crate::protocol::ManageApi;

/// What an upload of a blob is called here.
pub(super) const UPLOAD: &str = "upload";

/// The families. Clones are the same.
#[derive(Clone, Debug)]
pub struct Meters {
    calls: Labelled<CallLabels, Counter>,
    failures: Labelled<FailureLabels, Counter>,
    bytes: Labelled<BytesLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    endpoint: Arc<str>,
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BytesLabels {
    call: &'static str,
}

/// On all servers; on some, and not on others; on none; on none, since all of them found the call at fault; broken off
/// by its clients, an operator or the end of the router.
const OUTCOMES: [&str; 5] = ["done", "partly", "failed", "refused", "cancelled"];

impl Meters {
    /// Makes the families known to `registry`, and what there may be an alert for from the start: a counter
    /// that begins with its first event has no increase.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self {
            calls: Labelled::new(Counter::default),
            failures: Labelled::new(Counter::default),
            bytes: Labelled::new(Counter::default),
        };
        let calls = [
            ManageApi::Pull,
            ManageApi::Push,
            ManageApi::Create,
            ManageApi::Copy,
            ManageApi::Delete,
        ];
        for call in calls.map(ManageApi::verb).into_iter().chain([UPLOAD]) {
            for outcome in OUTCOMES {
                drop(meters.calls.get(&CallLabels { call, outcome }));
            }
        }
        let Self {
            calls,
            failures,
            bytes,
        } = meters.clone();
        registry.register(
            "model_calls",
            "Calls that change which models the servers have, by how they ended: done, partly, failed, refused, cancelled",
            calls,
        );
        registry.register(
            "model_call_failures",
            "Servers on which such a call failed",
            failures,
        );
        registry.register(
            "model_bytes",
            "Bytes that servers have pulled or pushed, as they say themselves, and bytes of blobs sent to them",
            bytes,
        );
        meters
    }

    /// A call has ended on these servers. `missed`: it was to be done on others, too.
    pub(super) fn ended(&self, call: &'static str, servers: &[Share], missed: bool) {
        let outcome = outcome(servers, missed);
        self.calls.get(&CallLabels { call, outcome }).inc();
        let failed = servers.iter().filter(|share| share.failed().is_some());
        for share in failed.filter(|_| outcome != "refused") {
            let endpoint = Arc::clone(&share.name);
            self.failures.get(&FailureLabels { endpoint, call }).inc();
        }
    }

    /// A call was broken off.
    pub(super) fn cancelled(&self, call: &'static str) {
        let outcome = "cancelled";
        self.calls.get(&CallLabels { call, outcome }).inc();
    }

    /// So many bytes more.
    pub(super) fn moved(&self, call: &'static str, bytes: u64) {
        if bytes > 0 {
            self.bytes.get(&BytesLabels { call }).inc_by(bytes);
        }
    }

    /// Forgets what is about servers that were removed, until `closing`.
    pub(super) async fn forget_removed(self, fleet: Fleet, closing: CancellationToken) {
        let mut removals = fleet.removals();
        loop {
            tokio::select! {
                changed = removals.changed() => match changed {
                    Ok(()) => self.keep_only(&fleet),
                    Err(_) => return,
                },
                () = closing.cancelled() => return,
            }
        }
    }

    fn keep_only(&self, fleet: &Fleet) {
        let view = fleet.view();
        let servers = view.servers.iter();
        let names: HashSet<&Arc<str>> = servers.map(|one| one.endpoint.name()).collect();
        self.failures
            .retain(|labels| names.contains(&labels.endpoint));
    }
}

fn outcome(servers: &[Share], missed: bool) -> &'static str {
    let mut failed = servers.iter().filter_map(Share::failed).peekable();
    let done = servers.iter().any(|share| share.standing == Standing::Done);
    match (done, failed.peek().is_some() || missed) {
        (_, false) => "done",
        (true, true) => "partly",
        (false, true) if !missed && failed.all(Failed::is_the_calls) => "refused",
        (false, true) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::render;

    fn share(name: &str, failed: bool) -> Share {
        let why = Failed {
            status: None,
            words: "no".to_owned(),
        };
        Share {
            name: name.into(),
            status: "".into(),
            standing: match failed {
                true => Standing::Failed(why),
                false => Standing::Done,
            },
        }
    }

    #[test]
    fn what_was_done_on_some_servers_only_is_told_apart() {
        let mut registry = Registry::default();
        let meters = Meters::register(&mut registry);
        meters.ended("pull", &[share("a", false)], false);
        meters.ended("pull", &[share("a", false)], true);
        meters.ended("pull", &[share("a", false), share("b", true)], false);
        meters.ended("pull", &[share("b", true)], false);
        let mut wrong = share("c", true);
        wrong.standing = Standing::Failed(Failed {
            status: Some(http::StatusCode::BAD_REQUEST),
            words: "what?".to_owned(),
        });
        meters.ended("pull", std::slice::from_ref(&wrong), false);
        meters.ended("copy", &[wrong, share("b", true)], false);
        meters.cancelled("pull");
        meters.moved("pull", 7);
        let text = render(&registry).unwrap();
        for line in [
            r#"model_calls_total{call="pull",outcome="done"} 1"#,
            r#"model_calls_total{call="pull",outcome="partly"} 2"#,
            r#"model_calls_total{call="pull",outcome="failed"} 1"#,
            r#"model_calls_total{call="pull",outcome="refused"} 1"#,
            r#"model_calls_total{call="copy",outcome="failed"} 1"#,
            r#"model_calls_total{call="pull",outcome="cancelled"} 1"#,
            r#"model_calls_total{call="upload",outcome="failed"} 0"#,
            r#"model_call_failures_total{endpoint="b",call="pull"} 2"#,
            r#"model_bytes_total{call="pull"} 7"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
