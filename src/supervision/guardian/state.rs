//! Which child is which, and whether one that died is to live again. Pure.

use std::time::Duration;

use ractor::ActorId;
use tokio::time::Instant;

use crate::supervision::{Restart, RestartPolicy, Verdict};

/// The children, by their place in the list they came in.
#[derive(Debug)]
pub(super) struct State {
    policy: RestartPolicy,
    children: Vec<(Option<ActorId>, Restart)>,
    retired: bool,
}

/// A death to do something about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// Whose.
    pub(super) child: usize,
    /// The pause before it is started again.
    pub(super) pause: Duration,
    /// It died more often than the policy allows.
    pub(super) too_often: bool,
}

impl State {
    pub(super) fn new(policy: RestartPolicy, children: usize) -> Self {
        let children = (0..children).map(|_| (None, Restart::new(policy)));
        Self {
            policy,
            children: children.collect(),
            retired: false,
        }
    }

    pub(super) fn started(&mut self, child: usize, id: ActorId) {
        self.children[child].0 = Some(id);
    }

    pub(super) fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether a restart that is due should still happen.
    pub(super) fn restarts(&self) -> bool {
        !self.retired
    }

    /// The actor `id` ended.
    pub(super) fn died(&mut self, id: ActorId, now: Instant, dice: f64) -> Option<Death> {
        let child = self.children.iter().position(|(is, _)| *is == Some(id))?;
        self.failed(child, now, dice)
    }

    /// This child ended, or could not even be started.
    pub(super) fn failed(&mut self, child: usize, now: Instant, dice: f64) -> Option<Death> {
        let (id, restart) = &mut self.children[child];
        *id = None;
        if self.retired {
            return None;
        }
        let (pause, too_often) = match restart.died(now, dice) {
            Verdict::After(pause) => (pause, false),
            Verdict::GiveUp => (self.policy.within, true),
        };
        Some(Death {
            child,
            pause,
            too_often,
        })
    }
}
