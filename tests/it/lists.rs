//! What the fleet has and runs, from the caches.

use std::time::Duration;

use herdsman_simulator::{Fault, Model};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Plan, TEST_TIMEOUT, TestRouter, eventually};

fn names(list: &Value) -> Vec<String> {
    let models = list["models"].as_array().expect("a list");
    let mut names: Vec<_> = models
        .iter()
        .map(|m| m["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn tags_are_the_union_of_all_servers_with_the_fields_they_gave() {
    let router = Plan::servers(2)
        .server(1, |server| server.models.push(Model::named("qwen3:8b")))
        .start()
        .await;
    let tags = router.get("/api/tags").await.json();
    assert_eq!(names(&tags), ["llama3.2:latest", "qwen3:8b"]);
    for model in tags["models"].as_array().unwrap() {
        for key in ["model", "modified_at", "size", "digest", "details"] {
            assert!(!model[key].is_null(), "{key} of {model}");
        }
    }
    let openai = router.get("/v1/models").await.json();
    assert_eq!(openai["object"], "list");
    assert_eq!(openai["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        router.get("/v1/models/qwen3:8b").await.json()["id"],
        "qwen3:8b"
    );
    assert_eq!(router.get("/v1/models/none").await.status, 404);
    router.finish().await;
}

#[tokio::test]
async fn ps_has_one_entry_per_server_and_model() {
    let router = Plan::servers(2).start().await;
    for server in &router.servers {
        let uri = format!("{}/api/generate", server.url());
        let load = http::Request::post(uri).body(json!({"model": "llama3.2"}).to_string().into());
        router.request(load.unwrap()).await.whole().await;
    }
    let both = async || names(&router.get("/api/ps").await.json());
    while both().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(both().await, ["llama3.2:latest", "llama3.2:latest"]);
    let details = router.get("/api/ps_details").await.json();
    let mut endpoints: Vec<_> = details["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["endpoint"].clone())
        .collect();
    endpoints.sort_by_key(ToString::to_string);
    assert_eq!(endpoints, ["gpu-0", "gpu-1"]);
    router.finish().await;
}

#[tokio::test]
async fn lists_do_not_wait_for_a_silent_server() {
    let router = Plan::servers(2).start().await;
    router.servers[0].fault(Fault::Silent);
    let slow = Duration::from_secs(30);
    router.servers[1].fault(Fault::StallPs { delay: slow });
    router.servers[1].fault(Fault::StallTags { delay: slow });
    for _ in 0..20 {
        for path in [
            "/api/tags",
            "/api/ps",
            "/v1/models",
            "/api/version",
            "/health",
        ] {
            let asked = Instant::now();
            assert!(router.get(path).await.status.is_success(), "{path}");
            // Far below the timeout of any probe; the bench measures how far.
            assert!(asked.elapsed() < Duration::from_secs(1), "{path}");
        }
    }
    // A slow list of models alone does not make a server down: it goes on serving.
    let chat = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "x"}]});
    eventually("the silent server is found down", || {
        !router.app.fleet().view().servers[0].endpoint.is_up()
    })
    .await;
    assert_eq!(
        router
            .post("/api/chat", &chat)
            .await
            .header("x-herdsman-endpoint"),
        "gpu-1"
    );
    router
        .servers
        .iter()
        .for_each(herdsman_simulator::Simulator::clear_faults);
    router.finish().await;
}

#[tokio::test]
async fn models_of_a_server_that_is_down_stay_listed_for_a_while() {
    let router = Plan::servers(2)
        .server(1, |server| server.models = vec![Model::named("qwen3:8b")])
        .set("fleet.stale_after=2s")
        .start()
        .await;
    router.servers[1].fault(Fault::Refuse);
    eventually("found down", || {
        !router.app.fleet().view().servers[1].endpoint.is_up()
    })
    .await;
    let chat = json!({"model": "qwen3:8b", "messages": []});
    assert_eq!(router.post("/api/chat", &chat).await.status, 502);
    while names(&router.get("/api/tags").await.json()).len() > 1 {
        tokio::task::yield_now().await;
    }
    let gone = router.post("/api/chat", &chat).await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()),
        (404, json!({"error": "model 'qwen3:8b' not found"}))
    );
    router.servers[1].clear_faults();
    eventually("up again", || {
        router.app.fleet().view().servers[1].report.models.is_some()
            && router.app.fleet().view().servers[1].endpoint.is_up()
    })
    .await;
    router.finish().await;
}

