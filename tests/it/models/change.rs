//! Copy, delete and push.

use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};

use super::{delete, holders, is_down, is_up, listed, models_of, named};
use crate::support::{Plan, TestRouter};

fn plan(servers: usize) -> Plan {
    Plan::servers(servers).set("fleet.models_interval=1h")
}

async fn copy(router: &TestRouter, source: &str, destination: &str) -> crate::support::Answer {
    let body = json!({"source": source, "destination": destination});
    router.post("/api/copy", &body).await
}

#[tokio::test]
async fn a_copy_is_made_and_deleted_on_every_server_that_has_the_model() {
    let router = plan(3)
        .server(2, |server| server.models = vec![Model::named("other")])
        .start()
        .await;
    let answer = copy(&router, "LLAMA3.2", "mine").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-1");
    let all = ["llama3.2:latest", "mine:latest", "other:latest"];
    assert_eq!(listed(&router).await, all);
    assert_eq!(holders(&router, "mine:latest"), ["gpu-0", "gpu-1"]);
    let answer = delete(&router, json!({"model": "", "name": "mine"})).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!(listed(&router).await, [all[0], all[2]]);
    let answer = delete(&router, named("mine")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (404, r#"{"error":"model 'mine' not found"}"#)
    );
    let answer = copy(&router, "mine", "yours").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (404, json!({"error": "model \"mine\" not found"}))
    );
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_is_deleted_is_in_no_list_of_what_is_loaded() {
    let router = plan(1).start().await;
    let chat = json!({"model": "llama3.2", "messages": []});
    assert_eq!(router.post("/api/chat", &chat).await.status, 200);
    let ps = router.get("/api/ps").await.json();
    assert_eq!(ps["models"].as_array().unwrap().len(), 1);
    assert_eq!(delete(&router, named("llama3.2")).await.status, 200);
    let ps = router.get("/api/ps").await.json();
    assert_eq!(ps["models"], json!([]));
    assert_eq!(router.post("/api/chat", &chat).await.status, 404);
    router.finish().await;
}

/// The servers on which it failed are named, and on the others it is done.
#[tokio::test]
async fn what_failed_on_one_server_is_done_on_the_others_and_said() {
    let router = plan(3).start().await;
    router.servers[1].fault(Fault::InternalError.on("llama3.2").next(2));
    let answer = copy(&router, "llama3.2", "mine").await;
    let error = "copy of 'llama3.2' failed on gpu-1 (unlink: read-only file system); it is done on gpu-0, gpu-2";
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"].as_str()),
        (500, Some(error))
    );
    assert_eq!(holders(&router, "mine:latest"), ["gpu-0", "gpu-2"]);
    let answer = delete(&router, named("llama3.2")).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(holders(&router, "llama3.2:latest"), ["gpu-1"]);
    assert_eq!(delete(&router, named("llama3.2")).await.status, 200);
    assert!(holders(&router, "llama3.2:latest").is_empty());
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_is_down_and_has_the_model_still_has_it() {
    let router = plan(2).start().await;
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let answer = delete(&router, named("llama3.2")).await;
    let error = "delete of 'llama3.2' failed on gpu-1 (down); it is done on gpu-0";
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"].as_str()),
        (500, Some(error))
    );
    assert!(models_of(&router, 0).await.is_empty());
    router.servers[1].clear_faults();
    is_up(&router, 1).await;
    assert_eq!(listed(&router).await, ["llama3.2:latest"]);
    assert_eq!(delete(&router, named("llama3.2")).await.status, 200);
    router.finish().await;
}

#[tokio::test]
async fn a_model_is_pushed_from_one_server_and_first_from_the_one_with_the_account() {
    let router = plan(3)
        .endpoint(1, |endpoint| endpoint.cloud = true)
        .server(0, |server| server.models.push(Model::named("mine")))
        .start()
        .await;
    let push = async |model: &str| router.post("/api/push", &named(model)).await;
    let answer = push("llama3.2").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-1");
    let statuses: Vec<Value> = answer
        .lines()
        .iter()
        .map(|line| line["status"].clone())
        .collect();
    assert_eq!(statuses[0], "retrieving manifest");
    assert_eq!(
        statuses[statuses.len() - 2..],
        ["pushing manifest", "success"]
    );
    let answer = push("mine").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0");
    let answer = push("none").await;
    let error = answer.lines().last().unwrap()["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.starts_with("open /models/manifests/"), "{error}");
    router.finish().await;
}
