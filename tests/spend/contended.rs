//! Others write to the same rows: an operator with a client program (the other half of `L17`).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use herdsman::spend::Spend;
use tokio::task::block_in_place;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{Database, Fixture, On, Router, record};
use herdsman_test_support::redis::Server;
use herdsman_test_support::sql::Rows;

/// The last rows of a flush, and then the first.
const BACKWARDS: [Rows<'_>; 3] = [
    ("daily_spend", "kind = 'user' AND entity = 'user-9'"),
    ("spend", "kind = 'user' AND entity = 'user-9'"),
    (
        "spend",
        "kind = 'key' AND \
         entity = '0000000000000000000000000000000000000000000000000000000000000000'",
    ),
];
const CROSSINGS: i64 = 3;
/// Much longer than a flush.
const HELD: Duration = Duration::from_secs(2);

/// From `first` on, until it is over.
async fn record_from(first: u64, spend: Spend, over: CancellationToken) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for n in first.. {
        if over.is_cancelled() {
            break;
        }
        spend.record(record(n)).await.unwrap();
        numbers.insert(n);
        sleep(Duration::from_millis(5)).await;
    }
    numbers
}

/// In transactions of several rows in another order than ours, and with one row held for longer than a
/// flush, by which some of them end in a deadlock: what was taken back is done again, by whom it was.
#[tokio::test(flavor = "multi_thread")]
async fn l17_the_database_is_contended_during_a_flush() {
    for on in [On::Postgres, On::MariaDb] {
        // On a server of its own, since others count deadlocks.
        let fixture = Fixture::over(Server::start().await, Database::own(on).await).await;
        if on == On::Postgres {
            // It looks for a deadlock once, when somebody has waited for so long, which has to be longer
            // than the operator thinks: by default a second, and there will be many.
            let sooner = "ALTER DATABASE spend SET deadlock_timeout = '400ms'";
            fixture.database.sql(sooner);
        }
        let mut routers = vec![
            fixture.leader("leads").await,
            fixture.router("follows").await,
        ];
        for name in ["straight", "too"] {
            let mut plan = fixture.plan(name);
            plan.redis.clear();
            routers.push(fixture.start(plan).await);
        }
        // All rows that the operator is going to change.
        let mut all = routers[0].record(0..240).await;
        routers[0].settle().await;

        let (tracker, over) = (TaskTracker::new(), CancellationToken::new());
        let recording: Vec<_> = routers
            .iter()
            .zip(1..)
            .map(|(router, n)| {
                let recording = record_from(n * 100_000, router.spend.clone(), over.clone());
                tracker.spawn(recording)
            })
            .collect();
        let operator = fixture.database.operator();
        block_in_place(|| {
            for _ in 0..CROSSINGS {
                operator.adds(&BACKWARDS, Duration::from_millis(300));
            }
            operator.adds(&BACKWARDS[..2], HELD);
        });
        over.cancel();
        for numbers in recording {
            all.extend(numbers.await.unwrap());
        }
        join_all(routers.iter().map(Router::settle)).await;
        assert!(fixture.database.server().unwrap().deadlocks() > 0);
        assert_eq!(fixture.letters().await, [], "nothing was given up");
        // Without what he added, and with it all there, every table is what it must be.
        operator.takes_back(CROSSINGS, &BACKWARDS);
        operator.takes_back(1, &BACKWARDS[..2]);
        fixture.must_be(&all).await;
    }
}