#[tokio::test]
async fn the_version_is_the_oldest_in_the_fleet() {
    let router = Plan::servers(2)
        .server(0, |server| server.version = "0.12.10".to_owned())
        .server(1, |server| server.version = "0.12.6".to_owned())
        .start()
        .await;
    while router.get("/api/version").await.json() != json!({"version": "0.12.6"}) {
        tokio::task::yield_now().await;
    }
    router.finish().await;
}

#[tokio::test]
async fn the_version_is_never_one_that_no_server_has() {
    let router = Plan::servers(2)
        .server(0, |server| server.version = "0.12.10".to_owned())
        .server(1, |server| server.version = "0.12.6".to_owned())
        .start()
        .await;
    let is = async |version: &str| {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while router.get("/api/version").await.json() != json!({ "version": version }) {
            assert!(Instant::now() < deadline, "never {version}");
        }
    };
    is("0.12.6").await;
    // Only those that answer count; when none does, what was known last.
    router.servers[1].fault(Fault::Refuse);
    is("0.12.10").await;
    router.servers[0].fault(Fault::Refuse);
    eventually("both are down", || {
        let view = router.app.fleet().view();
        view.up().next().is_none()
    })
    .await;
    is("0.12.6").await;
    for server in &router.servers {
        server.clear_faults();
    }
    router.finish().await;
}

async fn says_version(router: &TestRouter, version: &str) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while router.get("/api/version").await.json() != json!({ "version": version }) {
        assert!(Instant::now() < deadline, "never {version}");
    }
}

/// So quickly that no probe finds it down.
#[tokio::test]
async fn the_version_follows_a_server_that_is_restarted_as_another_one() {
    let router = Plan::servers(1)
        .set("fleet.models_interval=1h")
        .start()
        .await;
    says_version(&router, "0.12.6").await;
    for version in ["0.13.1", "0.13.2"] {
        router.servers[0].set_version(version);
        router.servers[0].restart(Duration::ZERO).await;
        says_version(&router, version).await;
    }
    router.finish().await;
}

#[tokio::test]
async fn the_version_behind_a_chain_of_routers_follows_that_of_the_server() {
    let last = Plan::servers(1)
        .set("fleet.models_interval=200ms")
        .start()
        .await;
    let mut behind = herdsman::config::Endpoint::at(last.url().parse().unwrap());
    behind.name = "router".to_owned();
    let first = Plan::servers(0)
        .and(behind)
        .set("fleet.models_interval=200ms");
    let first = first.start().await;
    says_version(&first, "0.12.6").await;
    last.servers[0].set_version("0.13.1");
    says_version(&first, "0.13.1").await;
    first.finish().await;
    last.finish().await;
}

