//! Chat and generate: bytes, frames, counts.

use std::time::Duration;

use herdsman_simulator::{Config, Model, prompt_tokens, token_text};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::wire::{Client, End, call, post};
use super::{MODEL, eventually, start};

fn chat(text: &str, extra: Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": text}]});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().cloned().unwrap_or_default());
    body
}

/// A line with everything that varies replaced.
fn steady(line: &str) -> String {
    [("\"created_at\":\"", "T"), ("_duration\":", "N")]
        .iter()
        .fold(line.to_owned(), |line, (key, shown)| {
            let mut parts = line.split(key);
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |out, part| {
                let end = part.find(['"', ',', '}']).unwrap();
                format!("{out}{key}{shown}{}", &part[end..])
            })
        })
}

#[tokio::test]
async fn a_streamed_chat_is_one_frame_for_each_token_and_one_for_the_end() {
    let server = start(Config {
        node: "n1".into(),
        default_predict: 3,
        ..Config::default()
    })
    .await;
    let answer = post(server.addr(), "/api/chat", chat("hello", json!({}))).await;
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    assert!(
        answer
            .headers
            .contains(&("Content-Type".into(), "application/x-ndjson".into()))
    );
    assert!(
        answer
            .headers
            .contains(&("Transfer-Encoding".into(), "chunked".into()))
    );
    let lines: Vec<_> = answer.frames.iter().map(|frame| steady(frame)).collect();
    assert_eq!(
        lines,
        [
            "{\"model\":\"llama3.2\",\"created_at\":\"T\",\"message\":{\"role\":\"assistant\",\"content\":\"n1-1-0 \"},\"done\":false}\n",
            "{\"model\":\"llama3.2\",\"created_at\":\"T\",\"message\":{\"role\":\"assistant\",\"content\":\"n1-1-1 \"},\"done\":false}\n",
            "{\"model\":\"llama3.2\",\"created_at\":\"T\",\"message\":{\"role\":\"assistant\",\"content\":\"n1-1-2 \"},\"done\":false}\n",
            "{\"model\":\"llama3.2\",\"created_at\":\"T\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":N,\"load_duration\":N,\"prompt_eval_count\":6,\"prompt_eval_duration\":N,\"eval_count\":3,\"eval_duration\":N}\n",
        ]
    );
    assert_eq!(prompt_tokens(["hello"]), 6);
}

#[tokio::test]
async fn a_burst_of_32_tokens_is_33_frames() {
    let server = start(Config::default()).await;
    let answer = post(
        server.addr(),
        "/api/generate",
        json!({"model": MODEL, "prompt": "a"}),
    )
    .await;
    assert_eq!(answer.frames.len(), 33);
    assert!(
        answer
            .frames
            .iter()
            .all(|frame| frame.ends_with('\n') && frame.matches('\n').count() == 1)
    );
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_one_object_with_a_length() {
    let server = start(Config {
        node: "n1".into(),
        default_predict: 2,
        ..Config::default()
    })
    .await;
    let answer = post(
        server.addr(),
        "/api/chat",
        chat("hello", json!({"stream": false})),
    )
    .await;
    assert!(answer.headers.contains(&(
        "Content-Type".into(),
        "application/json; charset=utf-8".into()
    )));
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body().len().to_string().as_str())
    );
    assert_eq!(
        steady(&answer.body()),
        "{\"model\":\"llama3.2\",\"created_at\":\"T\",\"message\":{\"role\":\"assistant\",\"content\":\"n1-1-0 n1-1-1 \"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":N,\"load_duration\":N,\"prompt_eval_count\":6,\"prompt_eval_duration\":N,\"eval_count\":2,\"eval_duration\":N}"
    );
}

#[tokio::test]
async fn generate_ends_with_its_context_unless_raw() {
    let server = start(Config {
        default_predict: 1,
        ..Config::default()
    })
    .await;
    let body = json!({"model": MODEL, "prompt": "abcd", "stream": false});
    let answer = post(server.addr(), "/api/generate", body).await;
    assert_eq!(
        steady(&answer.body()),
        "{\"model\":\"llama3.2\",\"created_at\":\"T\",\"response\":\"sim-1-0 \",\"done\":true,\"done_reason\":\"stop\",\"context\":[0,7919,15838,23757,31676,7595],\"total_duration\":N,\"load_duration\":N,\"prompt_eval_count\":5,\"prompt_eval_duration\":N,\"eval_count\":1,\"eval_duration\":N}"
    );
    let body = json!({"model": MODEL, "prompt": "abcd", "stream": false, "raw": true});
    assert!(
        post(server.addr(), "/api/generate", body)
            .await
            .json()
            .get("context")
            .is_none()
    );
}

