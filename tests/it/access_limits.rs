//! Limits of every account of a request, periods of budgets, and routers that start without Redis.

use std::sync::Arc;
use std::time::Duration;

use herdsman::access::{Refused, What, key_id};
use herdsman::config::WhenRedisAway;
use herdsman::domain::{
    Account, AccountKind, Allowance, Budget, EntityKind, Limits, ModelRule, Period,
};
use tokio::time::{Instant, sleep};

use crate::access_shared::{Fleet, KEY, Plan, budget, unix_now, wrote};
use crate::support::{TEST_TIMEOUT, eventually};
use herdsman_test_support::redis::Server;

const CUSTOMER: &str = "customer 7";
const TAG: &str = "night";

fn account(kind: AccountKind, id: &str) -> Account {
    Account::new(kind, id, unix_now())
}

fn limits(limits: Limits) -> Allowance {
    Allowance {
        limits,
        ..Allowance::default()
    }
}

/// Every account a request can have: a key of ann in team blue of acme.
fn everyone() -> Vec<Account> {
    let mut key = account(AccountKind::Key, &key_id(KEY));
    (key.user, key.team) = ("ann".to_owned(), "blue".to_owned());
    let mut team = account(AccountKind::Team, "blue");
    team.org = "acme".to_owned();
    vec![
        account(AccountKind::Org, "acme"),
        account(AccountKind::User, "ann"),
        team,
        account(AccountKind::TeamMember, "blue/ann"),
        account(AccountKind::EndUser, CUSTOMER),
        account(AccountKind::Tag, TAG),
        key,
    ]
}

async fn ask(fleet: &Fleet, tokens: u64) -> Result<herdsman::access::Reservation, Refused> {
    let tags = [Arc::from(TAG)];
    fleet
        .admit_for(0, KEY, Some(tokens), Some(CUSTOMER), &tags)
        .await
}

#[tokio::test]
async fn every_limit_holds_at_every_level_and_the_error_names_its_account() {
    let accounts = everyone();
    let names: Vec<_> = accounts
        .iter()
        .map(|a| (a.kind, Arc::clone(&a.id)))
        .collect();
    let fleet = Fleet::of(Plan {
        accounts,
        ..Plan::default()
    })
    .await;
    let none = |what: What| {
        let limit = Some(0);
        limits(match what {
            What::Requests => Limits {
                rpm: limit,
                ..Limits::default()
            },
            _ => Limits {
                tpm: limit,
                ..Limits::default()
            },
        })
    };
    let one = limits(Limits {
        parallel: Some(1),
        ..Limits::default()
    });
    for (kind, id) in &names {
        let kind = *kind;
        let set = async |allowance: Allowance| {
            fleet
                .change(kind, id, |account| account.allowance = allowance)
                .await;
        };
        // Per minute: 0, so that it does not matter when a minute begins.
        for what in [What::Requests, What::Tokens] {
            set(none(what)).await;
            match ask(&fleet, 8).await {
                Err(Refused::Limited {
                    owner,
                    what: of,
                    limit: 0,
                    ..
                }) => {
                    assert_eq!((owner.kind, &owner.id, of), (kind, id, what));
                }
                other => panic!("{kind} {what:?}: {other:?}"),
            }
        }
        // At once.
        set(one.clone()).await;
        let first = ask(&fleet, 8).await.unwrap();
        match ask(&fleet, 8).await {
            Err(Refused::Limited {
                owner,
                what: What::Parallel,
                limit: 1,
                ..
            }) => {
                assert_eq!((owner.kind, &owner.id), (kind, id));
            }
            other => panic!("{kind} parallel: {other:?}"),
        }
        drop(first);
        // Money for one request, at a thousand nano-USD a token.
        set(budget(8_000)).await;
        let first = ask(&fleet, 8).await.unwrap();
        match ask(&fleet, 8).await {
            Err(Refused::Budget {
                owner,
                limit: 8_000,
                ..
            }) => {
                assert_eq!((owner.kind, &owner.id), (kind, id));
            }
            other => panic!("{kind} budget: {other:?}"),
        }
        drop(first);
        set(Allowance::default()).await;
        drop(ask(&fleet, 8).await.unwrap());
    }
}

