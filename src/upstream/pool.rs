//! Idle connections, by server.
//!
//! The one used last is used next, so that after a burst the others grow old and are closed. An
//! idle connection is watched by nobody: whether the server has closed it is found out when it is
//! taken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::wire::Wire;

/// Idle connections are closed before a server's own keep-alive limit can race a new request.
const IDLE: Duration = Duration::from_secs(20);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Whose connections they are: a number, because it is looked up twice in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server(u64);

impl Server {
    /// One more server.
    pub(super) fn new() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Default)]
pub(super) struct Pool {
    idle: DashMap<Server, VecDeque<(Wire, Instant)>, RandomState>,
}

impl Pool {
    /// An open connection to the server, if there is one.
    pub(super) fn take(&self, server: Server) -> Option<Wire> {
        loop {
            // Not in a `while let`: its guard would be held while the wire is looked at.
            let (mut wire, since) = self.idle.get_mut(&server)?.pop_back()?;
            if since.elapsed() < IDLE && wire.is_ready() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(super) fn put(&self, server: Server, mut wire: Wire) {
        if !wire.is_ready() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle.entry(server).or_default();
        while idle
            .front()
            .is_some_and(|(_, since)| now.duration_since(*since) >= IDLE)
        {
            idle.pop_front();
        }
        idle.push_back((wire, now));
    }
}
