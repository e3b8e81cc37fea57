//! Idle connections, by server.
//!
//! The one used last is used next, so that after a burst the others expire and are closed. No
//! task waits on an idle connection: that the server has closed it is found out when it is taken, or when
//! the server's owner has the old ones closed ([`Connections::expire`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::connection::HttpConnection;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The server that connections belong to: a number, because it is looked up twice in a request.
type Server = u64;

#[derive(Default)]
pub(super) struct Pool {
    idle: DashMap<Server, VecDeque<(HttpConnection, Instant)>, RandomState>,
}

/// The idle connections to one server; closed when the last clone of this is dropped. An answer that is
/// being read holds one, so none is put back after that.
pub struct Connections {
    server: Server,
    limit: Duration,
    /// The server has closed one that it could have used.
    closed: AtomicBool,
    pool: Arc<Pool>,
}

impl Connections {
    pub(super) fn new(pool: &Arc<Pool>, limit: Duration) -> Self {
        Self {
            server: NEXT.fetch_add(1, Ordering::Relaxed),
            limit,
            closed: AtomicBool::new(false),
            pool: Arc::clone(pool),
        }
    }

    /// An open connection to the server, if there is one.
    pub(super) fn take(&self) -> Option<HttpConnection> {
        loop {
            // Not in a `while let`: its guard would be held while the connection is looked at.
            let (mut connection, since) = self.pool.idle.get_mut(&self.server)?.pop_back()?;
            if since.elapsed() < self.limit {
                if connection.is_ready() {
                    return Some(connection);
                }
                self.note_closed();
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(super) fn put(&self, mut connection: HttpConnection) {
        if connection.is_ready() {
            let mut idle = self.pool.idle.entry(self.server).or_default();
            idle.push_back((connection, Instant::now()));
        }
    }

    /// Closes those that have been idle for too long, or that the server has closed.
    pub fn expire(&self) {
        let mut old = Vec::new();
        if let Some(mut idle) = self.pool.idle.get_mut(&self.server) {
            let mut kept = VecDeque::with_capacity(idle.len());
            for (mut connection, since) in idle.drain(..) {
                let is_young = since.elapsed() < self.limit;
                if is_young && connection.is_ready() {
                    kept.push_back((connection, since));
                } else {
                    if is_young {
                        self.note_closed();
                    }
                    old.push(connection);
                }
            }
            *idle = kept;
        }
        // Sockets are closed here, where no other server's requests wait for the map.
        drop(old);
    }

    /// Closes those that are idle.
    pub fn close(&self) {
        drop(self.pool.idle.remove(&self.server));
    }

    /// The server has closed one that was kept.
    pub(super) fn note_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether the server has closed one that was kept, since this was asked: it may have been restarted.
    pub fn takes_closed(&self) -> bool {
        self.closed.swap(false, Ordering::Relaxed)
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
