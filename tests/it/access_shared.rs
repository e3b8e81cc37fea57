//! Limits and budgets that hold across routers: several routers' access, one real Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use herdsman::access::{
    Access, AccessRequest, Call, Caller, Failure, Ledger, MeterReport, Options, RedisLedger,
    Refused, Reply, Reservation, SWEEP, Shared, TERMS, Terms, Verdict, Window, key_id,
};
use herdsman::config::WhenRedisAway;
use herdsman::domain::{
    Account, AccountKind, Allowance, Budget, Charge, EntityKind, Limits, ModelName, Price, Rate,
    TokenCounts, UsageRecord,
};
use herdsman::spend::{self, Durability, Spend};
use herdsman::store::{Precondition, Saved, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::support::{TEST_TIMEOUT, eventually};
use herdsman_test_support::redis::Server;

pub const KEY: &str = "sk-one-key-of-several-routers";

/// Routers that share accounts and a Redis.
pub struct Fleet {
    pub routers: Vec<Access>,
    /// The spend pipeline of each router; empty where nothing is written to the database.
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
    /// Spending is committed to the database by a pipeline of each router, which reads it every
    /// second.
    pub spending: bool,
    /// Redis is paused when the routers start.
    pub redis_paused: bool,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            redis: &[],
            routers: 1,
            policy: WhenRedisAway::LocalShare,
            accounts: Vec::new(),
            spending: false,
            redis_paused: false,
        }
    }
}

