//! Limits and budgets that hold across routers: several routers' access, one real Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use herdsman::access::{
    Access, Ask, Call, Caller, Failure, Ledger, Line, Options, RedisLedger, Refused, Reply, SWEEP,
    Shared, TERMS, Terms, Ticket, Verdict, Window, key_id,
};
use herdsman::config::WhenRedisAway;
use herdsman::domain::{
    Account, AccountKind, Allowance, Budget, Charge, EntityKind, Limits, ModelName, Price, Rate,
    TokenCounts, UsageRecord,
};
use herdsman::spend::{self, Durability, Spend};
use herdsman::store::{Saved, Store, Upon};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::support::{PATIENCE, eventually};
use herdsman_test_support::redis::Server;

pub const KEY: &str = "sk-one-key-of-several-routers";

/// Routers that share accounts and a Redis.
pub struct Fleet {
    pub routers: Vec<Access>,
    /// What each of them has spent, on its way to the database; empty where nothing ever gets there.
    pub spends: Vec<Spend>,
    pub store: Store,
    /// Which of the Redis servers all of them use.
    used: Arc<AtomicUsize>,
    _dir: TempDir,
}

/// What a fleet is made of.
pub struct Plan<'a> {
    pub redis: &'a [&'a Server],
    pub routers: usize,
    pub policy: WhenRedisAway,
    pub accounts: Vec<Account>,
    /// What is spent goes to the database, through a pipeline of each router's own, which asks for it
    /// every second.
    pub spending: bool,
    /// Redis stands still when the routers start.
    pub asleep: bool,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            redis: &[],
            routers: 1,
            policy: WhenRedisAway::LocalShare,
            accounts: Vec::new(),
            spending: false,
            asleep: false,
        }
    }
}

/// Several Redis servers, of which one is used: all routers change over at the same moment.
struct Switch {
    ledgers: Vec<RedisLedger<MultiplexedConnection>>,
    used: Arc<AtomicUsize>,
}

impl Shared for Switch {
    fn settle(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Reply, Failure>> {
        self.ledgers[self.used.load(Ordering::SeqCst)].settle(call)
    }
}

pub fn unix_now() -> i64 {
    herdsman::clock::unix_seconds()
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
        redis: &[&Server],
        routers: usize,
        policy: WhenRedisAway,
        allowance: Allowance,
    ) -> Self {
        Self::open(redis, routers, policy, allowance, false).await
    }

    async fn open(
        redis: &[&Server],
        routers: usize,
        policy: WhenRedisAway,
        allowance: Allowance,
        spending: bool,
    ) -> Self {
        let mut key = Account::new(AccountKind::Key, key_id(KEY), unix_now());
        key.allowance = allowance;
        Self::of(Plan {
            redis,
            routers,
            policy,
            accounts: vec![key],
            spending,
            asleep: false,
        })
        .await
    }

    pub async fn of(plan: Plan<'_>) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open("", dir.path()).await.unwrap();
        store.migrate().await.unwrap();
        for account in &plan.accounts {
            let saved = store.save_account(account, Upon::Nothing).await.unwrap();
            assert!(matches!(saved, Saved::As(_)), "{saved:?}");
        }
        let mut fleet = Self {
            routers: Vec::new(),
            spends: Vec::new(),
            store,
            used: Arc::default(),
            _dir: dir,
        };
        let mut all = Vec::new();
        for n in 0..plan.routers {
            let me: Arc<str> = format!("router-{n}").into();
            let mut ledgers = Vec::new();
            for redis in plan.redis {
                let connection = connect(redis).await;
                ledgers.push(RedisLedger::new(connection, "test", Arc::clone(&me), TERMS));
            }
            all.push((me, ledgers));
        }
        if plan.asleep {
            plan.redis.iter().for_each(|redis| redis.pause());
        }
        for (n, (me, ledgers)) in all.into_iter().enumerate() {
            let shared = (!ledgers.is_empty()).then(|| {
                let used = Arc::clone(&fleet.used);
                Arc::new(Switch { ledgers, used }) as Arc<dyn Shared>
            });
            let options = Options {
                require_key: true,
                outage_grace: Duration::from_secs(3_600),
                when_redis_away: plan.policy,
                prices: vec![(model(), price())],
                sweep: if plan.spending {
                    Duration::from_secs(1)
                } else {
                    SWEEP
                },
                router: me,
            };
            let tracker = TaskTracker::new();
            // Where nothing is ever flushed, nothing that was spent is in the database.
            let mut applied: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(|| 0);
            if plan.spending {
                let spend = fleet.pipeline(n, tracker.clone()).await;
                let stats = Arc::clone(spend.stats());
                applied = Arc::new(move || {
                    let age = stats.oldest_age().max(Duration::from_secs(3));
                    unix_now() - i64::try_from(age.as_secs()).unwrap() - 1
                });
                fleet.spends.push(spend);
            }
            let access = Access::start(options, fleet.store.clone(), shared, applied, tracker);
            fleet.routers.push(access.await.unwrap());
        }
        fleet
    }

