//! From a configuration to a running client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::Executor;
use super::config::{InitialHealthCheckPolicy, MultiDbConfig};
use super::database::DatabaseId;
use super::error::Error;
use super::failover::{self, Actor, ActorContext, MemberOptions, PendingMember, Policy, State};
use super::health::Report;
use super::health::watcher::Checks;
use super::views::{Route, Views};
use super::{Core, MultiDb, detector, strategy};

/// Between two rounds before there is a deadline.
const AGAIN: Duration = Duration::from_millis(500);

/// Checks all databases, chooses, and starts the tasks that keep doing both.
pub(super) async fn start(config: MultiDbConfig) -> Result<MultiDb, Error> {
    config.validate()?;
    let began = Instant::now();
    let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
    // Whatever happens from here on, what was started ends with this function or with the client.
    let guard = ended.clone().drop_guard();
    let options = MemberOptions::of(&config);
    let checks: Checks = config.checks().into();
    let mut pending_members = Vec::new();
    for (id, database) in (1..).zip(config.databases.iter().cloned()) {
        let id = DatabaseId(id);
        pending_members.push(PendingMember::new(id, database, &options, &tasks)?);
    }
    let reports = first_round(&pending_members, &checks, &options, &config, began).await?;

    let views = Arc::new(Views::new(began));
    let (mailbox, inbox) = mpsc::channel(failover::MAILBOX);
    let policy = Policy {
        success_threshold: config.success_threshold,
        last_resort: config.last_resort,
        fallback: config
            .auto_fallback_interval
            .filter(|interval| !interval.is_zero()),
        strategy: Arc::new(strategy::Guarded(Arc::clone(&config.failover_strategy))),
        detectors: config
            .detectors()
            .into_iter()
            .map(detector::guarded)
            .collect(),
    };
    let context = ActorContext {
        views: Arc::clone(&views),
        tasks: tasks.clone(),
        ended: ended.clone(),
        mailbox: mailbox.clone(),
        next_id: pending_members.len() as u64 + 1,
        options,
        window: config.failures_detection_window,
        half_open_slots: config.half_open_slots,
        checks,
    };
    let first = pending_members.into_iter().zip(reports).collect();
    let actor = Actor::new(State::new(policy, Instant::now()), context, inbox, first);
    tasks.spawn(actor.run());
    #[cfg(feature = "pubsub")]
    let hub = crate::pubsub::Hub::of(&config, &views, &tasks, ended.clone());
    first_route(&views, Instant::now() + config.connect_timeout).await;
    let executor = Arc::new(Executor {
        views,
        mailbox,
        retry: config.command_retry,
        response_timeout: config.response_timeout,
        temporary_limit: config
            .failover_delay
            .saturating_mul(config.failover_attempts),
    });
    Ok(MultiDb {
        core: Arc::new(Core {
            executor,
            #[cfg(feature = "pubsub")]
            hub,
            tasks,
            ended,
            _guard: guard,
        }),
    })
}

/// Until as many are healthy as the policy asks for, or the deadline.
async fn first_round(
    pending_members: &[PendingMember],
    checks: &Checks,
    options: &MemberOptions,
    config: &MultiDbConfig,
    began: Instant,
) -> Result<Vec<Report>, Error> {
    loop {
        let round = Instant::now();
        let reports = join_all(
            pending_members
                .iter()
                .map(|pending| pending.check(checks, options.settings)),
        )
        .await;
        let total = reports.len();
        let healthy = reports.iter().filter(|r| r.unhealthy.is_none()).count();
        if enough(config.initial_health_check_policy, healthy, total) {
            return Ok(reports);
        }
        let again = (round + AGAIN).max(Instant::now());
        if config
            .initial_deadline
            .is_none_or(|deadline| again >= began + deadline)
        {
            return Err(Error::InitialHealthCheckFailed { healthy, total });
        }
        sleep_until(again).await;
    }
}

fn enough(policy: InitialHealthCheckPolicy, healthy: usize, total: usize) -> bool {
    match policy {
        InitialHealthCheckPolicy::AllAvailable => healthy == total,
        InitialHealthCheckPolicy::MajorityAvailable => healthy * 2 > total,
        InitialHealthCheckPolicy::OneAvailable => healthy > 0,
        InitialHealthCheckPolicy::NoneAvailable => true,
    }
}

/// The first command need not wait for its connection, if there is a database to connect to. If there
/// is none, it will find out itself.
async fn first_route(views: &Views, deadline: Instant) {
    let mut changes = views.changes.subscribe();
    let open = async {
        while matches!(**views.route.load(), Route::Undecided { .. }) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    drop(timeout_at(deadline, open).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_a_majority_or_one_must_be_well() {
        use InitialHealthCheckPolicy::{
            AllAvailable, MajorityAvailable, NoneAvailable, OneAvailable,
        };
        for (policy, healthy, total, expected) in [
            (AllAvailable, 3, 3, true),
            (AllAvailable, 2, 3, false),
            (MajorityAvailable, 2, 3, true),
            (MajorityAvailable, 1, 2, false),
            (MajorityAvailable, 1, 1, true),
            (OneAvailable, 1, 3, true),
            (OneAvailable, 0, 3, false),
            (NoneAvailable, 0, 3, true),
        ] {
            assert_eq!(enough(policy, healthy, total), expected, "{policy:?}");
        }
    }
}
