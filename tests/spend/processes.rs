//! Routers as processes: killed with `kill -9`, stopped with `SIGSTOP`.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::spend::recover;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::{OF_A_LIFE, On, Plan, Process, SOON, Stage, be_a_router, eventually};
use herdsman_test_support::{Chaos, Network};

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

/// Longer than any lease, and between looking whether it leads and the first word of its transaction,
/// which arrives when another one has led for long. What it then says is refused by the fence, which a
/// rule of this test's own in the database watches: no epoch ever follows a greater one.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_thirty_seconds_commits_nothing() {
    for on in [On::Postgres, On::MariaDb] {
        let stage = Stage::on(on).await;
        stage.database.sql(watch(on));
        let plans = ["stopped", "other"].map(|name| plan(&stage, name));
        let store = stage.database.directly().await;
        let leader = async || stage.last_leader().await;
        let road = Chaos::before(stage.database.server().unwrap().port()).await;
        let place = stage.database.place_over(Some(&road));
        let mut stopped = Process::start_at(&plans[0], place, 0, CLIENTS);
        eventually("it leads", async || {
            leader().await.leader.starts_with("stopped/")
        })
        .await;
        let mut other = Process::start(&plans[1], &stage.database, OF_A_LIFE, CLIENTS);
        other.works().await;
        road.stop_requests_at("BEGIN");
        eventually("it begins to write", async || {
            road.network() == Network::NoRequests
        })
        .await;
        let before = leader().await;
        assert!(before.leader.starts_with("stopped/"), "{before:?}");
        stopped.signal(Signal::STOP);
        sleep(Duration::from_secs(30)).await;
        let after = leader().await;
        assert!(after.leader.starts_with("other/"), "{after:?}");
        assert!(after.epoch > before.epoch);
        stopped.signal(Signal::CONT);
        road.set(Network::Whole).await;
        stopped.works().await;
        other.works().await;
        let mut all = stopped.kill();
        all.extend(other.kill());
        for plan in &plans {
            recover(&plan.dir, store.clone(), SOON).await.unwrap();
        }
        let backwards = "SELECT count(*) FROM watched WHERE later < earlier";
        assert_eq!(stage.database.sql(backwards), "0", "a stale leader wrote");
        let claims = "SELECT count(*) FROM watched WHERE later > earlier";
        assert_ne!(stage.database.sql(claims), "0", "and they are watched");
        stage.books().await.must_hold(&all);
    }
}

/// Writes down from which epoch to which the last leader changes.
fn watch(on: On) -> &'static str {
    match on {
        On::Postgres => {
            "CREATE TABLE watched (earlier BIGINT, later BIGINT);
             CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO watched VALUES (OLD.epoch, NEW.epoch); RETURN NEW; END $$;
             CREATE TRIGGER watch AFTER UPDATE ON flush_leader FOR EACH ROW EXECUTE FUNCTION watch()"
        }
        _ => {
            "CREATE TABLE watched (earlier BIGINT, later BIGINT);
             CREATE TRIGGER watch AFTER UPDATE ON flush_leader FOR EACH ROW
             INSERT INTO watched VALUES (OLD.epoch, NEW.epoch)"
        }
    }
}
