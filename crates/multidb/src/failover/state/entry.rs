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

/// What one begins with.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
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
    pub(super) newcomer: bool,
    /// It is being asked, and why.
    pub(super) doubt: Option<Doubt>,
    /// Since when: what was asked before is not the answer.
    pub(super) asked_at: Instant,
    /// How often in a row no connection could be made.
    pub(super) unconnected: u32,
    pub(super) believed_until: Instant,
    pub(super) failures: u64,
    pub(super) successes: u64,
    /// The connection whose end was counted last, after so many successes.
    ended: Option<(LinkId, u64)>,
    health: Option<HealthStatus>,
}

/// How a database is asked out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// With little time to answer: users wait for it.
    Quickly,
    /// The same, over a connection of now: it may well lead to another server.
    Anew,
    /// With the time any command has. Who ends a connection is there, and who is not refuses the
    /// next one at once, so nobody waits for this; and a return is in no hurry.
    Patiently,
}

/// Why a database is asked out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A command failed, after so many successes.
    Failed(FailureKind, u64),
    /// A caller did not wait any longer, after so many successes.
    Waited(u64),
    /// It is about to be returned to.
    Fallback,
}

impl Doubt {
    /// Whether what was sent will not be answered any more.
    pub(super) fn is_silence(self) -> bool {
        match self {
            Self::Failed(kind, _) => kind.is_silence(),
            Self::Waited(_) => true,
            Self::Fallback => false,
        }
    }

    pub(super) fn asking(self) -> Asking {
        match self {
            Self::Failed(kind, _) if kind.is_about_place() => Asking::Anew,
            Self::Failed(FailureKind::Dropped, _) | Self::Fallback => Asking::Patiently,
            Self::Failed(..) | Self::Waited(_) => Asking::Quickly,
        }
    }

    /// The database is well and the command failed: then it is the connection, unless something
    /// succeeded over it since. A cluster's connection that does not know where keys are is none the
    /// wiser for what succeeds elsewhere.
    pub(super) fn blames_connection(self, successes: u64) -> bool {
        match self {
            Self::Failed(FailureKind::Redirected, _) => true,
            Self::Failed(kind, before) => {
                before == successes && (kind == FailureKind::Timeout || kind.is_about_place())
            }
            Self::Waited(before) => before == successes,
            Self::Fallback => false,
        }
    }
}

impl Entry {
    /// It is asked now.
    pub(super) fn ask(&mut self, doubt: Doubt, now: Instant) -> Asking {
        self.doubt = Some(doubt);
        self.asked_at = now;
        doubt.asking()
    }

    pub(super) fn new(
        newcomer: Newcomer,
        detectors: &[Arc<dyn FailureDetector>],
        success_threshold: u32,
        now: Instant,
    ) -> Self {
        let mut circuit = Circuit::new(now, newcomer.grace, success_threshold);
        if newcomer.report.unhealthy.is_some() {
            circuit.open(now);
        }
        let mut entry = Self {
            database: newcomer.database,
            weight: newcomer.weight,
            circuit,
            detectors: detectors.iter().map(|detector| detector.fresh()).collect(),
            connected: false,
            newcomer: true,
            doubt: None,
            asked_at: now,
            unconnected: 0,
            believed_until: now,
            failures: 0,
            successes: 0,
            ended: None,
            health: None,
        };
        entry.heard(&newcomer.report, now);
        entry
    }

    pub(super) fn succeeded(&mut self, count: u64, now: Instant) {
        self.successes += count;
        for detector in &mut self.detectors {
            detector.succeeded(count, now);
        }
    }

    /// A connection ends once, however many commands it takes along.
    pub(super) fn is_news(&mut self, kind: FailureKind, link: LinkId) -> bool {
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

    pub(super) fn heard(&mut self, report: &Report, now: Instant) {
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
