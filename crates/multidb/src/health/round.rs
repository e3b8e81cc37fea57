//! One round: all checks of one database at once, and what came of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::time::{Instant, sleep, timeout};

use super::{
    HealthCheck, HealthCheckPolicy, HealthTarget, PingHealthCheck, ProbeSettings, Unhealthy,
    Verdict,
};

const PANICKED: &str = "the check panicked";

/// What a round found.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// When it began: it says nothing about what happened before.
    pub(crate) started: Instant,
    /// `None`: healthy. Else what the first failing check said.
    pub(crate) unhealthy: Option<String>,
    /// What a failback-only check said.
    pub(crate) failback_refused: Option<String>,
}

/// All checks, by their own settings or else these. A check may be a caller's: where one panics, the
/// database is not known to be healthy, and the next round asks again.
pub(crate) async fn round(
    target: &HealthTarget,
    checks: &[Arc<dyn HealthCheck>],
    settings: ProbeSettings,
) -> Report {
    let started = Instant::now();
    catch_panic(ask_all(target, checks, settings, started).boxed())
        .await
        .unwrap_or_else(|| panicked(started))
}

/// `None`: it panicked.
async fn catch_panic<T>(work: BoxFuture<'_, T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

fn panicked(started: Instant) -> Report {
    Report {
        started,
        unhealthy: Some(PANICKED.to_owned()),
        failback_refused: None,
    }
}

async fn ask_all(
    target: &HealthTarget,
    checks: &[Arc<dyn HealthCheck>],
    settings: ProbeSettings,
    started: Instant,
) -> Report {
    // One connection for all, before all ask for it; what becomes of it, each finds for itself.
    drop(timeout(settings.timeout, target.prepare()).await);
    let answers = join_all(checks.iter().map(|check| {
        let settings = check.settings().unwrap_or(settings);
        ask(target, check.as_ref(), settings)
    }))
    .await;
    let mut report = Report {
        started,
        unhealthy: None,
        failback_refused: None,
    };
    for (check, answer) in checks.iter().zip(answers) {
        if let Err(Unhealthy(why)) = answer {
            let said = if check.failback_only() {
                &mut report.failback_refused
            } else {
                &mut report.unhealthy
            };
            said.get_or_insert(format!("{}: {why}", check.name()));
        }
    }
    report
}

/// Out of turn: is it true what a failing command suggests? The quick checks, one probe.
pub(crate) async fn confirm(
    target: &HealthTarget,
    checks: &[Arc<dyn HealthCheck>],
    limit: Duration,
) -> Report {
    let started = Instant::now();
    catch_panic(ask_quickly(target, checks, limit, started).boxed())
        .await
        .unwrap_or_else(|| panicked(started))
}

async fn ask_quickly(
    target: &HealthTarget,
    checks: &[Arc<dyn HealthCheck>],
    limit: Duration,
    started: Instant,
) -> Report {
    let mut quick: Vec<_> = checks
        .iter()
        .filter(|check| check.is_quick() && !check.failback_only())
        .map(|check| Arc::new(Quick(Arc::clone(check))) as Arc<dyn HealthCheck>)
        .collect();
    if quick.is_empty() {
        quick.push(Arc::new(PingHealthCheck));
    }
    let settings = ProbeSettings {
        probes: 1,
        delay: Duration::ZERO,
        timeout: limit,
        policy: HealthCheckPolicy::HealthyAll,
    };
    // Connecting, too, has only so long, and both together.
    timeout(limit, round(target, &quick, settings))
        .await
        .unwrap_or_else(|_| {
            target.forget();
            Report {
                started,
                unhealthy: Some(format!("no answer in {} ms", limit.as_millis())),
                failback_refused: None,
            }
        })
}

/// A check without settings of its own.
#[derive(Debug)]
struct Quick(Arc<dyn HealthCheck>);

impl HealthCheck for Quick {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn check<'a>(
        &'a self,
        target: &'a HealthTarget,
    ) -> futures_util::future::BoxFuture<'a, Result<(), Unhealthy>> {
        self.0.check(target)
    }
}

async fn ask(
    target: &HealthTarget,
    check: &dyn HealthCheck,
    settings: ProbeSettings,
) -> Result<(), Unhealthy> {
    let probes = catch_panic(probes(target, check, settings).boxed());
    timeout(settings.timeout, probes)
        .await
        .map(|answer| answer.unwrap_or_else(|| Err(Unhealthy(PANICKED.to_owned()))))
        .unwrap_or_else(|_| {
            // Whatever is slow on this connection would be slow for the next probe as well.
            target.forget();
            Err(Unhealthy(format!(
                "no answer in {} ms",
                settings.timeout.as_millis()
            )))
        })
}

async fn probes(
    target: &HealthTarget,
    check: &dyn HealthCheck,
    settings: ProbeSettings,
) -> Result<(), Unhealthy> {
    let (mut passed, mut failed) = (0, 0);
    loop {
        let asked = Instant::now();
        let answer = check.check(target).await;
        match answer {
            Ok(()) => {
                passed += 1;
                if check.is_quick() {
                    target.member().stats().answered_in(asked.elapsed());
                }
            }
            Err(_) => failed += 1,
        }
        let probes = settings.probes.max(1);
        match (settings.policy.verdict(probes, passed, failed), answer) {
            (Verdict::Healthy, _) => return Ok(()),
            (Verdict::Unhealthy, Err(why)) => return Err(why),
            (Verdict::Unhealthy, Ok(())) => return Err(Unhealthy("too few probes".to_owned())),
            (Verdict::Undecided, _) => sleep(settings.delay).await,
        }
    }
}
