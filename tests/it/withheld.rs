//! An answer whose end waits until its usage is beyond this machine (`durability = "redis"`).

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use serde_json::json;
use tokio::time::Instant;

use crate::support::Plan;
use herdsman_test_support::redis::Server;
use herdsman_test_support::{Chaos, Network};

/// Neither Redis nor the database takes anything: an answer ends within the bound, frees its slot, and
/// is counted once when the database is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_within_the_bound_when_no_store_takes_it_and_is_counted() {
    let redis = Server::start().await;
    let network = Chaos::in_front_of(redis.port()).await;
    let router = Plan::servers(1)
        .set(&format!(
            "redis.database=[{{ url = \"{}\" }}]",
            network.url()
        ))
        .set("spend.durability=redis")
        .start()
        .await;
    let chat = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "hi"}]});
    let ask = async || {
        let began = Instant::now();
        assert_eq!(router.post("/api/chat", &chat).await.status, 200);
        began.elapsed()
    };
    ask().await;
    let stats = router.app.spend().stats();
    assert_eq!(stats.on_disk_only(), 0);

    network.set(Network::BlackHole).await;
    let file = router.dir.path().join(herdsman::store::SQLITE_FILE);
    let mut operator = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    operator
        .batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
        .unwrap();
    let first = ask().await;
    // Five seconds for Redis, five for the database, and some for a busy machine.
    let bound = Duration::from_secs(10)..Duration::from_secs(15);
    assert!(bound.contains(&first), "{first:?}");
    let second = ask().await;
    assert!(second < Duration::from_secs(3), "{second:?}");
    router.at_rest().await;
    let metrics = router.get("/metrics").await;
    let counter = "herdsman_spend_records_on_disk_only_total 2";
    assert!(metrics.text().contains(counter), "{}", metrics.text());

    drop(operator);
    assert_eq!(router.counted().await.1, 3 * 8);
    assert_eq!((stats.recorded(), stats.committed()), (3, 3));
    router.finish().await;
}
