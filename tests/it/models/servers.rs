//! Which servers a call is for: those that an operator drains, that are back again, that are named, or too few.

use herdsman_simulator::{Fault, Model};
use http::Method;
use serde_json::{Value, json};

use super::{holders, is_down, is_up, models_of, named, plan, send, some_lines, until};
use crate::support::{Answer, Plan, TestRouter};

/// A blob of one byte, `x`.
const X: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

fn last(answer: &Answer) -> Value {
    answer.lines().pop().unwrap()
}

async fn pull(router: &TestRouter, path: &str) -> Answer {
    router.post(path, &named("big")).await
}

async fn upload(router: &TestRouter, query: &str) -> Answer {
    router
        .post_bytes(&format!("/api/blobs/{X}{query}"), "x")
        .await
}

/// Whether each server has the blob, by its own word.
async fn have(router: &TestRouter) -> Vec<bool> {
    let mut have = Vec::new();
    for server in &router.servers {
        let url = format!("{}/api/blobs/{X}", server.url());
        let head = http::Request::head(url).body(http_body_util::Full::default());
        have.push(router.request(head.unwrap()).await.status == 200);
    }
    have
}

#[tokio::test]
async fn a_server_that_an_operator_drains_gets_no_model_and_is_named() {
    let router = plan(2)
        .each(|server| server.models = vec![Model::named("llama3.2")])
        .start()
        .await;
    let phase = async |phase: &str| {
        let path = "/admin/endpoints/gpu-1";
        let patched = router.admin(Method::PATCH, path, json!({ "phase": phase }));
        assert_eq!(patched.await.status, 200);
    };
    phase("draining").await;
    let made = json!({"model": "made", "from": "llama3.2", "system": "x"});
    assert_eq!(
        upload(&router, "").await.header("x-herdsman-left-out"),
        "gpu-1"
    );
    assert_eq!(have(&router).await, [true, false]);
    let from_file = json!({"model": "filed", "files": {"x": X}});
    for (path, body) in [
        ("/api/pull", named("big")),
        ("/api/create", made),
        ("/api/create", from_file),
    ] {
        let answer = router.post(path, &body).await;
        assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0", "{body}");
        assert_eq!(answer.header("x-herdsman-left-out"), "gpu-1", "{body}");
        assert_eq!(answer.lines()[1]["status"], "left out: gpu-1 (draining)");
        assert_eq!(last(&answer)["status"], "success");
    }
    let answer = pull(&router, "/api/pull?endpoints=gpu-1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"].as_str()),
        (502, Some("no server can be reached: gpu-1 (draining)"))
    );
    assert_eq!(models_of(&router, 1).await, ["llama3.2:latest"]);
    phase("up").await;
    assert_eq!(last(&pull(&router, "/api/pull").await)["status"], "success");
    assert_eq!(
        models_of(&router, 1).await,
        ["big:latest", "llama3.2:latest"]
    );
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_is_drained_on_a_server_is_not_pulled_there_and_others_are() {
    let router = plan(2).start().await;
    let path = "/admin/endpoints/gpu-1/drain";
    let drained = router.admin(Method::POST, path, named("big")).await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    let answer = pull(&router, "/api/pull").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0");
    assert_eq!(answer.header("x-herdsman-left-out"), "gpu-1");
    let answer = router.post("/api/pull", &named("other")).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-1");
    router.finish().await;
}

/// `DELETE` above all.
#[tokio::test]
async fn a_choice_of_servers_that_names_none_is_refused_and_never_means_all() {
    let router = Plan::servers(2).start().await;
    let chat = json!({"model": "llama3.2", "messages": []});
    for (method, path, body) in [
        (Method::DELETE, "/api/delete", named("llama3.2")),
        (Method::POST, "/api/pull", named("llama3.2")),
        (Method::POST, "/api/chat", chat),
    ] {
        for list in [&b"gp\xc3\xbc"[..], b"", b" , "] {
            let request = http::Request::builder()
                .method(&method)
                .uri(format!("{}{path}", router.url()))
                .header("x-herdsman-endpoints", list)
                .body(body.to_string().into());
            let answer = router.request(request.unwrap()).await.whole().await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            assert!(answer.text().contains("names none"), "{}", answer.text());
        }
    }
    for query in ["?endpoints=", "?endpoints=,", "?endpoints=%20"] {
        let path = format!("/api/delete{query}");
        let body = named("llama3.2").to_string().into();
        let answer = send(&router, Method::DELETE, &path, &[], body).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(upload(&router, query).await.status, 400, "{query}");
    }
    assert_eq!(have(&router).await, [false, false]);
    assert_eq!(holders(&router, "llama3.2:latest").len(), 2);
    router.finish().await;
}

#[tokio::test]
async fn a_blob_for_one_server_says_nothing_about_where_those_of_others_go() {
    let router = plan(2).start().await;
    assert_eq!(upload(&router, "?endpoints=gpu-1").await.status, 201);
    assert_eq!(have(&router).await, [false, true]);
    assert_eq!(upload(&router, "").await.status, 201);
    assert_eq!(have(&router).await, [true, true]);
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_was_down_at_the_first_blob_gets_it_when_it_is_back() {
    let router = plan(2).start().await;
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let answer = upload(&router, "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-herdsman-left-out")),
        (201, "gpu-1")
    );
    router.servers[1].clear_faults();
    is_up(&router, 1).await;
    assert_eq!(upload(&router, "").await.status, 201);
    assert_eq!(have(&router).await, [true, true]);
    router.finish().await;
}

