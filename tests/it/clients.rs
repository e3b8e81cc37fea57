//! The official Python and JavaScript clients see through the router what they see directly.

use std::path::{Path, PathBuf};

use herdsman::simulator::Model;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Herd, Plan};

const MODEL: &str = "llama3.2";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tool(path: &str) -> PathBuf {
    let found = project(path);
    assert!(found.exists(), "{path} is missing: run `make tools`");
    found
}

async fn report(mut command: Command, url: &str) -> Value {
    let output = command
        .args([url, MODEL])
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

async fn herd() -> Herd {
    let model = Model::named(MODEL).saying(["<&>", "\u{2028}", "ü"]);
    Plan::servers(3)
        .each(|server| {
            server.models = vec![model.clone()];
            // Only letters and digits, so that the scripts can take the name out of the texts.
            server.node = server.node.replace('-', "");
            server.decode_interval = std::time::Duration::from_millis(1);
        })
        .start()
        .await
}

fn python() -> Command {
    let mut command = Command::new(tool(".tools/py/bin/python"));
    command.arg(project("tests/clients/conformance.py"));
    command
}

fn javascript() -> Command {
    let mut command = Command::new("node");
    command
        .arg(project("tests/clients/conformance.mjs"))
        .env("OLLAMA_JS", tool(".tools/node"));
    command
}

async fn compare(client: fn() -> Command) {
    let herd = herd().await;
    let direct = report(client(), &herd.servers[0].url()).await;
    let routed = report(client(), &herd.url()).await;
    let differing: Vec<_> = direct
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, value)| routed[key.as_str()] != **value)
        .map(|(key, value)| format!("{key}:\n direct {value}\n routed {}", routed[key.as_str()]))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    herd.finish().await;
}

#[tokio::test]
async fn ollama_python_sees_the_same_through_the_router() {
    compare(python).await;
}

#[tokio::test]
async fn ollama_js_sees_the_same_through_the_router() {
    compare(javascript).await;
}