    async fn pipeline(&self, router: usize, tracker: TaskTracker) -> Spend {
        let data_dir = self._dir.path().join(format!("router-{router}"));
        std::fs::create_dir_all(&data_dir).unwrap();
        let options = spend::Options {
            data_dir,
            durability: Durability::Journal,
            seal_interval: Duration::from_millis(50),
            flush_interval: Duration::from_millis(100),
            journal_bytes: 1 << 30,
        };
        Spend::start(options, self.store.clone(), tracker)
            .await
            .unwrap()
    }

    /// Writes down what a request cost, as the gateway does before the client sees the last of it.
    pub async fn record(&self, router: usize, tokens: TokenCounts, charge: Charge) {
        if let Some(spend) = self.spends.get(router) {
            let record = UsageRecord {
                endpoint: "one".into(),
                model: model(),
                at: unix_now(),
                tokens,
                estimated: false,
                charge,
                failed: false,
            };
            spend.record(record).await.unwrap();
        }
    }

    async fn admit(&self, router: usize, max_output: Option<u64>) -> Result<Ticket, Refused> {
        self.admit_for(router, KEY, max_output, None, &[]).await
    }

    /// A request with this key, for this end user and with these tags.
    pub async fn admit_for(
        &self,
        router: usize,
        key: &str,
        max_output: Option<u64>,
        user: Option<&str>,
        tags: &[Arc<str>],
    ) -> Result<Ticket, Refused> {
        let access = &self.routers[router];
        let caller: Caller = access.identify(Some(key))?;
        let model = model();
        let ask = Ask {
            model: &model,
            input: 0,
            max_output,
            computes: true,
            user,
            tags,
        };
        access.admit(&caller, &ask).await
    }

    /// Changes an account through the database, and waits until every router sees it.
    pub async fn change(&self, kind: AccountKind, id: &str, change: impl FnOnce(&mut Account)) {
        let stored = self.store.account(kind, id).await.unwrap().unwrap();
        let (mut account, upon) = (stored.account, Upon::Version(stored.version));
        change(&mut account);
        let saved = self.store.save_account(&account, upon).await.unwrap();
        assert!(matches!(saved, Saved::As(_)), "{saved:?}");
        for router in &self.routers {
            router.refresh().await.unwrap();
        }
    }

    /// Waits until each router knows of all, and the ledger is old enough to give.
    async fn warm(&self) {
        let all = i64::try_from(self.routers.len()).unwrap();
        eventually("the routers know of each other", || {
            let mut routers = self.routers.iter();
            routers.all(|router| router.stats().sharers() == all)
        })
        .await;
        for router in 0..self.routers.len() {
            drop(self.admit_surely(router, Some(1)).await.unwrap());
        }
    }

