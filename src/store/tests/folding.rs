//! Minutes that become days, on every database.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

const DAY: i64 = 86_400;
/// Writers at once.
const WRITERS: u64 = 4;

/// Of each row of a model on an endpoint: when, and tokens read and written.
async fn rows(store: &Store, name: &str, endpoint: &str) -> Vec<(i64, i64, i64)> {
    let rows = store.time_series(&model(name), MAX_MINUTES).await.unwrap();
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|row| row.endpoint == endpoint)
        .map(|row| {
            assert_eq!(row.total_tokens, row.input_tokens + row.output_tokens);
            (row.timestamp, row.input_tokens, row.output_tokens)
        })
        .collect();
    rows.reverse();
    rows
}

/// Everything before `before`, as the router does it.
async fn fold(store: &Store, before: i64) -> u64 {
    let mut folded = 0;
    for row in store.token_counts().await.unwrap() {
        let (endpoint, model) = (&row.endpoint, &row.model);
        let days = store.days_to_fold(endpoint, model, before).await.unwrap();
        folded += store
            .fold_days(endpoint, model, &days, before)
            .await
            .unwrap();
    }
    folded
}

on_every_database! {
    async fn minutes_become_days_once_and_the_sums_stay(fixture: &Fixture) {
        let store = fixture.open().await;
        let producer = Uuid::now_v7();
        let minutes = [
            ("a", "m:latest", DAY, 1),
            ("a", "m:latest", DAY + 60, 2),
            ("a", "m:latest", 2 * DAY - 60, 4),
            ("a", "m:latest", 2 * DAY + 60, 8),
            ("a", "m:latest", 2 * DAY + 120, 16),
            ("a", "m:latest", 3 * DAY + 60, 32),
            ("a", "n:latest", DAY + 60, 64),
            ("b", "m:latest", DAY + 60, 128),
        ];
        apply(&store, &[batch(producer, 1, &minutes)]).await.unwrap();
        let before = 2 * DAY + 120;
        assert_eq!(store.days_to_fold("a", "m:latest", before).await.unwrap(), [DAY, 2 * DAY]);
        assert_eq!(fold(&store, before).await, 4);
        let kept = [(DAY, 7, 3), (2 * DAY, 8, 1), (2 * DAY + 120, 16, 1), (3 * DAY + 60, 32, 1)];
        assert_eq!(rows(&store, "m", "a").await, kept);
        assert_eq!(rows(&store, "n", "a").await, [(DAY, 64, 1)]);
        assert_eq!(rows(&store, "m", "b").await, [(DAY, 128, 1)]);

        assert_eq!(fold(&store, before).await, 0, "once");
        assert_eq!(rows(&store, "m", "a").await, kept);
        // The rest of a day, and what comes late.
        apply(&store, &[batch(producer, 2, &[("a", "m:latest", DAY + 60, 256)])]).await.unwrap();
        assert_eq!(fold(&store, 3 * DAY).await, 2);
        let kept = [(DAY, 263, 4), (2 * DAY, 24, 2), (3 * DAY + 60, 32, 1)];
        assert_eq!(rows(&store, "m", "a").await, kept);
        assert_eq!(store.tokens_that_disagree().await.unwrap(), []);
    }

    /// Several routers fold the same days while others write minutes of them.
    async fn folding_loses_and_adds_nothing_while_flushes_go_on(fixture: &Fixture) {
        let before = fixture.server().map(Server::deadlocks);
        let (tracker, over) = (TaskTracker::new(), CancellationToken::new());
        let end = 4 * DAY;
        let mut folders = Vec::new();
        for _ in 0..2 {
            let (store, over) = (fixture.open().await, over.clone());
            folders.push(tracker.spawn(async move {
                let mut folded = 0;
                while !over.is_cancelled() {
                    folded += fold(&store, end).await;
                }
                folded
            }));
        }
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let store = fixture.open().await;
            writers.push(tracker.spawn(async move {
                let producer = Uuid::now_v7();
                for seq in 1..=20 {
                    let minute = |at: i64| ("a", "m:latest", DAY + at * 40 * 60, 1);
                    let minutes: Vec<_> = (0..100).map(minute).collect();
                    let batches = [batch(producer, seq, &minutes)];
                    while let Err(error) = apply(&store, &batches).await {
                        let late = matches!(error, Error::Contended(_) | Error::Unavailable(_));
                        assert!(late, "{error:?}");
                    }
                }
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        over.cancel();
        let mut folded = 0;
        for folder in folders {
            folded += folder.await.unwrap();
        }
        assert!(folded >= 3, "{folded}");
        let store = fixture.open().await;
        fold(&store, end).await;
        let all = rows(&store, "m", "a").await;
        let days: Vec<_> = all.iter().map(|(at, ..)| *at).collect();
        assert_eq!(days, [DAY, 2 * DAY, 3 * DAY]);
        let tokens: i64 = all.iter().map(|(_, input, _)| input).sum();
        assert_eq!(tokens, i64::try_from(WRITERS * 20 * 100).unwrap());
        assert_eq!(store.tokens_that_disagree().await.unwrap(), []);
        assert_eq!(fixture.server().map(Server::deadlocks), before);
    }
}
