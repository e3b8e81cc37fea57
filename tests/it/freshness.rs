//! What the router says of its servers is true as soon as its own requests have changed it.

use std::time::Duration;

use futures_util::future::join_all;
use herdsman::config::Kind;
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
    router.servers[1].set_models(&[Model::named("llama3.2"), Model::named("qwen3")]);
    let ask = chat("qwen3");
    let answers = join_all((0..8).map(|_| router.post("/api/chat", &ask))).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
    }
    router.servers[0].set_models(&[Model::named("llama3.2"), Model::named("gemma3")]);
    let show = router.post("/api/show", &json!({"model": "gemma3"})).await;
    assert_eq!(show.status, 200, "{}", show.text());
    router.finish().await;
}

#[tokio::test]
async fn servers_are_asked_once_for_all_who_ask_for_unknown_models_and_once_a_second() {
    let router = seldom_asked(1).start().await;
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
    let slow = Duration::from_secs(30);
    router.servers[0].fault(Fault::StallTags { delay: slow });
    router.servers[1].set_models(&[Model::named("llama3.2"), Model::named("qwen3")]);
    let asked = Instant::now();
    // Another server's list is enough.
    assert_eq!(router.post("/api/chat", &chat("qwen3")).await.status, 200);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
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

#[tokio::test]
async fn a_model_that_a_request_unloads_at_its_end_is_not_listed_after_it() {
    let router = seldom_asked(1).start().await;
    let mut asks = Vec::new();
    for keep_alive in [json!(0), json!("0s")] {
        for stream in [false, true] {
            let mut ask = chat("llama3.2");
            ask["stream"] = stream.into();
            ask["keep_alive"] = keep_alive.clone();
            asks.push(("/api/chat", ask));
        }
        let text = json!({"model": "llama3.2", "prompt": "x", "keep_alive": keep_alive});
        asks.push(("/api/generate", text.clone()));
        asks.push(("/api/embeddings", text));
        let input = json!({"model": "llama3.2", "input": "x", "keep_alive": keep_alive});
        asks.push(("/api/embed", input));
    }
    for (path, ask) in asks {
        // Loaded by the request itself, and before it.
        for loaded_before in [false, true] {
            if loaded_before {
                load_on(&router, 0, "llama3.2").await;
                assert_eq!(loaded(&router).await, ["llama3.2:latest"]);
            }
            let answer = router.post(path, &ask).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let listed = loaded(&router).await;
            assert!(listed.is_empty(), "{path} {ask}: {listed:?}");
        }
    }
    router.finish().await;
}

#[tokio::test]
async fn what_a_failed_load_has_evicted_is_not_listed_any_more() {
    let router = seldom_asked(1)
        .each(|server| {
            server.models.push(Model::named("qwen3"));
            server.max_loaded = 1;
        })
        .start()
        .await;
    load_on(&router, 0, "llama3.2").await;
    assert_eq!(loaded(&router).await, ["llama3.2:latest"]);
    router.servers[0].fault(Fault::LoadFailure.on("qwen3"));
    let answer = router.post("/api/chat", &chat("qwen3")).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    let server = &router.servers[0];
    let request = http::Request::get(format!("{}/api/ps", server.url())).body("".into());
    let list = router.request(request.unwrap()).await.whole().await.json();
    let listed = loaded(&router).await;
    let truly = list["models"].as_array().unwrap().len();
    assert_eq!(listed.len(), truly, "{listed:?} {list}");
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_another_request_still_uses_stays_listed_until_that_is_over() {
    let router = seldom_asked(1)
        .each(|server| {
            server.default_predict = 1000;
            server.decode_interval = Duration::from_millis(20);
        })
        .start()
        .await;
    let mut busy = chat("llama3.2");
    busy["stream"] = true.into();
    let mut busy = router.stream("/api/chat", &busy).await;
    busy.piece().await.unwrap();
    let mut ask = chat("llama3.2");
    ask["keep_alive"] = 0.into();
    ask["options"] = json!({"num_predict": 1});
    assert_eq!(router.post("/api/chat", &ask).await.status, 200);
    assert_eq!(loaded(&router).await, ["llama3.2:latest"]);
    // What the server was told last counts when the last request is over, also when its client leaves.
    drop(busy);
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !loaded(&router).await.is_empty() {
        assert!(Instant::now() < deadline, "it is listed for ever");
    }
    router.finish().await;
}

/// Deleted on one server and made on another, outside of the router.
#[tokio::test]
async fn a_model_that_has_moved_to_another_server_is_found_there_by_the_first_request() {
    let router = seldom_asked(2)
        .server(0, |server| server.models.push(Model::named("qwen3")))
        .start()
        .await;
    let (with, without) = (
        [Model::named("llama3.2"), Model::named("qwen3")],
        [Model::named("llama3.2")],
    );
    let mut show = chat("qwen3");
    show["verbose"] = false.into();
    let unload = json!({"model": "qwen3", "keep_alive": 0});
    for (from, path, ask) in [
        (0, "/api/chat", chat("qwen3")),
        (1, "/v1/chat/completions", chat("qwen3")),
        (0, "/api/show", show),
        (1, "/api/generate", unload),
    ] {
        let to = 1 - from;
        router.servers[from].set_models(&without);
        router.servers[to].set_models(&with);
        let answer = router.post(path, &ask).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), format!("gpu-{to}"));
    }
    // And from there to nowhere.
    router.servers[0].set_models(&without);
    let answer = router.post("/api/chat", &chat("qwen3")).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(answer.json()["error"], "model 'qwen3' not found");
    router.finish().await;
}

