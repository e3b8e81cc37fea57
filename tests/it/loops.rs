//! Routers before routers: a chain works, and a circle ends.

use herdsman::config::{self, EndpointUrl};
use herdsman::fleet::Shown;
use herdsman_simulator::Model;
use herdsman_test_support::Port;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Plan, TestRouter, eventually};

const HEADER: &str = "x-herdsman-instance";

fn chat(stream: bool) -> Value {
    json!({"model": "llama3.2", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// A router as a server of another.
fn router_at(url: &str, name: &str) -> config::Endpoint {
    let mut endpoint = config::Endpoint::at(url.parse::<EndpointUrl>().unwrap());
    endpoint.name = name.to_owned();
    endpoint
}

/// Why a server of the router is not used, if it is not.
fn why_down(router: &TestRouter, name: &str) -> Option<String> {
    let observed = router.app.fleet().observed();
    let server = observed.iter().find(|server| *server.id.name == *name);
    let server = server.filter(|server| server.phase == Shown::Down)?;
    server.reason.as_deref().map(str::to_owned)
}

fn is_loop(router: &TestRouter, name: &str) -> bool {
    why_down(router, name).is_some_and(|why| why.starts_with("loop:"))
}

/// The id of a router: what it says of itself.
async fn id_of(router: &TestRouter) -> String {
    let answer = router.get("/api/version").await;
    let passed = answer.header(HEADER);
    passed.split(',').next().unwrap().to_owned()
}

/// A request that says which routers it has passed.
async fn having_passed(router: &TestRouter, path: &str, passed: &str) -> Answer {
    let request = match path.starts_with("/api/tags") || path == "/" {
        true => Request::get(format!("{}{path}", router.url())),
        false => Request::post(format!("{}{path}", router.url())),
    };
    let request = request.header(HEADER, passed);
    let request = request.body(chat(false).to_string().into()).unwrap();
    router.request(request).await.whole().await
}

#[tokio::test]
async fn a_chain_of_routers_answers_and_each_counts_the_tokens_once() {
    let last = Plan::servers(1).start().await;
    let middle = Plan::servers(0).and(router_at(&last.url(), "last"));
    let middle = middle.start().await;
    let first = Plan::servers(0).and(router_at(&middle.url(), "middle"));
    let first = first.start().await;
    let ids = [
        id_of(&first).await,
        id_of(&middle).await,
        id_of(&last).await,
    ];
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    for stream in [false, true] {
        for path in ["/api/chat", "/v1/chat/completions"] {
            let answer = first.post(path, &chat(stream)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(answer.header(HEADER), ids.join(","), "{path}");
            assert_eq!(answer.header("x-herdsman-endpoint"), "middle", "{path}");
        }
    }
    assert_eq!(
        last.servers[0].counters().models["llama3.2:latest"].finished,
        4
    );
    let counted = first.counted().await;
    assert!(counted.0 > 0 && counted.1 > 0, "{counted:?}");
    assert_eq!(counted, middle.counted().await);
    assert_eq!(counted, last.counted().await);
    // What a router says itself names all the routers it speaks for.
    assert_eq!(first.get("/api/tags").await.header(HEADER), ids.join(","));
    for router in [first, middle, last] {
        router.finish().await;
    }
}

#[tokio::test]
async fn a_request_that_has_passed_a_router_before_gets_508_in_its_dialect_there() {
    let router = Plan::servers(1).start().await;
    let id = id_of(&router).await;
    for passed in [id.clone(), format!("a,{id}"), format!("{id} , b")] {
        let answer = having_passed(&router, "/api/chat", &passed).await;
        assert_eq!(answer.status, 508, "{passed}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with("loop:"), "{error}");
        assert_eq!(
            answer.header(HEADER),
            id,
            "it is said in the answer as well"
        );
        let answer = having_passed(&router, "/v1/chat/completions", &passed).await;
        assert_eq!(answer.status, 508);
        assert_eq!(answer.json()["error"]["type"], "api_error");
        // Whoever asks for a list would take it for another server's.
        assert_eq!(
            having_passed(&router, "/api/tags", &passed).await.status,
            508
        );
        assert_eq!(having_passed(&router, "/", &passed).await.status, 508);
    }
    let endless: Vec<String> = (0..40).map(|n| format!("r{n}")).collect();
    let endless = having_passed(&router, "/api/chat", &endless.join(",")).await;
    assert_eq!(endless.status, 508);
    let passed = having_passed(&router, "/api/chat", "a,b").await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert!(
        router
            .get("/metrics")
            .await
            .text()
            .contains("status=\"508\"")
    );
    router.finish().await;
}

#[tokio::test]
async fn a_router_that_is_its_own_server_is_found_out_by_its_probes() {
    let port = Port::free();
    let url = format!("http://{}", port.addr());
    let router = Plan::servers(1)
        .set(&format!("server.listen={}", port.addr()))
        .and(router_at(&url, "itself"))
        .start()
        .await;
    eventually("the loop is found", || is_loop(&router, "itself")).await;
    let answer = router.post("/api/chat", &chat(false)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
    assert_eq!(answer.header("x-herdsman-attempts"), "1");
    let health = router.get("/health").await.json();
    let detail = health["endpoints"]["itself"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("loop:"), "{detail}");
    assert_eq!(health["endpoints"]["itself"]["models"], 0);
    router.finish().await;
}

/// Two routers that name each other: one of the two ways is cut, whichever is found out first, and never
/// both for good; what is on a real server is served by both or by the one that has it.
#[tokio::test]
async fn of_two_routers_that_name_each_other_one_way_is_cut_and_both_serve_what_they_have() {
    let (here, there) = (Port::free(), Port::free());
    let plan = |own: &Port, other: &Port, model: &str| {
        let model = model.to_owned();
        Plan::servers(1)
            .each(move |server| server.models = vec![Model::named(model.clone())])
            .set(&format!("server.listen={}", own.addr()))
            .and(router_at(&format!("http://{}", other.addr()), "other"))
    };
    let one = plan(&here, &there, "only-here").start().await;
    let two = plan(&there, &here, "only-there").start().await;
    let settled = || is_loop(&one, "other") != is_loop(&two, "other");
    eventually("one way is cut", settled).await;
    let ask = async |router: &TestRouter, model: &str| {
        let body = json!({"model": model, "stream": false, "prompt": "hi"});
        router.post("/api/generate", &body).await.status
    };
    assert_eq!(ask(&one, "only-here").await, 200);
    assert_eq!(ask(&two, "only-there").await, 200);
    let nobody = ask(&one, "nobody-has-this").await;
    assert_eq!(nobody, 404);
    // The model of one is gone: no list of the other brings it back.
    let (cut, open) = match is_loop(&one, "other") {
        true => (&one, &two),
        false => (&two, &one),
    };
    let own = if std::ptr::eq(cut, &one) {
        "only-here"
    } else {
        "only-there"
    };
    let cuts_model = format!("{own}:latest");
    eventually("the open way brings the other's models", || {
        let tags = open.app.fleet().view().tags();
        String::from_utf8_lossy(&tags).contains(&cuts_model)
    })
    .await;
    assert_eq!(ask(open, own).await, 200);
    let tags = cut.get("/api/tags").await.json();
    assert_eq!(tags["models"].as_array().unwrap().len(), 1, "{tags}");
    // What lies behind the way that is cut is not there, in the lists and for requests alike.
    let other = match own {
        "only-here" => "only-there",
        _ => "only-here",
    };
    assert_eq!(ask(cut, other).await, 404);
    assert_eq!(ask(open, other).await, 200);
    one.finish().await;
    two.finish().await;
}

/// The client's request arrives at a router whose server is a router that sends it back.
#[tokio::test]
async fn a_508_of_a_server_moves_the_request_and_says_nothing_about_that_server() {
    let last = Plan::servers(1).start().await;
    let first = Plan::servers(1)
        .endpoint(0, |endpoint| endpoint.priority = 1)
        .and(router_at(&last.url(), "last"))
        .start()
        .await;
    eventually("both servers are known", || {
        first.app.fleet().view().up().count() == 2
    })
    .await;
    let seen = id_of(&last).await;
    let answer = having_passed(&first, "/api/chat", &seen).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-herdsman-endpoint"), "gpu-0");
    assert_eq!(answer.header("x-herdsman-attempts"), "2");
    let next = first.post("/api/chat", &chat(false)).await;
    assert_eq!(next.header("x-herdsman-endpoint"), "last", "not avoided");
    // With no other server the client is told so.
    let request = Request::post(format!("{}/api/chat", first.url()))
        .header(HEADER, &seen)
        .header("x-herdsman-endpoints", "last")
        .body(chat(false).to_string().into())
        .unwrap();
    let answer = first.request(request).await.whole().await;
    assert_eq!(answer.status, 508, "{}", answer.text());
    first.finish().await;
    last.finish().await;
}
