//! Room for open files.
//!
//! Every stream is two sockets, and the limit a shell sets by default (1,024) is a few hundred
//! streams. The system's own limit, which an unprivileged process may go up to, is far higher.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Goes up to the hard limit. Where that is not allowed, what there is has to do.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = ?limit.current, "the limit of open files stays low");
    }
}
