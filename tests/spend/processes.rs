//! Routers as processes: killed with `kill -9`, stopped with `SIGSTOP`.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::spend::recover;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::{OF_A_LIFE, On, Plan, Process, SOON, Stage, be_a_router, eventually};

const CLIENTS: u64 = 16;

/// Not a test by itself: what the tests here and the storm start, stop and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_router_in_a_process_of_its_own() {
    be_a_router().await;
}

fn plan(stage: &Stage, name: &str) -> Plan {
    Plan {
        lease_ttl: Duration::from_secs(10),
        ..stage.plan(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_any_router_at_any_moment() {
    let stage = Stage::on(On::Postgres).await;
    let plans = ["a", "b", "c"].map(|name| plan(&stage, name));
    let mut routers: Vec<_> = plans
        .iter()
        .zip(0..)
        .map(|(plan, n)| Process::start(plan, &stage.database, n * OF_A_LIFE, CLIENTS))
        .collect();
    let mut all = BTreeSet::new();
    for life in 1..=7_u64 {
        for router in &mut routers {
            router.works().await;
        }
        let which = (life % 3) as usize;
        sleep(Duration::from_millis(life * 37 % 100)).await;
        let dead = routers.remove(which);
        all.extend(dead.kill());
        let from = (life + 2) * OF_A_LIFE;
        let next = Process::start(&plans[which], &stage.database, from, CLIENTS);
        routers.insert(which, next);
    }
    for router in &mut routers {
        router.works().await;
    }
    for router in routers {
        all.extend(router.kill());
    }
    let store = stage.database.directly().await;
    for plan in &plans {
        recover(&plan.dir, store.clone(), SOON).await.unwrap();
    }
    stage.books().await.must_hold(&all);
    println!("{} acknowledged", all.len());
}

/// Longer than any lease: it is nobody's any more when the leader goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_thirty_seconds_does_no_harm() {
    let stage = Stage::on(On::MariaDb).await;
    let plans = ["stopped", "other"].map(|name| plan(&stage, name));
    let store = stage.database.directly().await;
    let leader = async || stage.last_leader().await;
    let mut stopped = Process::start(&plans[0], &stage.database, 0, CLIENTS);
    eventually("it leads", async || {
        leader().await.leader.starts_with("stopped/")
    })
    .await;
    let mut other = Process::start(&plans[1], &stage.database, OF_A_LIFE, CLIENTS);
    other.works().await;
    let before = leader().await;
    stopped.signal(Signal::STOP);
    sleep(Duration::from_secs(30)).await;
    let after = leader().await;
    assert!(after.leader.starts_with("other/"), "{after:?}");
    assert!(after.epoch > before.epoch);
    stopped.signal(Signal::CONT);
    stopped.works().await;
    other.works().await;
    // The one that was stopped wrote nothing as the leader it had been; a busy machine may have made
    // it the next one.
    let last = leader().await;
    assert!(
        last == after || last.epoch > after.epoch,
        "{last:?}, {after:?}"
    );
    let mut all = stopped.kill();
    all.extend(other.kill());
    for plan in &plans {
        recover(&plan.dir, store.clone(), SOON).await.unwrap();
    }
    stage.books().await.must_hold(&all);
}