/// While the server is away whose entry stands for the model.
#[tokio::test]
async fn what_is_listed_of_a_model_is_what_is_shown_of_it_also_while_a_server_is_down() {
    let digest = |digit: &str| digit.repeat(64);
    let router = Plan::servers(2)
        .each(|server| server.models[0].digest = digest("a"))
        .server(1, |server| {
            server.models[0].digest = digest("b");
            server.models[0].modified += 60;
            server.models[0].license = "newer".to_owned();
        })
        .start()
        .await;
    let listed = async || {
        let tags = router.get("/api/tags").await.json();
        tags["models"][0]["digest"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    let is_shown = async |license: &str| {
        let show = json!({"model": "llama3.2"});
        let show = router.post("/api/show", &show).await.json();
        (show["license"] == "newer") == (license == "newer")
    };
    for down in [false, true, false] {
        match down {
            true => router.servers[1].fault(Fault::Refuse),
            false => router.servers[1].clear_faults(),
        }
        let (digit, license) = if down { ("a", "") } else { ("b", "newer") };
        let deadline = Instant::now() + TEST_TIMEOUT;
        while listed().await != digest(digit) {
            assert!(Instant::now() < deadline, "never {digit}");
        }
        assert!(is_shown(license).await, "down: {down}");
    }
    router.finish().await;
}

#[tokio::test]
async fn before_any_server_has_answered_there_is_no_version() {
    let router = Plan::servers(1)
        .endpoint(0, |endpoint| {
            endpoint.url = "http://127.0.0.1:9".parse().unwrap()
        })
        .start()
        .await;
    let answer = router.get("/api/version").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.json()["error"].is_string());
    router.finish().await;
}

#[tokio::test]
async fn one_tag_with_two_digests_is_reported_and_shown_always_alike() {
    let digest = |digit: &str| digit.repeat(64);
    let router = Plan::servers(3)
        .each(|server| server.models[0].digest = digest("a"))
        .server(1, |server| {
            server.models[0].digest = digest("b");
            server.models[0].modified += 60;
            server.models[0].license = "newer".to_owned();
        })
        .each(|server| server.models.push(Model::named("qwen3")))
        .start()
        .await;
    let health = router.get("/health").await.json();
    assert_eq!(
        health["digests"],
        json!({"llama3.2:latest": {digest("a"): ["gpu-0", "gpu-2"], digest("b"): ["gpu-1"]}})
    );
    // The one that the list shows, however busy the servers are.
    let tags = router.get("/api/tags").await.json();
    let listed = tags["models"].as_array().unwrap().iter();
    let listed: Vec<_> = listed
        .filter(|model| model["name"] == "llama3.2:latest")
        .collect();
    assert_eq!(listed[0]["digest"], digest("b"));
    for _ in 0..20 {
        let show = router
            .post("/api/show", &json!({"model": "llama3.2"}))
            .await;
        assert_eq!(show.json()["license"], "newer", "{}", show.text());
        assert_eq!(show.header("x-herdsman-endpoint"), "gpu-1");
    }
    router.servers[1].set_models(&[Model {
        digest: digest("a"),
        ..Model::named("llama3.2")
    }]);
    router.finish().await;
}

#[tokio::test]
async fn a_server_that_refuses_the_router_is_not_ok() {
    let router = Plan::servers(2).start().await;
    router.servers[0].fault(Fault::Forbid);
    eventually("it is not used", || {
        !router.app.fleet().view().servers[0].endpoint.is_up()
    })
    .await;
    let health = router.get("/health").await.json();
    let server = &health["endpoints"]["gpu-0"];
    assert_eq!(server["status"], "error", "{health}");
    assert!(
        server["detail"].as_str().unwrap().contains("403"),
        "{health}"
    );
    let chat = json!({"model": "llama3.2", "messages": []});
    for _ in 0..4 {
        let answer = router.post("/api/chat", &chat).await;
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1");
    }
    router.servers[0].clear_faults();
    eventually("it is used again", || {
        router.app.fleet().view().servers[0].endpoint.is_up()
    })
    .await;
    router.finish().await;
}

/// It answers that it is there, and not what it has.
#[tokio::test]
async fn a_server_that_refuses_its_lists_is_not_ok_and_used_only_where_no_other_is() {
    let router = Plan::servers(2)
        .set("fleet.models_interval=200ms")
        .set("fleet.loaded_interval=200ms")
        .start()
        .await;
    let state = async || {
        let health = router.get("/health").await;
        let server = health.json()["endpoints"]["gpu-0"].clone();
        (
            health.status,
            server["status"].clone(),
            server["detail"].clone(),
        )
    };
    let status = async |wanted: &str| {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while state().await.1 != wanted {
            assert!(
                Instant::now() < deadline,
                "never {wanted}: {:?}",
                state().await
            );
        }
    };
    let chat = json!({"model": "llama3.2", "messages": []});
    let show = json!({"model": "llama3.2"});
    for (fault, path) in [
        (Fault::ForbidTags, "/api/tags"),
        (Fault::ForbidPs, "/api/ps"),
    ] {
        router.servers[0].fault(fault);
        status("error").await;
        let (whole, _, detail) = state().await;
        let detail = detail.as_str().unwrap().to_owned();
        assert!(detail.contains(path) && detail.contains("403"), "{detail}");
        assert_eq!(whole, 200, "the other serves");
        for (path, ask) in [("/api/chat", &chat), ("/api/show", &show)] {
            for _ in 0..4 {
                let answer = router.post(path, ask).await;
                assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-1", "{path}");
            }
        }
        // Its own answer is better than none.
        router.servers[1].fault(Fault::Refuse);
        eventually("the other is down", || {
            !router.app.fleet().view().servers[1].endpoint.is_up()
        })
        .await;
        assert_eq!(router.get("/health").await.status, 503);
        let answer = router.post("/api/chat", &chat).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
        router.servers[0].clear_faults();
        status("ok").await;
        router.servers[1].clear_faults();
        eventually("the other is back", || {
            router.app.fleet().view().servers[1].endpoint.is_up()
        })
        .await;
    }
    router.finish().await;
}
