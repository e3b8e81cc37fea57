//! Loads belong to the router: no client that leaves ends one, and none is caused by a request itself.

use std::time::Duration;

use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};

use crate::support::{Plan, TestRouter, eventually};

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "stream": false})
}

fn loading_for(load: Duration) -> Plan {
    Plan::servers(1).each(move |server| {
        server.load = load;
        server.models.push(Model::embedding("embedder"));
    })
}

/// Sends it, and leaves when the server loads.
async fn leave_while_loading(router: &TestRouter, path: &str, body: &Value) {
    let request = router.post(path, body);
    tokio::pin!(request);
    let started = eventually("the server loads for it", || router.in_flight() > 0);
    tokio::select! {
        _ = &mut request => panic!("it takes longer to load"),
        () = started => {}
    }
    // The request for the load has left the router.
    let sent = async {
        while router.servers[0].counters().max_waiting == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut request => panic!("it takes longer to load"),
        () = sent => {}
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_a_load_does_not_abort_it() {
    let whole = chat();
    let mut streamed = chat();
    streamed["stream"] = json!(true);
    let mut openai = streamed.clone();
    openai["model"] = json!("Llama3.2:latest");
    let embed = json!({"model": "embedder", "input": "x"});
    let embedding = json!({"model": "embedder", "prompt": "x"});
    for (path, body) in [
        ("/api/chat", &whole),
        ("/api/chat", &streamed),
        ("/v1/chat/completions", &openai),
        ("/api/embed", &embed),
        ("/api/embeddings", &embedding),
        ("/v1/embeddings", &embed),
    ] {
        let router = loading_for(Duration::from_secs(1)).start().await;
        leave_while_loading(&router, path, body).await;
        router.at_rest().await;
        let counters = router.servers[0].counters();
        assert_eq!((counters.loads, counters.load_aborts), (1, 0), "{path}");
        assert_eq!(counters.started, 0, "{path}: the request itself never came");
        // It is served by what was loaded.
        let answer = router.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.headers["x-herdsman-route"], "loaded", "{path}");
        assert_eq!(router.servers[0].counters().loads, 1, "{path}");
        router.finish().await;
    }
}

#[tokio::test]
async fn clients_that_leave_one_after_another_get_the_model_loaded_once() {
    let router = loading_for(Duration::from_secs(1)).start().await;
    for _ in 0..3 {
        leave_while_loading(&router, "/api/chat", &chat()).await;
    }
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    router.at_rest().await;
    let counters = router.servers[0].counters();
    assert_eq!((counters.loads, counters.load_aborts), (1, 0));
    assert_eq!((counters.started, counters.finished), (1, 1));
    router.finish().await;
}

#[tokio::test]
async fn a_model_is_loaded_with_the_options_of_the_request_that_needs_it() {
    let router = loading_for(Duration::from_millis(50)).start().await;
    let mut wide = chat();
    wide["options"] = json!({"num_ctx": 8192, "num_predict": 2});
    wide["keep_alive"] = json!("1h");
    assert_eq!(router.post("/api/chat", &wide).await.status, 200);
    let counters = router.servers[0].counters();
    assert_eq!((counters.loads, counters.reloads_by_signature), (1, 0));
    let running = router.get("/api/ps").await.json();
    assert_eq!(running["models"][0]["context_length"], 8192, "{running}");
    router.finish().await;
}

#[tokio::test]
async fn a_request_that_unloads_at_its_end_is_loaded_for_all_the_same() {
    let router = loading_for(Duration::from_millis(50)).start().await;
    for keep_alive in [json!(0), json!("0s"), json!("500ms")] {
        let mut once = chat();
        once["keep_alive"] = keep_alive;
        let answer = router.post("/api/chat", &once).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-herdsman-route"], "cold");
        eventually("it has left the memory", || {
            let view = router.app.fleet().view();
            view.is_settled() && view.running().as_ref() == b"{\"models\":[]}"
        })
        .await;
    }
    assert_eq!(router.servers[0].counters().loads, 3);
    router.finish().await;
}

#[tokio::test]
async fn a_load_that_fails_is_told_as_its_server_said_it_in_the_dialect_of_the_path() {
    let router = loading_for(Duration::from_millis(50)).start().await;
    router.servers[0].fault(Fault::LoadFailure);
    let ollama = router.post("/api/chat", &chat()).await;
    assert_eq!(ollama.status, 500);
    let said = ollama.json()["error"].as_str().map(str::to_owned).unwrap();
    assert!(said.starts_with("model failed to load"), "{said}");
    let openai = router.post("/v1/chat/completions", &chat()).await;
    assert_eq!(openai.status, 500);
    assert_eq!(openai.json()["error"]["message"], said);
    assert_eq!(openai.json()["error"]["type"], "api_error");
    router.servers[0].clear_faults();
    eventually("it is tried again", || router.in_flight() == 0).await;
    router.finish().await;
}

#[tokio::test]
async fn a_load_that_fails_on_one_server_is_done_on_another() {
    let router = Plan::servers(2).start().await;
    router.servers[0].fault(Fault::LoadFailure);
    router.servers[1].fault(Fault::LoadFailure);
    router.servers[1].clear_faults();
    for _ in 0..4 {
        let answer = router.post("/api/chat", &chat()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-herdsman-endpoint"], "gpu-1");
    }
    assert_eq!(router.servers[1].counters().loads, 1);
    router.finish().await;
}

#[tokio::test]
async fn what_a_server_refuses_of_a_request_is_said_by_the_request_itself() {
    let router = loading_for(Duration::from_millis(20)).start().await;
    let mut wrong = chat();
    wrong["options"] = json!("none");
    let refused = router.post("/api/chat", &wrong).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("ChatRequest"),
        "the call is the client's own: {}",
        refused.text()
    );
    router.finish().await;
}

#[tokio::test]
async fn a_load_without_a_client_does_not_hold_up_a_shutdown() {
    let router = loading_for(Duration::from_secs(600)).start().await;
    leave_while_loading(&router, "/api/chat", &chat()).await;
    assert_eq!(router.in_flight(), 1, "it goes on");
    let stopped = tokio::time::timeout(Duration::from_secs(4), router.app.shutdown());
    stopped.await.expect("before the grace is over");
    eventually("the server has noticed", || {
        router.servers[0].counters().load_aborts == 1
    })
    .await;
}

#[tokio::test]
async fn loads_are_counted_with_what_they_were_for() {
    let router = loading_for(Duration::from_millis(50)).start().await;
    for _ in 0..2 {
        router.post("/api/chat", &chat()).await;
    }
    let metrics = router.get("/metrics").await.text().to_owned();
    let loads =
        r#"herdsman_loads_total{endpoint="gpu-0",model="llama3.2:latest",reason="request"} 1"#;
    assert!(metrics.contains(loads), "{metrics}");
    let timed = r#"herdsman_load_seconds_count{endpoint="gpu-0",model="llama3.2:latest"} 1"#;
    assert!(metrics.contains(timed), "{metrics}");
    router.finish().await;
}
