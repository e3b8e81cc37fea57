//! `herdsman key|user|team|org|budget …`, as scripts run it.

use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Plan, TestRouter};

async fn herdsman(router: Option<&TestRouter>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.args(arguments).env_clear();
    if let Some(router) = router {
        // No router listens at the first address.
        command.env(
            "HERDSMAN_ADDRESS",
            format!("http://127.0.0.1:1,{}", router.url()),
        );
    }
    command.output().await.unwrap()
}

async fn json_of(router: &TestRouter, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let ended = herdsman(Some(router), &arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_made_shown_changed_and_deleted_through_any_router() {
    let router = Plan::servers(1)
        .set("access.require_key=true")
        .start()
        .await;
    json_of(&router, &["org", "create", "acme"]).await;
    json_of(
        &router,
        &["team", "create", "blue", "--org", "acme", "--rpm", "100"],
    )
    .await;
    json_of(
        &router,
        &[
            "budget", "create", "small", "--limit", "2.50", "--period", "30d",
        ],
    )
    .await;
    let made = json_of(
        &router,
        &[
            "key",
            "create",
            "--name",
            "laptop",
            "--team",
            "blue",
            "--budget",
            "small",
            "--model",
            "llama3.2",
            "--expires-in",
            "1h",
        ],
    )
    .await;
    let key = made["key"].as_str().unwrap();
    let chat = json!({"model": "llama3.2", "stream": false, "messages": []});
    let request = http::Request::post(format!("{}/api/chat", router.url()))
        .header("authorization", format!("Bearer {key}"))
        .body(chat.to_string().into())
        .unwrap();
    assert_eq!(router.request(request).await.status, 200);

    let shown = json_of(&router, &["key", "show", key]).await;
    assert_eq!(
        (&shown["name"], &shown["key"]),
        (&json!("laptop"), &Value::Null)
    );
    let listed = json_of(&router, &["key", "list"]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let changed = json_of(
        &router,
        &["key", "update", key, "--limit", "0.000000001", "--rpm", "5"],
    )
    .await;
    assert_eq!(
        (&changed["limit_nano_usd"], &changed["rpm"]),
        (&json!(1), &json!(5))
    );
    let changed = json_of(&router, &["key", "update", key, "--limit", "none"]).await;
    assert_eq!(changed["limit_nano_usd"], Value::Null);
    let limit = async |said: &str| {
        let changed = json_of(&router, &["key", "update", key, "--model-limit", said]).await;
        changed["model_limits"].clone()
    };
    let limits = limit("llama3.2:rpm=5,tpm=1000").await;
    assert_eq!(
        limits,
        json!({"llama3.2:latest": {"rpm": 5, "tpm": 1000, "parallel": null}})
    );
    let limits = limit("llama3.2:latest:rpm=none,parallel=2").await;
    assert_eq!(
        limits,
        json!({"llama3.2:latest": {"rpm": null, "tpm": 1000, "parallel": 2}})
    );
    assert_eq!(limit("llama3.2:none").await, json!({}));
    assert_eq!(
        json_of(&router, &["key", "block", key]).await["blocked"],
        true
    );
    assert_eq!(
        json_of(&router, &["key", "unblock", key]).await["blocked"],
        false
    );
    let refused = herdsman(Some(&router), &["team", "join", "blue", "ann"]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.contains("there is no user 'ann'; make it first"),
        "{told}"
    );
    json_of(&router, &["user", "create", "ann"]).await;
    json_of(&router, &["team", "join", "blue", "ann", "--limit", "1"]).await;
    let refused = herdsman(Some(&router), &["budget", "delete", "small"]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("is named by another account"), "{told}");
    let members = json_of(&router, &["team", "members", "blue"]).await;
    assert_eq!(members["items"][0]["id"], "blue/ann");
    json_of(&router, &["team", "leave", "blue", "ann"]).await;

    let told = herdsman(Some(&router), &["budget", "list"]).await;
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.contains("small") && told.contains("2.5 USD / 30d"),
        "{told}"
    );
    json_of(&router, &["key", "delete", key]).await;
    let gone = herdsman(Some(&router), &["key", "show", key]).await;
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    let told = String::from_utf8(gone.stderr).unwrap();
    assert!(told.contains("not found"), "{told}");
    router.finish().await;
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong() {
    let nobody = ["--address", "http://127.0.0.1:1,http://127.0.0.1:2"];
    let with = |arguments: &[&'static str]| -> Vec<&'static str> {
        arguments.iter().copied().chain(nobody).collect()
    };
    for (arguments, code) in [
        (with(&["key", "list"]), 69),
        (with(&["user", "members", "x"]), 2),
        (with(&["key", "create", "--limit", "1.2.3"]), 2),
        (with(&["key", "create", "--metadata", "[]"]), 2),
        (with(&["key", "create", "--model-limit", "llama3.2"]), 2),
        (
            with(&["key", "create", "--model-limit", "llama3.2:rps=1"]),
            2,
        ),
        (
            with(&["key", "create", "--model-limit", "llama3.2:rpm=-1"]),
            2,
        ),
        (with(&["key", "create", "--model-limit", "a b:rpm=1"]), 2),
        (vec!["key", "list", "--address", "nonsense"], 2),
        (vec!["--set", "a=b", "key", "list"], 2),
    ] {
        let ended = herdsman(None, &arguments).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_key_comes_from_a_file_or_the_environment() {
    let router = Plan::servers(1)
        .set("access.admin_key=root-1")
        .start()
        .await;
    let refused = herdsman(Some(&router), &["user", "list"]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let file = router.dir.path().join("admin-key");
    std::fs::write(&file, "root-1\n").unwrap();
    let file = file.to_str().unwrap();
    json_of(&router, &["user", "list", "--admin-key-file", file]).await;
    router.finish().await;
}
