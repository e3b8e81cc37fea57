//! What the router says of its servers is true as soon as its own requests have changed it.

use std::time::Duration;

use futures_util::future::join_all;
use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Plan, TEST_TIMEOUT, TestRouter, eventually};

/// Servers that are asked for nothing by themselves, but whether they are up.
fn seldom_asked(servers: usize) -> Plan {
    Plan::servers(servers)
        .set("fleet.loaded_interval=1h")
        .set("fleet.models_interval=1h")
}

async fn loaded(router: &TestRouter) -> Vec<String> {
    let list = router.get("/api/ps").await.json();
    let models = list["models"].as_array().unwrap().iter();
    let mut names: Vec<_> = models
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn chat(model: &str) -> Value {
    json!({"model": model, "stream": false, "messages": [{"role": "user", "content": "x"}]})
}

/// Loads it on that server.
async fn load_on(router: &TestRouter, server: usize, model: &str) {
    let request = http::Request::post(format!("{}/api/generate", router.url()))
        .header("x-herdsman-endpoints", format!("gpu-{server}"))
        .body(json!({ "model": model }).to_string().into());
    let answer = router.request(request.unwrap()).await.whole().await;
    assert_eq!(answer.json()["done_reason"], "load", "{}", answer.text());
}

#[tokio::test]
async fn what_is_loaded_is_listed_at_once_after_a_load_an_eviction_and_an_unload() {
    let router = seldom_asked(1)
        .each(|server| {
            server.models.push(Model::named("qwen3"));
            server.max_loaded = 1;
        })
        .start()
        .await;
    for round in 0..10 {
        // By an answer, and by a request that only loads; either way the other model has to go.
        let answer = router.post("/api/chat", &chat("llama3.2")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(loaded(&router).await, ["llama3.2:latest"], "round {round}");
        load_on(&router, 0, "qwen3").await;
        assert_eq!(loaded(&router).await, ["qwen3:latest"], "round {round}");
        let unload = json!({"model": "qwen3", "keep_alive": 0});
        let answer = router.post("/api/generate", &unload).await;
        assert_eq!(answer.json()["done_reason"], "unload", "{}", answer.text());
        assert!(loaded(&router).await.is_empty(), "round {round}");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_does_not_say_what_it_has_loaded_is_not_waited_for_long() {
    let router = seldom_asked(1).start().await;
    let slow = Duration::from_secs(30);
    router.servers[0].fault(Fault::StallPs { delay: slow });
    let asked = Instant::now();
    assert_eq!(
        router.post("/api/chat", &chat("llama3.2")).await.status,
        200
    );
    router.get("/api/ps").await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    router.servers[0].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn an_unload_reaches_every_server_that_has_the_model_in_memory_and_needs_no_slot() {
    // While a request runs, the server goes on listing the model.
    let router = Plan::servers(3)
        .set("fleet.loaded_interval=100ms")
        .each(|server| {
            server.parallel = 1;
            server.default_predict = 1000;
            server.decode_interval = Duration::from_millis(20);
        })
        .set("routing.slots=1")
        .start()
        .await;
    for server in 0..2 {
        load_on(&router, server, "llama3.2").await;
    }
    assert_eq!(loaded(&router).await.len(), 2);
    // Every slot of one of them is taken, and requests wait.
    let only = http::Request::post(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", "gpu-0")
        .body(
            json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]})
                .to_string()
                .into(),
        );
    let mut busy = router.request(only.unwrap()).await;
    busy.piece().await.unwrap();
    let unload = json!({"model": "llama3.2", "messages": [], "keep_alive": "0s"});
    let answer = router.post("/api/chat", &unload).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["done_reason"], "unload");
    assert_eq!(answer.header("x-herdsman-queue-ms"), "0");
    // Its request is finished first, as on one server.
    assert!(busy.piece().await.is_some());
    drop(busy);
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !loaded(&router).await.is_empty() {
        assert!(Instant::now() < deadline, "it is never unloaded everywhere");
    }
    // What is not loaded anywhere is unloaded too, as Ollama says it.
    let answer = router.post("/api/chat", &unload).await;
    assert_eq!(answer.json()["done_reason"], "unload", "{}", answer.text());
    let unknown = json!({"model": "none", "keep_alive": 0});
    assert_eq!(router.post("/api/generate", &unknown).await.status, 404);
    router.finish().await;
}

#[tokio::test]
async fn an_unload_that_fails_on_one_server_fails_and_is_done_on_the_others() {
    let router = seldom_asked(2).start().await;
    for server in 0..2 {
        load_on(&router, server, "llama3.2").await;
    }
    assert_eq!(loaded(&router).await.len(), 2);
    router.servers[1].fault(Fault::StaleCatalogue);
    let unload = json!({"model": "llama3.2", "keep_alive": 0});
    let answer = router.post("/api/generate", &unload).await;
    assert!(!answer.status.is_success(), "{}", answer.text());
    // What can be unloaded is.
    assert_eq!(loaded(&router).await.len(), 1);
    router.servers[1].clear_faults();
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_is_new_on_a_server_is_found_by_the_first_request_for_it() {
    let router = seldom_asked(2).start().await;
    // Not asked just now, so that it may be asked again.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    router.servers[1].set_models(&[Model::named("llama3.2"), Model::named("qwen3")]);
    let ask = chat("qwen3");
    let answers = join_all((0..8).map(|_| router.post("/api/chat", &ask))).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    router.servers[0].set_models(&[Model::named("llama3.2"), Model::named("gemma3")]);
    let show = router.post("/api/show", &json!({"model": "gemma3"})).await;
    assert_eq!(show.status, 200, "{}", show.text());
    router.finish().await;
}

#[tokio::test]
async fn servers_are_asked_once_for_all_who_ask_for_unknown_models_and_once_a_second() {
    let router = seldom_asked(1).start().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let asked = |router: &TestRouter| router.servers[0].counters().http_requests;
    let (before, since) = (asked(&router), Instant::now());
    let names: Vec<_> = (0..50).map(|i| chat(&format!("none-{i}"))).collect();
    let answers = join_all(names.iter().map(|ask| router.post("/api/chat", ask))).await;
    assert!(answers.iter().all(|answer| answer.status == 404));
    let seconds = since.elapsed().as_secs() + 1;
    // Beside the questions whether it is up, five a second.
    let most = seconds + 6 * seconds;
    let more = asked(&router) - before;
    assert!(more <= most, "{more} requests in {seconds} s");
    router.finish().await;
}

#[tokio::test]
async fn a_request_for_an_unknown_model_waits_a_second_at_most_for_a_slow_list() {
    let router = seldom_asked(2).start().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let slow = Duration::from_secs(30);
    router.servers[0].fault(Fault::StallTags { delay: slow });
    router.servers[1].set_models(&[Model::named("llama3.2"), Model::named("qwen3")]);
    let asked = Instant::now();
    // Another server's list is enough.
    assert_eq!(router.post("/api/chat", &chat("qwen3")).await.status, 200);
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    let asked = Instant::now();
    assert_eq!(router.post("/api/chat", &chat("none")).await.status, 404);
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    router.servers[0].clear_faults();
    eventually("it is up", || {
        router.app.fleet().view().servers[0].endpoint.is_up()
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn an_unload_reaches_servers_that_have_loaded_the_model_since_they_were_asked() {
    let router = seldom_asked(2).start().await;
    for server in &router.servers {
        let (host, body) = (server.addr(), r#"{"model":"llama3.2"}"#);
        let request = http::Request::post(format!("http://{host}/api/generate")).body(body.into());
        let answer = router.request(request.unwrap()).await.whole().await;
        assert_eq!(answer.json()["done_reason"], "load", "{}", answer.text());
    }
    let unload = json!({"model": "llama3.2", "keep_alive": 0});
    let answer = router.post("/api/generate", &unload).await;
    assert_eq!(answer.json()["done_reason"], "unload", "{}", answer.text());
    for server in &router.servers {
        let request = http::Request::get(format!("{}/api/ps", server.url())).body("".into());
        let list = router.request(request.unwrap()).await.whole().await.json();
        assert_eq!(list["models"], json!([]));
    }
    router.finish().await;
}
