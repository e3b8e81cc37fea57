//! Downloads that break, and who they end with.

use herdsman_test_support::Port;
use http::Method;
use serde_json::json;

use super::{
    WEIGHTS, big, cache, cached, fetched, is_idle, last, metric, models_of, plan, pull, pulling,
    until_fetched, until_pull_is,
};
use crate::support::registry::{Faults, Registry, digest};

const HALF: usize = 1_500_000;

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_was_cut() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(2, &registry, &port).start().await;
    registry.fail(Faults {
        cuts: vec![1_000_000, 500_000, 0],
        ..Faults::default()
    });
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(fetched(&router).await, total);
    assert_eq!(registry.asked(), 3 + 3);
    router.finish().await;
}

#[tokio::test]
async fn a_registry_that_gives_no_parts_gives_again_what_is_there_and_no_more() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(1, &registry, &port).start().await;
    registry.fail(Faults {
        cuts: vec![1_000_000],
        no_parts: true,
        ..Faults::default()
    });
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    let twice = fetched(&router).await - total;
    assert!(twice > 0 && twice <= 1_000_000, "{twice}");
    router.finish().await;
}

#[tokio::test]
async fn a_download_ends_with_the_last_client_and_the_next_pull_goes_on_from_there() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(3, &registry, &port).start().await;
    registry.hold_at(HALF);
    let client = pulling(&router, "big").await;
    until_fetched(&router, HALF as u64).await;
    drop(client);
    until_pull_is(&router, "failed").await;
    is_idle(&registry).await;
    assert_eq!(cached(&router, "partial"), [HALF as u64]);
    registry.hold_at(usize::MAX);
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), total);
    router.finish().await;
}

#[tokio::test]
async fn a_pull_of_an_operator_outlives_its_caller() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(2, &registry, &port).start().await;
    registry.hold_at(HALF);
    let asked = router.admin(Method::POST, "/admin/pulls", json!({"model": "big"}));
    assert_eq!(asked.await.status, 202);
    // And a client that reads along, and leaves.
    let client = pulling(&router, "big").await;
    until_fetched(&router, HALF as u64).await;
    drop(client);
    registry.hold_at(usize::MAX);
    let done = until_pull_is(&router, "done").await;
    assert_eq!(done["completed"], 2 * total);
    assert_eq!(registry.sent(), total);
    router.finish().await;
}

#[tokio::test]
async fn a_router_that_is_restarted_goes_on_with_what_it_had() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(2, &registry, &port)
        .set("server.grace=100ms")
        .start()
        .await;
    registry.hold_at(HALF);
    let client = pulling(&router, "big").await;
    until_fetched(&router, HALF as u64).await;
    let router = router.restarted(|_| {}).await;
    drop(client);
    is_idle(&registry).await;
    registry.hold_at(usize::MAX);
    assert_eq!(metric(&router, "cache_bytes").await, HALF as u64);
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), total);
    router.finish().await;
}

#[tokio::test]
async fn what_was_there_and_is_wrong_is_fetched_anew() {
    let (registry, port) = (Registry::start().await, Port::free());
    let blobs = big();
    let total = registry.offer("library/big:latest", &blobs);
    let router = plan(1, &registry, &port).start().await;
    let file = digest(&blobs[0]).replace(':', "-");
    let part = cache(&router).join("partial").join(&file);
    std::fs::write(part, vec![7; 1_000_000]).unwrap();
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), total + (WEIGHTS as u64 - 1_000_000));
    // A whole one that is gone is fetched again.
    std::fs::remove_file(cache(&router).join("blobs").join(&file)).unwrap();
    let before = registry.sent();
    let router = router.restarted(|_| {}).await;
    let removed = json!({"model": "big"});
    router.admin(Method::DELETE, "/api/delete", removed).await;
    assert!(models_of(&router, 0).await.is_empty());
    router.servers[0].forget_blobs();
    // More than there can be of it.
    let part = cache(&router).join("partial").join(&file);
    std::fs::write(part, vec![7; WEIGHTS + 1]).unwrap();
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), before + WEIGHTS as u64);
    std::fs::write(cache(&router).join("blobs").join(&file), b"short").unwrap();
    router.servers[0].forget_blobs();
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), before + 2 * WEIGHTS as u64);
    router.finish().await;
}

#[tokio::test]
async fn a_pull_whose_downloads_are_lost_ends_with_an_error_and_the_next_goes_on() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(2, &registry, &port).start().await;
    registry.hold_at(HALF);
    let client = pulling(&router, "big").await;
    until_fetched(&router, HALF as u64).await;
    router.app.mirror().unwrap().kill_downloads();
    let lines = client.whole().await.lines();
    assert!(last(&lines).contains("has lost this download"), "{lines:?}");
    registry.hold_at(usize::MAX);
    loop {
        // Its actor is restarted in a moment.
        if last(&pull(&router, "big", "").await) == "success" {
            break;
        }
    }
    // What had come and was not written yet has come twice.
    let twice = registry.sent() - total;
    assert!(twice < 1 << 20, "{twice}");
    router.finish().await;
}
