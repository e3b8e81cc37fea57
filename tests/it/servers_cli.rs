//! `herdsman endpoint …` and `herdsman SERVER…`, as scripts run them.

use std::process::{Output, Stdio};

use herdsman_simulator::{Config, Model, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{Plan, TEST_TIMEOUT, TestRouter};

fn herdsman(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command
}

async fn run(router: &TestRouter, arguments: &[&str]) -> Output {
    let mut command = herdsman(arguments);
    // No router listens at the first address.
    let addresses = format!("http://127.0.0.1:1,{}", router.url());
    command.env("HERDSMAN_ADDRESS", addresses);
    command.output().await.unwrap()
}

async fn json_of(router: &TestRouter, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let ended = run(router, &arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

async fn server(model: &str) -> Simulator {
    let config = Config {
        models: vec![Model::named(model)],
        ..Config::default()
    };
    Simulator::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_added_changed_drained_and_removed_through_any_router() {
    let other = server("phi4").await;
    let router = Plan::servers(1).start().await;
    let url = other.url();
    let add = [
        "endpoint", "add", &url, "--name", "other", "--label", "fast", "--slots", "3",
    ];
    let added = json_of(&router, &add).await;
    assert_eq!(
        [
            &added["name"],
            &added["labels"],
            &added["slots"],
            &added["source"]
        ],
        [
            &json!("other"),
            &json!(["fast"]),
            &json!(3),
            &json!("admin")
        ]
    );
    let set = json_of(&router, &["endpoint", "set", "other", "--weight", "0.5"]).await;
    assert_eq!([&set["weight"], &set["slots"]], [&json!(0.5), &json!(3)]);
    let drained = json_of(&router, &["endpoint", "drain", "other", "--wait"]).await;
    assert_eq!(drained["phase"], "drained");
    let drain = ["endpoint", "drain", "gpu-0", "--model", "llama3.2"];
    assert_eq!(
        json_of(&router, &drain).await["draining"],
        json!(["llama3.2:latest"])
    );
    let resumed = json_of(&router, &["endpoint", "resume", "gpu-0"]).await;
    assert_eq!(resumed["draining"], json!([]));
    let listed = run(&router, &["endpoint", "list"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("NAME   URL"), "{listed}");
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("other") && line.contains("drained")),
        "{listed}"
    );
    let removed = run(&router, &["endpoint", "remove", "other"]).await;
    assert_eq!(removed.stdout, b"removed other\n");
    let again = run(&router, &["endpoint", "remove", "gpu-0"]).await;
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("change the file"), "{said}");
    router.finish().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_for_named_servers_needs_no_file() {
    let (one, two) = (server("llama3.2").await, server("phi4").await);
    let dir = tempfile::tempdir().unwrap();
    // One as an URL, the other as host and port; a file says otherwise.
    std::fs::write(
        dir.path().join("config.toml"),
        "[[endpoint]]\nurl = \"http://gpu-9:1\"\n",
    )
    .unwrap();
    let two_url = two.url();
    let two_word = two_url.strip_prefix("http://").unwrap();
    let one_url = one.url();
    let mut router = herdsman(&[&one_url, two_word, "--set", "server.listen=127.0.0.1:0"])
        .current_dir(dir.path())
        .env("HERDSMAN_LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(router.stderr.take().unwrap()).lines();
    let address = timeout(TEST_TIMEOUT, async {
        loop {
            let line = log.next_line().await.unwrap().expect("it listens");
            let line: Value = serde_json::from_str(&line).unwrap();
            let told = line["fields"]["address"]
                .as_str()
                .or(line["address"].as_str());
            if let Some(address) = told {
                break format!("http://{address}");
            }
        }
    })
    .await
    .unwrap();
    let listed = herdsman(&["endpoint", "list", "--address", &address, "--json"]);
    let mut listed = listed;
    let listed = listed.output().await.unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let urls: Vec<&str> = listed["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| server["url"].as_str().unwrap())
        .collect();
    assert_eq!(urls, [&*one_url, &*two_url]);
    router.kill().await.unwrap();
    for server in [one, two] {
        server.stop().await;
    }
}
