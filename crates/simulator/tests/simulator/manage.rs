//! Pull, push, copy, delete, create, blobs.

use herdsman_simulator::{Config, Fault, Model};
use serde_json::json;

use super::wire::{Client, call, post};
use super::{MODEL, start};

#[tokio::test]
async fn a_pull_reports_layer_after_layer_and_the_model_is_there() {
    let server = start(Config::default()).await;
    let answer = post(server.addr(), "/api/pull", json!({"name": "Qwen3:8b"})).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines = answer.lines();
    let statuses: Vec<_> = lines
        .iter()
        .map(|line| line["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses[0], "pulling manifest");
    assert_eq!(
        statuses[statuses.len() - 3..],
        ["verifying sha256 digest", "writing manifest", "success"]
    );
    let layer = lines
        .iter()
        .find(|line| line["completed"] == line["total"] && line["total"].is_u64())
        .unwrap();
    let digest = layer["digest"].as_str().unwrap();
    assert_eq!(layer["status"], format!("pulling {}", &digest[7..19]));
    let tags = call(server.addr(), "GET", "/api/tags", "").await.json();
    assert_eq!(tags["models"][0]["name"], "Qwen3:8b");
    assert_eq!(
        format!("sha256:{}", tags["models"][0]["digest"].as_str().unwrap()),
        digest
    );
}

#[tokio::test]
async fn a_pull_that_is_not_streamed_gives_its_last_line() {
    let config = Config {
        registry: Some(vec![Model::named("known")]),
        ..Config::default()
    };
    let server = start(config).await;
    let answer = post(
        server.addr(),
        "/api/pull",
        json!({"model": "known", "stream": false}),
    )
    .await;
    assert_eq!(
        (answer.status, answer.body().as_str()),
        (200, r#"{"status":"success"}"#)
    );
    let answer = post(
        server.addr(),
        "/api/pull",
        json!({"model": "no", "stream": false}),
    )
    .await;
    let text = r#"{"error":"pull model manifest: file does not exist"}"#;
    assert_eq!((answer.status, answer.body().as_str()), (500, text));
    let answer = post(server.addr(), "/api/pull", json!({"model": "no"})).await;
    assert_eq!(
        answer.body(),
        format!("{{\"status\":\"pulling manifest\"}}\n{text}\n")
    );
    let answer = post(server.addr(), "/api/pull", json!({"model": "a b"})).await;
    assert_eq!(
        (answer.status, answer.body().as_str()),
        (400, r#"{"error":"invalid model name"}"#)
    );
}

#[tokio::test]
async fn a_download_is_shared_and_goes_on_where_it_stopped() {
    let model = Model {
        size: 1_000_000,
        ..Model::named("big")
    };
    let server = start(Config {
        registry: Some(vec![model]),
        pull_bytes_per_second: 1_000_000.0,
        ..Config::default()
    })
    .await;
    let mut leaver = Client::connect(server.addr()).await.unwrap();
    leaver
        .send("POST", "/api/pull", &[], r#"{"model":"big"}"#)
        .await;
    leaver.head().await.ok().unwrap();
    // Manifest, then lines of the layer until a good part of it is there.
    loop {
        let line: serde_json::Value = serde_json::from_str(&leaver.chunk().await.unwrap()).unwrap();
        if line["completed"]
            .as_u64()
            .is_some_and(|bytes| bytes > 300_000)
        {
            break;
        }
    }
    drop(leaver);
    let pull = || post(server.addr(), "/api/pull", json!({"model": "big"}));
    let (one, two) = tokio::join!(pull(), pull());
    for answer in [one, two] {
        let lines = answer.lines();
        assert_eq!(lines.last().unwrap()["status"], "success");
        assert!(lines[1]["completed"].as_u64().unwrap() >= 300_000);
    }
}

#[tokio::test]
async fn a_pull_can_be_made_to_fail() {
    let server = start(Config::default()).await;
    server.fault(Fault::ErrorLine { after: 1 }.on("other").next(1));
    let lines = post(server.addr(), "/api/pull", json!({"model": "other"}))
        .await
        .lines();
    assert_eq!(lines.len(), 2);
    assert!(lines[1]["error"].is_string());
    let lines = post(server.addr(), "/api/pull", json!({"model": "other"}))
        .await
        .lines();
    assert_eq!(lines.last().unwrap()["status"], "success");
}

#[tokio::test]
async fn a_push_reports_too() {
    let server = start(Config::default()).await;
    let lines = post(server.addr(), "/api/push", json!({"model": MODEL}))
        .await
        .lines();
    assert_eq!(lines.first().unwrap()["status"], "retrieving manifest");
    assert_eq!(lines.last().unwrap()["status"], "success");
}

#[tokio::test]
async fn copy_and_delete_answer_like_ollama() {
    let server = start(Config::default()).await;
    let copy = |source: &str, destination: &str| {
        post(
            server.addr(),
            "/api/copy",
            json!({"source": source, "destination": destination}),
        )
    };
    let answer = copy(MODEL, "mine").await;
    assert_eq!((answer.status, answer.body().as_str()), (200, ""));
    let tags = call(server.addr(), "GET", "/api/tags", "").await.json();
    assert_eq!(tags["models"][0]["digest"], tags["models"][1]["digest"]);
    assert_eq!(
        copy("no", "mine").await.body(),
        r#"{"error":"model \"no\" not found"}"#
    );
    let answer = copy("-", "mine").await;
    assert_eq!(
        (answer.status, answer.body().as_str()),
        (400, r#"{"error":"source \"-\" is invalid"}"#)
    );

    for (name, status, text) in [
        ("mine", 200, ""),
        ("mine", 404, r#"{"error":"model 'mine' not found"}"#),
    ] {
        let answer = call(
            server.addr(),
            "DELETE",
            "/api/delete",
            &json!({"name": name}).to_string(),
        )
        .await;
        assert_eq!((answer.status, answer.body().as_str()), (status, text));
    }
}

#[tokio::test]
async fn blobs_are_checked_and_models_created_of_them() {
    let server = start(Config::default()).await;
    // SHA-256 of "hello".
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let path = format!("/api/blobs/{digest}");
    assert_eq!(call(server.addr(), "HEAD", &path, "").await.status, 404);
    assert_eq!(
        call(server.addr(), "HEAD", "/api/blobs/sha256:1", "")
            .await
            .status,
        400
    );
    let create = json!({"model": "made", "files": {"a.gguf": digest}});
    // That it is missing is found when it is read, and said in the words of the system.
    let missing = post(server.addr(), "/api/create", create.clone()).await;
    assert_eq!(missing.status, 200);
    let error = missing.lines()[1]["error"].clone();
    assert!(
        error
            .as_str()
            .unwrap()
            .ends_with("no such file or directory"),
        "{error}"
    );
    let wrong = call(server.addr(), "POST", &path, "other").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong
            .body()
            .starts_with(r#"{"error":"digest mismatch, expected "#),
        "{}",
        wrong.body()
    );
    assert_eq!(
        call(server.addr(), "POST", &path, "hello").await.status,
        201
    );
    assert_eq!(
        call(server.addr(), "POST", &path, "hello").await.status,
        200
    );
    assert_eq!(call(server.addr(), "HEAD", &path, "").await.status, 200);
    let lines = post(server.addr(), "/api/create", create).await.lines();
    assert_eq!(lines[0]["status"], "parsing GGUF");
    assert_eq!(lines[2]["status"], format!("creating new layer {digest}"));
    assert_eq!(lines.last().unwrap()["status"], "success");
    assert_eq!(
        post(server.addr(), "/api/show", json!({"model": "made"}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_model_is_created_from_another() {
    let server = start(Config::default()).await;
    let create = json!({"model": "mine", "from": MODEL, "system": "be kind", "stream": false});
    assert_eq!(
        post(server.addr(), "/api/create", create).await.body(),
        r#"{"status":"success"}"#
    );
    assert_eq!(
        post(
            server.addr(),
            "/api/create",
            json!({"model": "mine", "from": "no"})
        )
        .await
        .status,
        404
    );
    assert_eq!(
        post(server.addr(), "/api/create", json!({"model": "mine"}))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn an_empty_name_is_absent_whichever_key_it_has() {
    let registry = vec![Model::named("127.0.0.1:5005/a/tiny")];
    let config = Config {
        registry: Some(registry),
        ..Config::default()
    };
    let server = start(config).await;
    for (path, body) in [
        ("/api/show", json!({"model": MODEL, "name": ""})),
        ("/api/show", json!({"name": MODEL, "model": ""})),
        ("/api/show", json!({"model": MODEL, "name": "other"})),
        (
            "/api/create",
            json!({"model": "mine", "name": "", "from": MODEL}),
        ),
        (
            "/api/pull",
            json!({"name": "127.0.0.1:5005/a/tiny", "model": ""}),
        ),
        ("/api/show", json!({"model": "127.0.0.1:5005/a/tiny"})),
    ] {
        let answer = post(server.addr(), path, body.clone()).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body());
    }
    let body = json!({"name": "mine", "model": ""}).to_string();
    let answer = call(server.addr(), "DELETE", "/api/delete", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body());
}

#[tokio::test]
async fn a_full_disk_fails_a_pull_and_an_upload_and_nothing_is_kept() {
    let server = start(Config::default()).await;
    server.fault(Fault::DiskFull { after: 100 }.next(2));
    let answer = post(server.addr(), "/api/pull", json!({"model": "new"})).await;
    let last = answer.lines().last().unwrap()["error"].to_string();
    assert!(last.contains("no space left on device"), "{last}");
    let digest = format!("/api/blobs/sha256:{}", "0".repeat(64));
    let answer = call(server.addr(), "POST", &digest, &"x".repeat(1000)).await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.body().contains("no space left on device"),
        "{}",
        answer.body()
    );
    let tags = call(server.addr(), "GET", "/api/tags", "").await.json();
    assert!(
        tags["models"]
            .as_array()
            .unwrap()
            .iter()
            .all(|model| model["name"] != "new:latest")
    );
    assert_eq!(call(server.addr(), "HEAD", &digest, "").await.status, 404);
}

#[tokio::test]
async fn a_copy_and_a_delete_can_fail() {
    let server = start(Config::default()).await;
    server.fault(Fault::InternalError.on(MODEL).next(2));
    let copy = json!({"source": MODEL, "destination": "copied"});
    let answer = post(server.addr(), "/api/copy", copy.clone()).await;
    assert_eq!(answer.status, 500);
    let delete = json!({"model": MODEL}).to_string();
    let answer = call(server.addr(), "DELETE", "/api/delete", &delete).await;
    assert_eq!(answer.status, 500);
    assert_eq!(post(server.addr(), "/api/copy", copy).await.status, 200);
}
