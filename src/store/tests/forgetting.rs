//! What is older than anything that is kept, on every database.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

const DAY: i64 = 86_400;
/// Writers at once.
const WRITERS: u64 = 3;
/// What is older than this is forgotten.
const BEFORE: i64 = 100 * DAY;

/// Spent by one account on so many days from the first on, by two keys, a dollar's billionth each.
fn spent(producer: Uuid, seq: u64, entity: &str, days: std::ops::Range<i64>) -> SealedBatch {
    let spent = SpendSums {
        nano_usd: 1,
        input: 2,
        output: 3,
        requests: 1,
    };
    let row = |day: i64, key: &str| DailyRow {
        kind: EntityKind::Team,
        entity: entity.into(),
        at: day * DAY + 5,
        api_key: key.into(),
        model: "m:latest".into(),
        endpoint: "a".into(),
        spent,
        failed_requests: 4,
    };
    let daily: Vec<_> = days
        .flat_map(|day| ["k1", "k2"].map(|key| row(day, key)))
        .collect();
    let total = daily.len() as u64;
    SealedBatch {
        spend: vec![SpendRow {
            kind: EntityKind::Team,
            entity: entity.into(),
            period: 0,
            spent: SpendSums {
                nano_usd: total,
                input: 2 * total,
                output: 3 * total,
                requests: total,
            },
        }],
        daily,
        ..SealedBatch::empty(id(producer, seq))
    }
}

/// Everything before `before`, as the router does it. Returns how many rows went.
async fn forget(store: &Store, before: i64) -> u64 {
    let (mut gone, day) = (0, Day::of(before));
    while let Some(old) = store.oldest_spent(&day).await.unwrap() {
        gone += free(|| store.forget_spent(&old)).await;
    }
    loop {
        let pairs = store.used_between(0, before).await.unwrap();
        if pairs.is_empty() {
            return gone;
        }
        for (endpoint, model) in pairs {
            gone += free(|| store.forget_days(&endpoint, &model, before)).await;
        }
    }
}

