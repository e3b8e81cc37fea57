//! What is known of each server, in the form in which it is passed on.

use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};

use crate::support::{Plan, TestRouter, eventually};

/// All of it, with what differs between two runs replaced.
fn observed(router: &TestRouter) -> Value {
    let mut observed = serde_json::to_value(router.app.fleet().observed()).unwrap();
    replace(&mut observed);
    observed
}

fn replace(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "url" | "generation" | "first_byte_ms" => *value = format!("[{name}]").into(),
                    // As the server sent them.
                    "models" | "loaded" => *value = names(value),
                    "since" | "until" => {
                        assert!(
                            value.as_i64().unwrap() > 1_700_000_000,
                            "Unix seconds: {value}"
                        );
                        *value = format!("[{name}]").into();
                    }
                    _ => replace(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(replace),
        _ => {}
    }
}

fn names(entries: &Value) -> Value {
    let entries = entries.as_array().unwrap().iter();
    let mut names: Vec<_> = entries
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names.into()
}

#[tokio::test]
async fn a_server_is_reported_with_its_models_its_slots_and_what_fails_on_it() {
    let plan = Plan::servers(1).server(0, |server| server.models.push(Model::named("bad")));
    let router = plan.start().await;
    router.servers[0].fault(Fault::Reset { after: 0 }.on("bad"));
    router.servers[0].fault(Fault::Stall { after: 1 }.on("llama3.2"));
    let message = json!({"role": "user", "content": "hi"});
    let asked = |model: &str| json!({"model": model, "messages": [message], "stream": true});
    assert_eq!(router.post("/api/chat", &asked("bad")).await.status, 502);
    let mut stream = router.stream("/api/chat", &asked("llama3.2")).await;
    stream.piece().await.unwrap();
    eventually("what is loaded and what fails is known", || {
        let observed = &router.app.fleet().observed()[0];
        observed.loaded.len() == 2 && observed.evidence.len() == 1 && observed.version.is_some()
    })
    .await;
    insta::assert_json_snapshot!(observed(&router), @r#"
    [
      {
        "evidence": [
          {
            "failures": 1,
            "fault": "broken",
            "model": "bad:latest",
            "until": "[until]"
          }
        ],
        "first_byte_ms": "[first_byte_ms]",
        "generation": "[generation]",
        "held": [
          {
            "drained": false,
            "draining": false,
            "in_flight": 0,
            "model": "bad:latest",
            "slots": 4,
            "waiting": 0
          },
          {
            "drained": false,
            "draining": false,
            "in_flight": 1,
            "model": "llama3.2:latest",
            "slots": 4,
            "waiting": 0
          }
        ],
        "in_flight": 1,
        "kind": "ollama",
        "labels": [],
        "leaving": false,
        "loaded": [
          "bad:latest",
          "llama3.2:latest"
        ],
        "models": [
          "bad:latest",
          "llama3.2:latest"
        ],
        "name": "gpu-0",
        "phase": "up",
        "priority": 0,
        "since": "[since]",
        "slots": 4,
        "url": "[url]",
        "version": "0.12.6",
        "waiting": 0,
        "weight": 1.0
      }
    ]
    "#);
    drop(stream);
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_is_down_is_reported_with_the_reason() {
    let router = Plan::servers(1).start().await;
    router.servers[0].fault(Fault::Refuse);
    eventually("it is down", || {
        router.app.fleet().observed()[0].reason.is_some()
    })
    .await;
    let observed = observed(&router);
    insta::assert_json_snapshot!(
        json!({"phase": observed[0]["phase"], "reason": observed[0]["reason"], "loaded": observed[0]["loaded"]}),
        @r#"
    {
      "loaded": [],
      "phase": "down",
      "reason": "connection refused: Connection refused (os error 111)"
    }
    "#
    );
    router.finish().await;
}
