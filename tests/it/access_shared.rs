//! Limits and budgets that hold across routers: several routers' access, one real Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use herdsman::access::{
    Access, Ask, Call, Caller, Ledger, Line, Options, RedisLedger, Refused, Shared, TERMS, Terms,
    Ticket, Verdict, Window, key_id,
};
use herdsman::config::WhenRedisAway;
use herdsman::domain::{
    Account, AccountKind, Allowance, Budget, Limits, ModelName, Price, Rate, TokenCounts,
};
use herdsman::store::{Saved, Store, Upon};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::redis_process::Server;
use crate::support::PATIENCE;

const KEY: &str = "sk-one-key-of-several-routers";

/// Routers that share accounts and a Redis.
struct Fleet {
    routers: Vec<Access>,
    store: Store,
    _dir: TempDir,
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

fn model() -> ModelName {
    ModelName::parse("llama3.2").unwrap()
}

/// A thousand nano-USD for each token written.
fn price() -> Price {
    Price {
        output: Rate::from_nano_usd_per_million(1_000_000_000).unwrap(),
        ..Price::default()
    }
}

async fn connect(redis: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

impl Fleet {
    async fn start(
        redis: Option<&Server>,
        routers: usize,
        policy: WhenRedisAway,
        allowance: Allowance,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open("", dir.path()).await.unwrap();
        store.migrate().await.unwrap();
        let mut key = Account::new(AccountKind::Key, key_id(KEY), unix_now());
        key.allowance = allowance;
        let saved = store.save_account(&key, Upon::Nothing).await.unwrap();
        assert!(matches!(saved, Saved::As(_)));
        let mut fleet = Self {
            routers: Vec::new(),
            store,
            _dir: dir,
        };
        for n in 0..routers {
            let me: Arc<str> = format!("router-{n}").into();
            let shared: Option<Arc<dyn Shared>> = match redis {
                Some(redis) => {
                    let connection = connect(redis).await;
                    let ledger = RedisLedger::new(connection, "test", Arc::clone(&me), TERMS);
                    Some(Arc::new(ledger))
                }
                None => None,
            };
            let options = Options {
                require_key: true,
                outage_grace: Duration::from_secs(3_600),
                when_redis_away: policy,
                prices: vec![(model(), price())],
                router: me,
            };
            // Nothing is ever flushed here, so nothing that was spent is in the database.
            let nothing_applied = Arc::new(|| 0);
            let tracker = TaskTracker::new();
            let access = Access::start(
                options,
                fleet.store.clone(),
                shared,
                nothing_applied,
                tracker,
            );
            fleet.routers.push(access.await.unwrap());
        }
        fleet
    }

    async fn admit(&self, router: usize, max_output: Option<u64>) -> Result<Ticket, Refused> {
        let access = &self.routers[router];
        let caller: Caller = access.identify(Some(KEY))?;
        let model = model();
        let ask = Ask {
            model: &model,
            input: 0,
            max_output,
            computes: true,
            user: None,
            tags: &[],
        };
        access.admit(&caller, &ask).await
    }

    /// Waits until the ledger is old enough to give.
    async fn warm(&self) {
        let deadline = Instant::now() + PATIENCE;
        for router in 0..self.routers.len() {
            while let Err(refused) = self.admit(router, Some(1)).await {
                assert!(Instant::now() < deadline, "{refused}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        sleep(Duration::from_millis(
            u64::try_from(TERMS.young_ms).unwrap(),
        ))
        .await;
    }
}

fn budget(limit: i64) -> Allowance {
    Allowance {
        budget: Budget {
            limit: Some(limit),
            ..Budget::default()
        },
        ..Allowance::default()
    }
}

fn wrote(tokens: u64) -> TokenCounts {
    TokenCounts {
        input: 0,
        output: tokens,
    }
}

/// What the fleet did until nobody was let in any more.
struct Spent {
    used: i64,
    /// The most that all requests in flight at one moment cost in the end.
    in_flight: i64,
    admitted: u64,
    slowest: Duration,
}

/// 3 × 16 clients spend until the budget is spent.
async fn spend_it(fleet: Fleet, says: bool) -> Spent {
    let fleet = Arc::new(fleet);
    let (used, flying, most) = (AtomicI64::new(0), AtomicI64::new(0), AtomicI64::new(0));
    let counters = Arc::new((used, flying, most, AtomicU64::new(0)));
    let clients = TaskTracker::new();
    let mut tasks = Vec::new();
    for client in 0..48 {
        let (fleet, counters) = (Arc::clone(&fleet), Arc::clone(&counters));
        tasks.push(clients.spawn(async move {
            let mut dice = fastrand::Rng::with_seed(client);
            let (mut refusals, mut slowest) = (0, Duration::ZERO);
            while refusals < 20 {
                let tokens = dice.u64(1..600);
                let cost = i64::try_from(tokens).unwrap() * 1_000;
                let router = usize::try_from(client).unwrap() % 3;
                let asked = Instant::now();
                let ticket = fleet.admit(router, says.then_some(tokens)).await;
                slowest = slowest.max(asked.elapsed());
                match ticket {
                    Ok(mut ticket) => {
                        let flying = counters.1.fetch_add(cost, Ordering::SeqCst) + cost;
                        counters.2.fetch_max(flying, Ordering::SeqCst);
                        sleep(Duration::from_millis(dice.u64(0..4))).await;
                        let charge = ticket.charge(wrote(tokens), 0, unix_now());
                        assert_eq!(charge.nano_usd, cost);
                        counters.0.fetch_add(cost, Ordering::SeqCst);
                        counters.1.fetch_sub(cost, Ordering::SeqCst);
                        counters.3.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(Refused::Budget { .. }) => {
                        refusals += 1;
                        sleep(Duration::from_millis(60)).await;
                    }
                    Err(refused) => panic!("{refused}"),
                }
            }
            slowest
        }));
    }
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await.unwrap());
    }
    let (used, _, most, admitted) = &*counters;
    Spent {
        used: used.load(Ordering::SeqCst),
        in_flight: most.load(Ordering::SeqCst),
        admitted: admitted.load(Ordering::SeqCst),
        slowest,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_routers_exceed_a_budget_by_less_than_was_in_flight() {
    let redis = Server::start().await;
    let limit = 300_000_000;
    let fleet = Fleet::start(Some(&redis), 3, WhenRedisAway::Refuse, budget(limit)).await;
    fleet.warm().await;
    let spent = spend_it(fleet, false).await;
    let over = spent.used - limit;
    println!(
        "budget {limit}, used {}, over by {over}; at most {} in flight; {} requests, slowest admission {:?}",
        spent.used, spent.in_flight, spent.admitted, spent.slowest
    );
    assert!(over <= spent.in_flight, "{over} > {}", spent.in_flight);
    // And it is nearly all used: what is left is less than a request may need.
    assert!(spent.used > limit - 48 * 600_000, "{}", spent.used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_how_much_they_want_never_exceed_a_budget() {
    let redis = Server::start().await;
    let limit = 200_000_000;
    let fleet = Fleet::start(Some(&redis), 3, WhenRedisAway::Refuse, budget(limit)).await;
    fleet.warm().await;
    let spent = spend_it(fleet, true).await;
    println!(
        "budget {limit}, used {}, {} requests",
        spent.used, spent.admitted
    );
    assert!(spent.used <= limit, "{}", spent.used);
    assert!(spent.used > limit - 600_000, "{}", spent.used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_redis_costs_no_router_its_memory() {
    let redis = Server::start().await;
    let limit = 150_000_000;
    let fleet = Fleet::start(Some(&redis), 3, WhenRedisAway::LocalShare, budget(limit)).await;
    fleet.warm().await;
    let wipes = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(700)).await;
            redis.run("FLUSHALL").await;
        }
    };
    let (spent, ()) = tokio::join!(spend_it(fleet, true), wipes);
    println!(
        "budget {limit}, used {} with Redis wiped three times",
        spent.used
    );
    // What was known is reported again. Only while a wiped ledger is young does each router go on
    // with its part of what was left, by what it knew: a little more or less than a third.
    assert!(spent.used <= limit + spent.in_flight, "{}", spent.used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_shared_and_come_back() {
    let redis = Server::start().await;
    let allowance = Allowance {
        limits: Limits {
            parallel: Some(4),
            ..Limits::default()
        },
        ..Allowance::default()
    };
    let fleet = Fleet::start(Some(&redis), 3, WhenRedisAway::Refuse, allowance).await;
    fleet.warm().await;
    let mut held = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let mut router = 0;
    while held.len() < 4 {
        assert!(Instant::now() < deadline, "only {} of 4", held.len());
        router = (router + 1) % 3;
        match fleet.admit(router, None).await {
            Ok(ticket) => held.push(ticket),
            Err(Refused::Limited { .. }) => sleep(Duration::from_millis(20)).await,
            Err(refused) => panic!("{refused}"),
        }
    }
    for router in 0..3 {
        let refused = fleet.admit(router, None).await.unwrap_err();
        assert!(
            matches!(refused, Refused::Limited { limit: 4, .. }),
            "{refused}"
        );
    }
    held.clear();
    while fleet.admit(2, None).await.is_err() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_a_router_keeps_to_its_part_or_refuses() {
    for policy in [WhenRedisAway::LocalShare, WhenRedisAway::Refuse] {
        let redis = Server::start().await;
        let limit = 90_000_000;
        let fleet = Fleet::start(Some(&redis), 3, policy, budget(limit)).await;
        fleet.warm().await;
        redis.pause();
        let mut used = [0_i64; 3];
        for (router, used) in used.iter_mut().enumerate() {
            let deadline = Instant::now() + PATIENCE;
            loop {
                assert!(Instant::now() < deadline);
                match fleet.admit(router, Some(1_000)).await {
                    Ok(mut ticket) => {
                        *used += ticket.charge(wrote(1_000), 0, unix_now()).nano_usd;
                    }
                    Err(Refused::Budget { .. } | Refused::LimitsAway) => break,
                    Err(refused) => panic!("{refused}"),
                }
            }
        }
        let all: i64 = used.iter().sum();
        println!("{policy:?}: {used:?} of {limit}");
        assert!(all <= limit, "{used:?}");
        match policy {
            // Nearly all of it, in about even parts.
            WhenRedisAway::LocalShare => assert!(all > limit * 9 / 10, "{used:?}"),
            WhenRedisAway::Refuse => assert!(all < limit / 2, "{used:?}"),
        }
        // Back again, it is told what happened meanwhile, and the rest is given.
        redis.resume();
        let deadline = Instant::now() + PATIENCE;
        let mut all = all;
        while all < limit - 1_000_000 {
            assert!(Instant::now() < deadline, "{all} of {limit}");
            match fleet.admit(0, Some(1_000)).await {
                Ok(mut ticket) => all += ticket.charge(wrote(1_000), 0, unix_now()).nano_usd,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        assert!(all <= limit, "{all}");
    }
}

#[tokio::test]
async fn far_from_its_limits_a_request_costs_microseconds_and_no_answer_of_redis() {
    let redis = Server::start().await;
    let allowance = Allowance {
        limits: Limits {
            rpm: Some(100_000_000),
            tpm: Some(1_000_000_000_000),
            parallel: Some(1_000_000),
        },
        ..budget(9_000_000_000_000_000)
    };
    let fleet = Fleet::start(Some(&redis), 1, WhenRedisAway::Refuse, allowance).await;
    fleet.warm().await;
    let scripts = async || {
        let calls = redis.info("cmdstat_evalsha").await.unwrap_or_default();
        let calls = calls.split([',', '=']).nth(1).map(str::to_owned);
        calls
            .and_then(|calls| calls.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let before = scripts().await;
    let start = std::time::SystemTime::now();
    let requests = 20_000;
    for _ in 0..requests {
        let mut ticket = fleet.admit(0, Some(10)).await.unwrap();
        ticket.charge(wrote(10), 0, unix_now());
    }
    let each = start.elapsed().unwrap() / requests;
    let asked = scripts().await - before;
    println!(
        "{each:?} for identify, admit and charge with four limits; {asked} scripts for {requests} requests"
    );
    assert!(asked < 300, "{asked}");
}

#[tokio::test]
async fn a_change_made_through_one_router_is_seen_by_the_others() {
    let fleet = Fleet::start(None, 2, WhenRedisAway::Refuse, Allowance::default()).await;
    let stored = fleet
        .store
        .account(AccountKind::Key, &key_id(KEY))
        .await
        .unwrap()
        .unwrap();
    let mut blocked = stored.account;
    blocked.blocked = true;
    fleet
        .store
        .save_account(&blocked, Upon::Version(stored.version))
        .await
        .unwrap();
    let start = Instant::now();
    for router in &fleet.routers {
        while router.identify(Some(KEY)).is_ok() {
            assert!(start.elapsed() < PATIENCE);
            sleep(Duration::from_millis(5)).await;
        }
    }
    println!("seen after {:?}", start.elapsed());
}

#[tokio::test]
async fn actors_that_die_are_back_and_have_lost_nothing() {
    let fleet = Fleet::start(None, 1, WhenRedisAway::Refuse, budget(10_000)).await;
    let mut ticket = fleet.admit(0, Some(4)).await.unwrap();
    ticket.charge(wrote(4), 0, unix_now());
    fleet.routers[0].kill_actors();
    let deadline = Instant::now() + PATIENCE;
    let mut used = 4;
    let mut refused = 0;
    while refused < 3 {
        assert!(Instant::now() < deadline);
        match fleet.admit(0, Some(2)).await {
            Ok(mut ticket) => {
                ticket.charge(wrote(2), 0, unix_now());
                used += 2;
            }
            Err(Refused::Budget { .. }) if used == 10 => refused += 1,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    assert_eq!(used, 10);
}

/// One random report.
fn line() -> impl Strategy<Value = Line> {
    let window = prop_oneof![
        Just(Window::Always),
        (1..40_i64).prop_map(Window::Each),
        // Of this second, the one before, and one that is not there yet.
        (-1..2_i64).prop_map(Window::Since),
    ];
    let amounts = (0..300_i64, 0..60_i64, -5..60_i64, 0..80_i64);
    (0..4_u8, window, amounts, (-1..40_i64, 0..90_i64), 0..3_u8).prop_map(
        |(key, window, (limit, spent, held, wish), (age, base), of)| Line {
            key: format!("meter-{key}").into(),
            limit,
            window,
            base: (base, age),
            of: i64::from(of),
            spent,
            held,
            wish,
        },
    )
}

fn call() -> impl Strategy<Value = (u8, u8, Call)> {
    let lines = prop::collection::vec(line(), 1..4).prop_map(|mut lines| {
        let mut seen = std::collections::HashSet::new();
        lines.retain(|line| seen.insert(Arc::clone(&line.key)));
        lines
    });
    let needs = prop::collection::vec(
        prop::collection::btree_map(0..3_usize, 0..40_i64, 0..3),
        0..4,
    );
    (0..3_u8, 0..12_u8, lines, needs).prop_map(|(router, pause, lines, needs)| {
        let places = lines.len();
        let needs = needs
            .into_iter()
            .map(|need| need.into_iter().filter(|(at, _)| *at < places).collect())
            .collect();
        (router, pause, Call { lines, needs })
    })
}

/// The rule in Redis and the rule in Rust, given the same calls at the same moments.
#[test]
fn lua_and_rust_are_one_rule() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let redis = runtime.block_on(Server::start());
    let connection = runtime.block_on(connect(&redis));
    // So short that calls a few milliseconds apart cross every boundary there is.
    let terms = Terms {
        hold_ms: 12,
        young_ms: 8,
        forget_ms: 20,
    };
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let case = std::cell::Cell::new(0);
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<String, u32>::new());
    let calls = prop::collection::vec(call(), 1..25);
    runner
        .run(&calls, |calls| {
            case.set(case.get() + 1);
            let prefix = format!("case-{}", case.get());
            let mut ledger = Ledger::default();
            for (router, pause, mut call) in calls {
                if pause > 8 {
                    std::thread::sleep(Duration::from_millis(u64::from(pause)));
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let now_ms = i64::try_from(now.as_millis()).unwrap();
                for line in &mut call.lines {
                    // Relative until now: moments and windows near this one.
                    line.base.1 = if line.base.1 < 0 {
                        -1
                    } else {
                        now_ms - line.base.1
                    };
                    if let Window::Since(second) = &mut line.window {
                        *second += now_ms / 1_000;
                    }
                    line.of = match (line.of, line.window) {
                        (0, Window::Each(length)) => now_ms - now_ms % length,
                        (0, Window::Since(start)) => start,
                        (0, Window::Always) => 0,
                        (1, _) => -1,
                        _ => now_ms / 1_000,
                    };
                }
                let me: Arc<str> = format!("router-{router}").into();
                let shared = RedisLedger::new(connection.clone(), &prefix, Arc::clone(&me), terms);
                let call = Arc::new(call);
                let theirs = runtime.block_on(shared.settle(Arc::clone(&call))).unwrap();
                let ours = ledger.settle(&terms, &me, theirs.now_ms, &call);
                for verdict in &ours.verdicts {
                    let name = match verdict {
                        Verdict::Short(_) => "Short".to_owned(),
                        other => format!("{other:?}"),
                    };
                    *seen.borrow_mut().entry(name).or_default() += 1;
                }
                prop_assert_eq!(ours, theirs, "{:?}", call);
            }
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(
        seen.len() == 3 && seen.values().all(|n| *n > 30),
        "{seen:?}"
    );
}
