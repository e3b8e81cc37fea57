//! HTTPS on the router's port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use herdsman_test_support::Certificates;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Plan, TestRouter, eventually};

/// A connection of a client that trusts this authority only.
pub async fn connect(
    address: SocketAddr,
    certificates: &Certificates,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&certificates.pem("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// All that comes back.
async fn ask(mut stream: TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that ends without TLS's own end would be an error here.
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn router(certificates: &Certificates) -> TestRouter {
    let file = |name: &str| certificates.path(name).display().to_string();
    Plan::servers(1)
        .set(&format!("server.tls_cert={}", file("server.pem")))
        .set(&format!("server.tls_key={}", file("server.key")))
        .start()
        .await
}

#[tokio::test]
async fn a_stream_over_https_is_served_like_any_other() {
    let certificates = Certificates::make();
    let router = router(&certificates).await;
    let address = router.app.addr();
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "x"}]});
    let body = body.to_string();
    let request = format!(
        "POST /api/chat HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let stream = connect(address, &certificates).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None, "it has not asked");
    let answer = ask(stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"done\":true"), "{answer}");
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_told_so_and_one_that_says_nothing_holds_up_nobody() {
    let certificates = Certificates::make();
    let router = router(&certificates).await;
    let address = router.app.addr();
    let silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /api/tags HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.ends_with("this port speaks HTTPS: use https:// to reach it\n"),
        "{answer}"
    );
    let request = "GET /api/version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let stream = connect(address, &certificates).await.unwrap();
    assert!(ask(stream, request).await.starts_with("HTTP/1.1 200"));
    drop(silent);
    router.finish().await;
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_does_not_get_through() {
    let certificates = Certificates::make();
    let router = router(&certificates).await;
    let stranger = Certificates::make();
    assert!(connect(router.app.addr(), &stranger).await.is_err());
    eventually("no connection", || router.app.connections() == 0).await;
    router.finish().await;
}

#[tokio::test]
async fn a_router_without_a_usable_certificate_does_not_start() {
    let certificates = Certificates::make();
    let other = Certificates::make();
    let pairs = [
        ("server.pem", "client.key"),
        ("server.key", "server.key"),
        ("ca.pem", "missing"),
    ];
    for (certificate, key) in pairs {
        let read = herdsman::http::Tls::read(&certificates.path(certificate), &other.path(key));
        assert!(read.is_err(), "{certificate} {key}");
    }
}
