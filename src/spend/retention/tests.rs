//! The whole of it, on a real file.

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::domain::{EntityKind, ModelName, TokenCounts};
use crate::store::{
    BatchId, BatchRow, DailyRow, Flush, MAX_MINUTES, SealedBatch, SpendRow, SpendSums,
};

const DAY: i64 = 86_400;
const SOON: Duration = Duration::from_secs(20);

/// A database with one team's use of so long ago, in days, by five minutes each.
struct Test {
    dir: TempDir,
    tracker: TaskTracker,
}

impl Test {
    async fn with(days_ago: &[i64]) -> Self {
        let test = Self {
            dir: tempfile::tempdir().unwrap(),
            tracker: TaskTracker::new(),
        };
        let store = test.store().await;
        store.migrate().await.unwrap();
        test.used(days_ago).await;
        test
    }

    async fn store(&self) -> Store {
        Store::open("", self.dir.path()).await.unwrap()
    }

    async fn used(&self, days_ago: &[i64]) {
        let midnights = days_ago
            .iter()
            .map(|ago| (clock::unix_seconds() / DAY - ago) * DAY);
        let id = BatchId {
            producer: Uuid::now_v7(),
            seq: 1,
        };
        let mut batch = SealedBatch::empty(id);
        let spent = SpendSums {
            nano_usd: 9,
            requests: 5,
            ..SpendSums::default()
        };
        for midnight in midnights {
            batch.rows.extend((1..=5).map(|minute| BatchRow {
                endpoint: "a".into(),
                model: "m:latest".into(),
                minute: midnight + 60 * minute,
                tokens: TokenCounts {
                    input: 1,
                    output: 1,
                },
            }));
            batch.daily.push(DailyRow {
                kind: EntityKind::Team,
                entity: "shepherds".into(),
                at: midnight,
                api_key: "k".into(),
                model: "m:latest".into(),
                endpoint: "a".into(),
                spent,
                failed_requests: 0,
            });
            batch.spend.push(SpendRow {
                kind: EntityKind::Team,
                entity: "shepherds".into(),
                period: midnight,
                spent,
            });
        }
        batch.records = batch.rows.len() as u64;
        let flush = Flush {
            batches: &[batch.into()],
            ..Flush::default()
        };
        self.store().await.apply(flush).await.unwrap();
    }

    /// Keeps minutes for ten days, and days for so many.
    async fn keep(&self, days: u64, spend: Arc<SpendStats>) -> Retention {
        let kept = |days: u64| Some(Duration::from_secs(days * 86_400));
        let keeping = Keeping {
            look: Duration::from_millis(1),
            steady: Duration::ZERO,
            ..Keeping::new(kept(10), kept(days))
        };
        let store = self.store().await;
        Retention::start(keeping, store, spend, self.tracker.clone())
            .await
            .unwrap()
    }

    /// How long ago in days, and tokens, the oldest first.
    async fn rows(&self) -> Vec<(i64, i64)> {
        let store = self.store().await;
        let model = ModelName::parse("m").unwrap();
        let rows = store.time_series(&model, MAX_MINUTES).await.unwrap();
        let today = clock::unix_seconds() / DAY;
        let row = |row: crate::store::MinuteRow| (today - row.timestamp / DAY, row.input_tokens);
        rows.into_iter().rev().map(row).collect()
    }

    async fn days(&self) -> i64 {
        let store = self.store().await;
        let rows = store.daily_spent("1970-01-02", "9999-12-31", 1_000);
        i64::try_from(rows.await.unwrap().len()).unwrap()
    }

    async fn must_agree(&self) {
        let store = self.store().await;
        assert_eq!(store.accounts_that_disagree().await.unwrap(), []);
        assert_eq!(store.tokens_that_disagree().await.unwrap(), []);
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(SOON, async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never happened: {what}");
}

#[tokio::test]
async fn old_minutes_become_days_and_old_days_one_sum_while_the_router_runs() {
    let test = Test::with(&[1, 20, 40, 500]).await;
    let retention = test.keep(30, Arc::default()).await;
    let kept: Vec<_> = [(20, 5)].into_iter().chain([(1, 1); 5]).collect();
    eventually("what is old has gone", async || {
        test.rows().await == kept && test.days().await == 2
    })
    .await;
    // Periods only when they are over for as long, whatever budget they are of.
    let store = test.store().await;
    eventually("the old period has gone", async || {
        store.spent_in_periods(0).await.unwrap().len() == 3
    })
    .await;
    test.must_agree().await;
    let mut registry = Registry::default();
    retention.register(&mut registry);
    let mut shown = String::new();
    prometheus_client::encoding::text::encode(&mut shown, &registry).unwrap();
    // What comes late, too, in a round that begins later.
    test.used(&[25]).await;
    eventually("it is a day", async || test.rows().await[0] == (25, 5)).await;
    retention.stop().await;
    assert!(shown.contains("store_retention_held 0"), "{shown}");
    assert!(retention.stats.done().rows >= 5, "{retention:?}");
    test.must_agree().await;
}

#[tokio::test]
async fn a_round_goes_no_further_than_a_week_beyond_the_oldest() {
    let ages: Vec<i64> = (101..=130).collect();
    let test = Test::with(&ages).await;
    let work = round::Work {
        store: test.store().await,
        stats: Arc::default(),
        over: CancellationToken::new(),
    };
    let today = clock::unix_seconds() / DAY;
    // As if it were years later.
    let round = state::Round {
        minutes: Some((today + 3_000) * DAY),
        days: Some((today + 1_000) * DAY),
    };
    let (done, result) = work.run(round).await;
    result.unwrap();
    assert_eq!(done.days, 7);
    assert_eq!(test.days().await, 23);
    assert_eq!(test.rows().await.len(), 23 * 5);
    test.must_agree().await;

    work.over.cancel();
    let (done, result) = work.run(round).await;
    result.unwrap();
    assert_eq!(done, round::Done::default(), "broken off");
    test.must_agree().await;
}

#[tokio::test]
async fn only_whoever_writes_for_all_does_it() {
    let test = Test::with(&[20]).await;
    let lease = crate::cluster::lease::Handle::new();
    let follower = Arc::new(SpendStats::new(Some(lease)));
    let retention = test.keep(30, follower).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(test.rows().await.len(), 5);
    retention.stop().await;

    let test = Test::with(&[20]).await;
    let everything = Keeping::new(None, None);
    let store = test.store().await;
    let retention = Retention::start(everything, store, Arc::default(), test.tracker.clone());
    assert!(retention.await.unwrap().supervisor.is_none());
}

/// Whoever is killed in the middle leaves some steps done and others not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_round_that_is_dropped_anywhere_leaves_every_sum_as_it_was() {
    let ages: Vec<i64> = (20..=60).collect();
    let test = Test::with(&ages).await;
    let today = clock::unix_seconds() / DAY;
    let round = state::Round {
        minutes: Some((today - 10) * DAY),
        days: Some((today - 30) * DAY),
    };
    for step in 0..25 {
        let work = round::Work {
            store: test.store().await,
            stats: Arc::default(),
            over: CancellationToken::new(),
        };
        let cut = timeout(Duration::from_millis(step * 2), work.run(round)).await;
        test.must_agree().await;
        if let Ok((_, result)) = cut {
            result.unwrap();
        }
    }
    assert!(test.rows().await.len() < 41 * 5);
}
