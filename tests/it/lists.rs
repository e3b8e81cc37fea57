//! What the fleet has and runs, from the caches.

use std::time::Duration;

use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Plan, eventually};

fn names(list: &Value) -> Vec<String> {
    let models = list["models"].as_array().expect("a list");
    let mut names: Vec<_> = models
        .iter()
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn tags_are_the_union_of_all_servers_with_the_fields_they_gave() {
    let router = Plan::servers(2)
        .server(1, |server| server.models.push(Model::named("qwen3:8b")))
        .start()
        .await;
    let tags = router.get("/api/tags").await.json();
    assert_eq!(names(&tags), ["llama3.2:latest", "qwen3:8b"]);
    for model in tags["models"].as_array().unwrap() {
        for key in ["model", "modified_at", "size", "digest", "details"] {
            assert!(!model[key].is_null(), "{key} of {model}");
        }
    }
    let openai = router.get("/v1/models").await.json();
    assert_eq!(openai["object"], "list");
    assert_eq!(openai["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        router.get("/v1/models/qwen3:8b").await.json()["id"],
        "qwen3:8b"
    );
    assert_eq!(router.get("/v1/models/none").await.status, 404);
    router.finish().await;
}

#[tokio::test]
async fn ps_has_one_entry_per_server_and_model() {
    let router = Plan::servers(2).start().await;
    for server in &router.servers {
        let uri = format!("{}/api/generate", server.url());
        let load = http::Request::post(uri).body(json!({"model": "llama3.2"}).to_string().into());
        router.request(load.unwrap()).await.whole().await;
    }
    let both = async || names(&router.get("/api/ps").await.json());
    while both().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(both().await, ["llama3.2:latest", "llama3.2:latest"]);
    let details = router.get("/api/ps_details").await.json();
    let mut endpoints: Vec<_> = details["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["endpoint"].clone())
        .collect();
    endpoints.sort_by_key(ToString::to_string);
    assert_eq!(endpoints, ["gpu-0", "gpu-1"]);
    router.finish().await;
}

#[tokio::test]
async fn lists_do_not_wait_for_a_silent_server() {
    let router = Plan::servers(2).start().await;
    router.servers[0].fault(Fault::Silent);
    let slow = Duration::from_secs(30);
    router.servers[1].fault(Fault::StallPs { delay: slow });
    router.servers[1].fault(Fault::StallTags { delay: slow });
    for _ in 0..20 {
        for path in [
            "/api/tags",
            "/api/ps",
            "/v1/models",
            "/api/version",
            "/health",
        ] {
            let asked = Instant::now();
            assert!(router.get(path).await.status.is_success(), "{path}");
            // Far below the timeout of any probe; the bench measures how far.
            assert!(asked.elapsed() < Duration::from_secs(1), "{path}");
        }
    }
    // A slow list of models alone does not make a server down: it goes on serving.
    let chat = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "x"}]});
    eventually("the silent server is found down", || {
        !router.app.fleet().view().servers[0].endpoint.is_up()
    })
    .await;
    assert_eq!(
        router
            .post("/api/chat", &chat)
            .await
            .header("x-herdsman-endpoint"),
        "gpu-1"
    );
    router
        .servers
        .iter()
        .for_each(herdsman_simulator::Simulator::clear_faults);
    router.finish().await;
}

#[tokio::test]
async fn models_of_a_server_that_is_down_stay_listed_for_a_while() {
    let router = Plan::servers(2)
        .server(1, |server| server.models = vec![Model::named("qwen3:8b")])
        .set("fleet.stale_after=300ms")
        .start()
        .await;
    router.servers[1].fault(Fault::Refuse);
    eventually("found down", || {
        !router.app.fleet().view().servers[1].endpoint.is_up()
    })
    .await;
    let chat = json!({"model": "qwen3:8b", "messages": []});
    assert_eq!(router.post("/api/chat", &chat).await.status, 502);
    while names(&router.get("/api/tags").await.json()).len() > 1 {
        tokio::task::yield_now().await;
    }
    let gone = router.post("/api/chat", &chat).await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()),
        (404, json!({"error": "model 'qwen3:8b' not found"}))
    );
    router.servers[1].clear_faults();
    eventually("up again", || {
        router.app.fleet().view().servers[1].report.models.is_some()
            && router.app.fleet().view().servers[1].endpoint.is_up()
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn the_version_is_the_oldest_in_the_fleet() {
    let router = Plan::servers(2)
        .server(0, |server| server.version = "0.12.10".to_owned())
        .server(1, |server| server.version = "0.12.6".to_owned())
        .start()
        .await;
    while router.get("/api/version").await.json() != json!({"version": "0.12.6"}) {
        tokio::task::yield_now().await;
    }
    router.finish().await;
}
