//! Those who work for one database: the keeper of its connection, the watcher of its health.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Mailbox;
use super::message::Settled;
use super::state::Newcomer;
use crate::config::{DatabaseConfig, Invalid, MultiDbConfig, invalid_database};
use crate::database::DatabaseId;
use crate::health::watcher::{Checks, Pace, Watcher};
use crate::health::{HealthTarget, ProbeSettings, Report, round};
use crate::member::keeper::{Keeper, Order};
use crate::member::{Link, Member, Timeouts};

/// Orders a keeper may not have read yet.
const ORDERS: usize = 16;

/// What every database is treated by.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) timeouts: Timeouts,
    pub(crate) settings: ProbeSettings,
    pub(crate) interval: std::time::Duration,
}

impl Manners {
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

/// A database nobody works for yet.
#[derive(Debug)]
pub(crate) struct Applicant {
    pub(crate) member: Arc<Member>,
    pub(crate) target: Arc<HealthTarget>,
    pub(crate) config: DatabaseConfig,
}

impl Applicant {
    pub(crate) fn new(
        id: DatabaseId,
        config: DatabaseConfig,
        manners: &Manners,
        tasks: &TaskTracker,
    ) -> Result<Self, Invalid> {
        invalid_database(&config)?;
        let member = Arc::new(Member::new(id, &config, manners.timeouts)?);
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

    pub(super) fn newcomer(&self, report: Report) -> Newcomer {
        Newcomer {
            database: self.member.database().clone(),
            weight: self.config.weight,
            grace: self.config.grace_period,
            report,
        }
    }
}

/// At work.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) member: Arc<Member>,
    pub(super) target: Arc<HealthTarget>,
    pub(super) link: Option<Arc<Link>>,
    /// Successes the state knows of.
    pub(super) told: u64,
    /// Commands that wait for a decision about it.
    pub(super) waiting: Vec<oneshot::Sender<Settled>>,
    orders: mpsc::Sender<Order>,
    poke: Arc<Notify>,
    ended: CancellationToken,
}

/// Where they work.
#[derive(Debug)]
pub(super) struct Workplace<'a> {
    pub(super) tasks: &'a TaskTracker,
    pub(super) mailbox: &'a Mailbox,
    pub(super) ended: &'a CancellationToken,
    pub(super) checks: watch::Receiver<Checks>,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) manners: &'a Manners,
}

impl Crew {
    pub(super) fn hire(applicant: Applicant, place: Workplace<'_>) -> Self {
        let Applicant { member, target, .. } = applicant;
        let ended = place.ended.child_token();
        let poke = Arc::new(Notify::new());
        let (orders, inbox) = mpsc::channel(ORDERS);
        let keeper = Keeper {
            member: Arc::clone(&member),
            orders: inbox,
            mailbox: place.mailbox.clone(),
            ended: ended.clone(),
            tasks: place.tasks.clone(),
        };
        let watcher = Watcher {
            target: Arc::clone(&target),
            checks: place.checks,
            pace: place.pace,
            poke: Arc::clone(&poke),
            settings: place.manners.settings,
            interval: place.manners.interval,
            mailbox: place.mailbox.clone(),
            ended: ended.clone(),
        };
        place.tasks.spawn(keeper.run());
        place.tasks.spawn(watcher.run());
        Self {
            member,
            target,
            link: None,
            told: 0,
            waiting: Vec::new(),
            orders,
            poke,
            ended,
        }
    }

    /// A keeper that has not read its last orders has no need of more.
    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }

    /// A round now.
    pub(super) fn poke(&self) {
        self.poke.notify_one();
    }

    /// The decision they waited for has been made.
    pub(super) fn settle(&mut self) {
        for command in self.waiting.drain(..) {
            drop(command.send(Settled));
        }
    }

    /// What succeeded since the last time.
    pub(super) fn news(&mut self) -> u64 {
        let total = self.member.stats().successes.get();
        let news = total.saturating_sub(self.told);
        self.told = total;
        news
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.ended.cancel();
        self.target.forget();
    }
}
