//! One download for any number of servers.

use herdsman_simulator::{Fault, Model};
use herdsman_test_support::Port;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{big, cached, check_progress, last, listed, metric, models_of, plan, pull};
use crate::support::registry::Registry;
use crate::support::{TEST_TIMEOUT, TestRouter};

#[tokio::test]
async fn eight_servers_pull_a_model_and_the_registry_gives_one_copy() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(8, &registry, &port).start().await;
    let lines = pull(&router, "big", "").await;
    check_progress(&lines);
    let statuses = lines.iter().filter(|line| line.get("digest").is_none());
    let statuses: Vec<_> = statuses
        .filter_map(|line| line["status"].as_str())
        .collect();
    let plain = [
        "pulling manifest",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ];
    assert_eq!(statuses, plain, "as a plain pull");
    assert_eq!(registry.sent(), total);
    assert_eq!((registry.asked(), registry.manifests()), (3, 1));
    let of_all = lines.iter().filter(|line| line["total"] == 8 * 3_000_000);
    assert!(
        of_all
            .into_iter()
            .any(|line| line["completed"] == line["total"])
    );
    for server in 0..8 {
        assert_eq!(
            models_of(&router, server).await,
            ["big:latest"],
            "gpu-{server}"
        );
    }
    assert_eq!(listed(&router).await, ["big:latest"]);
    assert_eq!(cached(&router, "blobs"), [400, 70_000, 3_000_000]);
    assert!(cached(&router, "partial").is_empty());
    assert_eq!(metric(&router, "fetched_bytes_total").await, total);
    assert_eq!(metric(&router, "served_bytes_total").await, 8 * total);
    assert_eq!(metric(&router, "cache_bytes").await, total);

    // Again: it is asked what the model is, and nothing is fetched.
    assert_eq!(
        last(&pull(&router, "library/big:latest", "").await),
        "success"
    );
    assert_eq!((registry.sent(), registry.asked()), (total, 3));
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_comes_later_gets_it_from_the_cache_also_after_a_restart() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("me/big:7b-Q4", &big());
    let router = plan(3, &registry, &port).start().await;
    assert_eq!(
        last(&pull(&router, "me/big:7b-Q4", "gpu-0").await),
        "success"
    );
    assert_eq!(
        last(&pull(&router, "me/big:7b-Q4", "gpu-1").await),
        "success"
    );
    let router = router.restarted(|_| {}).await;
    assert_eq!(
        last(&pull(&router, "me/big:7b-Q4", "gpu-2").await),
        "success"
    );
    assert_eq!(registry.sent(), total);
    assert_eq!(models_of(&router, 2).await, ["me/big:7b-Q4"]);
    assert_eq!(metric(&router, "cache_bytes").await, total);
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_is_slow_or_full_is_its_own_matter() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    let router = plan(3, &registry, &port)
        .server(1, |server| server.pull_bytes_per_second = 3e7)
        .start()
        .await;
    router.servers[2].fault(Fault::DiskFull { after: 100_000 });
    let lines = pull(&router, "big", "").await;
    check_progress(&lines);
    let error = last(&lines);
    assert!(
        error.starts_with("pull of 'big' failed on gpu-2 (write /models"),
        "{error}"
    );
    assert!(error.ends_with("; it is done on gpu-0, gpu-1"), "{error}");
    assert_eq!(models_of(&router, 1).await, ["big:latest"]);
    assert!(models_of(&router, 2).await.is_empty());
    router.servers[2].clear_faults();
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(registry.sent(), total);
    router.finish().await;
}

#[tokio::test]
async fn models_of_other_registries_and_of_the_cloud_are_pulled_as_they_are() {
    let (registry, port) = (Registry::start().await, Port::free());
    let router = plan(1, &registry, &port)
        .each(|server| {
            let models = ["hf.co/a/b:c", "gpt:120b-cloud"];
            server.registry = Some(models.map(Model::named).to_vec());
        })
        .start()
        .await;
    for model in ["hf.co/a/b:c", "gpt:120b-cloud"] {
        assert_eq!(last(&pull(&router, model, "").await), "success", "{model}");
    }
    assert_eq!((registry.manifests(), registry.asked()), (0, 0));
    router.finish().await;
}

