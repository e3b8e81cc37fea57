//! Pulls: of several servers as of one, shared, and ended with their readers.

use std::time::Duration;

use herdsman_simulator::{Fault, Model};
use http::Method;
use serde_json::{Value, json};

use super::{
    check_progress, holders, is_down, is_up, listed, models_of, named, plan, pulls, send,
    some_lines, until,
};
use crate::support::{Answer, Footprint, Plan, TestRouter};

const BIG: &str = "big:latest";

async fn pull(router: &TestRouter, model: &str) -> Answer {
    router.post("/api/pull", &named(model)).await
}

fn statuses(lines: &[Value]) -> Vec<&str> {
    let statuses = lines.iter().filter(|line| line.get("digest").is_none());
    statuses
        .filter_map(|line| line["status"].as_str())
        .collect()
}

/// The last line of each layer.
fn layers(lines: &[Value]) -> Vec<(u64, u64)> {
    let mut layers = std::collections::BTreeMap::new();
    for line in lines {
        if let Some(digest) = line["digest"].as_str() {
            let number = |key: &str| line[key].as_u64().unwrap_or(0);
            layers.insert(digest, (number("total"), number("completed")));
        }
    }
    let mut layers: Vec<_> = layers.into_values().collect();
    layers.sort_unstable();
    layers
}

#[tokio::test]
async fn a_pull_of_three_servers_is_one_pull_and_listed_at_once() {
    let router = plan(3)
        .each(|server| server.pull_bytes_per_second = 5e6)
        .start()
        .await;
    let answer = pull(&router, "big").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/x-ndjson")
    );
    assert_eq!(answer.header("x-herdsman-endpoints"), "gpu-0,gpu-1,gpu-2");
    let lines = answer.lines();
    check_progress(&lines);
    let plain = [
        "pulling manifest",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ];
    assert_eq!(statuses(&lines), plain);
    assert_eq!(layers(&lines), [(3 * 561, 3 * 561), (3_000_000, 3_000_000)]);
    assert_eq!(listed(&router).await, [BIG]);
    assert_eq!(holders(&router, BIG), ["gpu-0", "gpu-1", "gpu-2"]);
    // Again, and not in lines: what is there is not fetched again.
    let answer = router
        .post("/api/pull", &json!({"name": "BIG", "stream": false}))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, r#"{"status":"success"}"#)
    );
    router.finish().await;
}

/// One fails halfway, one is slow, one is down, and the client leaves and returns.
#[tokio::test]
async fn a_pull_over_five_servers_says_where_it_failed_and_where_it_is_done() {
    let router = plan(5)
        .server(2, |server| server.pull_bytes_per_second = 1e6)
        .start()
        .await;
    router.servers[1].fault(Fault::ErrorLine { after: 2 });
    router.servers[3].fault(Fault::Refuse);
    is_down(&router, 3).await;

    // It leaves when something has come of the slow one.
    let mut first = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut first).await;
    let of_slow = |pulls: &[Value]| {
        let mut parts = pulls
            .iter()
            .flat_map(|pull| pull["endpoints"].as_array().unwrap());
        parts.any(|part| part["endpoint"] == "gpu-2" && part["completed"] != 0)
    };
    until(&router, "something has come of the slow one", of_slow).await;
    drop(first);
    until(&router, "the pull ends with its reader", |pulls| {
        pulls[0]["phase"] == "failed"
    })
    .await;
    assert!(models_of(&router, 2).await.is_empty());

    // It returns.
    let answer = pull(&router, "big").await;
    let lines = answer.lines();
    check_progress(&lines);
    assert_eq!(lines[1]["status"], "left out: gpu-3 (down)");
    assert_eq!(answer.header("x-herdsman-left-out"), "gpu-3");
    let error = lines.last().unwrap()["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("pull of 'big' failed on gpu-1 (model runner"),
        "{error}"
    );
    assert!(
        error.ends_with("; it is done on gpu-0, gpu-2, gpu-4"),
        "{error}"
    );
    assert_eq!(holders(&router, BIG), ["gpu-0", "gpu-2", "gpu-4"]);
    for (server, has) in [(0, true), (1, false), (2, true), (4, true)] {
        assert_eq!(
            !models_of(&router, server).await.is_empty(),
            has,
            "gpu-{server}"
        );
    }

    // What was down was not remembered; whoever asks again gets it everywhere.
    for server in &router.servers {
        server.clear_faults();
    }
    is_up(&router, 3).await;
    assert!(models_of(&router, 3).await.is_empty());
    let lines = pull(&router, "big").await.lines();
    check_progress(&lines);
    assert_eq!(lines.last().unwrap()["status"], "success");
    assert_eq!(holders(&router, BIG).len(), 5);
    router.finish().await;
}