/// Several Redis servers, of which one is used: all routers switch at the same moment.
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
            redis_paused: false,
        })
        .await
    }

    pub async fn of(plan: Plan<'_>) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open("", dir.path()).await.unwrap();
        store.migrate().await.unwrap();
        for account in &plan.accounts {
            let saved = store
                .save_account(account, Precondition::Absent)
                .await
                .unwrap();
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
        if plan.redis_paused {
            plan.redis.iter().for_each(|redis| redis.pause());
        }
        for (n, (me, ledgers)) in all.into_iter().enumerate() {
            let shared = (!ledgers.is_empty()).then(|| {
                let used = Arc::clone(&fleet.used);
                Arc::new(Switch { ledgers, used }) as Arc<dyn Shared>
            });
            let options = Options {
                require_key: true,
                end_users: 10,
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

    /// Records the cost of a request, as the gateway does before the client gets the end of its
    /// answer.
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

    async fn admit(&self, router: usize, max_output: Option<u64>) -> Result<Reservation, Refused> {
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
    ) -> Result<Reservation, Refused> {
        let access = &self.routers[router];
        let caller: Caller = access.identify(Some(key))?;
        let model = model();
        let ask = AccessRequest {
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
        let (mut account, precondition) = (stored.account, Precondition::Version(stored.version));
        change(&mut account);
        let saved = self
            .store
            .save_account(&account, precondition)
            .await
            .unwrap();
        assert!(matches!(saved, Saved::As(_)), "{saved:?}");
        for router in &self.routers {
            router.refresh().await.unwrap();
        }
    }

    /// Waits until each router knows all others, and the ledger is old enough to grant.
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

    /// Like [`Fleet::admit`], but it retries when Redis took too long on a busy machine.
    async fn admit_surely(
        &self,
        router: usize,
        max_output: Option<u64>,
    ) -> Result<Reservation, Refused> {
        let deadline = Instant::now() + TEST_TIMEOUT;
        loop {
            match self.admit(router, max_output).await {
                Err(Refused::LimitsAway) => {
                    assert!(Instant::now() < deadline, "limits stay unavailable");
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

/// After so long without an admission none is expected any more.
const IDLE: Duration = Duration::from_secs(2);

/// What the fleet did until no request was admitted any more.
struct Spent {
    used: i64,
    /// The most that all requests in flight at one moment cost in the end.
    in_flight: i64,
    admitted: u64,
    slowest: Duration,
}

/// 3 × 16 clients spend until no request was admitted for `idle`.
async fn spend_it(fleet: Arc<Fleet>, says: bool, idle: Duration) -> Spent {
    let (used, in_flight, most) = (AtomicI64::new(0), AtomicI64::new(0), AtomicI64::new(0));
    let counters = Arc::new((used, in_flight, most, AtomicU64::new(0)));
    let clients = TaskTracker::new();
    let mut tasks = Vec::new();
    for client in 0..48 {
        let (fleet, counters) = (Arc::clone(&fleet), Arc::clone(&counters));
        tasks.push(clients.spawn(async move {
            let mut random = fastrand::Rng::with_seed(client);
            let (mut since, mut slowest) = (Instant::now(), Duration::ZERO);
            while since.elapsed() < idle {
                let tokens = random.u64(1..600);
                let cost = i64::try_from(tokens).unwrap() * 1_000;
                let router = usize::try_from(client).unwrap() % 3;
                let asked = Instant::now();
                let reservation = fleet.admit(router, says.then_some(tokens)).await;
                slowest = slowest.max(asked.elapsed());
                match reservation {
                    Ok(mut reservation) => {
                        let in_flight = counters.1.fetch_add(cost, Ordering::SeqCst) + cost;
                        counters.2.fetch_max(in_flight, Ordering::SeqCst);
                        sleep(Duration::from_millis(random.u64(0..4))).await;
                        let charge = reservation.charge(wrote(tokens), 0, unix_now());
                        assert_eq!(charge.nano_usd, cost);
                        fleet.record(router, wrote(tokens), charge).await;
                        since = Instant::now();
                        counters.0.fetch_add(cost, Ordering::SeqCst);
                        counters.1.fetch_sub(cost, Ordering::SeqCst);
                        counters.3.fetch_add(1, Ordering::SeqCst);
                    }
                    // On a busy machine Redis may answer too late: that is no decision.
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
async fn clients_that_state_a_maximum_never_exceed_a_budget() {
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
async fn after_redis_is_wiped_routers_report_their_state_again() {
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
    // What was known is reported again. Only while a wiped ledger is new does each router go on
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
async fn places_are_shared_and_given_back() {
    let redis = Server::start().await;
    let fleet = Fleet::start(&[&redis], 3, WhenRedisAway::Refuse, four_at_once()).await;
    fleet.warm().await;
    let mut held = Vec::new();
    let deadline = Instant::now() + TEST_TIMEOUT;
    let mut router = 0;
    while held.len() < 4 {
        assert!(Instant::now() < deadline, "only {} of 4", held.len());
        router = (router + 1) % 3;
        match fleet.admit_surely(router, None).await {
            Ok(reservation) => held.push(reservation),
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

/// What one router holds without reporting it is granted to no other router, whatever happens to
/// Redis: for longer than its ledger is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_router_keeps_its_places_over_a_wiped_redis_a_failover_and_a_failback() {
    let (first, second) = (Server::start().await, Server::start().await);
    let fleet = Fleet::start(&[&first, &second], 3, WhenRedisAway::Refuse, four_at_once()).await;
    fleet.warm().await;
    let mut held = Vec::new();
    let deadline = Instant::now() + TEST_TIMEOUT;
    while held.len() < 4 {
        assert!(Instant::now() < deadline, "only {} of 4", held.len());
        match fleet.admit_surely(0, None).await {
            Ok(reservation) => held.push(reservation),
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
        // Until it is not new any more, and has decided a few times since.
        while decided < 20 {
            assert!(
                start.elapsed() < TEST_TIMEOUT,
                "{what}: {decided} decisions"
            );
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
        assert!(start.elapsed() < TEST_TIMEOUT);
        sleep(Duration::from_millis(20)).await;
    }
}

/// A call that was retried elsewhere for so long that a later one was answered first.
#[tokio::test]
async fn a_report_that_was_overtaken_is_not_applied() {
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
                    min_age_ms: 0,
                    ..TERMS
                },
            )
        }
    };
    let (one, other) = (ledger("one").await, ledger("other").await);
    let report = |held: i64, need: i64| {
        Arc::new(Call {
            reports: vec![MeterReport {
                key: "m".into(),
                limit: 10,
                window: Window::Always,
                base: (0, -1),
                of: 0,
                spent: 0,
                held,
                prefetch: 0,
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

/// The bound in full operation: spending is committed to the database all the time, each router
/// adds to what it reads there, and the actors of one router are killed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_routers_keep_to_a_budget_while_their_spending_is_committed_to_the_database() {
    let redis = Server::start().await;
    let limit = 1_500_000_000;
    let fleet = Fleet::open(&[&redis], 3, WhenRedisAway::Refuse, budget(limit), true).await;
    let fleet = Arc::new(fleet);
    fleet.warm().await;
    let kill = async {
        sleep(Duration::from_secs(2)).await;
        fleet.routers[1].kill_actors();
        fleet.spends[1].kill_flush_actor();
    };
    // What was spent in the moments before the database was asked is counted twice for a while.
    let idle = Duration::from_secs(9);
    let (spent, ()) = tokio::join!(spend_it(Arc::clone(&fleet), false, idle), kill);
    let over = spent.used - limit;
    println!(
        "budget {limit}, used {}, over by {over}; at most {} in flight; {} requests",
        spent.used, spent.in_flight, spent.admitted
    );
    assert!(over <= spent.in_flight, "{over} > {}", spent.in_flight);
    assert!(spent.used > limit - 48 * 600_000, "{}", spent.used);
    // The ledger's base is what the database had, and the database has all of it.
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
        spend.flush_now(TEST_TIMEOUT).await.unwrap();
    }
    let rows = fleet.store.spent(EntityKind::Key).await.unwrap();
    let row = rows.iter().find(|row| row.entity == key_id(KEY)).unwrap();
    assert_eq!(row.spend_nano_usd, spent.used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_unavailable_a_router_keeps_to_its_part_or_refuses() {
    for policy in [WhenRedisAway::LocalShare, WhenRedisAway::Refuse] {
        let redis = Server::start().await;
        let limit = 90_000_000;
        let fleet = Fleet::start(&[&redis], 3, policy, budget(limit)).await;
        fleet.warm().await;
        redis.pause();
        let mut used = [0_i64; 3];
        for (router, used) in used.iter_mut().enumerate() {
            let deadline = Instant::now() + TEST_TIMEOUT;
            loop {
                assert!(Instant::now() < deadline);
                match fleet.admit(router, Some(1_000)).await {
                    Ok(mut reservation) => {
                        *used += reservation.charge(wrote(1_000), 0, unix_now()).nano_usd;
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
        // When Redis is back, it gets the reports of what happened meanwhile, and grants the rest.
        redis.resume();
        let deadline = Instant::now() + TEST_TIMEOUT;
        let mut all = all;
        while all < limit - 1_000_000 {
            assert!(Instant::now() < deadline, "{all} of {limit}");
            match fleet.admit(0, Some(1_000)).await {
                Ok(mut reservation) => {
                    all += reservation.charge(wrote(1_000), 0, unix_now()).nano_usd
                }
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
        let mut reservation = fleet.admit_surely(0, Some(10)).await.unwrap();
        reservation.charge(wrote(10), 0, unix_now());
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
        .save_account(&blocked, Precondition::Version(stored.version))
        .await
        .unwrap();
    let start = Instant::now();
    for router in &fleet.routers {
        while router.identify(Some(KEY)).is_ok() {
            assert!(start.elapsed() < TEST_TIMEOUT);
            sleep(Duration::from_millis(5)).await;
        }
    }
    println!("seen after {:?}", start.elapsed());
}

#[tokio::test]
async fn killed_actors_are_restarted_and_lose_nothing() {
    let fleet = Fleet::start(&[], 1, WhenRedisAway::Refuse, budget(10_000)).await;
    let mut reservation = fleet.admit(0, Some(4)).await.unwrap();
    reservation.charge(wrote(4), 0, unix_now());
    fleet.routers[0].kill_actors();
    let deadline = Instant::now() + TEST_TIMEOUT;
    let mut used = 4;
    let mut refused = 0;
    while refused < 3 {
        assert!(Instant::now() < deadline);
        match fleet.admit(0, Some(2)).await {
            Ok(mut reservation) => {
                reservation.charge(wrote(2), 0, unix_now());
                used += 2;
            }
            Err(Refused::Budget { .. }) if used == 10 => refused += 1,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    assert_eq!(used, 10);
}

/// One random report.
fn report() -> impl Strategy<Value = MeterReport> {
    let window = prop_oneof![
        Just(Window::Always),
        (1..40_i64).prop_map(Window::Each),
        // Of this second, the one before, and one in the future.
        (-1..2_i64).prop_map(Window::Since),
    ];
    let amounts = (0..300_i64, 0..60_i64, -5..60_i64, 0..80_i64);
    (0..4_u8, window, amounts, (-1..40_i64, 0..90_i64), 0..3_u8).prop_map(
        |(key, window, (limit, spent, held, prefetch), (age, base), of)| MeterReport {
            key: format!("meter-{key}").into(),
            limit,
            window,
            base: (base, age),
            of: i64::from(of),
            spent,
            held,
            prefetch,
        },
    )
}

fn call() -> impl Strategy<Value = (u8, i64, Call)> {
    let reports = prop::collection::vec(report(), 1..4).prop_map(|mut reports| {
        let mut seen = std::collections::HashSet::new();
        reports.retain(|report| seen.insert(Arc::clone(&report.key)));
        reports
    });
    let needs = prop::collection::vec(
        prop::collection::btree_map(0..3_usize, 0..40_i64, 0..3),
        0..4,
    );
    // Mostly soon after the last one, sometimes at a moment before it.
    let pause = prop_oneof![6 => 0..9_i64, 2 => 9..30_i64, 1 => -1_500..0_i64];
    let known = prop::option::weighted(0.3, -20..60_i64);
    let more = prop::bool::weighted(0.1);
    (0..3_u8, pause, reports, needs, known, more).prop_map(
        |(router, pause, reports, needs, known_created_ms, more)| {
            let places = reports.len();
            let needs = needs
                .into_iter()
                .map(|need| need.into_iter().filter(|(at, _)| *at < places).collect())
                .collect();
            let call = Call {
                reports,
                needs,
                known_created_ms,
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
        min_age_ms: 8,
        forget_ms: 20,
    };
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    // Always the same cases, so that what they cover is known.
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let case = std::cell::Cell::new(0);
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<String, u32>::new());
    let saw = |what: &str| *seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let calls = prop::collection::vec(call(), 1..25);
    runner
        .run(&calls, |calls| {
            case.set(case.get() + 1);
            let prefix = format!("case-{}", case.get());
            let mut ledger = Ledger::default();
            let (mut now_ms, mut created_ms) = (1_700_000_000_990_i64, None);
            let routers = [0, 1, 2].map(|router| {
                let me: Arc<str> = format!("router-{router}").into();
                let shared = RedisLedger::new(connection.clone(), &prefix, Arc::clone(&me), terms);
                (me, shared)
            });
            for (router, pause, mut call) in calls {
                now_ms += pause;
                call.known_created_ms = call.known_created_ms.map(|age| now_ms - age);
                for report in &mut call.reports {
                    // Relative until now: moments and windows near this one.
                    report.base.1 = if report.base.1 < 0 {
                        -1
                    } else {
                        now_ms - report.base.1
                    };
                    if let Window::Since(second) = &mut report.window {
                        *second += now_ms / 1_000;
                    }
                    report.of = match (report.of, report.window) {
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
                        Verdict::TooNew => "too new",
                    });
                }
                if created_ms.replace(ours.created_ms) != Some(ours.created_ms) {
                    saw("created");
                }
                if ours.is_new && now_ms - ours.created_ms >= terms.min_age_ms {
                    saw("telling");
                }
                prop_assert_eq!(ours, theirs, "{:?}", call);
            }
            Ok(())
        })
        .unwrap();
    println!("{:?}", seen.borrow());
    for what in ["given", "short", "too new", "created", "telling"] {
        let count = seen.borrow().get(what).copied().unwrap_or_default();
        assert!(count > 30, "{what}: {count}");
    }
}
