//! A command through the client allocates what it allocates through a bare `ConnectionManager`, and
//! nothing more.
//!
//! A program of its own: its allocator counts for all tests in it.

use std::alloc::System;
use std::time::Duration;

use herdsman_multidb::{DatabaseConfig, MultiDb, MultiDbConfig};
use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{Client, cmd, pipe};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use herdsman_test_support::redis::Server;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COMMANDS: u32 = 2_000;

/// Allocations per round of one command and one pipeline.
async fn allocations<C: ConnectionLike>(connection: &mut C) -> f64 {
    let mut region = Region::new(ALLOCATOR);
    // The first half makes buffers as large as they get.
    for round in 0..2 * COMMANDS {
        if round == COMMANDS {
            region.reset();
        }
        let _: Option<u64> = cmd("GET")
            .arg("key")
            .query_async(connection)
            .await
            .expect("an answer");
        let _: (u64, u64) = pipe()
            .incr("n", 1)
            .incr("m", 1)
            .query_async(connection)
            .await
            .expect("answers");
    }
    region.change().allocations as f64 / f64::from(COMMANDS)
}

#[tokio::test]
async fn a_command_allocates_nothing_beyond_what_the_driver_does() {
    let server = Server::start().await;
    let client = Client::open(server.url()).expect("a client");
    let mut manager = ConnectionManager::new(client).await.expect("a connection");
    let bare = allocations(&mut manager).await;
    let config = MultiDbConfig::new([DatabaseConfig::from_url(server.url())])
        .health_check_interval(Duration::from_secs(3600))
        // A tenth of it is how often the client looks at its detectors, which is no command's.
        .failures_detection_window(Duration::from_secs(36_000));
    let mut db = MultiDb::connect(config).await.expect("a client");
    let ours = allocations(&mut db).await;
    db.close().await;
    // A timer or a buffer may still grow once in a while; a command does not.
    assert!(
        ours <= bare + 0.05,
        "{ours} allocations, the driver alone {bare}"
    );
}
