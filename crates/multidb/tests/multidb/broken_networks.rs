//! The tools of these tests break what they say they break; otherwise the tests would prove nothing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, cmd};
use tokio::time::timeout;

use herdsman_test_support::redis::{Cluster, SentinelGroup, Server};
use herdsman_test_support::{Chaos, Network, eventually};

/// Long enough for a loopback answer on a machine that is busy, short enough to wait for silence.
const MOMENT: Duration = Duration::from_secs(2);

async fn connect(chaos: &Chaos) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(MOMENT))
        .set_response_timeout(Some(MOMENT));
    Client::open(chaos.url())?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

async fn incr(connection: &mut MultiplexedConnection) -> RedisResult<i64> {
    cmd("INCR").arg("n").query_async(connection).await
}

fn timed_out<T: std::fmt::Debug>(result: RedisResult<T>) {
    let error: RedisError = result.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

async fn broken(network: Network) -> (Server, Chaos, MultiplexedConnection) {
    let server = Server::start().await;
    let chaos = Chaos::in_front_of(server.port()).await;
    let mut connection = connect(&chaos).await.unwrap();
    assert_eq!(incr(&mut connection).await.unwrap(), 1);
    chaos.set(network).await;
    (server, chaos, connection)
}

#[tokio::test]
async fn a_refusing_network_resets_who_is_there_and_refuses_who_comes() {
    let (server, chaos, mut connection) = broken(Network::Refusing).await;
    assert!(
        incr(&mut connection)
            .await
            .unwrap_err()
            .is_connection_dropped()
    );
    assert!(connect(&chaos).await.unwrap_err().is_connection_refusal());
    chaos.set(Network::Whole).await;
    assert_eq!(incr(&mut connect(&chaos).await.unwrap()).await.unwrap(), 2);
    assert_eq!(server.number("n").await, 2);
}

#[tokio::test]
async fn a_silent_network_accepts_and_loses_everything() {
    let (server, chaos, mut connection) = broken(Network::Silent).await;
    timed_out(incr(&mut connection).await);
    timed_out(connect(&chaos).await);
    chaos.set(Network::Whole).await;
    assert!(incr(&mut connection).await.is_err());
    assert_eq!(server.number("n").await, 1);
}

#[tokio::test]
async fn through_a_black_hole_nobody_connects_and_what_was_sent_arrives_when_it_ends() {
    let (server, chaos, mut connection) = broken(Network::BlackHole).await;
    timed_out(incr(&mut connection).await);
    let accepted = chaos.accepted();
    let knock = tokio::net::TcpStream::connect(("127.0.0.1", chaos.port()));
    assert!(
        timeout(MOMENT, knock).await.is_err(),
        "a connection into a hole"
    );
    assert_eq!(chaos.accepted(), accepted);
    assert_eq!(server.number("n").await, 1);
    chaos.set(Network::Whole).await;
    eventually("the late request arrives", async || {
        server.number("n").await == 2
    })
    .await;
}

#[tokio::test]
async fn with_replies_dropped_commands_take_effect() {
    let (server, chaos, mut connection) = broken(Network::NoReplies).await;
    timed_out(incr(&mut connection).await);
    assert_eq!(server.number("n").await, 2);
    chaos.set(Network::NoRequests).await;
    timed_out(incr(&mut connection).await);
    assert_eq!(server.number("n").await, 2);
}

#[tokio::test]
async fn a_cut_reply_belongs_to_a_command_that_took_effect() {
    let (server, chaos, mut connection) = broken(Network::Whole).await;
    chaos.cut_reply_of("incr", 1);
    assert!(
        incr(&mut connection)
            .await
            .unwrap_err()
            .is_connection_dropped()
    );
    eventually("it took effect", async || server.number("n").await == 2).await;
    assert_eq!(incr(&mut connect(&chaos).await.unwrap()).await.unwrap(), 3);
}

#[tokio::test]
async fn connections_are_counted_until_they_are_closed() {
    let (_server, chaos, connection) = broken(Network::Whole).await;
    let second = connect(&chaos).await.unwrap();
    assert_eq!((chaos.accepted(), chaos.open()), (2, 2));
    drop((connection, second));
    eventually("all are closed", async || chaos.open() == 0).await;
}

#[tokio::test]
async fn a_slow_network_is_slow() {
    let (_server, chaos, mut connection) = broken(Network::Slow(MOMENT)).await;
    timed_out(incr(&mut connection).await);
    chaos.set(Network::Whole).await;
    assert!(incr(&mut connection).await.is_ok());
}

#[tokio::test]
async fn a_server_keeps_its_data_and_its_port_when_it_is_killed() {
    let server = herdsman_test_support::redis::Plan::new()
        .durable()
        .start()
        .await;
    let port = server.port();
    server.run("INCR n").await;
    server.kill();
    assert!(server.ask::<i64>("INCR n").await.is_err());
    server.restart().await;
    assert_eq!((server.port(), server.number("n").await), (port, 1));
    server.become_replica().await;
    let error = server.ask::<i64>("INCR n").await.unwrap_err();
    assert_eq!(error.code(), Some("READONLY"));
    server.become_master().await;
    assert_eq!(server.ask::<i64>("INCR n").await.unwrap(), 2);
}

#[tokio::test]
async fn a_cluster_serves_all_slots() {
    let cluster = Cluster::start(3).await;
    assert_eq!(cluster.urls().len(), 3);
    for key in ["a", "b", "c", "d"] {
        assert_eq!(cluster.number(key).await, 0);
    }
}

#[tokio::test]
async fn sentinels_promote_the_replica_of_a_dead_master() {
    let group = SentinelGroup::start(3).await;
    assert_eq!(group.master().await, group.servers[0].port());
    group.servers[0].kill();
    group.promoted().await;
}
