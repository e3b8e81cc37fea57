//! `herdsman model …`, as people and scripts run it.

use std::process::{Output, Stdio};

use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Plan, TestRouter};

async fn run(router: &TestRouter, arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.arg("model").args(arguments).env_clear();
    command
        .env("HERDSMAN_ADDRESS", router.url())
        .kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(stdin.as_bytes()).await.unwrap();
    drop(pipe);
    child.wait_with_output().await.unwrap()
}

async fn text(router: &TestRouter, arguments: &[&str]) -> String {
    let ended = run(router, arguments, "").await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

fn two_servers() -> Plan {
    Plan::servers(2).server(1, |server| server.models.push(Model::named("phi4")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_listed_shown_and_found_where_they_are_loaded() {
    let router = two_servers().start().await;
    let listed = text(&router, &["list"]).await;
    let names: Vec<_> = listed
        .lines()
        .skip(1)
        .map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names.len(), 2, "{listed}");
    let shown = text(&router, &["show", "phi4"]).await;
    assert!(shown.contains("quantization"), "{shown}");
    let answered = text(&router, &["chat", "phi4", "hello", "there"]).await;
    assert!(!answered.trim().is_empty());
    let running = text(&router, &["ps", "--json"]).await;
    let running: Value = serde_json::from_str(&running).unwrap();
    assert_eq!(running["models"][0]["endpoint"], json!("gpu-1"));
    let running = text(&router, &["ps"]).await;
    assert!(
        running.lines().nth(1).unwrap().starts_with("gpu-1"),
        "{running}"
    );
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_may_come_from_a_pipe_and_an_answer_go_into_one() {
    let router = two_servers().start().await;
    let ended = run(
        &router,
        &["chat", "llama3.2", "--json"],
        "what is a herd?\n",
    )
    .await;
    assert!(ended.status.success(), "{ended:?}");
    let lines = String::from_utf8(ended.stdout).unwrap();
    let last = lines.trim().lines().last().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["done"], json!(true));
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_certificate_authorities_is_enough_for_plain_http() {
    let router = two_servers().start().await;
    let listed = Command::new(env!("CARGO_BIN_EXE_herdsman"))
        .args(["model", "list", "--address", &router.url()])
        .env_clear()
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output();
    let listed = listed.await.unwrap();
    assert!(listed.status.success(), "{listed:?}");
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_router_refuses_is_said_and_is_a_failure() {
    let router = two_servers().start().await;
    for arguments in [["chat", "nope", "x"], ["show", "nope", "--json"]] {
        let ended = run(&router, &arguments, "").await;
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("not found"), "{said}");
    }
    // Each of several is tried.
    let ended = run(&router, &["rm", "nope", "phi4"], "").await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stdout, b"deleted phi4\n");
    let ended = run(&router, &["rm", "llama3.2", "--on", ""], "").await;
    assert_eq!(
        ended.status.code(),
        Some(2),
        "an unset variable is not every server"
    );
    for server in &router.servers {
        server.fault(Fault::Reset { after: 2 });
    }
    let ended = run(&router, &["chat", "llama3.2", "x"], "").await;
    assert_eq!(ended.status.code(), Some(1), "half an answer: {ended:?}");
    router.finish().await;
}