#[tokio::test]
async fn the_name_in_between_is_seen_by_nobody_and_made_by_nobody() {
    let (registry, port) = (Registry::start().await, Port::free());
    registry.offer("library/big:latest", &big());
    let between = format!("localhost:{}/library/big:latest", port.number());
    // As after a crash between two steps.
    let left = between.clone();
    let router = plan(1, &registry, &port)
        .each(move |server| server.models = vec![Model::named(left.as_str()), Model::named("a")])
        .start()
        .await;
    assert_eq!(
        models_of(&router, 0).await,
        ["a:latest".to_owned(), between.clone()]
    );
    assert_eq!(listed(&router).await, ["a:latest"]);
    let chat = json!({"model": between, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(router.post("/api/chat", &chat).await.status, 404);
    let refused = [
        ("/api/pull", json!({"model": between})),
        ("/api/create", json!({"model": between, "from": "a"})),
        ("/api/copy", json!({"source": "a", "destination": between})),
    ];
    for (path, body) in refused {
        let answer = router.post(path, &body).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{path}: {error}");
        assert!(error.contains("are the router's own"), "{path}: {error}");
    }
    // It goes with the next pull of that model.
    assert_eq!(last(&pull(&router, "big", "").await), "success");
    assert_eq!(models_of(&router, 0).await, ["a:latest", "big:latest"]);
    let answer = router
        .admin(Method::GET, "/admin/models", json!(null))
        .await;
    assert!(!answer.text().contains("localhost"), "{}", answer.text());
    router.finish().await;
}

#[tokio::test]
async fn two_pulls_of_a_model_that_are_not_the_same_take_turns_on_a_server() {
    let (registry, port) = (Registry::start().await, Port::free());
    let total = registry.offer("library/big:latest", &big());
    for leaves in [false, true] {
        let router = plan(2, &registry, &port).start().await;
        let before = registry.sent();
        registry.hold_at(1_500_000);
        let body = json!({"model": "big"});
        let first = router.stream("/api/pull?endpoints=gpu-0", &body).await;
        let shown = until_pulls(&router, |pulls| pulls[0]["completed"] != 0).await;
        assert_eq!(shown.len(), 1);
        let second = router.stream("/api/pull", &json!({"model": "big"})).await;
        let shown = until_pulls(&router, |pulls| {
            pulls.len() == 2 && pulls[1]["endpoints"][1]["completed"] != 0
        });
        let shown = shown.await;
        assert_eq!(shown[1]["endpoints"][0]["completed"], 0, "{shown:?}");
        let first = match leaves {
            true => None,
            false => Some(first),
        };
        registry.hold_at(usize::MAX);
        if let Some(first) = first {
            assert_eq!(last(&first.whole().await.lines()), "success");
        }
        assert_eq!(last(&second.whole().await.lines()), "success", "{leaves}");
        for server in 0..2 {
            let models = models_of(&router, server).await;
            assert_eq!(models.len(), 1, "{leaves}: {models:?}");
            assert!(models[0].eq_ignore_ascii_case("big:latest"), "{models:?}");
        }
        assert_eq!(registry.sent() - before, total);
        router.finish().await;
    }
}

/// The pulls, once this holds.
async fn until_pulls(router: &TestRouter, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        let shown = router.get("/admin/pulls").await.json();
        let pulls = shown["pulls"].as_array().unwrap();
        if !pulls.is_empty() && holds(pulls) {
            return pulls.clone();
        }
        assert!(Instant::now() < deadline, "never: {shown}");
        sleep(Duration::from_millis(5)).await;
    }
}
