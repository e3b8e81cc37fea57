//! The client is idle, and it moves all the same: subscribers and the next command find it where
//! it should be.

use herdsman_multidb::SwitchReason;
use redis::AsyncCommands;

use crate::support::{Fault, Fixture, moved, next_change};

async fn moves_unused(fault: Fault) {
    let fixture = Fixture::of(2).await;
    let mut events = fixture.db.events();
    fault.inject(&fixture[0]).await;
    assert_eq!(
        next_change(&mut events).await,
        moved("a", "b", SwitchReason::Failover)
    );
    let mut db = fixture.db.clone();
    let count: u64 = db.incr("key", 1).await.unwrap();
    assert_eq!(count, 1);
    assert_eq!(fixture[1].server.number("key").await, 1);
    fault.clear(&fixture[0]).await;
    fixture.finish().await;
}

#[tokio::test]
async fn an_idle_client_leaves_a_killed_database() {
    moves_unused(Fault::Kill).await;
}

#[tokio::test]
async fn an_idle_client_leaves_a_stopped_database() {
    moves_unused(Fault::Stop).await;
}

#[tokio::test]
async fn an_idle_client_leaves_a_database_behind_a_black_hole() {
    moves_unused(Fault::BlackHole).await;
}

#[tokio::test]
async fn an_idle_client_leaves_a_database_that_refuses() {
    moves_unused(Fault::Refuse).await;
}

#[tokio::test]
async fn an_idle_client_leaves_a_database_that_became_read_only() {
    moves_unused(Fault::ReadOnly).await;
}