#[tokio::test]
async fn a_block_or_a_list_of_models_refuses_requests_at_every_level() {
    let accounts = everyone();
    let names: Vec<_> = accounts
        .iter()
        .map(|a| (a.kind, Arc::clone(&a.id)))
        .collect();
    let fleet = Fleet::of(Plan {
        accounts,
        ..Plan::default()
    })
    .await;
    for (kind, id) in &names {
        let kind = *kind;
        fleet
            .change(kind, id, |account| account.blocked = true)
            .await;
        match (kind, ask(&fleet, 1).await) {
            (AccountKind::Key, Err(Refused::BlockedKey)) => {}
            (_, Err(Refused::Blocked(owner))) => assert_eq!((owner.kind, &owner.id), (kind, id)),
            other => panic!("{other:?}"),
        }
        fleet
            .change(kind, id, |account| {
                account.blocked = false;
                account.models = vec![ModelRule::parse("qwen3:*").unwrap()];
            })
            .await;
        match ask(&fleet, 1).await {
            Err(Refused::Model(owner, _)) => assert_eq!((owner.kind, &owner.id), (kind, id)),
            other => panic!("{kind}: {other:?}"),
        }
        fleet
            .change(kind, id, |account| account.models.clear())
            .await;
        drop(ask(&fleet, 1).await.unwrap());
    }
}

#[tokio::test]
async fn a_key_expires_while_it_is_in_use_and_admitted_requests_go_on() {
    let mut key = account(AccountKind::Key, &key_id(KEY));
    key.expires_at = Some(unix_now() + 2);
    let fleet = Fleet::of(Plan {
        accounts: vec![key],
        ..Plan::default()
    })
    .await;
    let mut running = ask(&fleet, 1).await.unwrap();
    let deadline = Instant::now() + TEST_TIMEOUT;
    let refused = loop {
        match ask(&fleet, 1).await {
            Ok(reservation) => drop(reservation),
            Err(refused) => break refused,
        }
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(refused, Refused::ExpiredKey);
    assert_eq!(running.charge(wrote(3), 0, unix_now()).nano_usd, 3_000);
}

/// A minute's budget, of which ten seconds are left when the routers start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_budget_admits_again_when_its_period_is_over_and_late_spending_stays_in_its_own() {
    let created = unix_now() - 50;
    let next = created + 60;
    let mut key = Account::new(AccountKind::Key, key_id(KEY), created);
    key.allowance.budget = Budget {
        limit: Some(100_000),
        soft: None,
        period: Period::Every(60),
    };
    let fleet = Fleet::of(Plan {
        accounts: vec![key],
        spending: true,
        ..Plan::default()
    })
    .await;
    // Forty for one that ends later, forty for one whose record is late, twenty: nothing is left.
    let mut across = ask(&fleet, 40).await.unwrap();
    let mut late = ask(&fleet, 40).await.unwrap();
    let late = late.charge(wrote(40), 0, unix_now());
    let mut done = ask(&fleet, 20).await.unwrap();
    fleet
        .record(0, wrote(20), done.charge(wrote(20), 0, unix_now()))
        .await;
    let Err(Refused::Budget { retry_after, .. }) = ask(&fleet, 20).await else {
        panic!("admitted beyond the budget");
    };
    assert!(unix_now() < next, "the machine was too slow for this test");
    assert!((1..=11).contains(&retry_after.unwrap()), "{retry_after:?}");
    let deadline = Instant::now() + TEST_TIMEOUT;
    let mut first = loop {
        match ask(&fleet, 50).await {
            Ok(reservation) => break reservation,
            Err(Refused::Budget { .. } | Refused::LimitsAway) => {}
            Err(refused) => panic!("{refused}"),
        }
        assert!(Instant::now() < deadline, "the next period does not begin");
        sleep(Duration::from_millis(10)).await;
    };
    assert!(unix_now() >= next, "admitted before the period was over");
    // What was admitted before and ends now is spent now; what ended before and is recorded now, then.
    fleet.record(0, wrote(40), late).await;
    fleet
        .record(0, wrote(40), across.charge(wrote(40), 0, unix_now()))
        .await;
    fleet
        .record(0, wrote(50), first.charge(wrote(50), 0, unix_now()))
        .await;
    fleet.spends[0].flush_now(TEST_TIMEOUT).await.unwrap();
    let id: Arc<str> = key_id(KEY).into();
    let keys = [created, next].map(|start| (EntityKind::Key, Arc::clone(&id), start));
    let mut spent = fleet.store.spent_of(&keys).await.unwrap();
    spent.sort_unstable();
    let amounts: Vec<_> = spent
        .iter()
        .map(|((_, _, start), sum)| (*start, *sum))
        .collect();
    assert_eq!(amounts, [(created, 60_000), (next, 90_000)]);
    // Ten are left of this period, for as long as it lasts.
    eventually_refused(&fleet, 11).await;
    drop(admitted(&fleet, 10).await);
}

