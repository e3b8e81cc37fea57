//! Idle connections, by server.
//!
//! The one used last is used next, so that after a burst the others grow old and are closed. Nobody
//! waits on an idle connection: that the server has closed it is found out when it is taken, or when
//! the server's owner has the old ones closed ([`Connections::expire`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::wire::Wire;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Whose connections they are: a number, because it is looked up twice in a request.
type Server = u64;

#[derive(Default)]
pub(super) struct Pool {
    idle: DashMap<Server, VecDeque<(Wire, Instant)>, RandomState>,
}

/// The idle connections to one server; closed when the last owner of this is gone. An answer that is
/// being read is an owner, so none is put back behind the end.
pub struct Connections {
    server: Server,
    limit: Duration,
    pool: Arc<Pool>,
}

impl Connections {
    pub(super) fn new(pool: &Arc<Pool>, limit: Duration) -> Self {
        Self {
            server: NEXT.fetch_add(1, Ordering::Relaxed),
            limit,
            pool: Arc::clone(pool),
        }
    }

    /// An open connection to the server, if there is one.
    pub(super) fn take(&self) -> Option<Wire> {
        loop {
            // Not in a `while let`: its guard would be held while the wire is looked at.
            let (mut wire, since) = self.pool.idle.get_mut(&self.server)?.pop_back()?;
            if since.elapsed() < self.limit && wire.is_ready() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(super) fn put(&self, mut wire: Wire) {
        if wire.is_ready() {
            let mut idle = self.pool.idle.entry(self.server).or_default();
            idle.push_back((wire, Instant::now()));
        }
    }

    /// Closes those that have been idle for too long, or that the server has closed.
    pub fn expire(&self) {
        let mut old = Vec::new();
        if let Some(mut idle) = self.pool.idle.get_mut(&self.server) {
            let mut kept = VecDeque::with_capacity(idle.len());
            for (mut wire, since) in idle.drain(..) {
                match since.elapsed() < self.limit && wire.is_ready() {
                    true => kept.push_back((wire, since)),
                    false => old.push(wire),
                }
            }
            *idle = kept;
        }
        // Sockets are closed here, where no other server's requests wait for the map.
        drop(old);
    }

    /// How long one may be idle.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// How many are idle now.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.pool
            .idle
            .get(&self.server)
            .map_or(0, |idle| idle.len())
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.pool.idle.remove(&self.server);
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
