//! Models that the operator loads and unloads, and those that are kept loaded.

use std::time::Duration;

use herdsman_simulator::{Fault, Model};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Plan, TestRouter, eventually};

fn chat() -> Value {
    json!({"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "stream": false})
}

async fn admin(router: &TestRouter, call: &str, body: &Value) -> Answer {
    let path = format!("/admin/models/{call}");
    let body = body.to_string().into();
    router.send(Method::POST, &path, body).await.whole().await
}

/// The servers of an answer, and which of them failed.
fn servers(answer: &Answer) -> Vec<(String, bool)> {
    let answer = answer.json();
    let endpoints = answer["endpoints"].as_array().unwrap();
    let server = |one: &Value| {
        assert!(one["ms"].is_u64(), "{one}");
        (
            one["endpoint"].as_str().unwrap().to_owned(),
            one["error"].is_string(),
        )
    };
    endpoints.iter().map(server).collect()
}

fn loads(router: &TestRouter) -> Vec<u64> {
    let servers = router.servers.iter();
    servers.map(|server| server.counters().loads).collect()
}

/// On which servers the router knows the model to be loaded.
fn loaded(router: &TestRouter, model: &str) -> Vec<String> {
    let view = router.app.fleet().view();
    let model = herdsman::domain::ModelName::parse(model).unwrap();
    let places = view.places(&model);
    let loaded = places.iter().filter(|place| place.is_up && place.is_loaded);
    let mut names: Vec<_> = loaded
        .map(|place| place.endpoint.name().to_string())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_operator_loads_and_unloads_a_model_where_it_is_wanted() {
    let router = Plan::servers(3)
        .each(|server| server.load = Duration::from_millis(50))
        .start()
        .await;
    let one = admin(&router, "llama3.2/load", &json!({"endpoints": ["gpu-1"]})).await;
    assert_eq!(one.status, 200, "{}", one.text());
    assert_eq!(one.json()["model"], "llama3.2:latest");
    assert_eq!(servers(&one), [("gpu-1".to_owned(), false)]);
    assert_eq!(loads(&router), [0, 1, 0]);
    // The one that has it is one of two.
    let two = admin(&router, "Llama3.2:latest/load", &json!({"replicas": 2})).await;
    assert_eq!(servers(&two).len(), 2);
    assert_eq!(loads(&router).iter().sum::<u64>(), 2);
    let shown = router.get("/admin/models").await.json();
    let states: Vec<_> = shown["models"][0]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| (place["endpoint"].as_str().unwrap(), &place["state"]))
        .collect();
    assert_eq!(states[1], ("gpu-1", &json!("loaded")), "{shown}");
    let answer = router.post("/api/chat", &chat()).await;
    assert_eq!(answer.headers["x-herdsman-route"], "loaded");
    let none = admin(&router, "llama3.2/unload", &json!({})).await;
    assert_eq!(servers(&none).len(), 2, "{}", none.text());
    let ps = router.get("/api/ps").await.json();
    assert_eq!(ps["models"], json!([]));
    router.finish().await;
}

#[tokio::test]
async fn what_an_operator_asks_that_cannot_be_is_refused_with_a_reason() {
    let router = Plan::servers(2).start().await;
    for (call, body, status) in [
        ("nothing/load", json!({}), 404),
        ("nothing/unload", json!({}), 404),
        ("llama3.2/load", json!({"endpoints": ["gpu-9"]}), 404),
        ("llama3.2/load", json!({"keep_alive": 0}), 400),
        ("llama3.2/load", json!({"keep_alive": "soon"}), 400),
        ("llama3.2/load", json!({"servers": []}), 400),
        ("llama3.2/unload", json!({"replicas": 1}), 400),
    ] {
        let refused = admin(&router, call, &body).await;
        assert_eq!(refused.status, status, "{call} {body}: {}", refused.text());
        assert!(refused.json()["error"].is_string());
    }
    assert_eq!(loads(&router), [0, 0]);
    router.finish().await;
}

#[tokio::test]
async fn a_load_that_fails_on_one_server_is_told_beside_those_that_did_not() {
    let router = Plan::servers(2)
        .each(|server| server.models.push(Model::embedding("ns/embedder")))
        .start()
        .await;
    router.servers[0].fault(Fault::LoadFailure);
    let both = json!({"endpoints": ["gpu-0", "gpu-1", "gpu-0"]});
    let answer = admin(&router, "ns%2Fembedder/load", &both).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = [("gpu-0".to_owned(), true), ("gpu-1".to_owned(), false)];
    assert_eq!(servers(&answer), expected, "{}", answer.text());
    assert!(answer.text().contains("model failed to load"));
    assert_eq!(loads(&router), [0, 1]);
    router.finish().await;
}

#[tokio::test]
async fn an_operator_who_leaves_does_not_end_the_load() {
    let router = Plan::servers(1)
        .each(|server| server.load = Duration::from_secs(1))
        .start()
        .await;
    let body = json!({});
    {
        let call = admin(&router, "llama3.2/load", &body);
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("it takes longer"),
            () = eventually("it loads", || router.servers[0].counters().max_waiting > 0) => {}
        }
    }
    router.at_rest().await;
    let counters = router.servers[0].counters();
    assert_eq!((counters.loads, counters.load_aborts), (1, 0));
    router.finish().await;
}

#[tokio::test]
async fn a_model_is_kept_loaded_on_as_many_servers_as_are_wanted_and_elsewhere_when_one_is_lost() {
    let router = Plan::servers(3)
        .set("model.0.name=llama3.2")
        .set("model.0.replicas=2")
        .start()
        .await;
    eventually("two have it", || loaded(&router, "llama3.2").len() == 2).await;
    assert_eq!(loads(&router).iter().sum::<u64>(), 2);
    let lost = loaded(&router, "llama3.2").remove(0);
    let lost: usize = lost.trim_start_matches("gpu-").parse().unwrap();
    router.servers[lost].stop().await;
    eventually("two have it again", || {
        let now = loaded(&router, "llama3.2");
        now.len() == 2 && !now.contains(&format!("gpu-{lost}"))
    })
    .await;
    let metrics = router.get("/metrics").await.text().to_owned();
    assert!(metrics.contains(r#"reason="kept"} 1"#), "{metrics}");
    router.finish().await;
}

#[tokio::test]
async fn what_somebody_unloads_is_not_loaded_again_at_once() {
    let router = Plan::servers(1)
        .set("model.0.name=llama3.2")
        .set("model.0.replicas=1")
        .start()
        .await;
    eventually("it is loaded", || loaded(&router, "llama3.2").len() == 1).await;
    let stop = json!({"model": "llama3.2", "keep_alive": 0});
    assert_eq!(router.post("/api/generate", &stop).await.status, 200);
    eventually("it is not", || loaded(&router, "llama3.2").is_empty()).await;
    let mut version = router.app.fleet().version();
    for _ in 0..3 {
        version.changed().await.unwrap();
    }
    assert_eq!(loads(&router), [1]);
    // It is only not kept: who asks for it gets it.
    assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn a_kept_model_is_renewed_before_its_server_lets_go_of_it() {
    let router = Plan::servers(1)
        .set("model.0.name=llama3.2")
        .set("model.0.replicas=1")
        .start()
        .await;
    eventually("it is loaded", || loaded(&router, "llama3.2").len() == 1).await;
    let mut brief = chat();
    brief["keep_alive"] = json!("3s");
    brief["options"] = json!({"num_ctx": 2048});
    assert_eq!(router.post("/api/chat", &brief).await.status, 200);
    let before = router.servers[0].counters().loads;
    let view = || router.app.fleet().view();
    eventually("it is to stay for longer", || {
        let model = herdsman::domain::ModelName::parse("llama3.2").unwrap();
        let places = view().places(&model);
        let running = places[0].running.as_ref();
        let until =
            running.and_then(|running| herdsman::protocol::unix_seconds(&running.expires_at));
        until.is_some_and(|until| until > herdsman::clock::unix_seconds() + 60)
    })
    .await;
    assert_eq!(
        router.servers[0].counters().loads,
        before,
        "not loaded anew"
    );
    router.finish().await;
}

#[tokio::test]
async fn what_the_operator_decides_replaces_what_clients_ask_and_where_the_model_is_served() {
    let router = Plan::servers(3)
        .set("model.0.name=llama3.2")
        .set("model.0.endpoints=[\"gpu-2\"]")
        .set("model.0.keep_alive=1h")
        .set("model.0.num_ctx=2048")
        .start()
        .await;
    let mut asked = chat();
    asked["keep_alive"] = json!(0);
    asked["options"] = json!({"num_ctx": 512, "num_predict": 1});
    for _ in 0..3 {
        let answer = router.post("/api/chat", &asked).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-herdsman-endpoint"], "gpu-2");
    }
    assert_eq!(
        loads(&router),
        [0, 0, 1],
        "neither unloaded nor loaded anew"
    );
    let ps = router.get("/api/ps").await.json();
    assert_eq!(ps["models"][0]["context_length"], 2048, "{ps}");
    // Elsewhere it is not served.
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("{}/api/chat", router.url()))
        .header("x-herdsman-endpoints", "gpu-0");
    let body = http_body_util::Full::new(chat().to_string().into());
    let refused = router.request(request.body(body).unwrap()).await;
    assert_eq!(refused.whole().await.status, 502);
    // Unloading is not a duration that is replaced.
    let stop = json!({"model": "llama3.2", "keep_alive": 0});
    let stopped = router.post("/api/generate", &stop).await;
    assert_eq!(stopped.json()["done_reason"], "unload");
    router.finish().await;
}

#[tokio::test]
async fn a_call_of_openais_is_loaded_for_with_the_duration_that_the_operator_wants() {
    let router = Plan::servers(1)
        .set("model.0.name=llama3.2")
        .set("model.0.keep_alive=-1")
        .start()
        .await;
    let answer = router.post("/v1/chat/completions", &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ps = router.get("/api/ps").await.json();
    let until = ps["models"][0]["expires_at"].as_str().unwrap();
    assert!(until > "2100", "{ps}");
    router.finish().await;
}

#[tokio::test]
async fn a_name_with_the_same_weights_as_one_that_is_loaded_is_loaded() {
    let router = Plan::servers(1)
        .each(|server| {
            server.models.push(Model::named("twin"));
            for model in &mut server.models {
                model.digest = "ab".repeat(32);
            }
        })
        .start()
        .await;
    assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    eventually("both are", || {
        loaded(&router, "llama3.2").len() == 1 && loaded(&router, "twin").len() == 1
    })
    .await;
    let ps = router.get("/api/ps").await.json();
    assert_eq!(
        ps["models"].as_array().unwrap().len(),
        1,
        "the first name only: {ps}"
    );
    let mut twin = chat();
    twin["model"] = json!("twin");
    let answer = router.post("/api/chat", &twin).await;
    assert_eq!(answer.headers["x-herdsman-route"], "loaded");
    assert_eq!(loads(&router), [1]);
    let stop = json!({"model": "twin", "keep_alive": 0});
    assert_eq!(router.post("/api/generate", &stop).await.status, 200);
    assert_eq!(router.get("/api/ps").await.json()["models"], json!([]));
    eventually("neither is", || {
        loaded(&router, "llama3.2").is_empty() && loaded(&router, "twin").is_empty()
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn what_is_kept_and_what_is_replaced_follow_the_configuration_file() {
    let router = Plan::servers(2).start().await;
    let file = router.dir.path().join("models.toml");
    let write = |models: &str| {
        let servers = router.servers.iter().enumerate();
        let servers = servers.map(|(i, server)| {
            format!(
                "[[endpoint]]\nname = \"gpu-{i}\"\nurl = \"{}\"\n",
                server.url()
            )
        });
        std::fs::write(&file, servers.collect::<String>() + models).unwrap();
    };
    write("");
    let mut reload = router.reload_from(&file);
    write("[[model]]\nname = \"llama3.2\"\nreplicas = 2\nnum_ctx = 1024\n");
    reload.now(&router.app).await;
    eventually("both have it", || loaded(&router, "llama3.2").len() == 2).await;
    assert_eq!(router.post("/api/chat", &chat()).await.status, 200);
    let ps = router.get("/api/ps").await.json();
    for model in ps["models"].as_array().unwrap() {
        assert_eq!(model["context_length"], 1024, "{ps}");
    }
    write("[[model]]\nname = \"llama3.2\"\nendpoints = [\"gpu-1\"]\n");
    reload.now(&router.app).await;
    for _ in 0..4 {
        let answer = router.post("/api/chat", &chat()).await;
        assert_eq!(answer.headers["x-herdsman-endpoint"], "gpu-1");
    }
    router.finish().await;
}