async fn admitted(fleet: &Fleet, tokens: u64) -> herdsman::access::Reservation {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        match ask(fleet, tokens).await {
            Ok(reservation) => return reservation,
            Err(refused) => assert!(Instant::now() < deadline, "{refused}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What was used outside the reservation is known to every router after a moment, not at once.
async fn eventually_refused(fleet: &Fleet, tokens: u64) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        match ask(fleet, tokens).await {
            Err(Refused::Budget { .. }) => return,
            Err(refused) => panic!("{refused}"),
            Ok(reservation) => drop(reservation),
        }
        assert!(Instant::now() < deadline, "admitted beyond the budget");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_limit_is_reported_once_and_refuses_nothing() {
    let mut key = account(AccountKind::Key, &key_id(KEY));
    key.allowance.budget.soft = Some(5_000);
    let fleet = Fleet::of(Plan {
        accounts: vec![key],
        spending: true,
        ..Plan::default()
    })
    .await;
    let spend = async |tokens: u64| {
        let mut reservation = admitted(&fleet, tokens).await;
        fleet
            .record(
                0,
                wrote(tokens),
                reservation.charge(wrote(tokens), 0, unix_now()),
            )
            .await;
        fleet.spends[0].flush_now(TEST_TIMEOUT).await.unwrap();
    };
    let stats = fleet.routers[0].stats();
    spend(4).await;
    // It has been asked what is spent, and it was less.
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(stats.soft_limits_exceeded(), 0);
    spend(1).await;
    eventually("the soft limit is reported", || {
        stats.soft_limits_exceeded() == 1
    })
    .await;
    spend(1_000).await;
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(stats.soft_limits_exceeded(), 1, "once a period");
}

/// Restarted while Redis is unavailable, no router knows how many there are: each would grant
/// everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_that_start_without_redis_give_out_no_limit_until_they_have_read_it() {
    for policy in [WhenRedisAway::LocalShare, WhenRedisAway::Refuse] {
        let redis = Server::start().await;
        let free = "sk-without-limits";
        let mut key = account(AccountKind::Key, &key_id(KEY));
        key.allowance = Allowance {
            limits: Limits {
                rpm: Some(1_000_000),
                ..Limits::default()
            },
            ..budget(90_000_000)
        };
        let fleet = Fleet::of(Plan {
            redis: &[&redis],
            routers: 2,
            policy,
            accounts: vec![key, account(AccountKind::Key, &key_id(free))],
            redis_paused: true,
            ..Plan::default()
        })
        .await;
        for router in [0, 1] {
            for _ in 0..10 {
                let answer = fleet.admit_for(router, KEY, Some(1), None, &[]).await;
                assert!(matches!(answer, Err(Refused::LimitsAway)), "{answer:?}");
            }
            let unlimited = fleet.admit_for(router, free, Some(1), None, &[]).await;
            assert!(unlimited.is_ok(), "{unlimited:?}");
        }
        redis.resume();
        for router in [0, 1] {
            let deadline = Instant::now() + TEST_TIMEOUT;
            while let Err(refused) = fleet.admit_for(router, KEY, Some(1), None, &[]).await {
                assert!(matches!(refused, Refused::LimitsAway), "{refused}");
                assert!(Instant::now() < deadline, "{policy:?}: limits stay away");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// A Redis that is new grants nothing yet; the requests wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_requests_with_a_limit_wait_until_redis_knows_all_routers() {
    let redis = Server::start().await;
    let mut key = account(AccountKind::Key, &key_id(KEY));
    key.allowance = limits(Limits {
        parallel: Some(1),
        ..Limits::default()
    });
    let fleet = Fleet::of(Plan {
        redis: &[&redis],
        routers: 2,
        policy: WhenRedisAway::Refuse,
        accounts: vec![key],
        ..Plan::default()
    })
    .await;
    let first = async |router| {
        let mut away = 0;
        loop {
            match fleet.admit_for(router, KEY, Some(1), None, &[]).await {
                Err(Refused::LimitsAway) => away += 1,
                answer => break (answer, away),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let ((one, away), (other, too)) = tokio::join!(first(0), first(1));
    assert!(one.is_ok() != other.is_ok(), "{one:?}, {other:?}");
    // On a busy machine several answers of Redis may come too late. A request that does not wait is
    // refused hundreds of times until Redis grants something.
    assert!(away + too < 30, "{away}, {too}");
}
