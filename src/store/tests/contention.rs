use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use herdsman_test_support::sql::{Operator, Rows};

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
    /// Each with connections of its own, all on the same rows, some of which are new to all of them.
    async fn twenty_routers_on_the_same_rows_lose_nothing_and_never_deadlock(fixture: &Fixture) {
        let before = fixture.server().map(Server::deadlocks);
        let tracker = TaskTracker::new();
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let store = fixture.open().await;
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
        let store = fixture.open().await;
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
            let sum = format!("SELECT CAST(sum(spend_nano_usd) AS {}) AS number FROM {table}", match fixture.on {
                On::MariaDb => "SIGNED",
                On::Sqlite | On::Postgres => "BIGINT",
            });
            assert_eq!(fixture.number(&sum), times * total, "{table}");
        }
        assert_eq!(input_total(&store).await, 10 * keys * flushes);
        assert_eq!(fixture.server().map(Server::deadlocks), before);
    }
}

/// The last rows of a flush, and then the first.
const BACKWARDS: [Rows<'_>; 5] = [
    ("daily_spend", "entity = 'shepherds'"),
    ("spend", "entity = 'shepherds'"),
    ("spend", "entity IN ('key-99', 'key-50')"),
    ("spend", "entity = 'key-0'"),
    ("daily_spend", "entity = 'key-0'"),
];
const CROSSINGS: i64 = 4;
/// Much longer than a flush.
const HELD: Duration = Duration::from_secs(3);

/// What a writer saw.
#[derive(Default)]
struct Seen {
    flushes: i64,
    contended: u32,
    longest: Duration,
}

async fn write_until(over: CancellationToken, store: Store) -> Seen {
    let (producer, mut seen) = (Uuid::now_v7(), Seen::default());
    while !over.is_cancelled() {
        seen.flushes += 1;
        let batches = [Arc::new(shuffled(producer, seen.flushes.unsigned_abs()))];
        let began = Instant::now();
        while let Err(error) = apply(&store, &batches).await {
            let late = matches!(error, Error::Contended(_) | Error::Unavailable(_));
            assert!(late, "{error:?}");
            seen.contended += u32::from(matches!(error, Error::Contended(_)));
        }
        seen.longest = seen.longest.max(began.elapsed());
    }
    seen
}

/// Other orders than ours lead to deadlocks; a row that is held holds up a flush. Both are reported as
/// what they are, and nothing is lost by either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_and_an_operator_on_the_same_rows_lose_nothing_to_each_other() {
    for flavor in [Flavor::Postgres, Flavor::MariaDb] {
        // Of its own, since others count deadlocks.
        let server = Server::start(flavor);
        server.create("own");
        let open = async || {
            let store = Store::open(&server.url("own"), Path::new("")).await;
            store.unwrap()
        };
        let store = open().await;
        store.migrate().await.unwrap();
        let first = [Arc::new(shuffled(Uuid::now_v7(), 1))];
        apply(&store, &first).await.unwrap();

        let (tracker, over) = (TaskTracker::new(), CancellationToken::new());
        let mut writers = Vec::new();
        for _ in 0..4 {
            writers.push(tracker.spawn(write_until(over.clone(), open().await)));
        }
        let operator = Operator::of(&server, "own");
        tokio::task::block_in_place(|| {
            for _ in 0..CROSSINGS {
                operator.adds(&BACKWARDS, Duration::from_millis(300));
            }
            operator.adds(&BACKWARDS[..1], HELD);
        });
        over.cancel();
        let mut seen = Seen {
            flushes: 1,
            ..Seen::default()
        };
        for writer in writers {
            let one = writer.await.unwrap();
            seen.flushes += one.flushes;
            seen.contended += one.contended;
            seen.longest = seen.longest.max(one.longest);
        }
        assert!(server.deadlocks() > 0);
        assert!(seen.contended > 0, "ours were taken back, too");
        assert!(seen.longest >= HELD / 2, "and waited: {:?}", seen.longest);

        // The operator's rows are there, and apart from them ours.
        let number = |which: &str| -> i64 {
            let text = format!("SELECT spend_nano_usd FROM spend WHERE entity = '{which}'");
            server.sql("own", &text).parse().unwrap()
        };
        let keys = i64::try_from(KEYS).unwrap();
        let team = seen.flushes * keys * (keys + 1) / 2;
        assert_eq!(number("shepherds"), team + CROSSINGS);
        operator.takes_back(CROSSINGS, &BACKWARDS);
        operator.takes_back(1, &BACKWARDS[..1]);
        for at in 0..keys {
            assert_eq!(number(&format!("key-{at}")), (at + 1) * seen.flushes);
        }
        for kind in ["key", "team"] {
            for table in ["spend", "daily_spend"] {
                let rows = format!("SELECT spend_nano_usd FROM {table} WHERE kind = '{kind}'");
                let rows = server.sql("own", &rows);
                let sum: i64 = rows.lines().map(|row| row.parse::<i64>().unwrap()).sum();
                // A team has a row a day for each key.
                assert_eq!(sum, team, "{table}, {kind}");
            }
        }
    }
}

/// A file has one writer: a lock held longer than the timeout is reported as contention, and as nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_locks_the_file_causes_contention_and_no_loss() {
    let fixture = Fixture::new(On::Sqlite).await;
    let (store, producer) = (fixture.open().await, Uuid::now_v7());
    apply(&store, &[Arc::new(shuffled(producer, 1))])
        .await
        .unwrap();
    let mut operator = fixture.file();
    operator
        .batch_execute(
            "BEGIN IMMEDIATE; \
             UPDATE spend SET spend_nano_usd = spend_nano_usd + 1 WHERE entity = 'key-7'",
        )
        .unwrap();
    let batches = [Arc::new(shuffled(producer, 2))];
    let held = apply(&store, &batches).await.unwrap_err();
    assert!(matches!(held, Error::Contended(_)), "{held:?}");
    operator.batch_execute("COMMIT").unwrap();
    assert_eq!(apply(&store, &batches).await.unwrap().fresh, 1);
    let spent = "SELECT spend_nano_usd AS number FROM spend WHERE entity = 'key-7'";
    assert_eq!(fixture.number(spent), 2 * 8 + 1);
}
