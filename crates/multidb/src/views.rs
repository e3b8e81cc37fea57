//! The published views of the decisions.
//!
//! Each view is replaced whole by the failover actor and read without waiting. Commands read one
//! pointer, the [`Route`]; `changes` notifies of a new one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::Active;
use super::circuit::Episode;
use super::database::DatabaseId;
use super::event::Event;
use super::member::{Link, Member};
use super::metrics::{Counter, Switch};
use super::status::Status;

/// Events a slow listener may be behind.
const EVENTS: usize = 1024;

/// Where commands go.
#[derive(Debug)]
pub(super) enum Route {
    /// Over this path.
    Open(Path),
    /// A database is chosen and has no connection at the moment, or it is being found out whether
    /// another should be. Soon decided.
    Undecided {
        /// Since when.
        since: Instant,
    },
    /// No database can take them.
    Unavailable {
        /// Since when.
        since: Instant,
    },
    /// The client was closed.
    Closed,
}

/// A path to a database.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) member: Arc<Member>,
    pub(super) link: Arc<Link>,
    pub(super) episode: Episode,
    /// On trial: so many at once.
    pub(super) trial: Option<u16>,
    /// Since when no trusted one takes the commands, if that is so.
    pub(super) down_since: Option<Instant>,
}

/// The views.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) route: ArcSwap<Route>,
    pub(super) changes: watch::Sender<()>,
    pub(super) status: ArcSwap<Status>,
    pub(super) active: watch::Sender<Active>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) switches: ArcSwap<Vec<(Switch, u64)>>,
    pub(super) members: ArcSwap<Vec<Arc<Member>>>,
    pub(super) counters: Counters,
}

/// What commands count, wherever they went.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) retries: Counter,
    pub(super) outcomes_unknown: Counter,
    pub(super) unavailable: Counter,
    pub(super) unsupported: Counter,
}

impl Views {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            route: ArcSwap::from_pointee(Route::Undecided { since: now }),
            changes: watch::Sender::new(()),
            status: ArcSwap::from_pointee(Status {
                databases: Vec::new(),
                active: None,
                since: now,
            }),
            active: watch::Sender::new(Active {
                database: None,
                generation: 0,
                since: now,
            }),
            events: broadcast::Sender::new(EVENTS),
            switches: ArcSwap::default(),
            members: ArcSwap::default(),
            counters: Counters::default(),
        }
    }

    /// Replaces the route and wakes the commands that wait for that.
    pub(super) fn set_route(&self, route: Route) {
        self.route.store(Arc::new(route));
        self.changes.send_replace(());
    }

    pub(super) fn member(&self, id: DatabaseId) -> Option<Arc<Member>> {
        let members = self.members.load();
        members.iter().find(|member| member.id() == id).cloned()
    }

    /// Without a listener the event is dropped.
    pub(super) fn emit(&self, event: Event) {
        drop(self.events.send(event));
    }
}
