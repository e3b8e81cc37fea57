//! Clients behind a proxy: whom the router takes them for.

use std::path::Path;

use bytes::Bytes;
use herdsman_test_support::Certificates;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::https::connect;
use crate::support::{Plan, TestRouter, eventually};

/// Of a request with these headers.
async fn ask(router: &TestRouter, id: &str, headers: &[(&str, &str)]) {
    let mut request =
        Request::post(format!("{}/api/chat", router.url())).header("x-request-id", id);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "hi"}]});
    let request = request.body(Full::new(Bytes::from(body.to_string())));
    let answer = router.request(request.unwrap()).await.whole().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Of these requests, by the log, in their order: from where, and how.
async fn logged(file: &Path, ids: &[&str]) -> Vec<(Value, Value)> {
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    eventually("every request is logged", || lines().len() == ids.len()).await;
    let of = |id: &&str| {
        let lines = lines();
        let line = lines.iter().find(|line| line["id"] == **id).unwrap();
        (line["client"].clone(), line["scheme"].clone())
    };
    ids.iter().map(of).collect()
}

#[tokio::test]
async fn the_log_has_the_client_that_a_trusted_proxy_names_and_how_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let router = Plan::servers(1)
        .set(&format!("log.access={}", file.display()))
        .set(r#"server.trusted_proxies=["127.0.0.1"]"#)
        .start()
        .await;
    let forwarded = ("x-forwarded-for", "6.6.6.6, 1.2.3.4");
    ask(
        &router,
        "named",
        &[forwarded, ("x-forwarded-proto", "https")],
    )
    .await;
    ask(&router, "alone", &[]).await;
    ask(&router, "unknown", &[("x-forwarded-for", "unknown")]).await;
    let (http, https) = (json!("http"), json!("https"));
    assert_eq!(
        logged(&file, &["named", "alone", "unknown"]).await,
        [
            (json!("1.2.3.4"), https),
            (json!("127.0.0.1"), http.clone()),
            (Value::Null, http),
        ]
    );
    let shown = async |id: &str| {
        let shown = router.get(&format!("/admin/requests/{id}")).await;
        shown.json()["client"].clone()
    };
    assert_eq!(shown("named").await, "1.2.3.4");
    assert_eq!(shown("unknown").await, Value::Null);
    router.finish().await;
}

#[tokio::test]
async fn what_anybody_else_says_of_itself_does_not_count() {
    let (dir, certificates) = (tempfile::tempdir().unwrap(), Certificates::make());
    let file = dir.path().join("access.log");
    let pem = |name: &str| certificates.path(name).display().to_string();
    let router = Plan::servers(1)
        .set(&format!("log.access={}", file.display()))
        .set(r#"server.trusted_proxies=["10.0.0.0/8"]"#)
        .set(&format!("server.tls_cert={}", pem("server.pem")))
        .set(&format!("server.tls_key={}", pem("server.key")))
        .start()
        .await;
    let mut stream = connect(router.app.addr(), &certificates).await.unwrap();
    let body = json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let request = format!(
        "POST /api/chat HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: a\r\n\
         x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: http\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let here = (json!("127.0.0.1"), json!("https"));
    assert_eq!(logged(&file, &["a"]).await, [here]);
    router.finish().await;
}
