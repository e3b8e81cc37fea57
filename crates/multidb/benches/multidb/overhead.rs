//! Beside a bare `ConnectionManager`: throughput of 64 users, and allocations per command.

use std::alloc::System;
use std::time::Duration;

use futures_util::future::join_all;
use herdsman_multidb::{DatabaseConfig, MultiDb, MultiDbConfig};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, cmd};
use stats_alloc::{Region, StatsAlloc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::figures::{Figures, runtime, verdict};
use herdsman_test_support::TEST_TIMEOUT;
use herdsman_test_support::redis::Server;

const USERS: usize = 64;
const ROUND: Duration = Duration::from_millis(700);
/// Of what the manager does, at least.
const AIM: f64 = 0.95;
/// Commands whose allocations are counted.
const COUNTED: u32 = 20_000;

/// Both clients, to the same server, with the same timeouts and socket options.
struct Pair {
    _servers: [Server; 2],
    manager: ConnectionManager,
    db: MultiDb,
}

pub(crate) fn measure(allocator: &'static StatsAlloc<System>, rounds: u32) {
    println!(
        "\n## Overhead, {USERS} users, GET of 16 bytes, {rounds} rounds: median (least–most)\n"
    );
    println!("| | ConnectionManager | MultiDb | MultiDb / ConnectionManager | aim | reached |");
    println!("|---|---|---|---|---|---|");
    for threads in [1, 2] {
        let [manager, db, ratio] = runtime(threads).block_on(throughput(rounds));
        println!(
            "| commands/s, {threads} client thread(s) | {} | {} | {} | ≥ {AIM} | {} |",
            manager.show(0),
            db.show(0),
            ratio.show(3),
            verdict(ratio.median() >= AIM),
        );
    }
    let (manager, db) = runtime(1).block_on(allocations(allocator));
    println!(
        "| allocations per command | {:.2} | {:.2} | {:+.2} | +0.00 | {} |",
        manager.0,
        db.0,
        db.0 - manager.0,
        // A timer or a buffer grows once in a while; a command allocates once or not at all.
        verdict(db.0 - manager.0 < 0.05),
    );
    println!(
        "| bytes allocated per command | {:.0} | {:.0} | {:+.0} | | |",
        manager.1,
        db.1,
        db.1 - manager.1
    );
}

impl Pair {
    async fn start() -> Self {
        let servers = [Server::start().await, Server::start().await];
        servers[0].run("SET key 0123456789abcdef").await;
        let info = servers[0].url().into_connection_info().expect("a URL");
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(TEST_TIMEOUT))
            .set_connection_timeout(Some(Duration::from_secs(1)));
        let client = Client::open(info).expect("a client");
        let manager = ConnectionManager::new_with_config(client, config);
        let config = MultiDbConfig::new([
            DatabaseConfig::from_url(servers[0].url()).weight(2.0),
            DatabaseConfig::from_url(servers[1].url()),
        ]);
        let db = MultiDb::connect(config.response_timeout(TEST_TIMEOUT));
        Self {
            manager: manager.await.expect("a connection"),
            db: db.await.expect("a client"),
            _servers: servers,
        }
    }
}

/// Commands per second of the manager, of the client, and their ratio; turn and turn about, each
/// round the other one first.
async fn throughput(rounds: u32) -> [Figures; 3] {
    let pair = Pair::start().await;
    let [mut bare, mut ours, mut ratio] = std::array::from_fn(|_| Figures::default());
    let warm = ROUND / 2;
    work(&pair.manager, warm).await;
    work(&pair.db, warm).await;
    for round in 0..rounds {
        let (first, second) = if round % 2 == 0 {
            let first = work(&pair.manager, ROUND).await;
            (first, work(&pair.db, ROUND).await)
        } else {
            let second = work(&pair.db, ROUND).await;
            (work(&pair.manager, ROUND).await, second)
        };
        bare.add(first);
        ours.add(second);
        ratio.add(second / first);
    }
    pair.db.close().await;
    [bare, ours, ratio]
}

async fn work<C>(connection: &C, length: Duration) -> f64
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    let tasks = TaskTracker::new();
    let began = Instant::now();
    let users = (0..USERS).map(|_| {
        let mut connection = connection.clone();
        tasks.spawn(async move {
            let mut commands = 0_u32;
            while began.elapsed() < length {
                get(&mut connection).await;
                commands += 1;
            }
            commands
        })
    });
    let commands = join_all(users.collect::<Vec<_>>()).await;
    let sum: f64 = commands
        .into_iter()
        .map(|commands| f64::from(commands.expect("a user")))
        .sum();
    sum / began.elapsed().as_secs_f64()
}

async fn get<C: ConnectionLike>(connection: &mut C) {
    let value: Vec<u8> = cmd("GET")
        .arg("key")
        .query_async(connection)
        .await
        .expect("a value");
    assert_eq!(value.len(), 16);
}

/// (allocations, bytes) per command, of the manager and of the client.
async fn allocations(allocator: &'static StatsAlloc<System>) -> ((f64, f64), (f64, f64)) {
    let pair = Pair::start().await;
    let (mut manager, mut db) = (pair.manager.clone(), pair.db.clone());
    let figures = (
        count(allocator, &mut manager).await,
        count(allocator, &mut db).await,
    );
    pair.db.close().await;
    figures
}

async fn count<C: ConnectionLike>(
    allocator: &'static StatsAlloc<System>,
    connection: &mut C,
) -> (f64, f64) {
    for _ in 0..1_000 {
        get(connection).await;
    }
    let region = Region::new(allocator);
    for _ in 0..COUNTED {
        get(connection).await;
    }
    let change = region.change();
    let per_command = |n: usize| n as f64 / f64::from(COUNTED);
    (
        per_command(change.allocations),
        per_command(change.bytes_allocated),
    )
}