#[tokio::test]
async fn too_few_servers_for_so_many_are_said_and_so_is_one_that_has_the_model_and_is_down() {
    let router = plan(3).set("models.pull=2").start().await;
    for server in [1, 2] {
        router.servers[server].fault(Fault::Refuse);
        is_down(&router, server).await;
    }
    let answer = pull(&router, "/api/pull").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0");
    assert_eq!(answer.header("x-herdsman-left-out"), "gpu-1,gpu-2");
    router.servers[1].clear_faults();
    is_up(&router, 1).await;
    let answer = pull(&router, "/api/pull").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-1");
    assert_eq!(answer.header("x-herdsman-left-out"), "");
    router.servers[2].clear_faults();
    is_up(&router, 2).await;
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let answer = pull(&router, "/api/pull").await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-2");
    assert_eq!(answer.header("x-herdsman-left-out"), "gpu-1");
    router.finish().await;
}

#[tokio::test]
async fn a_pull_that_runs_is_not_joined_by_one_that_is_for_more_servers() {
    let router = plan(2)
        .server(0, |server| server.pull_bytes_per_second = 1e3)
        .start()
        .await;
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let mut first = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut first).await;
    router.servers[1].clear_faults();
    is_up(&router, 1).await;
    let mut second = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut second).await;
    let shown = until(&router, "the new server is done", |pulls| {
        let mut parts = pulls
            .iter()
            .flat_map(|pull| pull["endpoints"].as_array().unwrap());
        parts.any(|part| part["endpoint"] == "gpu-1" && part["phase"] == "done")
    })
    .await;
    assert_eq!(shown.len(), 2);
    // For as many, or fewer: it is joined.
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let mut third = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut third).await;
    until(&router, "one has two readers", |pulls| {
        pulls.len() == 2 && pulls.iter().any(|pull| pull["readers"] == 2)
    })
    .await;
    drop((first, second, third));
    router.finish().await;
}

#[tokio::test]
async fn files_and_a_model_that_are_on_different_servers_are_said_to_be() {
    let router = Plan::servers(2)
        .set("models.pull=1")
        .server(1, |server| server.models.clear())
        .start()
        .await;
    assert_eq!(upload(&router, "").await.status, 201);
    assert_eq!(have(&router).await, [false, true], "the emptiest");
    let body = json!({"model": "made", "from": "llama3.2", "adapters": {"x": X}});
    let answer = router.post("/api/create", &body).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 409, "{error}");
    assert!(error.contains("(gpu-0) and the files (gpu-1)"), "{error}");
    // What it says helps.
    assert_eq!(upload(&router, "?endpoints=gpu-0").await.status, 201);
    let answer = router.post("/api/create?endpoints=gpu-0", &body).await;
    assert_eq!(last(&answer)["status"], "success");
    router.finish().await;
}

#[tokio::test]
async fn a_push_that_names_servers_is_done_when_one_of_them_has_done_it() {
    let router = Plan::servers(2).start().await;
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let answer = router
        .post("/api/push?endpoints=gpu-0,gpu-1", &named("llama3.2"))
        .await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0");
    assert_eq!(last(&answer)["status"], "success");
    router.finish().await;
}

#[tokio::test]
async fn a_push_that_has_not_begun_goes_to_the_next_server_that_has_the_model() {
    let router = Plan::servers(3)
        .set("fleet.probe_interval=10m")
        .server(2, |server| server.models.clear())
        .start()
        .await;
    router.servers[0].fault(Fault::Refuse);
    let answer = router.post("/api/push", &named("llama3.2")).await;
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-1");
    assert_eq!(last(&answer)["status"], "success");
    router.finish().await;
}

#[tokio::test]
async fn only_a_model_that_is_created_may_have_a_long_body() {
    let router = plan(1).start().await;
    let long = "x".repeat(70_000);
    for (method, path) in [
        (Method::POST, "/api/pull"),
        (Method::POST, "/api/push"),
        (Method::POST, "/api/copy"),
        (Method::DELETE, "/api/delete"),
    ] {
        let body = json!({"model": "a", "more": long}).to_string().into();
        let answer = send(&router, method, path, &[], body).await;
        assert_eq!(answer.status, 413, "{path}");
    }
    let body = json!({"model": "made", "from": "none", "system": long});
    assert_ne!(router.post("/api/create", &body).await.status, 413);
    router.finish().await;
}

#[tokio::test]
async fn no_more_than_so_many_copies_and_deletes_run_at_once() {
    let router = Plan::servers(1)
        .set("fleet.probe_interval=10m")
        .start()
        .await;
    router.servers[0].fault(Fault::Stall { after: 0 }.on("llama3.2").next(64));
    let copy = || async {
        let body = json!({"source": "llama3.2", "destination": "copied"});
        router.post("/api/copy", &body).await
    };
    let mut calls: futures_util::stream::FuturesUnordered<_> = (0..65).map(|_| copy()).collect();
    let first = futures_util::StreamExt::next(&mut calls).await.unwrap();
    assert_eq!(first.status, 503, "{}", first.text());
    assert!(
        first
            .text()
            .contains("too many models are being copied or deleted")
    );
    // Those that run end with their server, and leave their turns.
    router.servers[0].fault(Fault::Refuse);
    while let Some(answer) = futures_util::StreamExt::next(&mut calls).await {
        assert_eq!(answer.status, 502, "{}", answer.text());
    }
    assert_ne!(copy().await.status, 503);
    drop(calls);
    router.finish().await;
}
