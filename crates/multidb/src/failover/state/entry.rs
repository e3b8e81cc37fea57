//! One database among those to choose from.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::{Circuit, CircuitState};
use crate::database::Database;
use crate::detector::FailureDetector;
use crate::health::Report;
use crate::member::LinkId;
use crate::outcome::FailureKind;
use crate::status::{DatabaseStatus, HealthStatus};
use crate::strategy::Candidate;

/// A database that is added.
#[derive(Clone, Debug)]
pub(crate) struct NewMember {
    pub(crate) database: Database,
    pub(crate) weight: f64,
    pub(crate) grace: Duration,
    pub(crate) report: Report,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) database: Database,
    pub(super) weight: f64,
    pub(super) circuit: Circuit,
    pub(super) detectors: Vec<Box<dyn FailureDetector>>,
    pub(super) connected: bool,
    /// Added, and never connected so far.
    pub(super) new_member: bool,
    /// It is being asked, and why.
    pub(super) suspicion: Option<Suspicion>,
    /// Since when: what was asked before is not the answer.
    pub(super) asked_at: Instant,
    /// How often in a row no connection could be made.
    pub(super) unconnected: u32,
    pub(super) confirmed_until: Instant,
    pub(super) failures: u64,
    pub(super) successes: u64,
    /// The connection whose end was counted last, after so many successes.
    ended: Option<(LinkId, u64)>,
    health: Option<HealthStatus>,
}

/// How a database is asked out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfirmMode {
    /// With little time to answer: users wait for it.
    ShortTimeout,
    /// The same, over a new connection: it may well lead to another server.
    NewConnection,
    /// With the time any command has. A server that closes a connection is reachable, and one that is
    /// not refuses the next one at once, so no command waits for this; and a fallback is not urgent.
    FullTimeout,
}

/// Why a database is asked out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// A command failed, after so many successes.
    Failed(FailureKind, u64),
    /// A caller did not wait any longer, after so many successes.
    Waited(u64),
    /// It is about to be returned to.
    Fallback,
}

impl Suspicion {
    /// Whether what was sent will not be answered any more.
    pub(super) fn is_silence(self) -> bool {
        match self {
            Self::Failed(kind, _) => kind.is_silence(),
            Self::Waited(_) => true,
            Self::Fallback => false,
        }
    }

    pub(super) fn mode(self) -> ConfirmMode {
        match self {
            Self::Failed(kind, _) if kind.is_wrong_server() => ConfirmMode::NewConnection,
            Self::Failed(FailureKind::Dropped, _) | Self::Fallback => ConfirmMode::FullTimeout,
            Self::Failed(..) | Self::Waited(_) => ConfirmMode::ShortTimeout,
        }
    }

    /// The database is healthy and the command failed: then it is the connection, unless something
    /// succeeded over it since. A cluster's connection that does not know where keys are is none the
    /// wiser for what succeeds elsewhere.
    pub(super) fn blames_connection(self, successes: u64) -> bool {
        match self {
            Self::Failed(FailureKind::Redirected, _) => true,
            Self::Failed(kind, before) => {
                before == successes && (kind == FailureKind::Timeout || kind.is_wrong_server())
            }
            Self::Waited(before) => before == successes,
            Self::Fallback => false,
        }
    }
}

impl Entry {
    /// It is asked now.
    pub(super) fn ask(&mut self, suspicion: Suspicion, now: Instant) -> ConfirmMode {
        self.suspicion = Some(suspicion);
        self.asked_at = now;
        suspicion.mode()
    }

    pub(super) fn new(
        new_member: NewMember,
        detectors: &[Arc<dyn FailureDetector>],
        success_threshold: u32,
        now: Instant,
    ) -> Self {
        let mut circuit = Circuit::new(now, new_member.grace, success_threshold);
        if new_member.report.unhealthy.is_some() {
            circuit.open(now);
        }
        let mut entry = Self {
            database: new_member.database,
            weight: new_member.weight,
            circuit,
            detectors: detectors.iter().map(|detector| detector.fresh()).collect(),
            connected: false,
            new_member: true,
            suspicion: None,
            asked_at: now,
            unconnected: 0,
            confirmed_until: now,
            failures: 0,
            successes: 0,
            ended: None,
            health: None,
        };
        entry.record_health(&new_member.report, now);
        entry
    }

    pub(super) fn succeeded(&mut self, count: u64, now: Instant) {
        self.successes += count;
        for detector in &mut self.detectors {
            detector.succeeded(count, now);
        }
    }

    /// A connection ends once, however many commands it takes along.
    pub(super) fn is_new_failure(&mut self, kind: FailureKind, link: LinkId) -> bool {
        let end = Some((link, self.successes));
        kind != FailureKind::Dropped || std::mem::replace(&mut self.ended, end) != end
    }

    /// Tells every detector; true if one has seen enough.
    pub(super) fn is_enough(&mut self, kind: FailureKind, now: Instant) -> bool {
        let mut enough = false;
        for detector in &mut self.detectors {
            enough |= detector.failed(kind, now);
        }
        enough
    }

    pub(super) fn forget(&mut self) {
        for detector in &mut self.detectors {
            detector.reset();
        }
    }

    pub(super) fn record_health(&mut self, report: &Report, now: Instant) {
        self.health = Some(HealthStatus {
            at: now,
            unhealthy: report.unhealthy.clone(),
            failback_refused: report.failback_refused.clone(),
        });
    }

    /// Whether a failback check speaks against moving to it.
    pub(super) fn is_refused(&self) -> bool {
        self.health
            .as_ref()
            .is_some_and(|health| health.failback_refused.is_some())
    }

    /// Why it cannot be chosen by hand, if so.
    pub(super) fn refusal(&self, report: &Report) -> Option<String> {
        let open = || {
            (self.circuit.state() != CircuitState::Closed)
                .then(|| format!("its circuit is {}", self.circuit.state()))
        };
        let report = report.clone();
        report.unhealthy.or(report.failback_refused).or_else(open)
    }

    pub(super) fn candidate(&self, active: bool) -> Candidate {
        Candidate {
            id: self.database.id,
            weight: self.weight,
            circuit: self.circuit.state(),
            active,
        }
    }

    pub(super) fn status(&self, active: bool) -> DatabaseStatus {
        DatabaseStatus {
            database: self.database.clone(),
            weight: self.weight,
            circuit: self.circuit.state(),
            circuit_since: self.circuit.since(),
            active,
            connected: self.connected,
            failures: self.failures,
            last_health: self.health.clone(),
        }
    }
}
