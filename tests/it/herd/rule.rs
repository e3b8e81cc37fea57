//! The rule in Redis and the one in Rust are one.

use std::sync::Arc;

use herdsman::cluster::slots::{Call, Failure, Ledger, RedisLedger, Reply, Report, Shared, Terms};
use herdsman_test_support::redis::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;

const TERMS: Terms = Terms {
    hold_ms: 1_000,
    seen_ms: 500,
    min_age_ms: 700,
};

/// One call of a router, so long after the one before.
#[derive(Clone, Debug)]
struct Step {
    router: usize,
    pass_ms: i64,
    /// A restart of the router.
    restarts: bool,
    /// Arrives behind a later one.
    overtaken: bool,
    knows: bool,
    divides: i64,
    asks: bool,
    leaves: bool,
    others: Option<Vec<usize>>,
    reports: Vec<(usize, [i64; 4], bool)>,
}

fn step() -> impl Strategy<Value = Step> {
    let report = (0..4_usize, [0..4_i64, 0..5, 0..5, 0..9], any::<bool>());
    (
        (
            0..4_usize,
            prop_oneof![4 => 0..300_i64, 1 => 300..2_000_i64],
        ),
        (prop::bool::weighted(0.05), prop::bool::weighted(0.05)),
        (
            prop::bool::weighted(0.9),
            0..5_i64,
            any::<bool>(),
            prop::bool::weighted(0.03),
        ),
        prop::option::weighted(0.8, prop::collection::vec(0..5_usize, 0..4)),
        prop::collection::vec(report, 0..4),
    )
        .prop_map(
            |((router, pass_ms), (restarts, overtaken), flags, others, reports)| Step {
                router,
                pass_ms,
                restarts,
                overtaken,
                knows: flags.0,
                divides: flags.1,
                asks: flags.2,
                leaves: flags.3,
                others,
                reports,
            },
        )
}

fn name(router: usize) -> Arc<str> {
    format!("router-{router}").into()
}

struct Both {
    rust: Ledger,
    redis: Vec<RedisLedger<MultiplexedConnection>>,
    now: i64,
    runs: [i64; 4],
    number: i64,
    born: Option<i64>,
}

impl Both {
    async fn take(&mut self, step: &Step) -> (Option<Reply>, Option<Reply>) {
        self.now += step.pass_ms;
        self.number += 1;
        let run = &mut self.runs[step.router];
        *run += i64::from(step.restarts);
        let mut reports: Vec<Report> = Vec::new();
        for (pool, [base, granted, given, demand], forget) in &step.reports {
            let key: Arc<str> = format!("model{pool}:latest http://10.0.0.{pool}:11434").into();
            if reports.iter().any(|report| report.key == key) {
                continue;
            }
            reports.push(Report {
                key,
                slots: [1, 2, 4, 7][*pool],
                base: *base,
                granted: *granted,
                given: *given.min(&(base + granted)),
                demand: *demand,
                forget: *forget,
            });
        }
        let others = step.others.as_ref();
        let call = Call {
            run: *run,
            number: if step.overtaken { 0 } else { self.number },
            born: self.born.filter(|_| step.knows),
            divides: step.divides,
            asks: step.asks,
            others: others.map(|others| others.iter().map(|other| name(*other)).collect()),
            leaves: step.leaves,
            reports,
        };
        let rust = self
            .rust
            .settle(&TERMS, &name(step.router), self.now, &call);
        let redis = self.redis[step.router].clone().at(self.now);
        let redis = match redis.settle(Arc::new(call)).await {
            Ok(reply) => Some(reply),
            Err(Failure::Overtaken(_)) => None,
            Err(failure) => panic!("{failure}"),
        };
        let rust = rust.map(|answer| answer.reply);
        if let Some(reply) = &rust {
            self.born = Some(reply.born);
        }
        (rust, redis)
    }
}

#[tokio::test]
async fn a_run_that_began_under_an_earlier_clock_is_told_of_the_later_one() {
    let server = Server::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let ledger = RedisLedger::new(connection, "test", name(1), TERMS);
    let call = |run| Call {
        run,
        number: 1,
        ..Call::default()
    };
    let later = 1_800_000_000_000;
    ledger.settle(Arc::new(call(later))).await.unwrap();
    let earlier = ledger.settle(Arc::new(call(later - 600_000))).await;
    let Err(Failure::Overtaken(run)) = earlier else {
        panic!("{earlier:?}");
    };
    assert_eq!(run, later);
    ledger.settle(Arc::new(call(run + 1))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_in_redis_answers_as_the_one_in_rust() {
    let server = Server::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let handle = tokio::runtime::Handle::current();
    let ran = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config {
            cases: 96,
            failure_persistence: None,
            ..Config::default()
        });
        let cases = std::sync::atomic::AtomicU64::new(0);
        runner.run(&prop::collection::vec(step(), 1..60), |steps| {
            let case = cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let ledger = |router| {
                RedisLedger::new(
                    connection.clone(),
                    &format!("case{case}"),
                    name(router),
                    TERMS,
                )
            };
            let mut both = Both {
                rust: Ledger::default(),
                redis: (0..4).map(ledger).collect(),
                now: 1_000_000,
                runs: [1; 4],
                number: 0,
                born: None,
            };
            for step in &steps {
                let (rust, redis) = handle.block_on(both.take(step));
                prop_assert_eq!(rust, redis);
            }
            Ok(())
        })
    });
    ran.await.unwrap().unwrap();
}
