//! Users that send commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, cmd};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tally::{Failure, Tally, UserCounts};
use herdsman_test_support::eventually;

/// After an error a user waits before it tries again.
const PAUSE: Duration = Duration::from_millis(5);

/// Users who each count on a key of their own, as fast as they are answered.
pub struct Workload {
    counted: Vec<Arc<AtomicU64>>,
    tasks: Vec<JoinHandle<UserCounts>>,
    stop: CancellationToken,
}

impl Workload {
    /// `users` begin to `INCR`.
    pub fn counting<C>(connection: &C, users: usize) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let counted: Vec<_> = (0..users).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let tasks = counted.iter().enumerate().map(|(i, counted)| {
            let work = count(connection.clone(), i, counted.clone(), stop.clone());
            tracker.spawn(work)
        });
        Self {
            tasks: tasks.collect(),
            counted,
            stop,
        }
    }

    /// Waits until every user has been acknowledged at least `n` more times.
    pub async fn progress(&self, n: u64) {
        let before = self.each();
        eventually("every user gets on", async || {
            let now = self.each();
            before
                .iter()
                .zip(now)
                .all(|(before, now)| now >= before + n)
        })
        .await;
    }

    /// Every user finishes its command.
    pub async fn stop(self) -> Tally {
        self.stop.cancel();
        let mut users = Vec::new();
        for task in self.tasks {
            users.push(task.await.expect("a user who does not panic"));
        }
        Tally { users }
    }

    fn each(&self) -> Vec<u64> {
        let load = |counted: &Arc<AtomicU64>| counted.load(Ordering::Relaxed);
        self.counted.iter().map(load).collect()
    }
}

async fn count<C: ConnectionLike>(
    mut connection: C,
    user: usize,
    counted: Arc<AtomicU64>,
    stop: CancellationToken,
) -> UserCounts {
    let mut counts = UserCounts::new(format!("user:{user}"));
    while !stop.is_cancelled() {
        let answer: RedisResult<i64> = cmd("INCR")
            .arg(&counts.key)
            .query_async(&mut connection)
            .await;
        match answer {
            Ok(_) => {
                counts.acknowledged += 1;
                counted.store(counts.acknowledged, Ordering::Relaxed);
            }
            Err(error) => {
                counts.failures.push(Failure { error });
                sleep(PAUSE).await;
            }
        }
    }
    counts
}
