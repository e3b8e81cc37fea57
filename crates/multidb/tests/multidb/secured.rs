//! Databases that want a certificate, a user or a password.

use std::sync::Arc;
use std::time::Duration;

use herdsman_multidb::{DatabaseConfig, Error, InitialHealthCheckPolicy, MultiDb};
use redis::{AsyncCommands, ClientTlsConfig, RedisResult, TlsCertificates};

use crate::support::{Workload, quick};
use herdsman_test_support::redis::{Plan, Server};
use herdsman_test_support::{Certificates, eventually};

fn trusting(certificates: &Certificates, with_client: bool) -> TlsCertificates {
    TlsCertificates {
        client_tls: with_client.then(|| ClientTlsConfig {
            client_cert: certificates.pem("client.pem"),
            client_key: certificates.pem("client.key"),
        }),
        root_cert: Some(certificates.pem("ca.pem")),
    }
}

fn active(db: &MultiDb) -> String {
    let status = db.status();
    let active = status.active();
    active.map_or(String::new(), |active| active.database.name.to_string())
}

async fn until_active(db: &MultiDb, name: &str) {
    eventually(&format!("{name} is active"), async || active(db) == name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_a_client_certificate_everything_is_as_without() {
    let certificates = Arc::new(Certificates::make());
    let plan = || Plan::new().durable().tls(&certificates, true);
    let servers = [plan().start().await, plan().start().await];
    let database = |server: &Server| {
        DatabaseConfig::from_url(server.tls_url()).tls(trusting(&certificates, true))
    };
    let db = MultiDb::connect(quick([
        database(&servers[0]).name("a").weight(2.0),
        database(&servers[1]).name("b"),
    ]))
    .await
    .unwrap();
    let workload = Workload::counting(&db, 16);
    workload.progress(5).await;
    servers[0].kill();
    until_active(&db, "b").await;
    workload.progress(5).await;
    let tally = workload.stop().await;
    tally.at_most_each(1);
    tally.only_in_flight();
    servers[0].restart().await;
    tally.check(&[&servers[0], &servers[1]]).await;
    db.close().await;
}

#[tokio::test]
async fn a_certificate_nobody_trusts_is_no_database() {
    let certificates = Arc::new(Certificates::make());
    let stranger = Certificates::make();
    let server = Plan::new().tls(&certificates, false).start().await;
    let database = |trusted: &Certificates| {
        DatabaseConfig::from_url(server.tls_url()).tls(trusting(trusted, false))
    };
    let error = MultiDb::connect(quick([database(&stranger)]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::InitialHealthCheckFailed { .. }),
        "{error}"
    );
    let db = MultiDb::connect(quick([database(&certificates)]))
        .await
        .unwrap();
    let _: () = db.clone().set("key", 1).await.unwrap();
    db.close().await;
}

/// A user who may do little: PING and its own keys, not ROLE.
#[tokio::test]
async fn an_acl_user_works_with_what_it_may_do_and_what_it_may_not_is_no_failure() {
    let server = Server::start().await;
    server
        .run("ACL SETUSER herdsman on >secret ~mine:* +get +set +incrby +ping +echo")
        .await;
    let url = format!("redis://herdsman:secret@127.0.0.1:{}", server.port());
    let db = MultiDb::connect(quick([DatabaseConfig::from_url(url)]))
        .await
        .unwrap();
    let mut connection = db.clone();
    let _: () = connection.set("mine:1", 1).await.unwrap();
    for _ in 0..20 {
        let result: RedisResult<()> = connection.set("yours", 1).await;
        assert_eq!(result.unwrap_err().code(), Some("NOPERM"));
    }
    assert_eq!(db.status().active().unwrap().failures, 0);
    assert!(!format!("{:?}{:?}", db.status(), db).contains("secret"));
    db.close().await;
}

#[tokio::test]
async fn a_database_that_no_longer_accepts_the_password_is_left() {
    let servers = [
        Plan::new().password("first").start().await,
        Plan::new().start().await,
    ];
    let db = MultiDb::connect(quick([
        DatabaseConfig::from_url(servers[0].url())
            .name("a")
            .weight(2.0),
        DatabaseConfig::from_url(servers[1].url()).name("b"),
    ]))
    .await
    .unwrap();
    assert_eq!(active(&db), "a");
    // Changed, and all connections closed.
    let url = format!("redis://:first@127.0.0.1:{}", servers[0].port());
    let mut admin = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let _: () = redis::pipe()
        .cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("second")
        .cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .ignore()
        .query_async(&mut admin)
        .await
        .unwrap();
    until_active(&db, "b").await;
    let _: () = db.clone().set("key", 1).await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_wrong_password_keeps_one_database_out_and_no_other() {
    let servers = [
        Plan::new().password("right").start().await,
        Plan::new().start().await,
    ];
    let wrong = format!("redis://:wrong@127.0.0.1:{}", servers[0].port());
    let config = quick([
        DatabaseConfig::from_url(wrong)
            .name("a")
            .weight(2.0)
            .grace_period(Duration::ZERO),
        DatabaseConfig::from_url(servers[1].url()).name("b"),
    ])
    .auto_fallback_interval(Some(Duration::from_millis(50)))
    .initial_health_check_policy(InitialHealthCheckPolicy::OneAvailable);
    let db = MultiDb::connect(config).await.unwrap();
    assert_eq!(active(&db), "b");
    let unhealthy = || db.metrics().databases[0].unhealthy_rounds;
    eventually("it is asked again and again", async || unhealthy() > 5).await;
    assert_eq!(active(&db), "b");
    db.close().await;
}
