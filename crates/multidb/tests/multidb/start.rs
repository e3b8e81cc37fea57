//! How many databases must be healthy before the client starts.

use std::time::Duration;

use herdsman_multidb::{Error, InitialHealthCheckPolicy, MultiDb, MultiDbConfig};
use redis::AsyncCommands;

use crate::support::{ProxiedServer, quick};
use herdsman_test_support::{TEST_TIMEOUT, eventually};

use InitialHealthCheckPolicy::{AllAvailable, MajorityAvailable, NoneAvailable, OneAvailable};

fn config(servers: &[ProxiedServer], policy: InitialHealthCheckPolicy) -> MultiDbConfig {
    quick(servers.iter().map(ProxiedServer::config)).initial_health_check_policy(policy)
}

/// Starts over as many databases as there are in `alive`, the heaviest first.
async fn start(alive: &[bool], policy: InitialHealthCheckPolicy) -> Result<String, Error> {
    let servers = ProxiedServer::start_many(alive.len()).await;
    for (proxied, alive) in servers.iter().zip(alive) {
        if !alive {
            proxied.server.kill();
        }
    }
    let databases = servers
        .iter()
        .zip(["a", "b", "c", "d"])
        .zip([4.0, 3.0, 2.0, 1.0]);
    let databases =
        databases.map(|((proxied, name), weight)| proxied.config().name(name).weight(weight));
    let result = MultiDb::connect(quick(databases).initial_health_check_policy(policy)).await;
    let active = match result {
        Ok(db) => {
            let status = db.status();
            let name = status
                .active()
                .map(|active| active.database.name.to_string());
            db.close().await;
            Ok(name.unwrap_or_default())
        }
        Err(error) => Err(error),
    };
    for proxied in &servers {
        eventually("no connection is left", async || {
            proxied.network.open() == 0
        })
        .await;
    }
    active
}

fn too_few(result: &Result<String, Error>, expected: (usize, usize)) {
    assert!(
        matches!(
            result,
            Err(Error::InitialHealthCheckFailed { healthy, total }) if (*healthy, *total) == expected
        ),
        "{result:?}"
    );
}

#[tokio::test]
async fn where_all_are_required_one_dead_database_is_too_many() {
    assert_eq!(start(&[true, true], AllAvailable).await.unwrap(), "a");
    too_few(&start(&[true, true, false], AllAvailable).await, (2, 3));
}

#[tokio::test]
async fn where_a_majority_is_required_half_is_not_enough() {
    assert_eq!(
        start(&[false, true, true], MajorityAvailable)
            .await
            .unwrap(),
        "b"
    );
    too_few(&start(&[true, false], MajorityAvailable).await, (1, 2));
    too_few(
        &start(&[true, false, false], MajorityAvailable).await,
        (1, 3),
    );
}

#[tokio::test]
async fn where_one_is_required_the_heaviest_healthy_one_is_active() {
    assert_eq!(
        start(&[false, true, true], OneAvailable).await.unwrap(),
        "b"
    );
    assert_eq!(
        start(&[false, false, true], OneAvailable).await.unwrap(),
        "c"
    );
    too_few(&start(&[false, false], OneAvailable).await, (0, 2));
}

/// A service that can do without for a while starts, and has its database when there is one.
#[tokio::test]
async fn where_none_is_required_it_starts_alone_and_uses_the_first_that_comes() {
    let servers = ProxiedServer::start_many(2).await;
    servers.iter().for_each(|proxied| proxied.server.kill());
    let db = MultiDb::connect(config(&servers, NoneAvailable))
        .await
        .unwrap();
    assert!(db.status().active().is_none());
    let error = db.clone().set::<_, _, ()>("key", 1).await.unwrap_err();
    assert!(
        matches!(
            Error::of(&error),
            Some(Error::TemporarilyUnavailable { .. })
        ),
        "{error:?}"
    );
    servers[1].server.restart().await;
    eventually("it is used", async || {
        db.clone().set::<_, _, ()>("key", 1).await.is_ok()
    })
    .await;
    assert_eq!(servers[1].server.number("key").await, 1);
    db.close().await;
}

#[tokio::test]
async fn a_replica_and_a_database_that_only_listens_are_not_healthy() {
    let servers = ProxiedServer::start_many(3).await;
    servers[0].server.become_replica().await;
    servers[1].server.pause();
    let mut config = config(&servers, OneAvailable).health_check_timeout(Duration::from_secs(1));
    config.databases[2].name = Some("c".to_owned());
    let db = MultiDb::connect(config).await.unwrap();
    assert_eq!(&*db.status().active().unwrap().database.name, "c");
    db.close().await;
}

#[tokio::test]
async fn with_a_deadline_the_start_waits_for_databases_that_are_still_starting() {
    let servers = ProxiedServer::start_many(2).await;
    servers.iter().for_each(|proxied| proxied.server.kill());
    let config = config(&servers, AllAvailable).initial_deadline(Some(TEST_TIMEOUT));
    let start = MultiDb::connect(config);
    let later = async {
        // The first round has found none when both have seen an attempt.
        eventually("a first attempt", async || {
            servers.iter().all(|proxied| proxied.network.accepted() > 0)
        })
        .await;
        servers[0].server.restart().await;
        servers[1].server.restart().await;
    };
    let (db, ()) = tokio::join!(start, later);
    let mut db = db.unwrap();
    let _: () = db.set("key", "value").await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_deadline_that_passes_says_how_many_were_healthy() {
    let servers = ProxiedServer::start_many(2).await;
    servers[0].server.kill();
    let config = config(&servers, AllAvailable).initial_deadline(Some(Duration::from_millis(600)));
    let error = MultiDb::connect(config).await.unwrap_err();
    assert!(matches!(
        error,
        Error::InitialHealthCheckFailed {
            healthy: 1,
            total: 2
        }
    ));
}

#[tokio::test]
async fn an_invalid_configuration_is_refused_before_anything_is_connected() {
    let servers = ProxiedServer::start_many(1).await;
    let mut heavy = servers[0].config();
    heavy.weight = f64::NAN;
    let error = MultiDb::connect(MultiDbConfig::new([heavy]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert_eq!(servers[0].network.accepted(), 0);
}
