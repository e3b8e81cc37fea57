//! Loads, slots, queues, evictions: what a router must handle.

use std::time::Duration;

use herdsman_simulator::{Config, Fault, Model};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::wire::{Answer, Client, call, post};
use super::{MODEL, eventually, start};

fn generate(model: &str, extra: Value) -> Value {
    let mut body = json!({"model": model, "prompt": "a", "stream": false});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().cloned().unwrap());
    body
}

async fn loaded(addr: std::net::SocketAddr) -> Vec<String> {
    let ps = call(addr, "GET", "/api/ps", "").await.json();
    let mut names: Vec<_> = ps["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// A request that keeps its slot: the connection and nothing read from it.
async fn hold(addr: std::net::SocketAddr, body: &Value) -> Client {
    let mut client = Client::connect(addr).await.unwrap();
    client
        .send("POST", "/api/generate", &[], &body.to_string())
        .await;
    client
}

fn slow() -> Config {
    Config {
        decode_interval: Duration::from_millis(20),
        default_predict: 10_000,
        ..Config::default()
    }
}

#[tokio::test]
async fn an_empty_request_loads_the_model() {
    let server = start(Config {
        load: Duration::from_millis(50),
        ..Config::default()
    })
    .await;
    let begun = Instant::now();
    let answer = post(server.addr(), "/api/generate", json!({"model": MODEL})).await;
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let body = answer.json();
    assert_eq!(
        (body["response"].as_str(), body["done_reason"].as_str()),
        (Some(""), Some("load"))
    );
    let answer = post(
        server.addr(),
        "/api/chat",
        json!({"model": MODEL, "messages": []}),
    )
    .await
    .json();
    assert_eq!(
        answer["message"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(loaded(server.addr()).await, ["llama3.2:latest"]);
    assert_eq!(server.counters().loads, 1);
}

#[tokio::test]
async fn unloading_is_answered_at_once_and_waits_for_running_answers() {
    let server = start(slow()).await;
    let unload = json!({"model": MODEL, "keep_alive": 0});
    let answer = post(server.addr(), "/api/generate", unload.clone())
        .await
        .json();
    assert_eq!(answer["done_reason"], "unload");

    let mut running = hold(server.addr(), &json!({"model": MODEL, "prompt": "a"})).await;
    running.head().await.ok().unwrap();
    assert_eq!(
        post(server.addr(), "/api/generate", unload).await.json()["done_reason"],
        "unload"
    );
    assert_eq!(loaded(server.addr()).await.len(), 1);
    running.chunk().await.unwrap();
    drop(running);
    while !loaded(server.addr()).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slot_is_waited_for_in_order_and_without_a_bound() {
    let server = start(Config {
        parallel: 1,
        max_queue: 1,
        default_predict: 1,
        ..slow()
    })
    .await;
    post(server.addr(), "/api/generate", json!({"model": MODEL})).await;
    let mut answers = JoinSet::new();
    for index in 0..6_usize {
        let addr = server.addr();
        answers.spawn(async move {
            (
                index,
                post(addr, "/api/generate", generate(MODEL, json!({})))
                    .await
                    .json(),
            )
        });
        // Each is in the queue before the next one comes.
        eventually(&server, |counters| counters.started > index as u64).await;
    }
    let mut order = Vec::new();
    while let Some(answer) = answers.join_next().await {
        let (index, body) = answer.unwrap();
        order.push((body["response"].as_str().unwrap().to_owned(), index));
    }
    order.sort();
    assert_eq!(
        order.iter().map(|(_, index)| *index).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(server.counters().max_concurrent, 1);
}

#[tokio::test]
async fn no_more_requests_run_than_there_are_slots() {
    let server = start(Config {
        parallel: 3,
        default_predict: 2,
        ..slow()
    })
    .await;
    let mut answers = JoinSet::new();
    for _ in 0..12 {
        answers.spawn(post(
            server.addr(),
            "/api/generate",
            generate(MODEL, json!({})),
        ));
    }
    answers.join_all().await;
    let counters = server.counters();
    assert_eq!(counters.max_concurrent, 3);
    assert_eq!(counters.models["llama3.2:latest"].max_concurrent, 3);
    assert_eq!(counters.finished, 12);
    assert_eq!(counters.loads, 1);
}

#[tokio::test]
async fn a_full_queue_is_busy_with_ollamas_text() {
    let models = vec![Model::named("a"), Model::named("b")];
    let server = start(Config {
        models,
        max_queue: 2,
        load: Duration::from_secs(600),
        ..Config::default()
    })
    .await;
    // One is being loaded, two wait, and the next is one too many.
    let mut waiting = Vec::new();
    for count in 1..=3 {
        waiting.push(hold(server.addr(), &generate("a", json!({}))).await);
        eventually(&server, |counters| counters.max_waiting == count).await;
    }
    let answer = post(server.addr(), "/api/generate", generate("b", json!({}))).await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body(),
        r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#
    );
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test]
async fn a_hot_model_is_not_delayed_by_a_cold_load_and_cold_ones_are() {
    let sized = |name: &str, size| Model {
        size,
        ..Model::named(name)
    };
    let server = start(Config {
        models: vec![sized("hot", 0), sized("cold", 600_000), sized("other", 0)],
        load_bytes_per_second: 1000.0,
        ..Config::default()
    })
    .await;
    let addr = server.addr();
    post(addr, "/api/generate", json!({"model": "hot"})).await;
    let _cold = hold(addr, &generate("cold", json!({}))).await;
    eventually(&server, |counters| counters.started == 1).await;
    let mut other = hold(addr, &generate("other", json!({}))).await;
    eventually(&server, |counters| counters.started == 2).await;
    for _ in 0..3 {
        assert_eq!(
            post(addr, "/api/generate", generate("hot", json!({})))
                .await
                .status,
            200
        );
    }
    let waited = timeout(Duration::from_millis(20), other.head()).await;
    assert!(waited.is_err(), "it waits behind a load of ten minutes");
}

#[tokio::test]
async fn other_options_reload_the_model_after_draining_it() {
    let server = start(Config {
        default_predict: 5,
        ..slow()
    })
    .await;
    let addr = server.addr();
    let small = tokio::spawn(post(
        addr,
        "/api/generate",
        generate(MODEL, json!({"options": {"num_ctx": 2048}})),
    ));
    eventually(&server, |counters| {
        counters.loads == 1 && counters.max_concurrent == 1
    })
    .await;
    let large = post(
        addr,
        "/api/generate",
        generate(MODEL, json!({"options": {"num_ctx": 8192}})),
    )
    .await
    .json();
    let small = small.await.unwrap().json();
    assert_eq!(small["eval_count"], 5, "it was not cut");
    // The wait for the drain is part of the load.
    assert!(large["load_duration"].as_u64().unwrap() >= 50_000_000);
    let counters = server.counters();
    assert_eq!((counters.loads, counters.reloads_by_signature), (2, 1));
    let ps = call(addr, "GET", "/api/ps", "").await.json();
    assert_eq!(ps["models"][0]["context_length"], 8192);
    // What the request says of other things does not matter.
    post(
        addr,
        "/api/generate",
        generate(
            MODEL,
            json!({"options": {"num_ctx": 8192, "temperature": 1, "num_predict": 1}}),
        ),
    )
    .await;
    assert_eq!(server.counters().loads, 2);
}

#[tokio::test]
async fn the_idle_model_with_the_shortest_keep_alive_is_evicted() {
    let models = ["a", "b", "c"].map(Model::named).to_vec();
    let server = start(Config {
        models,
        max_loaded: 2,
        ..Config::default()
    })
    .await;
    post(
        server.addr(),
        "/api/generate",
        generate("a", json!({"keep_alive": "1h"})),
    )
    .await;
    post(
        server.addr(),
        "/api/generate",
        generate("b", json!({"keep_alive": "1m"})),
    )
    .await;
    post(server.addr(), "/api/generate", generate("c", json!({}))).await;
    assert_eq!(loaded(server.addr()).await, ["a:latest", "c:latest"]);
}

#[tokio::test]
async fn what_does_not_fit_evicts_others_and_what_never_fits_loads_alone() {
    let sized = |name: &str, size| Model {
        size,
        ..Model::named(name)
    };
    let models = vec![sized("small", 40), sized("other", 50), sized("huge", 1000)];
    let server = start(Config {
        models,
        vram: 100,
        ..Config::default()
    })
    .await;
    for model in ["small", "other"] {
        post(server.addr(), "/api/generate", json!({"model": model})).await;
    }
    assert_eq!(loaded(server.addr()).await.len(), 2);
    post(server.addr(), "/api/generate", json!({"model": "huge"})).await;
    let ps = call(server.addr(), "GET", "/api/ps", "").await.json();
    assert_eq!(ps["models"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            ps["models"][0]["size"].as_u64(),
            ps["models"][0]["size_vram"].as_u64()
        ),
        (Some(1000), Some(100))
    );
}

#[tokio::test]
async fn an_idle_model_expires_and_the_last_keep_alive_counts() {
    let server = start(Config::default()).await;
    post(
        server.addr(),
        "/api/generate",
        generate(MODEL, json!({"keep_alive": -1})),
    )
    .await;
    post(
        server.addr(),
        "/api/generate",
        generate(MODEL, json!({"keep_alive": "400ms"})),
    )
    .await;
    assert_eq!(loaded(server.addr()).await.len(), 1);
    let begun = Instant::now();
    while !loaded(server.addr()).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    post(
        server.addr(),
        "/api/generate",
        generate(MODEL, json!({"keep_alive": 0})),
    )
    .await;
    while !loaded(server.addr()).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    assert_eq!(server.counters().loads, 2);
}

#[tokio::test]
async fn a_load_is_aborted_when_its_first_requester_leaves() {
    let server = start(Config {
        load: Duration::from_secs(1),
        ..Config::default()
    })
    .await;
    let first = hold(server.addr(), &generate(MODEL, json!({}))).await;
    eventually(&server, |counters| counters.max_waiting == 1).await;
    let begun = Instant::now();
    let second = tokio::spawn(post(
        server.addr(),
        "/api/generate",
        generate(MODEL, json!({})),
    ));
    eventually(&server, |counters| counters.max_waiting == 2).await;
    drop(first);
    let answer: Answer = second.await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "it began anew: {:?}",
        begun.elapsed()
    );
    let counters = server.counters();
    assert_eq!(
        (counters.load_aborts, counters.loads, counters.cancelled),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn a_load_can_fail_and_the_next_one_succeed() {
    let server = start(Config::default()).await;
    server.fault(Fault::LoadFailure.next(1));
    let answer = post(server.addr(), "/api/generate", generate(MODEL, json!({}))).await;
    assert_eq!(answer.status, 500);
    assert!(
        answer
            .body()
            .starts_with(r#"{"error":"model failed to load, "#)
    );
    assert_eq!(
        post(server.addr(), "/api/generate", generate(MODEL, json!({})))
            .await
            .status,
        200
    );
    assert_eq!(server.counters().failed, 1);
}

#[tokio::test]
async fn a_prompt_that_continues_an_earlier_one_is_read_faster() {
    let server = start(Config {
        prefill_tokens_per_second: 1500.0,
        ..Config::default()
    })
    .await;
    let long = "x".repeat(2000);
    let turn = |text: &str| json!({"role": "user", "content": text});
    let ask = |messages: Value| {
        post(
            server.addr(),
            "/api/chat",
            json!({"model": MODEL, "messages": messages, "stream": false}),
        )
    };
    let first = ask(json!([turn(&long)])).await.json();
    let second = ask(json!([turn(&long), turn("b")])).await.json();
    assert!(first["prompt_eval_duration"].as_u64().unwrap() >= 300_000_000);
    assert!(second["prompt_eval_duration"].as_u64() < first["prompt_eval_duration"].as_u64());
    assert_eq!(first["prompt_eval_count"], 504);
    assert_eq!(second["prompt_eval_count"], 508);
}

#[tokio::test]
async fn a_newer_server_says_how_much_of_a_prompt_it_had_read_before() {
    let turn = |text: &str| json!({"role": "user", "content": text});
    let messages = json!([turn("a b c d"), turn("e f")]);
    for cached_counts in [false, true] {
        let server = start(Config {
            cached_counts,
            ..Config::default()
        })
        .await;
        for is_first in [true, false] {
            let body = json!({"model": MODEL, "messages": messages, "stream": false});
            let answer = post(server.addr(), "/api/chat", body).await.json();
            let count = &answer["prompt_eval_cached_count"];
            let expected = match (cached_counts, is_first) {
                (false, _) => &Value::Null,
                (true, true) => &json!(0),
                (true, false) => &answer["prompt_eval_count"],
            };
            assert_eq!(count, expected);
        }
        let body = json!({"model": MODEL, "messages": messages});
        let answer = post(server.addr(), "/v1/chat/completions", body)
            .await
            .json();
        let details = &answer["usage"]["prompt_tokens_details"];
        assert_eq!(details.is_object(), cached_counts, "{answer}");
    }
}

#[tokio::test]
async fn reading_a_prompt_may_outlive_its_client() {
    let server = start(Config {
        parallel: 1,
        prefill_tokens_per_second: 100.0,
        cancel_after_prefill: true,
        ..Config::default()
    })
    .await;
    post(server.addr(), "/api/generate", json!({"model": MODEL})).await;
    let begun = Instant::now();
    let leaver = hold(
        server.addr(),
        &json!({"model": MODEL, "prompt": "x".repeat(80)}),
    )
    .await;
    eventually(&server, |counters| counters.max_concurrent == 1).await;
    drop(leaver);
    eventually(&server, |counters| counters.cancelled == 1).await;
    post(server.addr(), "/api/generate", generate(MODEL, json!({}))).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(240),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn nothing_is_left_after_many_clients_that_leave() {
    let server = start(Config {
        load: Duration::from_millis(5),
        parallel: 2,
        ..slow()
    })
    .await;
    for round in 0..10_u64 {
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(hold(server.addr(), &json!({"model": MODEL, "prompt": "a"})).await);
        }
        eventually(&server, |counters| counters.started == (round + 1) * 10).await;
        drop(clients);
    }
    eventually(&server, |counters| counters.cancelled == 100).await;
    let body = generate(MODEL, json!({"options": {"num_predict": 1}}));
    let mut answers = JoinSet::new();
    for _ in 0..4 {
        answers.spawn(post(server.addr(), "/api/generate", body.clone()));
    }
    assert_eq!(answers.join_all().await.len(), 4);
    post(
        server.addr(),
        "/api/generate",
        json!({"model": MODEL, "keep_alive": 0}),
    )
    .await;
    assert!(loaded(server.addr()).await.is_empty(), "it is still in use");
}
