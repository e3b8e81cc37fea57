use futures_util::future::join_all;

use super::*;

const MINUTE: i64 = 60_000;

fn agent(name: &str, url: &str, run: &str) -> Joining {
    Joining {
        key: InstanceKey {
            kind: InstanceKind::Agent,
            name: name.to_owned(),
            host: String::new(),
            port: 0,
        },
        url: url.to_owned(),
        run: run.to_owned(),
        lease_ms: MINUTE,
        facts: "{}".to_owned(),
    }
}

fn worker(name: &str, port: u16) -> Joining {
    Joining {
        key: InstanceKey {
            kind: InstanceKind::Worker,
            name: name.to_owned(),
            host: "10.0.0.7".to_owned(),
            port,
        },
        ..agent("", "", "")
    }
}

async fn one(store: &Store) -> InstanceRow {
    let rows = store.instances().await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

on_every_database! {
    async fn a_lease_is_renewed_by_its_holder_and_by_nobody_else(fixture: &Fixture) {
        let store = fixture.open().await;
        let (first, other) = (agent("gpu-1", "http://a:1", "run-1"), agent("gpu-1", "http://b:1", "run-2"));
        assert_eq!(store.join_instance(&first).await.unwrap(), Joined::As(1));
        assert_eq!(store.join_instance(&first).await.unwrap(), Joined::As(1), "asked again: the same lease");
        let taken = Joined::Taken("http://a:1".to_owned());
        assert_eq!(store.join_instance(&other).await.unwrap(), taken);
        assert_eq!(store.renew_instance(&other, 1).await.unwrap(), Renewed::Over);
        assert_eq!(store.renew_instance(&agent("gpu-2", "", "run-1"), 1).await.unwrap(), Renewed::Unknown);
        let restarted = agent("gpu-1", "http://a:1", "run-3");
        assert_eq!(store.join_instance(&restarted).await.unwrap(), Joined::As(2), "the same server");
        assert_eq!(store.renew_instance(&first, 1).await.unwrap(), Renewed::Over, "from the past");
        let said = Joining { facts: r#"{"a":1}"#.to_owned(), ..restarted.clone() };
        assert_eq!(store.renew_instance(&said, 2).await.unwrap(), Renewed::Yes);
        let row = one(&store).await;
        assert!(row.is_alive() && row.left_ms > MINUTE / 2 && row.age_ms < MINUTE / 2, "{row:?}");
        assert_eq!((&*row.facts, row.incarnation), (r#"{"a":1}"#, 2));
    }

    async fn an_address_is_its_agent_s_until_the_lease_is_over_under_whatever_name_another_comes(fixture: &Fixture) {
        let store = fixture.open().await;
        let (first, other) = (agent("z", "http://a:1", "run-1"), agent("a", "http://a:1", "run-2"));
        let elsewhere = agent("a", "http://b:1", "run-2");
        assert_eq!(store.join_instance(&first).await.unwrap(), Joined::As(1));
        assert_eq!(store.join_instance(&elsewhere).await.unwrap(), Joined::As(1), "another address");
        let held = Joined::Held("z".to_owned());
        assert_eq!(store.join_instance(&other).await.unwrap(), held, "it does not move there either");
        assert_eq!(store.join_instance(&first).await.unwrap(), Joined::As(1), "its own");
        let restarted = Joining { run: "run-3".to_owned(), ..first.clone() };
        assert_eq!(store.join_instance(&restarted).await.unwrap(), Joined::As(2), "its own, started again");
        // An address is of agents alone.
        assert_eq!(store.join_instance(&worker("z@llm", 1)).await.unwrap(), Joined::As(1));
        let over = Joining { lease_ms: -1, ..restarted.clone() };
        assert_eq!(store.renew_instance(&over, 2).await.unwrap(), Renewed::Yes);
        assert_eq!(store.join_instance(&other).await.unwrap(), Joined::As(1));
        assert_eq!(store.renew_instance(&restarted, 2).await.unwrap(), Renewed::Over, "a late heartbeat");
        assert_eq!(store.join_instance(&restarted).await.unwrap(), Joined::Held("a".to_owned()));
        let rows = store.instances().await.unwrap();
        let alive: Vec<_> = rows.iter().filter(|row| row.is_alive()).map(|row| &*row.key.name).collect();
        assert_eq!(alive, ["a", "z@llm"]);
    }

    async fn since_when_somebody_is_registered_is_kept_by_renewals_and_ends_with_the_holder(fixture: &Fixture) {
        let store = fixture.open().await;
        let first = agent("gpu-1", "http://a:1", "run-1");
        store.join_instance(&first).await.unwrap();
        let since = one(&store).await.registered_at;
        fixture.sql("UPDATE model_instances SET registered_at = registered_at - 60000");
        store.join_instance(&first).await.unwrap();
        store.renew_instance(&first, 1).await.unwrap();
        assert_eq!(one(&store).await.registered_at, since - MINUTE);
        store.join_instance(&agent("gpu-1", "http://a:1", "run-2")).await.unwrap();
        assert!(one(&store).await.registered_at >= since);
    }

    async fn a_lease_that_has_ended_is_not_renewed_and_others_may_have_it(fixture: &Fixture) {
        let store = fixture.open().await;
        let (first, other) = (agent("gpu-1", "http://a:1", "run-1"), agent("gpu-1", "http://b:1", "run-2"));
        store.join_instance(&first).await.unwrap();
        let stop = Joining { lease_ms: 0, ..first.clone() };
        assert_eq!(store.renew_instance(&stop, 1).await.unwrap(), Renewed::Yes);
        assert_eq!(store.renew_instance(&first, 1).await.unwrap(), Renewed::Over, "a late heartbeat");
        assert!(!one(&store).await.is_alive());
        assert_eq!(store.join_instance(&other).await.unwrap(), Joined::As(2), "it was stopped");
        let over = Joining { lease_ms: -1, ..other };
        assert_eq!(store.renew_instance(&over, 2).await.unwrap(), Renewed::Yes);
        assert!(!one(&store).await.is_alive(), "whoever reads it computes it");
        assert_eq!(store.join_instance(&first).await.unwrap(), Joined::As(3), "its time is over");
    }

    async fn a_worker_that_stopped_is_revived_by_a_registration_and_by_no_heartbeat(fixture: &Fixture) {
        let store = fixture.open().await;
        let one_worker = worker("llama3.2@llm", 8001);
        store.beat_instance(&one_worker).await.unwrap();
        assert!(one(&store).await.is_alive(), "an unknown one is entered");
        assert!(store.stop_instance(&one_worker.key).await.unwrap());
        assert!(!store.stop_instance(&one_worker.key).await.unwrap());
        store.beat_instance(&one_worker).await.unwrap();
        assert!(!one(&store).await.is_alive(), "a late heartbeat");
        assert_eq!(store.join_instance(&one_worker).await.unwrap(), Joined::As(2));
        assert!(one(&store).await.is_alive());
        assert!(store.remove_instance(&one_worker.key).await.unwrap());
        assert!(!store.remove_instance(&one_worker.key).await.unwrap());
        assert!(store.instances().await.unwrap().is_empty());
    }

    async fn what_many_routers_enter_at_once_is_there_once(fixture: &Fixture) {
        let stores = [fixture.open().await, fixture.open().await];
        for round in 0..10 {
            let new = worker("llama3.2@llm", 8000 + round);
            let joins = (0..8).map(|i| {
                let (store, new) = (stores[i % 2].clone(), new.clone());
                async move {
                    loop {
                        let done = match i < 4 {
                            true => store.join_instance(&new).await,
                            false => store.beat_instance(&new).await,
                        };
                        match done {
                            Err(Error::Contended(_)) => {}
                            done => return done.unwrap(),
                        }
                    }
                }
            });
            let joined = join_all(joins).await;
            assert!(joined.iter().all(|joined| *joined == Joined::As(1)), "{joined:?}");
        }
        assert_eq!(stores[0].instances().await.unwrap().len(), 10);
    }

    async fn dead_rows_are_collected_in_small_steps(fixture: &Fixture) {
        let store = fixture.open().await;
        let alive = worker("alive@llm", 1);
        store.join_instance(&alive).await.unwrap();
        for port in 0..120 {
            let dead = Joining { lease_ms: -1_000, ..worker("dead@llm", port) };
            store.join_instance(&dead).await.unwrap();
        }
        assert_eq!(store.collect_instances(InstanceKind::Worker, MINUTE).await.unwrap(), 0, "not yet");
        assert_eq!(store.collect_instances(InstanceKind::Agent, -5).await.unwrap(), 0, "another kind");
        let mut collected = 0;
        loop {
            match store.collect_instances(InstanceKind::Worker, -5).await.unwrap() {
                0 => break,
                some => {
                    assert!(some < 120);
                    collected += some;
                }
            }
        }
        assert_eq!(collected, 120);
        assert_eq!(one(&store).await.key, alive.key);
    }

    async fn there_are_only_so_many_rows_and_none_of_them_keeps_a_router_out(fixture: &Fixture) {
        let store = fixture.open().await;
        let filled = |kind: &str, most: usize, until: &str| {
            fixture.sql(&format!(
                "INSERT INTO model_instances (kind, name, host, port, url, run, incarnation, stopped, registered_at, \
                 seen_at, lease_until, facts) \
                 WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
                 SELECT '{kind}', concat('w', a.i * 100 + b.i), 'h', 7, '', '', 1, 0, 0, 0, {until}, '{{}}' \
                 FROM n a, n b WHERE a.i * 100 + b.i < {most}"
            ));
        };
        filled("worker", MAX_INSTANCES, "0");
        assert_eq!(store.join_instance(&worker("new@llm", 1)).await.unwrap(), Joined::Full);
        assert_eq!(store.beat_instance(&worker("new@llm", 1)).await.unwrap(), Joined::Full);
        assert_eq!(store.join_instance(&agent("gpu", "http://a:1", "run")).await.unwrap(), Joined::Full);
        let key = InstanceKey { host: "h".to_owned(), ..worker("w7", 7).key };
        let known = Joining { key, ..worker("", 0) };
        assert_eq!(store.join_instance(&known).await.unwrap(), Joined::As(1), "known before");
        let router = |name: &str| {
            let key = InstanceKey { kind: InstanceKind::Router, ..agent(name, "", "").key };
            Joining { key, ..agent(name, "", name) }
        };
        filled("router", MAX_ROUTERS, "0");
        assert_eq!(store.join_instance(&router("a")).await.unwrap(), Joined::As(1), "those are gone");
        fixture.sql("UPDATE model_instances SET lease_until = 9000000000000000 WHERE kind = 'router'");
        assert_eq!(store.join_instance(&router("b")).await.unwrap(), Joined::Full);
        assert_eq!(store.join_instance(&router("a")).await.unwrap(), Joined::As(1), "its own");
        assert_eq!(store.instances().await.unwrap().len(), MAX_INSTANCES + MAX_ROUTERS + 1);
    }
}

/// A function before the database's own has it show ten minutes more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ten_minutes_off_changes_no_lease() {
    let fixture = Fixture::new(On::Postgres).await;
    fixture.sql("CREATE SCHEMA shifted");
    fixture.sql(
        "CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
         'SELECT pg_catalog.clock_timestamp() + interval ''10 minutes'''",
    );
    let database = &fixture.database;
    fixture.sql(&format!(
        "ALTER DATABASE {database} SET search_path = shifted, pg_catalog, public"
    ));
    let store = fixture.open().await;
    let agent = agent("gpu-1", "http://a:1", "run-1");
    assert_eq!(store.join_instance(&agent).await.unwrap(), Joined::As(1));
    let row = one(&store).await;
    let ahead = row.seen_at - crate::clock::unix_ms();
    assert!((590_000..610_000).contains(&ahead), "{ahead}");
    assert!(
        row.is_alive() && row.age_ms < MINUTE / 2 && row.left_ms <= MINUTE,
        "{row:?}"
    );
    assert_eq!(store.renew_instance(&agent, 1).await.unwrap(), Renewed::Yes);
}
