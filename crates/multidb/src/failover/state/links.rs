//! What is heard of connections: that there is one, that there is none, that nothing comes over it.

use tokio::time::Instant;

use super::entry::Doubt;
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
        let newcomer = std::mem::take(&mut entry.newcomer);
        self.changed = true;
        self.choose(now);
        if newcomer {
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
            self.doubt(
                id,
                |successes| Doubt::Failed(FailureKind::Dropped, successes),
                now,
            );
        }
    }

    /// No connection could be made. A refusal is certain; of a first silence the packet may have been
    /// lost, so it is asked once more over whatever connection there is, while the keeper tries again.
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
            self.doubt(id, |successes| Doubt::Failed(kind, successes), now);
        } else {
            self.open(id, error, true, now);
        }
    }

    /// A caller went away before its command was answered, after more time than an answer takes. That
    /// is no failure; but who always goes away before one could be counted would never leave a database
    /// that has fallen silent.
    pub(crate) fn waited(&mut self, id: DatabaseId, episode: Episode, now: Instant) {
        let Some(entry) = self.get(id) else {
            return;
        };
        if entry.circuit.episode() != episode {
            return;
        }
        match entry.circuit.state() {
            CircuitState::Closed => {
                self.doubt(id, Doubt::Waited, now);
            }
            CircuitState::HalfOpen => self.effects.push(Effect::Poke(id)),
            CircuitState::Open => {}
        }
    }
}