    /// Like [`Fleet::admit`], but an answer of Redis that took too long on a busy machine is no answer.
    async fn admit_surely(
        &self,
        router: usize,
        max_output: Option<u64>,
    ) -> Result<Ticket, Refused> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.admit(router, max_output).await {
                Err(Refused::LimitsAway) => {
                    assert!(Instant::now() < deadline, "limits stay away");
                    sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
    }
}

pub fn budget(limit: i64) -> Allowance {
    Allowance {
        budget: Budget {
            limit: Some(limit),
            ..Budget::default()
        },
        ..Allowance::default()
    }
}

pub fn wrote(tokens: u64) -> TokenCounts {
    TokenCounts {
        input: 0,
        output: tokens,
    }
}

/// Nobody who was refused for so long will be let in again.
const IDLE: Duration = Duration::from_secs(2);

/// What the fleet did until nobody was let in any more.
struct Spent {
    used: i64,
    /// The most that all requests in flight at one moment cost in the end.
    in_flight: i64,
    admitted: u64,
    slowest: Duration,
}

/// 3 × 16 clients spend until none was let in for so long.
async fn spend_it(fleet: Arc<Fleet>, says: bool, idle: Duration) -> Spent {
    let (used, flying, most) = (AtomicI64::new(0), AtomicI64::new(0), AtomicI64::new(0));
    let counters = Arc::new((used, flying, most, AtomicU64::new(0)));
    let clients = TaskTracker::new();
    let mut tasks = Vec::new();
    for client in 0..48 {
        let (fleet, counters) = (Arc::clone(&fleet), Arc::clone(&counters));
        tasks.push(clients.spawn(async move {
            let mut dice = fastrand::Rng::with_seed(client);
            let (mut since, mut slowest) = (Instant::now(), Duration::ZERO);
            while since.elapsed() < idle {
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
                        fleet.record(router, wrote(tokens), charge).await;
                        since = Instant::now();
                        counters.0.fetch_add(cost, Ordering::SeqCst);
                        counters.1.fetch_sub(cost, Ordering::SeqCst);
                        counters.3.fetch_add(1, Ordering::SeqCst);
                    }
                    // On a busy machine Redis may answer too late: nothing is decided by that.
                    Err(Refused::Budget { .. } | Refused::LimitsAway) => {
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
    let fleet = Fleet::start(&[&redis], 3, WhenRedisAway::Refuse, budget(limit)).await;
    fleet.warm().await;
    let spent = spend_it(Arc::new(fleet), false, IDLE).await;
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
    let fleet = Fleet::start(&[&redis], 3, WhenRedisAway::Refuse, budget(limit)).await;
    fleet.warm().await;
    let spent = spend_it(Arc::new(fleet), true, IDLE).await;
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
    let fleet = Fleet::start(&[&redis], 3, WhenRedisAway::LocalShare, budget(limit)).await;
    fleet.warm().await;
    let wipes = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(700)).await;
            redis.run("FLUSHALL").await;
        }
    };
    let (spent, ()) = tokio::join!(spend_it(Arc::new(fleet), true, IDLE), wipes);
    println!(
        "budget {limit}, used {} with Redis wiped three times",
        spent.used
    );
    // What was known is reported again. Only while a wiped ledger is young does each router go on
    // with its part of what was left, by what it knew: a little more or less than a third.
    assert!(spent.used <= limit + spent.in_flight, "{}", spent.used);
}

/// Places for four requests at once.
fn four_at_once() -> Allowance {
    Allowance {
        limits: Limits {
            parallel: Some(4),
            ..Limits::default()
        },
        ..Allowance::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_shared_and_come_back() {
    let redis = Server::start().await;
    let fleet = Fleet::start(&[&redis], 3, WhenRedisAway::Refuse, four_at_once()).await;
    fleet.warm().await;
    let mut held = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let mut router = 0;
    while held.len() < 4 {
        assert!(Instant::now() < deadline, "only {} of 4", held.len());
        router = (router + 1) % 3;
        match fleet.admit_surely(router, None).await {
            Ok(ticket) => held.push(ticket),
            Err(Refused::Limited { .. }) => sleep(Duration::from_millis(20)).await,
            Err(refused) => panic!("{refused}"),
        }
    }
    for router in 0..3 {
        let refused = fleet.admit_surely(router, None).await.unwrap_err();
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

/// What one router holds and says nothing about is given to nobody else, whatever becomes of Redis: as
/// long as it takes to be young and then some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_router_keeps_its_places_over_a_wiped_redis_a_failover_and_a_failback() {
    let (first, second) = (Server::start().await, Server::start().await);
    let fleet = Fleet::start(&[&first, &second], 3, WhenRedisAway::Refuse, four_at_once()).await;
    fleet.warm().await;
    let mut held = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while held.len() < 4 {
        assert!(Instant::now() < deadline, "only {} of 4", held.len());
        match fleet.admit_surely(0, None).await {
            Ok(ticket) => held.push(ticket),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    for what in ["wiped", "failed over", "failed back"] {
        match what {
            "wiped" => first.run("FLUSHALL").await,
            "failed over" => fleet.used.store(1, Ordering::SeqCst),
            _ => fleet.used.store(0, Ordering::SeqCst),
        }
        let start = Instant::now();
        let mut decided = 0;
        // Until it is not young any more, and has decided a few times since.
        while decided < 20 {
            assert!(start.elapsed() < PATIENCE, "{what}: {decided} decisions");
            for router in [1, 2] {
                match fleet.admit(router, None).await {
                    Err(Refused::Limited { limit: 4, .. }) => decided += 1,
                    Err(Refused::LimitsAway) => {}
                    other => panic!("{what}: {other:?} after {:?}", start.elapsed()),
                }
            }
            sleep(Duration::from_millis(110)).await;
        }
    }
    held.clear();
    let start = Instant::now();
    while fleet.admit(2, None).await.is_err() {
        assert!(start.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
}

/// A call whose client tried it again elsewhere, so long that a later one was answered first.
#[tokio::test]
async fn a_report_that_was_overtaken_is_not_taken() {
    let redis = Server::start().await;
    let ledger = |me: &str| {
        let connection = connect(&redis);
        let me: Arc<str> = me.into();
        async move {
            RedisLedger::new(
                connection.await,
                "test",
                me,
                Terms {
                    young_ms: 0,
                    ..TERMS
                },
            )
        }
    };
    let (one, other) = (ledger("one").await, ledger("other").await);
    let report = |held: i64, need: i64| {
        Arc::new(Call {
            lines: vec![Line {
                key: "m".into(),
                limit: 10,
                window: Window::Always,
                base: (0, -1),
                of: 0,
                spent: 0,
                held,
                wish: 0,
            }],
            needs: vec![vec![(0, need)]],
            ..Call::default()
        })
    };
    let old = one.settle(report(1, 0));
    one.settle(report(9, 0)).await.unwrap();
    assert!(matches!(old.await, Err(Failure::Overtaken)));
    let reply = other.settle(report(0, 2)).await.unwrap();
    assert_eq!(reply.verdicts, [Verdict::Short(0)]);
}

/// The bound with everything as it is: what is spent is committed to the database all the while, each
/// router counts upon what it finds there, and one of them is hurt in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_routers_keep_to_a_budget_while_the_database_takes_over_what_they_count() {
    let redis = Server::start().await;
    let limit = 1_500_000_000;
    let fleet = Fleet::open(&[&redis], 3, WhenRedisAway::Refuse, budget(limit), true).await;
    let fleet = Arc::new(fleet);
    fleet.warm().await;
    let hurt = async {
        sleep(Duration::from_secs(2)).await;
        fleet.routers[1].kill_actors();
        fleet.spends[1].kill_flush_actor();
    };
    // What was spent in the moments before the database was asked is counted twice for a while.
    let idle = Duration::from_secs(9);
    let (spent, ()) = tokio::join!(spend_it(Arc::clone(&fleet), false, idle), hurt);
    let over = spent.used - limit;
    println!(
        "budget {limit}, used {}, over by {over}; at most {} in flight; {} requests",
        spent.used, spent.in_flight, spent.admitted
    );
    assert!(over <= spent.in_flight, "{over} > {}", spent.in_flight);
    assert!(spent.used > limit - 48 * 600_000, "{}", spent.used);
    // The ledger stood on what the database had, and the database has all of it.
    let mut connection = connect(&redis).await;
    let mut cmd = redis::cmd("KEYS");
    let keys: Vec<String> = cmd.arg("*usd*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mut cmd = redis::cmd("HGET");
    let base: i64 = cmd
        .arg(&keys[0])
        .arg("b")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(base, spent.used, "all of it is in the base by now");
    for spend in &fleet.spends {
        spend.flush_now(PATIENCE).await.unwrap();
    }
    let rows = fleet.store.spent(EntityKind::Key).await.unwrap();
    let row = rows.iter().find(|row| row.entity == key_id(KEY)).unwrap();
    assert_eq!(row.spend_nano_usd, spent.used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_a_router_keeps_to_its_part_or_refuses() {
    for policy in [WhenRedisAway::LocalShare, WhenRedisAway::Refuse] {
        let redis = Server::start().await;
        let limit = 90_000_000;
        let fleet = Fleet::start(&[&redis], 3, policy, budget(limit)).await;
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
    let fleet = Fleet::start(&[&redis], 1, WhenRedisAway::Refuse, allowance).await;
    fleet.warm().await;
    let scripts = async || {
        let calls = redis.info("cmdstat_evalsha").await.unwrap_or_default();
        let calls = calls.split([',', '=']).nth(1).map(str::to_owned);
        calls
            .and_then(|calls| calls.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let before = scripts().await;
    let start = Instant::now();
    let requests = 20_000;
    for _ in 0..requests {
        let mut ticket = fleet.admit_surely(0, Some(10)).await.unwrap();
        ticket.charge(wrote(10), 0, unix_now());
    }
    let each = start.elapsed() / requests;
    let asked = scripts().await - before;
    println!(
        "{each:?} for identify, admit and charge with four limits; {asked} scripts for {requests} requests"
    );
    assert!(asked < 300, "{asked}");
}

#[tokio::test]
async fn a_change_made_through_one_router_is_seen_by_the_others() {
    let fleet = Fleet::start(&[], 2, WhenRedisAway::Refuse, Allowance::default()).await;
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
    let fleet = Fleet::start(&[], 1, WhenRedisAway::Refuse, budget(10_000)).await;
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

fn call() -> impl Strategy<Value = (u8, i64, Call)> {
    let lines = prop::collection::vec(line(), 1..4).prop_map(|mut lines| {
        let mut seen = std::collections::HashSet::new();
        lines.retain(|line| seen.insert(Arc::clone(&line.key)));
        lines
    });
    let needs = prop::collection::vec(
        prop::collection::btree_map(0..3_usize, 0..40_i64, 0..3),
        0..4,
    );
    // Mostly soon after the last one, sometimes at a moment before it.
    let pause = prop_oneof![6 => 0..9_i64, 2 => 9..30_i64, 1 => -1_500..0_i64];
    let known = prop::option::weighted(0.3, -20..60_i64);
    let more = prop::bool::weighted(0.1);
    (0..3_u8, pause, lines, needs, known, more).prop_map(
        |(router, pause, lines, needs, known_born_ms, more)| {
            let places = lines.len();
            let needs = needs
                .into_iter()
                .map(|need| need.into_iter().filter(|(at, _)| *at < places).collect())
                .collect();
            let call = Call {
                lines,
                needs,
                known_born_ms,
                more,
            };
            (router, pause, call)
        },
    )
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
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    // Always the same cases, so that what they cover is known.
    let dice = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, dice);
    let case = std::cell::Cell::new(0);
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<String, u32>::new());
    let saw = |what: &str| *seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let calls = prop::collection::vec(call(), 1..25);
    runner
        .run(&calls, |calls| {
            case.set(case.get() + 1);
            let prefix = format!("case-{}", case.get());
            let mut ledger = Ledger::default();
            let (mut now_ms, mut born_ms) = (1_700_000_000_990_i64, None);
            let routers = [0, 1, 2].map(|router| {
                let me: Arc<str> = format!("router-{router}").into();
                let shared = RedisLedger::new(connection.clone(), &prefix, Arc::clone(&me), terms);
                (me, shared)
            });
            for (router, pause, mut call) in calls {
                now_ms += pause;
                call.known_born_ms = call.known_born_ms.map(|age| now_ms - age);
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
                let (me, shared) = &routers[usize::from(router)];
                let call = Arc::new(call);
                let theirs = shared.clone().at(now_ms).settle(Arc::clone(&call));
                let theirs = runtime.block_on(theirs).unwrap();
                let ours = ledger.settle(&terms, me, now_ms, &call);
                for verdict in &ours.verdicts {
                    saw(match verdict {
                        Verdict::Given => "given",
                        Verdict::Short(_) => "short",
                        Verdict::Young => "young",
                    });
                }
                if born_ms.replace(ours.born_ms) != Some(ours.born_ms) {
                    saw("born");
                }
                if ours.young && now_ms - ours.born_ms >= terms.young_ms {
                    saw("telling");
                }
                prop_assert_eq!(ours, theirs, "{:?}", call);
            }
            Ok(())
        })
        .unwrap();
    println!("{:?}", seen.borrow());
    for what in ["given", "short", "young", "born", "telling"] {
        let count = seen.borrow().get(what).copied().unwrap_or_default();
        assert!(count > 30, "{what}: {count}");
    }
}