#[tokio::test]
async fn num_predict_truncates_an_answer_and_reports_it() {
    let server = start(Config::default()).await;
    for (asked, got, reason) in [
        (5, 5, "length"),
        (32, 32, "length"),
        (99, 32, "stop"),
        (-1, 32, "stop"),
    ] {
        let body = chat("a", json!({"options": {"num_predict": asked}}));
        let answer = post(server.addr(), "/api/chat", body).await;
        let last = answer.lines().pop().unwrap();
        assert_eq!(
            (last["eval_count"].as_u64(), last["done_reason"].as_str()),
            (Some(got), Some(reason))
        );
        assert_eq!(answer.frames.len() as u64, got + 1);
    }
}

#[tokio::test]
async fn tokens_name_their_server_their_answer_and_their_position() {
    let server = start(Config {
        node: "gpu-7".into(),
        default_predict: 4,
        ..Config::default()
    })
    .await;
    for request in 1..=2 {
        let answer = post(
            server.addr(),
            "/api/generate",
            json!({"model": MODEL, "prompt": "a"}),
        )
        .await;
        let said: String = answer
            .lines()
            .iter()
            .map(|line| line["response"].as_str().unwrap().to_owned())
            .collect();
        let expected: String = (0..4)
            .map(|index| token_text("gpu-7", request, index))
            .collect();
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn what_go_escapes_is_escaped_and_survives() {
    let model = Model::named(MODEL).saying(["<b>\u{2028}&\"", "ü"]);
    let server = start(Config {
        models: vec![model],
        default_predict: 2,
        ..Config::default()
    })
    .await;
    let answer = post(
        server.addr(),
        "/api/generate",
        json!({"model": MODEL, "prompt": "a"}),
    )
    .await;
    assert!(answer.frames[0].contains(r#""response":"sim-1-0 \u003cb\u003e\u2028\u0026\"""#));
    assert_eq!(answer.lines()[0]["response"], "sim-1-0 <b>\u{2028}&\"");
    assert_eq!(answer.lines()[1]["response"], "sim-1-1 ü");
}

#[tokio::test]
async fn the_clients_own_spelling_is_echoed() {
    let server = start(Config::default()).await;
    for spelling in [
        "LLAMA3.2:latest",
        "library/llama3.2",
        "registry.ollama.ai/library/llama3.2",
    ] {
        let body = json!({"model": spelling, "prompt": "a"});
        let answer = post(server.addr(), "/api/generate", body).await;
        assert!(answer.lines().iter().all(|line| line["model"] == spelling));
    }
    assert_eq!(server.counters().loads, 1);
}

#[tokio::test]
async fn the_parts_of_the_time_never_exceed_the_total() {
    let server = start(Config {
        parallel: 1,
        load: Duration::from_millis(30),
        prefill_tokens_per_second: 1000.0,
        decode_interval: Duration::from_millis(2),
        default_predict: 10,
        ..Config::default()
    })
    .await;
    let ask = || {
        post(
            server.addr(),
            "/api/chat",
            chat(&"x".repeat(100), json!({"stream": false})),
        )
    };
    let (first, second) = tokio::join!(ask(), ask());
    let mut waits = Vec::new();
    for answer in [first.json(), second.json()] {
        let part = |key: &str| answer[key].as_u64().unwrap();
        let parts = part("load_duration") + part("prompt_eval_duration") + part("eval_duration");
        assert!(part("total_duration") >= parts);
        assert!(part("load_duration") >= 30_000_000);
        assert!(part("eval_duration") >= 20_000_000);
        waits.push(part("total_duration") - parts);
    }
    // One of them waited in the slot's queue, which is in no part, for the other's decoding.
    assert!(waits.into_iter().max().unwrap() >= 20_000_000);
}

#[tokio::test]
async fn thinking_comes_first_and_a_tool_call_last() {
    let models = vec![Model::named(MODEL).thinking(), Model::named("plain")];
    let server = start(Config {
        models,
        default_predict: 4,
        ..Config::default()
    })
    .await;
    let tools =
        json!({"think": true, "tools": [{"type": "function", "function": {"name": "weather"}}]});
    let answer = post(server.addr(), "/api/chat", chat("a", tools.clone())).await;
    let lines = answer.lines();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0]["message"]["thinking"], "sim-1-0 ");
    assert_eq!(lines[1]["message"]["content"], "sim-1-1 ");
    assert_eq!(
        lines[4]["message"]["tool_calls"][0]["function"]["name"],
        "weather"
    );
    assert_eq!(lines[5]["done_reason"], "stop");

    let mut body = chat("a", tools);
    body["model"] = "plain".into();
    let answer = post(server.addr(), "/api/chat", body).await;
    assert_eq!(
        (answer.status, answer.body().as_str()),
        (400, r#"{"error":"\"plain\" does not support thinking"}"#)
    );
}

#[tokio::test]
async fn bad_requests_get_ollamas_status_and_text() {
    let models = vec![Model::named(MODEL), Model::embedding("embedder")];
    let server = start(Config {
        models,
        ..Config::default()
    })
    .await;
    for (path, body, status, text) in [
        ("/api/chat", "", 400, r#"{"error":"missing request body"}"#),
        ("/api/chat", "{}", 400, r#"{"error":"model is required"}"#),
        (
            "/api/chat",
            r#"{"model":"no"}"#,
            404,
            r#"{"error":"model 'no' not found"}"#,
        ),
        (
            "/api/generate",
            r#"{"model":"no"}"#,
            404,
            r#"{"error":"model 'no' not found"}"#,
        ),
        (
            "/api/show",
            r#"{"model":"no"}"#,
            404,
            r#"{"error":"model 'no:latest' not found"}"#,
        ),
        ("/api/show", r"{}", 400, r#"{"error":"model is required"}"#),
        (
            "/api/embed",
            r#"{"model":"no","input":"a"}"#,
            404,
            r#"{"error":"model \"no\" not found, try pulling it first"}"#,
        ),
        (
            "/api/chat",
            r#"{"model":"embedder","messages":[{"role":"user","content":"a"}]}"#,
            400,
            r#"{"error":"\"embedder\" does not support chat"}"#,
        ),
    ] {
        let answer = call(server.addr(), "POST", path, body).await;
        assert_eq!(
            (answer.status, answer.body().as_str()),
            (status, text),
            "{path} {body}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/json; charset=utf-8")
        );
    }
    assert_eq!(
        call(server.addr(), "POST", "/api/chat", "{").await.status,
        400
    );
    assert_eq!(server.counters().started, 0);
}

#[tokio::test]
async fn the_last_of_equal_keys_wins_in_any_case() {
    let server = start(Config::default()).await;
    let body = r#"{"model":"no","MODEL":"llama3.2","prompt":"a","stream":true,"Stream":false}"#;
    let answer = call(server.addr(), "POST", "/api/generate", body).await;
    assert_eq!(answer.json()["model"], MODEL);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = start(Config {
        default_predict: 2,
        ..Config::default()
    })
    .await;
    let mut client = Client::connect(server.addr()).await.unwrap();
    for _ in 0..3 {
        client
            .send("POST", "/api/chat", &[], &chat("a", json!({})).to_string())
            .await;
        assert_eq!(client.answer("POST").await.unwrap().frames.len(), 3);
    }
    let counters = server.counters();
    assert_eq!((counters.started, counters.finished), (3, 3));
    let model = &counters.models["llama3.2:latest"];
    assert_eq!(
        (model.prompt_tokens, model.eval_tokens),
        (3 * prompt_tokens(["a"]), 6)
    );
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot_and_its_tokens_are_wasted() {
    let server = start(Config {
        parallel: 1,
        decode_interval: Duration::from_millis(5),
        default_predict: 100_000,
        ..Config::default()
    })
    .await;
    let mut client = Client::connect(server.addr()).await.unwrap();
    client
        .send("POST", "/api/chat", &[], &chat("a", json!({})).to_string())
        .await;
    client.head().await.ok().unwrap();
    client.chunk().await.unwrap();
    client.chunk().await.unwrap();
    drop(client);
    let counters = eventually(&server, |counters| counters.cancelled == 1).await;
    assert!(
        counters.wasted_tokens >= 2 && counters.wasted_tokens < 1000,
        "{counters:?}"
    );
    assert_eq!(counters.finished, 0);
    let body = chat("a", json!({"options": {"num_predict": 1}}));
    assert_eq!(post(server.addr(), "/api/chat", body).await.frames.len(), 2);
}

#[tokio::test]
async fn tokens_are_flushed_as_they_come() {
    let server = start(Config {
        decode_interval: Duration::from_millis(50),
        default_predict: 5,
        ..Config::default()
    })
    .await;
    let begun = Instant::now();
    let mut client = Client::connect(server.addr()).await.unwrap();
    client
        .send("POST", "/api/chat", &[], &chat("a", json!({})).to_string())
        .await;
    client.head().await.ok().unwrap();
    client.chunk().await.unwrap();
    assert_eq!(server.counters().finished, 0, "the first token came alone");
    let mut frames = 1;
    while client.chunk().await.is_ok() {
        frames += 1;
    }
    assert_eq!(frames, 6);
    assert!(begun.elapsed() >= Duration::from_millis(250));
}
