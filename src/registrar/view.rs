//! What is shown of the registrations.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Identity;
use crate::store::{InstanceKey, InstanceKind, InstanceRow};

/// What a router says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RouterFacts {
    /// Where it listens, as configured.
    pub listen: String,
    /// Its version.
    pub version: String,
    /// It has `[redis]`: it accounts together with others.
    pub shares: bool,
}

/// Everybody who has registered, as last read.
#[derive(Clone, Debug)]
pub struct View {
    /// This router.
    pub identity: Identity,
    /// All rows, in the order of their keys.
    pub rows: Arc<[InstanceRow]>,
    /// When they were read; never yet: none.
    pub read_at: Option<Instant>,
    /// Why they cannot be read now.
    pub away: Option<String>,
}

impl View {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            rows: Arc::from([]),
            read_at: None,
            away: None,
        }
    }

    /// Whether one of this key was there.
    pub(super) fn has(&self, key: &InstanceKey) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| row.key == *key && row.is_alive())
    }

    /// Those of one kind.
    pub fn of(&self, kind: InstanceKind) -> impl Iterator<Item = &InstanceRow> {
        self.rows.iter().filter(move |row| row.key.kind == kind)
    }

    /// The other routers that are there, by their folders; nothing when it was not read `within` that time.
    #[must_use]
    pub fn other_routers(&self, now: Instant, within: Duration) -> Option<Vec<Arc<str>>> {
        let read_at = self.read_at.filter(|_| self.away.is_none())?;
        if now.saturating_duration_since(read_at) > within {
            return None;
        }
        let mine = &self.identity.folder;
        let others = self
            .of(InstanceKind::Router)
            .filter(|row| row.is_alive() && row.key.name != *mine);
        Some(others.map(|row| row.key.name.as_str().into()).collect())
    }

    /// How long ago it was heard of, in milliseconds.
    #[must_use]
    pub fn age_ms(&self, row: &InstanceRow, now: Instant) -> i64 {
        let since = self.read_at.map(|at| now.saturating_duration_since(at));
        row.age_ms
            .saturating_add(super::millis(since.unwrap_or_default()))
    }
}