/// Others may be in the way.
async fn free<F: Future<Output = Result<u64, Error>>>(work: impl Fn() -> F) -> u64 {
    loop {
        match work().await {
            Ok(done) => return done,
            Err(Error::Contended(_) | Error::Unavailable(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Date, key and money.
async fn days(store: &Store) -> Vec<(String, String, i64)> {
    let rows = store.daily_spent("0001-01-01", "9999-12-31", 1_000);
    let rows = rows.await.unwrap().into_iter();
    rows.map(|row| (row.date, row.api_key, row.spend_nano_usd))
        .collect()
}

async fn must_agree(store: &Store) {
    assert_eq!(store.accounts_that_disagree().await.unwrap(), []);
    assert_eq!(store.tokens_that_disagree().await.unwrap(), []);
}

on_every_database! {
    async fn days_become_one_sum_by_everything_but_the_day(fixture: &Fixture) {
        let store = fixture.open().await;
        let producer = Uuid::now_v7();
        let mut first = spent(producer, 1, "shepherds", 97..102);
        first.rows = batch(producer, 1, &[
            ("a", "m:latest", 98 * DAY, 1),
            ("a", "m:latest", 99 * DAY + 60, 2),
            ("a", "m:latest", 100 * DAY, 4),
            ("a", "n:latest", 99 * DAY, 8),
        ]).rows.clone();
        apply(&store, &[first.into()]).await.unwrap();
        assert_eq!(store.oldest_tokens(BEFORE).await.unwrap(), Some(98 * DAY));
        assert_eq!(store.oldest_minute(0, BEFORE).await.unwrap(), Some(99 * DAY + 60));
        let oldest = store.oldest_spent(&Day::of(BEFORE)).await.unwrap().unwrap();
        assert_eq!(oldest.day(), Some(Day::of(97 * DAY)));

        assert_eq!(forget(&store, BEFORE).await, 6 + 3);
        let row = |date: &str, key: &str, money| (date.to_owned(), key.to_owned(), money);
        let kept = [
            row("1970-01-01", "k1", 3),
            row("1970-01-01", "k2", 3),
            row("1970-04-11", "k1", 1),
            row("1970-04-11", "k2", 1),
            row("1970-04-12", "k1", 1),
            row("1970-04-12", "k2", 1),
        ];
        assert_eq!(days(&store).await, kept);
        let failed = "SELECT failed_requests AS number FROM daily_spend \
            WHERE date = '1970-01-01' AND api_key = 'k1'";
        assert_eq!(fixture.number(failed), 12);
        must_agree(&store).await;
        // No minute is shown that is of no day.
        let shown = store.time_series(&model("m"), MAX_MINUTES).await.unwrap();
        let shown: Vec<_> = shown.iter().map(|row| (row.timestamp, row.input_tokens)).collect();
        assert_eq!(shown, [(100 * DAY, 4)]);

        assert_eq!(forget(&store, BEFORE).await, 0, "once");
        assert_eq!(store.oldest_tokens(BEFORE).await.unwrap(), None);
        // What comes late is forgotten late.
        apply(&store, &[spent(producer, 2, "shepherds", 1..2).into()]).await.unwrap();
        assert_eq!(forget(&store, BEFORE).await, 2);
        assert_eq!(days(&store).await[0], row("1970-01-01", "k1", 4));
        must_agree(&store).await;
    }

    /// Several routers forget the same days while others write them.
    async fn forgetting_loses_and_adds_nothing_while_flushes_go_on(fixture: &Fixture) {
        let before = fixture.server().map(Server::deadlocks);
        let (tracker, over) = (TaskTracker::new(), CancellationToken::new());
        let mut forgetting = Vec::new();
        for _ in 0..2 {
            let (store, over) = (fixture.open().await, over.clone());
            forgetting.push(tracker.spawn(async move {
                let mut gone = 0;
                while !over.is_cancelled() {
                    gone += forget(&store, BEFORE).await;
                }
                gone
            }));
        }
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let store = fixture.open().await;
            writers.push(tracker.spawn(async move {
                let producer = Uuid::now_v7();
                for seq in 1..=10 {
                    let mut written = spent(producer, seq, "flock", 90..101);
                    let other = spent(producer, seq, "shepherds", 95..101);
                    written.spend.extend(other.spend);
                    written.daily.extend(other.daily);
                    let minutes: Vec<_> = (90..101).map(|day| ("a", "m:latest", day * DAY, 1)).collect();
                    written.rows = batch(producer, seq, &minutes).rows.clone();
                    let batches = [written.into()];
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
        let mut gone = 0;
        for one in forgetting {
            gone += one.await.unwrap();
        }
        let store = fixture.open().await;
        gone += forget(&store, BEFORE).await;
        assert!(gone >= 2 * 15 + 10, "{gone}");
        must_agree(&store).await;
        // Two accounts with two keys on a day each that is kept, and as many sums of no day.
        assert_eq!(days(&store).await.len(), 8);
        let money: i64 = days(&store).await.iter().map(|(_, _, money)| money).sum();
        assert_eq!(money, i64::try_from(WRITERS * 10 * 2 * 17).unwrap());
        assert_eq!(input_total(&store).await, i64::try_from(WRITERS * 10 * 11).unwrap());
        assert_eq!(fixture.server().map(Server::deadlocks), before);
    }

    /// A statement names so many rows and no more.
    async fn a_day_of_many_rows_goes_in_several_steps(fixture: &Fixture) {
        let store = fixture.open().await;
        let mut many = spent(Uuid::now_v7(), 1, "shepherds", 1..2);
        let one = many.daily[0].clone();
        many.daily = (0..450)
            .map(|key| DailyRow { api_key: format!("k{key}").into(), ..one.clone() })
            .collect();
        apply(&store, &[many.into()]).await.unwrap();
        let oldest = store.oldest_spent(&Day::of(BEFORE)).await.unwrap().unwrap();
        for gone in [200, 200, 50, 0] {
            assert_eq!(store.forget_spent(&oldest).await.unwrap(), gone);
        }
        let all = "SELECT count(*) AS number FROM daily_spend WHERE date = '1970-01-01'";
        assert_eq!(fixture.number(all), 450);
    }

    async fn periods_and_replayed_letters_go_and_nothing_that_counts(fixture: &Fixture) {
        let store = fixture.open().await;
        let producer = Uuid::now_v7();
        let mut charged = charge(producer, 1, "k", 7);
        for period in [2 * DAY, 3 * DAY] {
            let mut more = charged.spend[1].clone();
            more.period = period;
            charged.spend.push(more);
        }
        apply(&store, &[charged.into()]).await.unwrap();
        let team = EntityKind::Team;
        let first = store.oldest_period(team, "").await.unwrap();
        assert_eq!(first, Some(("shepherds".to_owned(), DAY)));
        assert_eq!(store.oldest_period(team, "shepherds").await.unwrap(), None);
        assert_eq!(store.forget_periods(team, "shepherds", 3 * DAY).await.unwrap(), 2);
        assert_eq!(store.forget_periods(team, "shepherds", 3 * DAY).await.unwrap(), 0);
        let left = store.spent_in_periods(0).await.unwrap();
        let left: Vec<_> = left.iter().map(|row| (row.entity.as_str(), row.period_start)).collect();
        assert_eq!(left, [("k", DAY), ("shepherds", 3 * DAY)]);
        assert_eq!(store.spent(team).await.unwrap()[0].spend_nano_usd, 21);

        let letter = |replayed: bool| DeadLetter {
            id: Uuid::now_v7(),
            batch: id(producer, 2),
            reason: "no".to_owned(),
            payload: "{}".to_owned(),
            created_at: 5,
            replayed_at: replayed.then_some(0),
        };
        let letters = [letter(true), letter(true), letter(false)];
        store.add_dead_letters(&letters).await.unwrap();
        for (letter, at) in letters.iter().zip([10, 20]) {
            assert!(store.mark_replayed(letter.id, at).await.unwrap());
        }
        assert_eq!(store.oldest_replayed(20).await.unwrap(), Some(10));
        assert_eq!(store.forget_replayed(20).await.unwrap(), 1);
        assert_eq!(store.oldest_replayed(20).await.unwrap(), None);
        let left = store.dead_letters(false, 10).await.unwrap();
        let left: Vec<_> = left.iter().map(|letter| letter.replayed_at).collect();
        assert_eq!(left, [Some(20), None]);
    }

    async fn the_database_says_what_time_it_is(fixture: &Fixture) {
        let store = fixture.open().await;
        let before = crate::clock::unix_ms();
        let said = store.clock_ms().await.unwrap();
        assert!((before - 1..=crate::clock::unix_ms() + 1).contains(&said), "{said}");
    }
}
