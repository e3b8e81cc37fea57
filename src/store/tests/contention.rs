use tokio_util::task::TaskTracker;

use super::*;

/// Routers that write at once.
const WRITERS: u64 = 20;
/// Transactions of each.
const FLUSHES: u64 = 5;
/// Rows in each transaction, the same for all.
const KEYS: u64 = 100;

/// Every key once, in an order of its own.
fn shuffled(producer: Uuid, seq: u64) -> SealedBatch {
    let mut batch = SealedBatch::empty(id(producer, seq));
    for at in 0..KEYS {
        let mut one = charge(producer, seq, &format!("key-{at}"), at + 1);
        batch.rows.append(&mut one.rows);
        batch.spend.append(&mut one.spend);
        batch.daily.append(&mut one.daily);
    }
    fastrand::shuffle(&mut batch.spend);
    fastrand::shuffle(&mut batch.daily);
    batch.records = KEYS;
    batch
}

on_every_database! {
    /// Each with connections of its own, all on the same rows, some of which are new to all of them,
    /// while an operator changes rows as well.
    async fn twenty_routers_on_the_same_rows_lose_nothing_and_never_deadlock(ground: &Ground) {
        let before = ground.server().map(Server::deadlocks);
        let tracker = TaskTracker::new();
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let store = ground.open().await;
            writers.push(tracker.spawn(async move {
                let producer = Uuid::now_v7();
                for seq in 1..=FLUSHES {
                    let batches = [Arc::new(shuffled(producer, seq))];
                    // A machine with two cores may let a router wait longer than it is willing to.
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
        let flushes = i64::try_from(WRITERS * FLUSHES).unwrap();
        let keys = i64::try_from(KEYS).unwrap();
        let store = ground.open().await;
        for row in store.spent(EntityKind::Key).await.unwrap() {
            let number: i64 = row.entity.strip_prefix("key-").unwrap().parse().unwrap();
            assert_eq!(row.spend_nano_usd, (number + 1) * flushes, "{}", row.entity);
            assert_eq!(row.requests, flushes);
        }
        let total = flushes * keys * (keys + 1) / 2;
        let team = store.spent(EntityKind::Team).await.unwrap();
        assert_eq!(team[0].spend_nano_usd, total);
        for (table, times) in [("spend", 2), ("spend_periods", 2), ("daily_spend", 2)] {
            // As text, for a sum of integers is a decimal to some.
            let sum = format!("SELECT CAST(sum(spend_nano_usd) AS {}) AS number FROM {table}", match ground.on {
                On::MariaDb => "SIGNED",
                On::Sqlite | On::Postgres => "BIGINT",
            });
            assert_eq!(ground.number(&sum), times * total, "{table}");
        }
        assert_eq!(input_total(&store).await, 10 * keys * flushes);
        assert_eq!(ground.server().map(Server::deadlocks), before);
    }
}