#[tokio::test]
async fn a_second_client_joins_a_pull_and_it_goes_on_until_both_have_left() {
    let router = plan(2)
        .each(|server| server.pull_bytes_per_second = 5e5)
        .start()
        .await;
    pulls(&router).await; // a connection, which stays
    let footprint = Footprint::now();
    let mut one = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut one).await;
    let mut other = router
        .stream("/api/pull", &named("library/big:latest"))
        .await;
    let lines = some_lines(&mut other).await;
    assert_eq!(lines[0]["status"], "pulling manifest", "from the beginning");
    let shown = until(&router, "both read it", |pulls| pulls[0]["readers"] == 2).await;
    assert_eq!(shown.len(), 1);
    drop(one);
    until(&router, "one reads it", |pulls| pulls[0]["readers"] == 1).await;
    for _ in 0..3 {
        check_goes_on(&some_lines(&mut other).await);
    }
    drop(other);
    until(&router, "it has ended", |pulls| {
        pulls[0]["phase"] == "failed"
    })
    .await;
    footprint.is_restored().await;
    // What was there is not fetched again.
    let lines = pull(&router, "big").await.lines();
    check_progress(&lines);
    assert_eq!(lines.last().unwrap()["status"], "success");
    let first = lines
        .iter()
        .find(|line| line.get("digest").is_some())
        .unwrap();
    assert!(
        first["completed"].as_u64().is_some_and(|bytes| bytes > 0),
        "{first}"
    );
    router.finish().await;
}

