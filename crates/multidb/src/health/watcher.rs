//! Checks the health of one database, again and again.
//!
//! One task per database and one round at a time, so rounds never overlap and a database that takes
//! its time to fail keeps no other waiting. The pause is counted from the end of a round.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{HealthCheck, HealthTarget, ProbeSettings, round};
use crate::failover::{Mailbox, Message};

/// How urgent a healthy database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// `health_check_interval`, every probe.
    Steady,
    /// No database serves: one probe, again and again, until one is healthy.
    Urgent,
}

/// Between two rounds when no database serves.
const URGENT: Duration = Duration::from_millis(100);

/// The checks, which may become more.
pub(crate) type Checks = Arc<[Arc<dyn HealthCheck>]>;

pub(crate) struct Watcher {
    pub(crate) target: Arc<HealthTarget>,
    pub(crate) checks: watch::Receiver<Checks>,
    pub(crate) pace: watch::Receiver<Pace>,
    /// A round now.
    pub(crate) wake: Arc<Notify>,
    pub(crate) settings: ProbeSettings,
    pub(crate) interval: Duration,
    pub(crate) mailbox: Mailbox,
    pub(crate) ended: CancellationToken,
}

impl Watcher {
    /// Until cancelled. The first round is done elsewhere; this begins with the pause.
    pub(crate) async fn run(mut self) {
        let ended = self.ended.clone();
        ended.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&mut self) {
        loop {
            self.pause().await;
            let checks = self.checks.borrow_and_update().clone();
            let settings = match *self.pace.borrow() {
                Pace::Steady => self.settings,
                Pace::Urgent => ProbeSettings {
                    probes: 1,
                    delay: Duration::ZERO,
                    // The next question is worth more than the rest of this one's time.
                    timeout: self.settings.timeout.min(self.connect_timeout()),
                    ..self.settings
                },
            };
            let report = round(&self.target, &checks, settings).await;
            let stats = self.target.member().stats();
            match report.unhealthy {
                None => stats.healthy_rounds.add_one(),
                Some(_) => stats.unhealthy_rounds.add_one(),
            }
            let id = self.target.database().id;
            if self
                .mailbox
                .send(Message::Health { id, report })
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn connect_timeout(&self) -> Duration {
        self.target.member().dialer().timeouts().connect
    }

    async fn pause(&mut self) {
        let pace = *self.pace.borrow_and_update();
        let pause = match pace {
            Pace::Steady => self.interval,
            Pace::Urgent => self.interval.min(URGENT),
        };
        let quicker = async {
            // Urgency shortens a pause; its end lengthens none.
            while self.pace.changed().await.is_ok() {
                if *self.pace.borrow() == Pace::Urgent {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = self.wake.notified() => {}
            () = quicker => {}
        }
    }
}
