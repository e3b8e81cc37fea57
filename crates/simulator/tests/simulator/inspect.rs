//! What a server reports about itself and its models.

use std::time::Duration;

use herdsman_simulator::{Config, Model};
use insta::assert_json_snapshot;
use serde_json::json;

use super::wire::{call, post};
use super::{MODEL, start};

#[tokio::test]
async fn version_and_status_are_reported() {
    let server = start(Config {
        version: "1.2.3".into(),
        ..Config::default()
    })
    .await;
    let answer = call(server.addr(), "GET", "/api/version", "").await;
    assert_eq!(answer.body(), r#"{"version":"1.2.3"}"#);
    let answer = call(server.addr(), "GET", "/api/status", "").await;
    assert_eq!(
        answer.body(),
        r#"{"cloud":{"disabled":true,"source":"env"}}"#
    );
}

#[tokio::test]
async fn tags_lists_the_newest_first_with_gos_key_order() {
    let old = Model {
        modified: 1,
        ..Model::named("Old/Thing:7b")
    };
    let server = start(Config {
        models: vec![old, Model::named(MODEL)],
        ..Config::default()
    })
    .await;
    let answer = call(server.addr(), "GET", "/api/tags", "").await;
    let prefix = r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest","modified_at":"2025-08-21T09:00:00Z","size":2019393189,"digest":""#;
    assert!(answer.body().starts_with(prefix), "{}", answer.body());
    assert!(answer.body().contains(r#","details":{"parent_model":"","format":"gguf","family":"llama","families":["llama"],"parameter_size":"3.2B","quantization_level":"Q4_K_M","context_length":131072,"embedding_length":64},"capabilities":["completion","tools"]}"#));
    let models = answer.json();
    assert_eq!(models["models"][1]["name"], "Old/Thing:7b");
    assert_eq!(models["models"][1]["modified_at"], "1970-01-01T00:00:01Z");
    assert_eq!(models["models"][0]["digest"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn an_old_server_reports_less() {
    let server = start(Config {
        old_shapes: true,
        ..Config::default()
    })
    .await;
    let loaded = post(server.addr(), "/api/generate", json!({"model": MODEL})).await;
    assert!(loaded.json().get("done_reason").is_none());
    let tags = call(server.addr(), "GET", "/api/tags", "").await.json();
    assert!(tags["models"][0].get("capabilities").is_none());
    let ps = call(server.addr(), "GET", "/api/ps", "").await.json();
    assert!(ps["models"][0].get("context_length").is_none());
}

#[tokio::test]
async fn ps_lists_loaded_models_longest_keep_alive_first() {
    let models = vec![Model::named("a"), Model::named("b")];
    let server = start(Config {
        models,
        ..Config::default()
    })
    .await;
    assert_eq!(
        call(server.addr(), "GET", "/api/ps", "").await.body(),
        r#"{"models":[]}"#
    );
    for (model, keep_alive) in [("a", json!("5m")), ("b", json!(-1))] {
        let body = json!({"model": model, "keep_alive": keep_alive, "options": {"num_ctx": 8192}});
        post(server.addr(), "/api/generate", body).await;
    }
    let answer = call(server.addr(), "GET", "/api/ps", "").await;
    let ps = answer.json();
    assert!(
        ps["models"][0]["expires_at"]
            .as_str()
            .unwrap()
            .starts_with("23")
    );
    assert_json_snapshot!(ps["models"][1], {".expires_at" => "T", ".digest" => "D"}, @r#"
    {
      "context_length": 8192,
      "details": {
        "families": [
          "llama"
        ],
        "family": "llama",
        "format": "gguf",
        "parameter_size": "3.2B",
        "parent_model": "",
        "quantization_level": "Q4_K_M"
      },
      "digest": "D",
      "expires_at": "T",
      "model": "a:latest",
      "name": "a:latest",
      "size": 2019393189,
      "size_vram": 2019393189
    }
    "#);
}

#[tokio::test]
async fn show_describes_a_model_under_either_key() {
    let server = start(Config::default()).await;
    for key in ["model", "name"] {
        let answer = post(server.addr(), "/api/show", json!({key: MODEL})).await;
        let shown = answer.json();
        assert_eq!(shown["model_info"]["llama.context_length"], 131_072);
        assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
        assert_eq!(shown["details"]["family"], "llama");
        assert!(
            shown["modelfile"]
                .as_str()
                .unwrap()
                .contains("FROM /root/.ollama/models/blobs/sha256-")
        );
    }
}

#[tokio::test]
async fn vectors_are_unit_long_and_the_same_on_every_server() {
    let config = || Config {
        models: vec![Model::embedding("e")],
        ..Config::default()
    };
    let (one, two) = (
        start(Config {
            node: "1".into(),
            ..config()
        })
        .await,
        start(config()).await,
    );
    let ask = json!({"model": "e", "input": ["first", "second"]});
    let (first, second) = (
        post(one.addr(), "/api/embed", ask.clone()).await.json(),
        post(two.addr(), "/api/embed", ask).await.json(),
    );
    assert_eq!(first["embeddings"], second["embeddings"]);
    assert_ne!(first["embeddings"][0], first["embeddings"][1]);
    let norm: f64 = first["embeddings"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap().powi(2))
        .sum();
    assert!((norm - 1.0).abs() < 1e-5);
    assert_eq!(first["prompt_eval_count"], 6 + 6);
    let alone = post(
        one.addr(),
        "/api/embed",
        json!({"model": "e", "input": "second"}),
    )
    .await
    .json();
    assert_eq!(alone["embeddings"][0], first["embeddings"][1]);
    let short = post(
        one.addr(),
        "/api/embed",
        json!({"model": "e", "input": "a", "dimensions": 8}),
    )
    .await;
    assert_eq!(short.json()["embeddings"][0].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn nothing_to_embed_only_loads() {
    let server = start(Config::default()).await;
    let answer = post(
        server.addr(),
        "/api/embed",
        json!({"model": MODEL, "input": ""}),
    )
    .await;
    assert_eq!(answer.body(), r#"{"model":"llama3.2","embeddings":[]}"#);
    let answer = post(
        server.addr(),
        "/api/embeddings",
        json!({"model": MODEL, "prompt": ""}),
    )
    .await;
    assert_eq!(answer.body(), r#"{"embedding":[]}"#);
    let answer = post(
        server.addr(),
        "/api/embeddings",
        json!({"model": MODEL, "prompt": "a"}),
    )
    .await;
    assert_eq!(answer.json()["embedding"].as_array().unwrap().len(), 64);
    assert_eq!(server.counters().loads, 1);
}

#[tokio::test]
async fn inputs_are_embedded_side_by_side_in_the_models_slots() {
    let model = Model {
        parallel: Some(2),
        ..Model::embedding("e")
    };
    let config = Config {
        models: vec![model],
        prefill_tokens_per_second: 500.0,
        ..Config::default()
    };
    let server = start(Config {
        time_scale: 0.5,
        ..config
    })
    .await;
    let begun = tokio::time::Instant::now();
    post(
        server.addr(),
        "/api/embed",
        json!({"model": "e", "input": ["a", "b", "c", "d"]}),
    )
    .await;
    // 5 tokens each at 1000 per second in effect, two at a time.
    assert!(begun.elapsed() >= Duration::from_millis(10));
    let counters = server.counters();
    assert_eq!((counters.max_concurrent, counters.max_waiting), (2, 2));
}
