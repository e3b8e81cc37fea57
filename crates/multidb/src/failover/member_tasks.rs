//! The tasks of one database: the connector, which keeps its connection, and the watcher of its health.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Mailbox;
use super::message::Settled;
use super::state::NewMember;
use crate::config::{DatabaseConfig, Invalid, MultiDbConfig, invalid_database};
use crate::database::DatabaseId;
use crate::health::watcher::{Checks, Pace, Watcher};
use crate::health::{HealthTarget, ProbeSettings, Report, round};
use crate::member::connector::{Connector, ConnectorMessage};
use crate::member::{Link, Member, Timeouts};

/// Messages a connector may not have read yet.
const CONNECTOR_MAILBOX: usize = 16;

/// Options that are the same for every database.
#[derive(Clone, Debug)]
pub(crate) struct MemberOptions {
    pub(crate) timeouts: Timeouts,
    pub(crate) settings: ProbeSettings,
    pub(crate) interval: std::time::Duration,
}

impl MemberOptions {
    pub(crate) fn of(config: &MultiDbConfig) -> Self {
        Self {
            timeouts: Timeouts {
                connect: config.connect_timeout,
                response: config.response_timeout,
            },
            settings: ProbeSettings {
                probes: config.health_check_probes,
                delay: config.health_check_delay,
                timeout: config.health_check_timeout,
                policy: config.health_check_policy,
            },
            interval: config.health_check_interval,
        }
    }
}

/// A database whose tasks have not been started.
#[derive(Debug)]
pub(crate) struct PendingMember {
    pub(crate) member: Arc<Member>,
    pub(crate) target: Arc<HealthTarget>,
    pub(crate) config: DatabaseConfig,
}

impl PendingMember {
    pub(crate) fn new(
        id: DatabaseId,
        config: DatabaseConfig,
        options: &MemberOptions,
        tasks: &TaskTracker,
    ) -> Result<Self, Invalid> {
        invalid_database(&config)?;
        let member = Arc::new(Member::new(id, &config, options.timeouts)?);
        Ok(Self {
            target: Arc::new(HealthTarget::new(Arc::clone(&member), tasks.clone())),
            member,
            config,
        })
    }

    /// One round.
    pub(crate) async fn check(&self, checks: &Checks, settings: ProbeSettings) -> Report {
        round(&self.target, checks, settings).await
    }

    pub(super) fn new_member(&self, report: Report) -> NewMember {
        NewMember {
            database: self.member.database().clone(),
            weight: self.config.weight,
            grace: self.config.grace_period,
            report,
        }
    }
}

/// The running tasks.
#[derive(Debug)]
pub(super) struct MemberTasks {
    pub(super) member: Arc<Member>,
    pub(super) target: Arc<HealthTarget>,
    pub(super) link: Option<Arc<Link>>,
    /// Successes the state knows of.
    pub(super) counted: u64,
    /// Commands that wait for a decision about it.
    pub(super) waiting: Vec<oneshot::Sender<Settled>>,
    to_connector: mpsc::Sender<ConnectorMessage>,
    wake: Arc<Notify>,
    ended: CancellationToken,
}

/// What the tasks are started with.
#[derive(Debug)]
pub(super) struct Environment<'a> {
    pub(super) tasks: &'a TaskTracker,
    pub(super) mailbox: &'a Mailbox,
    pub(super) ended: &'a CancellationToken,
    pub(super) checks: watch::Receiver<Checks>,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) options: &'a MemberOptions,
}

impl MemberTasks {
    pub(super) fn spawn(pending: PendingMember, environment: Environment<'_>) -> Self {
        let PendingMember { member, target, .. } = pending;
        let ended = environment.ended.child_token();
        let wake = Arc::new(Notify::new());
        let (to_connector, inbox) = mpsc::channel(CONNECTOR_MAILBOX);
        let connector = Connector {
            member: Arc::clone(&member),
            inbox,
            mailbox: environment.mailbox.clone(),
            ended: ended.clone(),
            tasks: environment.tasks.clone(),
        };
        let watcher = Watcher {
            target: Arc::clone(&target),
            checks: environment.checks,
            pace: environment.pace,
            wake: Arc::clone(&wake),
            settings: environment.options.settings,
            interval: environment.options.interval,
            mailbox: environment.mailbox.clone(),
            ended: ended.clone(),
        };
        environment.tasks.spawn(connector.run());
        environment.tasks.spawn(watcher.run());
        Self {
            member,
            target,
            link: None,
            counted: 0,
            waiting: Vec::new(),
            to_connector,
            wake,
            ended,
        }
    }

    /// A connector that has not read its last messages needs no more.
    pub(super) fn tell_connector(&self, message: ConnectorMessage) {
        let _ = self.to_connector.try_send(message);
    }

    /// A round now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The decision they waited for has been made.
    pub(super) fn settle(&mut self) {
        for command in self.waiting.drain(..) {
            drop(command.send(Settled));
        }
    }

    /// What succeeded since the last time.
    pub(super) fn new_successes(&mut self) -> u64 {
        let total = self.member.stats().successes.get();
        let new_successes = total.saturating_sub(self.counted);
        self.counted = total;
        new_successes
    }
}

impl Drop for MemberTasks {
    fn drop(&mut self) {
        self.ended.cancel();
        self.target.forget();
    }
}
