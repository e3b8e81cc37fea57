//! Reports about connections: there is one, there is none, nothing comes over it.

use tokio::time::Instant;

use super::entry::Suspicion;
use super::{Effect, State};
use crate::circuit::{CircuitState, Episode};
use crate::database::DatabaseId;
use crate::outcome::FailureKind;

impl State {
    pub(crate) fn link_up(&mut self, id: DatabaseId, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        entry.connected = true;
        entry.unconnected = 0;
        let new_member = std::mem::take(&mut entry.new_member);
        self.changed = true;
        self.choose(now);
        if new_member {
            self.reconsider(now);
        }
    }

    pub(crate) fn link_lost(&mut self, id: DatabaseId, now: Instant) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        entry.connected = false;
        let closed = entry.circuit.state() == CircuitState::Closed;
        self.changed = true;
        if closed {
            self.suspect(
                id,
                |successes| Suspicion::Failed(FailureKind::Dropped, successes),
                now,
            );
        }
    }

    /// No connection could be made. A refusal is certain; of a first silence the packet may have been
    /// lost, so it is asked once more over whatever connection there is, while the connector tries again.
    pub(crate) fn connect_failed(
        &mut self,
        id: DatabaseId,
        kind: FailureKind,
        error: &str,
        now: Instant,
    ) {
        let Some(entry) = self.get_mut(id) else {
            return;
        };
        let first = entry.unconnected == 0;
        entry.unconnected = entry.unconnected.saturating_add(1);
        let closed = entry.circuit.state() == CircuitState::Closed;
        if std::mem::take(&mut entry.connected) {
            self.changed = true;
        }
        if first && closed && kind == FailureKind::Timeout {
            self.suspect(id, |successes| Suspicion::Failed(kind, successes), now);
        } else {
            self.open(id, error, true, now);
        }
    }

    /// A caller went away before its command was answered, after more time than an answer takes. That
    /// is no failure; but callers that always go away before one could be counted would never leave a database
    /// that does not answer any more.
    pub(crate) fn waited(&mut self, id: DatabaseId, episode: Episode, now: Instant) {
        let Some(entry) = self.get(id) else {
            return;
        };
        if entry.circuit.episode() != episode {
            return;
        }
        match entry.circuit.state() {
            CircuitState::Closed => {
                self.suspect(id, Suspicion::Waited, now);
            }
            CircuitState::HalfOpen => self.effects.push(Effect::Wake(id)),
            CircuitState::Open => {}
        }
    }
}
