//! Routers as processes: killed with `kill -9`, stopped with `SIGSTOP`.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::spend::recover;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::{
    Fixture, On, Plan, Process, RECORDS_PER_RUN, SOON, eventually, run_router_process,
};
use herdsman_test_support::{Chaos, Network};

const CLIENTS: u64 = 16;

/// Not a test by itself: what the tests here and the storm start, stop and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_router_in_a_process_of_its_own() {
    run_router_process().await;
}

fn plan(fixture: &Fixture, name: &str) -> Plan {
    Plan {
        lease_ttl: Duration::from_secs(10),
        ..fixture.plan(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_any_router_at_any_moment() {
    let fixture = Fixture::on(On::Postgres).await;
    let plans = ["a", "b", "c"].map(|name| plan(&fixture, name));
    let mut routers: Vec<_> = plans
        .iter()
        .zip(0..)
        .map(|(plan, n)| Process::start(plan, &fixture.database, n * RECORDS_PER_RUN, CLIENTS))
        .collect();
    let mut all = BTreeSet::new();
    for round in 1..=7_u64 {
        for router in &mut routers {
            router.works().await;
        }
        let which = (round % 3) as usize;
        sleep(Duration::from_millis(round * 37 % 100)).await;
        let dead = routers.remove(which);
        all.extend(dead.kill());
        let from = (round + 2) * RECORDS_PER_RUN;
        let next = Process::start(&plans[which], &fixture.database, from, CLIENTS);
        routers.insert(which, next);
    }
    for router in &mut routers {
        router.works().await;
    }
    for router in routers {
        all.extend(router.kill());
    }
    let store = fixture.database.directly().await;
    for plan in &plans {
        recover(&plan.dir, store.clone(), SOON).await.unwrap();
    }
    fixture.tables().await.must_hold(&all);
    println!("{} acknowledged", all.len());
}

/// Longer than any lease, and between looking whether it leads and the first word of its transaction,
/// which arrives when another one has led for long. What it then says is refused by the fence, which a
/// rule of this test's own in the database watches: no epoch ever follows a greater one.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_thirty_seconds_commits_nothing() {
    for on in [On::Postgres, On::MariaDb] {
        let fixture = Fixture::on(on).await;
        fixture.database.sql(watch(on));
        let plans = ["stopped", "other"].map(|name| plan(&fixture, name));
        let store = fixture.database.directly().await;
        let leader = async || fixture.last_leader().await;
        let network = Chaos::in_front_of(fixture.database.server().unwrap().port()).await;
        let place = fixture.database.place_over(Some(&network));
        let mut stopped = Process::start_at(&plans[0], place, 0, CLIENTS);
        eventually("it leads", async || {
            leader().await.leader.starts_with("stopped/")
        })
        .await;
        let mut other = Process::start(&plans[1], &fixture.database, RECORDS_PER_RUN, CLIENTS);
        other.works().await;
        network.stop_requests_at("BEGIN");
        eventually("it begins to write", async || {
            network.network() == Network::NoRequests
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
        network.set(Network::Whole).await;
        stopped.works().await;
        other.works().await;
        let mut all = stopped.kill();
        all.extend(other.kill());
        for plan in &plans {
            recover(&plan.dir, store.clone(), SOON).await.unwrap();
        }
        let backwards = "SELECT count(*) FROM watched WHERE later < earlier";
        assert_eq!(fixture.database.sql(backwards), "0", "a stale leader wrote");
        let claims = "SELECT count(*) FROM watched WHERE later > earlier";
        assert_ne!(fixture.database.sql(claims), "0", "and they are watched");
        fixture.tables().await.must_hold(&all);
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
