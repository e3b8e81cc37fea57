//! Downloads that break, and who they end with.

use herdsman_test_support::Port;
use http::Method;
use serde_json::json;

use super::{
    WEIGHTS, ask, big, cache, cached, fetched, is_idle, last, metric, models_of, plan, pull,
    pulling, until_fetched, until_pull_is,
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
async fn what_is_in_doubt_stays_so_when_its_pull_is_interrupted() {
    let (registry, port) = (Registry::start().await, Port::free());
    let blobs = big();
    let total = registry.offer("library/big:latest", &blobs);
    let router = plan(1, &registry, &port).start().await;
    let file = digest(&blobs[0]).replace(':', "-");
    let (part, left) = (cache(&router).join("partial").join(&file), 1_000_000);
    std::fs::write(part, vec![7; left]).unwrap();
    registry.hold_at(HALF);
    let client = pulling(&router, "big").await;
    until_fetched(&router, (HALF - left) as u64).await;
    drop(client);
    until_pull_is(&router, "failed").await;
    is_idle(&registry).await;
    assert_eq!(cached(&router, "partial"), [HALF as u64]);
    assert_eq!(metric(&router, "served_bytes_total").await, 0);
    registry.hold_at(usize::MAX);
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), total + (WEIGHTS - left) as u64);
    router.finish().await;
}

#[tokio::test]
async fn whole_files_of_an_earlier_process_are_checked_before_their_first_use() {
    let (registry, port) = (Registry::start().await, Port::free());
    let blobs = big();
    registry.offer("library/big:latest", &blobs);
    let mut router = plan(4, &registry, &port).start().await;
    assert_eq!(last(&pull(&router, "big", "gpu-0").await), "success");
    let file = digest(&blobs[0]).replace(':', "-");
    let mut other = blobs[0].clone();
    other[WEIGHTS - 1] ^= 1;
    let longer = [&blobs[0][..], b"x"].concat();
    for (endpoint, wrong, fetched) in [
        ("gpu-1", &other[..], WEIGHTS),
        ("gpu-2", &longer[..], WEIGHTS),
        ("gpu-3", &b"short"[..], 2 * WEIGHTS - 5),
    ] {
        std::fs::write(cache(&router).join("blobs").join(&file), wrong).unwrap();
        router = router.restarted(|_| {}).await;
        let sent = registry.sent();
        let lines = pull(&router, "big", endpoint).await;
        assert_eq!(last(&lines), "success", "{endpoint}");
        assert_eq!(registry.sent() - sent, fetched as u64, "{endpoint}");
        assert_eq!(cached(&router, "blobs"), [400, 70_000, 3_000_000]);
        assert!(cached(&router, "partial").is_empty(), "{endpoint}");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_not_lost() {
    let (registry, port) = (Registry::start().await, Port::free());
    let blobs = big();
    let total = registry.offer("library/big:latest", &blobs);
    let router = plan(2, &registry, &port).start().await;
    let name = digest(&blobs[0]);
    let file = name.replace(':', "-");
    // Of one that has begun: what is there of it is counted.
    let part = cache(&router).join("partial").join(&file);
    std::fs::create_dir(&part).unwrap();
    let lines = pull(&router, "big", "gpu-0").await;
    assert!(last(&lines).contains("Is a directory"), "{lines:?}");
    let bytes = std::fs::metadata(&part).unwrap().len();
    assert_eq!(metric(&router, "cache_bytes").await, bytes);
    std::fs::remove_dir(&part).unwrap();
    assert_eq!(last(&pull(&router, "big", "gpu-0").await), "success");
    // Of a whole one.
    let whole = cache(&router).join("blobs").join(&file);
    let aside = cache(&router).join("aside");
    std::fs::rename(&whole, &aside).unwrap();
    std::os::unix::fs::symlink(&whole, &whole).unwrap();
    let path = format!("/v2/library/big/blobs/{name}");
    let refused = ask(&router, Method::GET, "127.0.0.1", &path, &[]).await;
    let text = refused.text();
    assert_eq!(refused.status, 507, "{text}");
    assert!(text.contains("symbolic links"), "{text}");
    std::fs::rename(&aside, &whole).unwrap();
    assert_eq!(last(&pull(&router, "big", "gpu-1").await), "success");
    assert_eq!(registry.sent(), total);
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