fn check_goes_on(lines: &[Value]) {
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line.get("error").is_none()),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_pull_ends_with_a_client_that_waits_for_no_lines_as_well() {
    let router = plan(1)
        .each(|server| server.pull_bytes_per_second = 1e3)
        .start()
        .await;
    let body = json!({"model": "big", "stream": false});
    let waiting = router.stream("/api/pull", &body);
    tokio::select! {
        answer = waiting => panic!("{answer:?}"),
        _ = until(&router, "it runs", |pulls| pulls.iter().any(|pull| pull["readers"] == 1)) => {}
    }
    until(&router, "it has ended", |pulls| {
        pulls[0]["phase"] == "failed"
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn a_model_that_exists_nowhere_is_an_error_with_one_word_for_all() {
    let router = plan(2).start().await;
    let lines = pull(&router, "none").await.lines();
    check_progress(&lines);
    let error = "pull model manifest: file does not exist (gpu-0, gpu-1)";
    assert_eq!(
        lines,
        [
            json!({"status": "pulling manifest"}),
            json!({"error": error})
        ]
    );
    let answer = router
        .post("/api/pull", &json!({"model": "none", "stream": false}))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (500, json!({"error": error}))
    );
    assert!(listed(&router).await.is_empty());
    // Of one server, word for word.
    let path = "/api/pull?endpoints=gpu-1";
    let answer = router
        .post(path, &json!({"model": "none", "stream": false}))
        .await;
    assert_eq!(
        answer.json()["error"],
        "pull model manifest: file does not exist"
    );
    router.finish().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_whichever_way_it_does() {
    let router = plan(2).set("routing.idle_timeout=500ms").start().await;
    for (fault, words) in [
        (Fault::DiskFull { after: 1000 }, "no space left on device"),
        (Fault::Reset { after: 1 }, "its answer broke off"),
        (Fault::HalfLine { after: 1 }, "its answer"),
        (
            Fault::CleanEnd { after: 1 },
            "its answer ended before it had succeeded",
        ),
        (Fault::Stall { after: 1 }, "said nothing for too long"),
        (Fault::ErrorLine { after: 0 }, "model runner"),
    ] {
        let text = format!("{fault:?}");
        router.servers[1].fault(fault.next(1));
        let lines = pull(&router, "big").await.lines();
        check_progress(&lines);
        let error = lines.last().unwrap()["error"].as_str().unwrap_or_default();
        assert!(
            error.contains(words) && error.contains("gpu-1"),
            "{text}: {lines:?}"
        );
        assert!(error.ends_with("it is done on gpu-0"), "{text}: {error}");
        assert!(models_of(&router, 1).await.is_empty(), "{text}");
    }
    router.finish().await;
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_a_server_is_asked() {
    let router = plan(2).start().await;
    for (body, status, error) in [
        (
            json!({"model": "../../etc/passwd"}),
            400,
            "invalid model name",
        ),
        (json!({"model": "a/../b"}), 400, "invalid model name"),
        (json!({"model": "a b"}), 400, "invalid model name"),
        (
            json!({"model": 7}),
            400,
            "json: cannot unmarshal number into Go struct field PullRequest.model of type string",
        ),
        (
            json!([]),
            400,
            "json: cannot unmarshal array into Go value of type api.PullRequest",
        ),
        (json!({}), 400, "invalid model name"),
    ] {
        let answer = router.post("/api/pull", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"].as_str()),
            (status, Some(error)),
            "{body}"
        );
    }
    for (path, words) in [
        ("/api/pull?endpoints=gpu-7", "there is no server 'gpu-7'"),
        ("/api/pull?endpoints=gpu-0,..", "there is no server '..'"),
    ] {
        let answer = router.post(path, &named("big")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"].as_str()),
            (400, Some(words))
        );
    }
    assert_eq!(router.get("/api/pull").await.status, 405);
    router.finish().await;
}

async fn to(router: &TestRouter, endpoints: &str) -> Answer {
    let headers = [("x-herdsman-endpoints", endpoints)];
    let body = named("big").to_string().into();
    send(router, Method::POST, "/api/pull", &headers, body)
        .await
        .whole()
        .await
}

#[tokio::test]
async fn a_request_names_its_servers_and_one_of_those_that_is_down_has_failed() {
    let router = plan(3).start().await;
    let answer = to(&router, "gpu-2, gpu-0").await;
    assert_eq!(answer.lines().last().unwrap()["status"], "success");
    assert_eq!(holders(&router, BIG), ["gpu-0", "gpu-2"]);
    router.servers[1].fault(Fault::Refuse);
    is_down(&router, 1).await;
    let lines = to(&router, "gpu-1,gpu-2").await.lines();
    check_progress(&lines);
    let error = "pull of 'big' failed on gpu-1 (down); it is done on gpu-2";
    assert_eq!(lines.last().unwrap()["error"], error);
    let answer = to(&router, "gpu-1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"].as_str()),
        (502, Some("no server can be reached: gpu-1 (down)"))
    );
    router.finish().await;
}

#[tokio::test]
async fn of_so_many_the_emptiest_servers_get_a_model() {
    let sized = |name: &str, size| Model {
        size,
        ..Model::named(name)
    };
    let router = Plan::servers(3)
        .set("models.pull=1")
        .server(0, move |server| server.models = vec![sized("a", 9000)])
        .server(1, move |server| server.models = vec![sized("b", 10)])
        .server(2, move |server| {
            server.models = vec![sized("c", 500), sized("d", 500)]
        })
        .start()
        .await;
    for (model, endpoint) in [
        ("new", "gpu-1"),
        ("newer", "gpu-2"),
        ("new", "gpu-1"),
        ("a", "gpu-0"),
    ] {
        let answer = pull(&router, model).await;
        assert_eq!(answer.header("x-herdsman-endpoints"), endpoint, "{model}");
        assert_eq!(answer.lines().last().unwrap()["status"], "success");
    }
    router.finish().await;
}

#[tokio::test]
async fn a_pull_that_the_shutdown_cuts_ends_with_an_error() {
    let router = plan(2)
        .set("server.grace=100ms")
        .each(|server| server.pull_bytes_per_second = 1e3)
        .start()
        .await;
    let mut stream = router.stream("/api/pull", &named("big")).await;
    some_lines(&mut stream).await;
    let read = async {
        let mut lines = Vec::new();
        loop {
            match some_lines(&mut stream).await {
                more if more.is_empty() => return lines,
                more => lines.extend(more),
            }
        }
    };
    let (lines, ()) = tokio::join!(read, router.finish());
    let last = lines.last().unwrap();
    assert!(
        last["error"]
            .as_str()
            .is_some_and(|error| error.contains("shutting down")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_pull_whose_actor_dies_ends_with_an_error_and_the_next_one_works() {
    let router = plan(1)
        .each(|server| server.pull_bytes_per_second = 1e6)
        .start()
        .await;
    let mut stream = router.stream("/api/pull", &named("big")).await;
    let mut lines = some_lines(&mut stream).await;
    router.app.models().kill_jobs();
    loop {
        match some_lines(&mut stream).await {
            more if more.is_empty() => break,
            more => lines.extend(more),
        }
    }
    assert!(lines.last().unwrap()["error"].is_string(), "{lines:?}");
    let lines = until_success(&router).await;
    check_progress(&lines);
    router.finish().await;
}

/// The actor is restarted in a moment.
async fn until_success(router: &TestRouter) -> Vec<Value> {
    loop {
        let answer = pull(router, "big").await;
        if answer.status == 200 {
            return answer.lines();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
