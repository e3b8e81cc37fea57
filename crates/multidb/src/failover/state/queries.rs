//! Read access to the state: for the actor that applies it and for the views.

use tokio::time::Instant;

use super::{Chosen, Effect, State};
use crate::circuit::CircuitState;
use crate::database::Database;
use crate::status::{DatabaseStatus, Status};

impl State {
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether anything that is shown changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn chosen(&self) -> Option<Chosen> {
        let entry = self.get(self.active?)?;
        Some(Chosen {
            id: entry.database.id,
            episode: entry.circuit.episode(),
            trial: entry.circuit.state() != CircuitState::Closed,
        })
    }

    /// The active one, since when, and how many changes there have been.
    pub(crate) fn active(&self) -> (Option<Database>, Instant, u64) {
        let database = self.active.and_then(|id| self.get(id));
        let database = database.map(|entry| entry.database.clone());
        (database, self.since, self.generation)
    }

    /// Since when no trusted one takes the commands.
    pub(crate) fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// No database is trusted: a healthy one is needed as soon as possible.
    pub(crate) fn is_urgent(&self) -> bool {
        self.policy.last_resort && self.none_is_closed()
    }

    /// When [`tick`](Self::tick) will have something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let circuits = self.entries.iter().filter_map(|e| e.circuit.deadline());
        circuits.chain(self.fallback_deadline()).min()
    }

    pub(crate) fn status(&self) -> Status {
        let mut databases: Vec<DatabaseStatus> = self
            .entries
            .iter()
            .map(|entry| entry.status(self.active == Some(entry.database.id)))
            .collect();
        databases.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        Status {
            databases,
            active: self.active,
            since: self.since,
        }
    }
}
