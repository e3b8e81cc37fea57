//! `herdsman spend …`, as scripts run it.

use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::spend::{bar, chat, key, priced, sql};
use crate::support::{Plan, TestRouter};

async fn herdsman(router: &TestRouter, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.args(arguments).env_clear();
    // No router listens at the first address.
    let routers = format!("http://127.0.0.1:1,{}", router.url());
    command
        .current_dir(router.dir.path())
        .env("HERDSMAN_ADDRESS", routers);
    command.output().await.unwrap()
}

fn told(ended: &Output) -> String {
    String::from_utf8(ended.stdout.clone()).unwrap()
}

async fn json_of(router: &TestRouter, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let ended = herdsman(router, &arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_tables_json_or_csv() {
    let router = priced(Plan::servers(1)).await;
    let (key, id) = key(&router).await;
    chat(&router, &key, "nightly").await;
    let (input, output) = router.counted().await;
    let table = herdsman(
        &router,
        &[
            "spend",
            "report",
            "--by",
            "model,endpoint",
            "--entity",
            &key,
        ],
    )
    .await;
    let usd = format!("0.{:09}", input + 2 * output);
    let usd = usd.trim_end_matches('0');
    let expected: Vec<&str> = vec![
        "MODEL", "ENDPOINT", "USD", "INPUT", "OUTPUT", "REQUESTS", "FAILED",
    ];
    let (input, output) = (input.to_string(), output.to_string());
    let row = vec!["llama3.2:latest", "gpu-0", usd, &input, &output, "1", "0"];
    let text = told(&table);
    let cells: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(cells, [expected, row], "{table:?}");

    let json = json_of(
        &router,
        &["spend", "report", "--order", "-requests", "--kind", "key"],
    )
    .await;
    assert_eq!(json["items"][0]["entity"], json!(id));
    let csv = herdsman(&router, &["spend", "report", "--by", "api_key", "--csv"]).await;
    let csv = told(&csv);
    assert!(csv.starts_with("api_key,spend_nano_usd,"), "{csv}");
    assert!(csv.ends_with(",1,0\r\n"), "{csv:?}");
    for (arguments, code) in [
        (&["spend", "report", "--csv", "--json"][..], 2),
        (&["spend", "report", "--by", "week"], 1),
        (&["--set", "a=b", "spend", "report"], 2),
        (&["spend", "verify", "--set", "a=b"], 2),
        (&["spend", "verify", "--address", "http://127.0.0.1:1"], 69),
    ] {
        let ended = herdsman(&router, arguments).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {ended:?}");
    }
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_and_the_verification_name_routers_that_did_not_answer() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    chat(&router, &key, "").await;
    router.counted().await;
    let queue = json_of(&router, &["spend", "queue"]).await;
    assert!(queue["routers"][0]["error"].is_string(), "{queue}");
    assert_eq!(queue["routers"][1]["queue"]["records"]["recorded"], 1);
    let table = told(&herdsman(&router, &["spend", "queue"]).await);
    assert!(
        table.contains("for itself") && table.contains("dead letters waiting: 0"),
        "{table}"
    );
    let url = router.url();
    let proof = json_of(&router, &["spend", "verify", "--address", &url]).await;
    assert_eq!(
        (
            &proof["holds"],
            &proof["routers"][0]["records"]["committed"]
        ),
        (&json!(true), &json!(1))
    );
    // Without every router the verification is incomplete.
    let unproven = herdsman(&router, &["spend", "verify"]).await;
    assert_eq!(unproven.status.code(), Some(1), "{unproven:?}");
    let table = told(&unproven);
    assert!(table.contains("not asked: http://127.0.0.1:1"), "{table}");
    let said = String::from_utf8(unproven.stderr).unwrap();
    assert!(said.contains("http://127.0.0.1:1 was not asked"), "{said}");
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_and_replayed() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    bar(&router);
    chat(&router, &key, "bad").await;
    router.counted().await;
    let listed = json_of(&router, &["spend", "dead-letters"]).await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    let table = told(&herdsman(&router, &["spend", "dead-letters"]).await);
    assert!(table.starts_with("ID") && table.contains(id), "{table}");
    let shown = told(&herdsman(&router, &["spend", "dead-letters", "show", id]).await);
    assert!(shown.contains("\"bad\""), "{shown}");
    let refused = herdsman(&router, &["spend", "dead-letters", "replay", id]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    sql(&router, "DROP TRIGGER bar");
    let replayed = json_of(&router, &["spend", "dead-letters", "replay", id]).await;
    assert_eq!(replayed["replayed"], json!([id]));
    let left = json_of(&router, &["spend", "dead-letters"]).await;
    assert_eq!(left["items"], json!([]));
    router.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_fails_when_it_does_not_hold_with_a_router_and_without() {
    let router = priced(Plan::servers(1)).await;
    let (key, _) = key(&router).await;
    chat(&router, &key, "").await;
    router.counted().await;
    let folder = format!("server.data_dir={}", router.dir.path().display());
    let offline = ["spend", "verify", "--offline", "--set", &folder];
    let holds = json_of(&router, &offline).await;
    assert_eq!(
        (&holds["holds"], &holds["routers"]),
        (&json!(true), &json!([]))
    );
    sql(
        &router,
        "UPDATE daily_spend SET output_tokens = output_tokens + 1 WHERE kind = 'team'",
    );
    let online = ["spend", "verify", "--address", &router.url()];
    for arguments in [&online[..], &offline] {
        let ended = herdsman(&router, arguments).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.contains("1 thing does not hold") && said.contains("team blue"),
            "{said}"
        );
    }
    let nowhere = [
        "spend",
        "verify",
        "--offline",
        "--set",
        "server.data_dir=nowhere",
    ];
    let ended = herdsman(&router, &nowhere).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!router.dir.path().join("nowhere").exists());
    router.finish().await;
}
