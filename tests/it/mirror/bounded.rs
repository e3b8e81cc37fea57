//! The cache is never larger than it may be.

use herdsman_test_support::Port;

use super::{big, cached, last, metric, plan, pull, pulling, until_fetched};
use crate::support::registry::{Registry, bytes};

/// A model of one large blob.
fn of(seed: u64, length: usize) -> Vec<Vec<u8>> {
    vec![bytes(seed, length), bytes(seed + 100, 300)]
}

#[tokio::test]
async fn what_was_asked_for_longest_ago_makes_room() {
    let (registry, port) = (Registry::start().await, Port::free());
    for (name, seed) in [("a", 10), ("b", 11), ("c", 12)] {
        registry.offer(&format!("library/{name}:latest"), &of(seed, 2_000_000));
    }
    let router = plan(3, &registry, &port)
        .set("models.cache_size=5MB")
        .start()
        .await;
    for (model, endpoint) in [
        ("a", "gpu-0"),
        ("b", "gpu-0"),
        ("a", "gpu-1"),
        ("c", "gpu-0"),
    ] {
        assert_eq!(
            last(&pull(&router, model, endpoint).await),
            "success",
            "{model}"
        );
        assert!(metric(&router, "cache_bytes").await <= 5_000_000);
        assert!(cached(&router, "blobs").iter().sum::<u64>() <= 5_000_000);
    }
    assert!(cached(&router, "removed").is_empty());
    assert!(metric(&router, "evicted_bytes_total").await >= 2_000_000);
    let sent = registry.sent();
    assert_eq!(last(&pull(&router, "a", "gpu-2").await), "success");
    assert_eq!(registry.sent(), sent, "a was asked for after b");
    assert_eq!(last(&pull(&router, "b", "gpu-2").await), "success");
    assert!(registry.sent() >= sent + 2_000_000);
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_is_larger_than_the_cache_is_refused_before_it_is_fetched() {
    let (registry, port) = (Registry::start().await, Port::free());
    registry.offer("library/big:latest", &big());
    let router = plan(1, &registry, &port)
        .set("models.cache_size=1MB")
        .start()
        .await;
    let lines = pull(&router, "big", "").await;
    let error = "the model has 3070400 bytes and the cache may have 1000000 (models.cache_size)";
    assert!(last(&lines).contains(error), "{lines:?}");
    assert_eq!(registry.sent(), 0);
    router.finish().await;
}

#[tokio::test]
async fn what_is_being_fetched_makes_no_room_for_others() {
    let (registry, port) = (Registry::start().await, Port::free());
    registry.offer("library/a:latest", &of(10, 2_000_000));
    registry.offer("library/b:latest", &of(11, 2_000_000));
    let router = plan(1, &registry, &port)
        .set("models.cache_size=3MB")
        .start()
        .await;
    registry.hold_at(1_000_000);
    let first = pulling(&router, "a").await;
    until_fetched(&router, 1_000_000).await;
    let lines = pull(&router, "b", "").await;
    assert!(last(&lines).contains("no room"), "{lines:?}");
    registry.hold_at(usize::MAX);
    assert_eq!(last(&first.whole().await.lines()), "success");
    assert_eq!(last(&pull(&router, "b", "").await), "success");
    router.finish().await;
}