/// The only server that is known to have it is away.
#[tokio::test]
async fn a_model_of_a_server_that_is_down_is_found_where_it_was_pulled_meanwhile() {
    let router = seldom_asked(2)
        .server(0, |server| server.models.push(Model::named("qwen3")))
        .start()
        .await;
    router.servers[0].fault(Fault::Refuse);
    eventually("it is down", || {
        !router.app.fleet().view().servers[0].endpoint.is_up()
    })
    .await;
    let show = json!({"model": "qwen3"});
    assert_eq!(router.post("/api/chat", &chat("qwen3")).await.status, 502);
    router.servers[1].set_models(&[Model::named("llama3.2"), Model::named("qwen3")]);
    // They were asked a moment ago, and are once a second at most.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (path, ask) in [("/api/show", show), ("/api/chat", chat("qwen3"))] {
        let answer = router.post(path, &ask).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
    }
    router.servers[0].clear_faults();
    router.finish().await;
}

/// Servers of another kind say 404 for other reasons too.
#[tokio::test]
async fn a_model_that_has_moved_between_servers_of_openais_api_is_found() {
    let openai = |endpoint: &mut herdsman::config::Endpoint| endpoint.kind = Kind::OpenAi;
    let router = seldom_asked(2)
        .endpoint(0, openai)
        .endpoint(1, openai)
        .server(0, |server| server.models.push(Model::named("qwen3")))
        .start()
        .await;
    router.servers[0].set_models(&[Model::named("llama3.2")]);
    router.servers[1].set_models(&[Model::named("llama3.2"), Model::named("qwen3")]);
    let answer = router.post("/v1/chat/completions", &chat("qwen3")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
    router.finish().await;
}

#[tokio::test]
async fn a_request_right_after_a_404_waits_until_servers_may_be_asked_again() {
    let router = seldom_asked(1).start().await;
    for model in ["qwen3", "gemma3", "phi4"] {
        assert_eq!(router.post("/api/chat", &chat(model)).await.status, 404);
        router.servers[0].set_models(&[Model::named("llama3.2"), Model::named(model)]);
        // In the same second.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let asked = Instant::now();
        let answer = router.post("/api/chat", &chat(model)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
    }
    router.finish().await;
}

/// It takes no slot, and says as much of the server as one that does.
#[tokio::test]
async fn a_server_that_has_not_what_it_listed_is_not_asked_twice_for_it_without_a_slot() {
    let router = seldom_asked(2)
        .server(0, |server| server.models.push(Model::named("qwen3")))
        .start()
        .await;
    router.servers[0].set_models(&[Model::named("llama3.2")]);
    let show = json!({"model": "qwen3"});
    assert_eq!(router.post("/api/show", &show).await.status, 404);
    eventually("it is not listed any more", || {
        let tags = router.app.fleet().view().tags();
        !String::from_utf8_lossy(&tags).contains("qwen3")
    })
    .await;
    router.finish().await;
}
