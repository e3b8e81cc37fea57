//! Which child is which, and when one that has ended is started again. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ractor::{ActorCell, ActorId};
use tokio::time::Instant;

use super::Id;
use super::child::Child;
use crate::supervision::{Decision, Restart, RestartPolicy};

/// The children.
pub(super) struct State {
    policy: RestartPolicy,
    restarts: bool,
    /// In the order they were added.
    children: BTreeMap<Id, Record>,
    running: HashMap<ActorId, Id>,
}

struct Record {
    child: Child,
    restart: Restart,
    incarnation: Option<ActorCell>,
}

/// An end to do something about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Whose.
    pub(super) id: Id,
    /// Before it is started again.
    pub(super) pause: Duration,
    /// It ended more often than the policy allows.
    pub(super) too_often: bool,
}

impl State {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            restarts: true,
            children: BTreeMap::new(),
            running: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, id: Id, child: Child) {
        let record = Record {
            child,
            restart: Restart::new(self.policy),
            incarnation: None,
        };
        self.children.insert(id, record);
    }

    /// Forgets the child. Returns its incarnation, which is to be stopped.
    pub(super) fn remove(&mut self, id: Id) -> Option<ActorCell> {
        let incarnation = self.children.remove(&id)?.incarnation?;
        self.running.remove(&incarnation.get_id());
        Some(incarnation)
    }

    /// The child, unless it was removed, or none is to be started any more.
    pub(super) fn to_start(&self, id: Id) -> Option<&Child> {
        let record = self.children.get(&id).filter(|_| self.restarts)?;
        Some(&record.child)
    }

    pub(super) fn child(&self, id: Id) -> Option<&Child> {
        Some(&self.children.get(&id)?.child)
    }

    pub(super) fn started(&mut self, id: Id, incarnation: ActorCell) {
        if let Some(record) = self.children.get_mut(&id) {
            self.running.insert(incarnation.get_id(), id);
            record.incarnation = Some(incarnation);
        }
    }

    pub(super) fn stop_restarting(&mut self) {
        self.restarts = false;
    }

    /// All that run, the one added last first.
    pub(super) fn running(&self) -> Vec<ActorCell> {
        let records = self.children.values().rev();
        records
            .filter_map(|record| record.incarnation.clone())
            .collect()
    }

    /// The incarnation `actor` has ended.
    pub(super) fn ended(&mut self, actor: ActorId, now: Instant, random: f64) -> Option<Ended> {
        let id = self.running.remove(&actor)?;
        self.failed(id, now, random)
    }

    /// This child has ended, or could not even be started.
    pub(super) fn failed(&mut self, id: Id, now: Instant, random: f64) -> Option<Ended> {
        let record = self.children.get_mut(&id)?;
        record.incarnation = None;
        if !self.restarts {
            return None;
        }
        let (pause, too_often) = match record.restart.ended(now, random) {
            Decision::After(pause) => (pause, false),
            Decision::GiveUp => (self.policy.within, true),
        };
        Some(Ended {
            id,
            pause,
            too_often,
        })
    }
}
