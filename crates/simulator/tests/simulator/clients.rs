//! Ollama's own Python and JavaScript clients against the simulator.
//!
//! What the clients understood is compared with what the simulator must have sent, and must be the
//! same through any proxy.

use std::time::Duration;

use herdsman_simulator::{Config, Fault, Model, Simulator, prompt_tokens};
use herdsman_test_support::clients::{javascript, python, report};
use serde_json::{Value, json};

use super::{MODEL, eventually, start};

async fn server() -> Simulator {
    let model = Model::named(MODEL).saying(["<&>", "\u{2028}", "ü"]);
    start(Config {
        models: vec![model],
        default_predict: 8,
        ..Config::default()
    })
    .await
}

fn expect(report: &Value) {
    let tokens: String = (0..8)
        .map(|i| format!("#{i} {}", ["<&>", "\u{2028}", "ü"][i % 3]))
        .collect();
    let prompt = prompt_tokens(["Answer <briefly> & well.", "Why is the sky blue?"]);
    assert_eq!(report["chat"]["text"], tokens);
    assert_eq!(
        report["chat"]["last"],
        json!({"done_reason": "stop", "prompt_eval_count": prompt, "eval_count": 8, "durations": true, "total_covers_parts": true})
    );
    let parts = report["chat_stream"]["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 9);
    let said: String = parts
        .iter()
        .map(|part| part["text"].as_str().unwrap())
        .collect();
    assert_eq!(said, tokens);
    assert_eq!(report["chat_stream"]["last"], report["chat"]["last"]);
    assert_eq!(report["chat_limited"]["last"]["done_reason"], "length");
    assert_eq!(report["chat_limited"]["last"]["eval_count"], 5);
    assert_eq!(report["generate"]["text"], tokens);
    assert_eq!(
        report["generate"]["last"]["prompt_eval_count"],
        prompt_tokens(["Be kind.", "Why?"])
    );
    assert_eq!(report["load"], "load");
    assert_eq!(report["list"][0]["model"], "llama3.2:latest");
    assert_eq!(report["ps"][0][0], "llama3.2:latest");
    assert_eq!(report["ps"][0][4], 4096);
    assert_eq!(
        report["show"]["capabilities"],
        json!(["completion", "tools"])
    );
    assert_eq!(report["embed"].as_array().unwrap().len(), 2);
    assert_eq!(report["embed_count"], prompt_tokens(["first"]));
    assert_eq!(report["embeddings"].as_array().unwrap().len(), 64);
    assert_eq!(
        report["abort"],
        json!({"first": "#0 <&>", "again": "#0 <&>"})
    );
    for (call, model) in [
        ("unknown_chat", "no-such-model"),
        ("unknown_stream", "no-such-model"),
        ("unknown_show", "no-such-model:latest"),
    ] {
        let error = format!("model '{model}' not found");
        assert_eq!(
            report[call],
            json!({"status": 404, "error": error}),
            "{call}"
        );
    }
    assert_eq!(
        report["unknown_embed"]["error"],
        "model \"no-such-model\" not found, try pulling it first"
    );
    assert_eq!(report["pull"]["first"], "pulling manifest");
    assert_eq!(
        (&report["pull"]["last"], &report["pull"]["successes"]),
        (&json!("success"), &json!(1))
    );
    assert_eq!(report["pull"]["deleted"], "success");
    assert_eq!(report["pull"]["gone"]["status"], 404);
}

#[tokio::test]
async fn the_python_client_understands_everything() {
    let server = server().await;
    let arguments = [
        server.url(),
        MODEL.to_owned(),
        "--pull".into(),
        "other:1b".into(),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let seen = report(python("conformance.py"), &arguments).await.unwrap();
    expect(&seen);
    let again = report(python("conformance.py"), &arguments).await.unwrap();
    assert_eq!(
        seen, again,
        "a report must depend on nothing but the server's configuration"
    );
}

#[tokio::test]
async fn the_javascript_client_understands_everything() {
    let server = server().await;
    let arguments = [
        server.url(),
        MODEL.to_owned(),
        "--pull".into(),
        "other:1b".into(),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let seen = report(javascript("conformance.mjs"), &arguments)
        .await
        .unwrap();
    expect(&seen);
    let again = report(javascript("conformance.mjs"), &arguments)
        .await
        .unwrap();
    assert_eq!(
        seen, again,
        "a report must depend on nothing but the server's configuration"
    );
}

#[tokio::test]
async fn the_clients_leave_and_the_server_notices() {
    let server = start(Config {
        default_predict: 500,
        decode_interval: Duration::from_millis(1),
        time_scale: 0.2,
        ..Config::default()
    })
    .await;
    let url = server.url();
    report(python("conformance.py"), &[&url, MODEL])
        .await
        .unwrap();
    eventually(&server, |counters| counters.cancelled == 1).await;
    report(javascript("conformance.mjs"), &[&url, MODEL])
        .await
        .unwrap();
    eventually(&server, |counters| counters.cancelled == 2).await;
}

#[tokio::test]
async fn the_clients_see_an_error_inside_a_stream() {
    let server = server().await;
    server.fault(Fault::ErrorLine { after: 2 });
    let url = server.url();
    let failed = report(python("conformance.py"), &[&url, MODEL])
        .await
        .unwrap_err();
    assert!(
        failed.contains("model runner has unexpectedly stopped"),
        "{failed}"
    );
    let failed = report(javascript("conformance.mjs"), &[&url, MODEL])
        .await
        .unwrap_err();
    assert!(
        failed.contains("model runner has unexpectedly stopped"),
        "{failed}"
    );
}
