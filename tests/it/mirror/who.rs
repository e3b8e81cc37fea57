//! For whom the registry is, and what it answers.

use herdsman::config::Endpoint;
use herdsman_test_support::Port;
use http::Method;

use super::{ask, big, header, plan};
use crate::support::registry::{Registry, digest};
use crate::support::{Plan, TestRouter};

const MANIFEST: &str = "/v2/library/big/manifests/latest";

async fn get(router: &TestRouter, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = ask(router, Method::GET, "localhost", path, headers).await;
    (answer.status.as_u16(), answer.text().to_owned())
}

#[tokio::test]
async fn whoever_is_no_server_of_the_router_is_refused() {
    let (registry, port) = (Registry::start().await, Port::free());
    registry.offer("library/big:latest", &big());
    let elsewhere = Endpoint::at("http://192.0.2.1:11434".parse().unwrap());
    let router = plan(0, &registry, &port).and(elsewhere).start().await;
    for path in [
        MANIFEST,
        "/v2/",
        "/v2/library/big/blobs/sha256:0",
        "/v2/a/b/c/d",
    ] {
        let (status, text) = get(&router, path, &[]).await;
        assert_eq!(status, 403, "{path}: {text}");
        assert!(text.contains(r#""code":"DENIED""#), "{path}: {text}");
        let part = get(&router, path, &[("range", "bytes=0-9")]).await;
        assert_eq!(part, (403, String::new()), "Ollama writes it down");
    }
    assert_eq!(registry.manifests(), 0);
    router.finish().await;
}

#[tokio::test]
async fn what_comes_over_a_proxy_is_no_servers_whatever_it_says() {
    let (registry, port) = (Registry::start().await, Port::free());
    registry.offer("library/big:latest", &big());
    for trusted in [None, Some("server.trusted_proxies.0=127.0.0.1")] {
        let plan = plan(1, &registry, &port);
        let plan = match trusted {
            Some(setting) => plan.set(setting),
            None => plan,
        };
        let router = plan.start().await;
        assert_eq!(get(&router, MANIFEST, &[]).await.0, 200);
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "10.0.0.7"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
        ] {
            let (status, text) = get(&router, MANIFEST, &[(name, value)]).await;
            assert_eq!(status, 403, "{trusted:?} {name}: {text}");
        }
        router.finish().await;
    }
}

#[tokio::test]
async fn without_a_mirror_there_is_no_registry() {
    let router = Plan::servers(1).start().await;
    let answer = router.get(MANIFEST).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (404, "404 page not found")
    );
    router.finish().await;
}

#[tokio::test]
async fn names_that_escape_and_digests_that_are_none_are_refused() {
    let (registry, port) = (Registry::start().await, Port::free());
    let router = plan(1, &registry, &port).start().await;
    for (path, status) in [
        ("/v2/library/..%2f..%2fx/manifests/latest", 404),
        ("/v2/%2e%2e/big/manifests/latest", 404),
        ("/v2/library/big/manifests/..%2flatest", 404),
        ("/v2/library/big/manifests/..", 404),
        ("/v2/../../etc/passwd", 404),
        ("/v2/library/big/blobs/sha256:..%2f..%2fx", 404),
        ("/v2/library/big/blobs/..", 400),
        ("/v2/library/big/tags/list", 404),
        ("/v2/library/none/manifests/latest", 404),
    ] {
        let (got, text) = get(&router, path, &[]).await;
        assert_eq!(got, status, "{path}: {text}");
        assert!(text.starts_with(r#"{"errors":[{"#), "{path}: {text}");
    }
    let answer = ask(&router, Method::PUT, "localhost", MANIFEST, &[]).await;
    assert_eq!(answer.status, 405);
    router.finish().await;
}

#[tokio::test]
async fn a_blob_is_redirected_to_the_second_name_and_given_there_whole_or_in_parts() {
    let (registry, port) = (Registry::start().await, Port::free());
    let blobs = big();
    let total = registry.offer("library/big:latest", &blobs);
    let router = plan(1, &registry, &port).start().await;
    let path = format!("/v2/library/big/blobs/{}", digest(&blobs[1]));
    // Nothing is known of it before somebody has asked for the model.
    let unknown = ask(&router, Method::GET, "127.0.0.1", &path, &[]).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert!(unknown.text().contains("BLOB_UNKNOWN"));
    let part = [("range", "bytes=0-9")];
    let unknown = ask(&router, Method::GET, "127.0.0.1", &path, &part).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.text()),
        (404, ""),
        "Ollama writes it down"
    );

    let manifest = ask(&router, Method::GET, "localhost", MANIFEST, &[]).await;
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    assert_eq!(header(&manifest.headers, "content-type"), kind);
    for method in [Method::GET, Method::HEAD] {
        let answer = ask(&router, method, "localhost", &path, &[]).await;
        assert_eq!(answer.status, 307);
        let location = format!("http://127.0.0.1:{}{path}", port.number());
        assert_eq!(header(&answer.headers, "location"), location);
    }
    let head = ask(&router, Method::HEAD, "127.0.0.1", &path, &[]).await;
    assert_eq!(header(&head.headers, "content-length"), "70000");
    assert_eq!(registry.sent(), 0, "its length is known without it");
    for (range, status, part) in [
        ("bytes=0-9", 206, 0..10),
        ("bytes=69990-", 206, 69_990..70_000),
        ("bytes=-5", 206, 69_995..70_000),
        ("", 200, 0..70_000),
    ] {
        let headers = [("range", range)];
        let headers = if range.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let answer = ask(&router, Method::GET, "127.0.0.1", &path, headers).await;
        assert_eq!(answer.status, status, "{range}");
        assert_eq!(answer.body[..], blobs[1][part], "{range}");
    }
    let beyond = [("range", "bytes=70000-")];
    let answer = ask(&router, Method::GET, "127.0.0.1", &path, &beyond).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (416, ""));
    assert_eq!(header(&answer.headers, "content-range"), "bytes */70000");
    assert!(registry.sent() < total);
    router.finish().await;
}
