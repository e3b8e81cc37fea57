//! The check against an administration that listens on a real socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::*;

/// An authority, and what it signed: certificate and key, in PEM.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    server: (String, String),
    client: (String, String),
}

impl Certificates {
    fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let signed = |purpose| {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &authority).unwrap();
            (signed.pem(), key.serialize_pem())
        };
        Self {
            server: signed(ExtendedKeyUsagePurpose::ServerAuth),
            client: signed(ExtendedKeyUsagePurpose::ClientAuth),
            authority,
        }
    }

    /// A server that shows its certificate, and may want one.
    fn server(&self, wants_certificate: bool) -> Arc<ServerConfig> {
        let (certificate, key) = &self.server;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_certificate {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    /// For a client that knows the authority, and may have a certificate of its own.
    fn known(&self, has_certificate: bool) -> Option<TlsCertificates> {
        let (certificate, key) = &self.client;
        Some(TlsCertificates {
            client_tls: has_certificate.then(|| ClientTlsConfig {
                client_cert: certificate.clone().into_bytes(),
                client_key: key.clone().into_bytes(),
            }),
            root_cert: Some(self.authority.pem().into_bytes()),
        })
    }
}

/// The accepted credentials.
const LOGIN: &str = "Basic YWRtaW46c2VjcmV0";

/// An administration of one database. It records its requests.
struct Admin {
    port: u16,
    asked: mpsc::UnboundedReceiver<String>,
}

/// How it behaves.
#[derive(Clone)]
struct Behaviour {
    /// The number of its database, reached at `redis-{uid}.example`.
    uid: u64,
    /// What it says about availability.
    availability: (StatusCode, &'static str),
    /// What it answers instead of the list.
    list: Option<String>,
    /// It accepts and says nothing.
    silent: bool,
    tls: Option<Arc<ServerConfig>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            uid: 7,
            availability: (StatusCode::OK, ""),
            list: None,
            silent: false,
            tls: None,
        }
    }
}

impl Behaviour {
    fn answer(&self, request: &Request<Incoming>) -> (StatusCode, String) {
        if request
            .headers()
            .get(AUTHORIZATION)
            .is_none_or(|login| login != LOGIN)
        {
            return (StatusCode::UNAUTHORIZED, String::new());
        }
        let uid = self.uid;
        if request.uri().path() == "/v1/bdbs" {
            let other = uid + 1000;
            let list = self.list.clone().unwrap_or_else(|| {
                format!(
                    r#"[{{"uid":{other},"endpoints":[{{"dns_name":"other","addr":["127.0.0.1"]}}]}},
                        {{"uid":{uid},"endpoints":[{{"dns_name":"redis-{uid}.example","addr":["127.0.0.1"]}}]}}]"#
                )
            });
            (StatusCode::OK, list)
        } else if request.uri().path() == format!("/v1/bdbs/{uid}/availability") {
            (self.availability.0, self.availability.1.to_owned())
        } else {
            (StatusCode::NOT_FOUND, String::new())
        }
    }
}

impl Admin {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, asked) = mpsc::unbounded_channel();
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (behaviour, requests) = (behaviour.clone(), requests.clone());
                connections.spawn(async move {
                    match behaviour.tls.clone().map(TlsAcceptor::from) {
                        None => serve(stream, behaviour, requests).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, behaviour, requests).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    fn asked(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    behaviour: Behaviour,
    requests: mpsc::UnboundedSender<String>,
) {
    let answering = service_fn(|request: Request<Incoming>| {
        requests.send(request.uri().to_string()).unwrap();
        let (status, body) = behaviour.answer(&request);
        let silent = behaviour.silent;
        async move {
            if silent {
                std::future::pending::<()>().await;
            }
            let mut answer = Response::new(Full::new(Bytes::from(body)));
            *answer.status_mut() = status;
            Ok::<_, Infallible>(answer)
        }
    });
    // The client may have gone.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answering)
        .await;
}

fn config() -> LagAwareConfig {
    LagAwareConfig {
        auth_basic: Some(("admin".into(), "secret".into())),
        ..LagAwareConfig::default()
    }
}

fn check(config: LagAwareConfig) -> LagAwareHealthCheck {
    LagAwareHealthCheck::new(config).unwrap()
}

fn hosts(uid: u64) -> Vec<String> {
    vec![format!("redis-{uid}.example")]
}

#[tokio::test]
async fn a_database_that_is_not_behind_is_healthy() {
    let mut admin = Admin::start(Behaviour::default()).await;
    let check = check(LagAwareConfig {
        lag_aware_tolerance: Duration::from_millis(150),
        ..config()
    });
    check.ask(Some(&admin.url()), &hosts(7)).await.unwrap();
    assert_eq!(
        admin.asked(),
        [
            "/v1/bdbs?fields=uid,endpoints",
            "/v1/bdbs/7/availability?extend_check=lag&availability_lag_tolerance_ms=150",
        ]
    );
}

#[tokio::test]
async fn a_database_that_lags_is_not_and_the_servers_reason_is_told() {
    let reason = r#"{"error_code": "lag_exceeded", "description": "too far behind"}"#;
    let admin = Admin::start(Behaviour {
        availability: (StatusCode::SERVICE_UNAVAILABLE, reason),
        ..Behaviour::default()
    })
    .await;
    let result = check(config()).ask(Some(&admin.url()), &hosts(7)).await;
    let expected = format!(
        "{}: 503 Service Unavailable lag_exceeded too far behind",
        admin.url()
    );
    assert_eq!(result, Err(Unhealthy(expected)));
}

#[tokio::test]
async fn a_check_that_is_not_authorized_or_finds_nothing_says_so() {
    let admin = Admin::start(Behaviour::default()).await;
    let asked = async |config, hosts: &[String]| {
        let result = check(config).ask(Some(&admin.url()), hosts).await;
        result.unwrap_err().0.replace(&admin.url(), "")
    };
    let unauthorized = LagAwareConfig::default();
    assert_eq!(asked(unauthorized, &hosts(7)).await, ": 401 Unauthorized");
    let result = asked(config(), &["x".into(), "y".into()]).await;
    assert_eq!(result, ": no database is reached at x, y");
    let result = asked(config(), &["127.0.0.1".into()]).await;
    let expected = ": several databases are reached at 127.0.0.1: [1007, 7]";
    assert_eq!(result, expected);
    let nowhere = check(config()).ask(None, &hosts(7)).await.unwrap_err();
    assert_eq!(nowhere.0, "it has no health_check_url");
}

/// The password of one administration is none of another's business.
#[tokio::test]
async fn a_password_in_an_address_is_for_that_address_alone() {
    let admin = Admin::start(Behaviour::default()).await;
    let with = |login: &str| admin.url().replace("//", &format!("//{login}@"));
    let unauthorized = check(LagAwareConfig::default());
    let own = unauthorized
        .ask(Some(&with("admin:secret")), &hosts(7))
        .await;
    own.unwrap();
    let other = unauthorized.ask(Some(&admin.url()), &hosts(7)).await;
    assert!(other.unwrap_err().0.ends_with(": 401 Unauthorized"));
    // It goes before the check's own.
    let result = check(config())
        .ask(Some(&with("admin:wrong")), &hosts(7))
        .await;
    assert!(result.unwrap_err().0.ends_with(": 401 Unauthorized"));
    for url in ["ftp://admin:secret@x", "http://admin:%FF@x"] {
        let Unhealthy(result) = unauthorized.ask(Some(url), &hosts(7)).await.unwrap_err();
        assert_eq!(result, r#"health_check_url "x" is no address"#);
    }
    let config =
        crate::DatabaseConfig::from_url("redis://x").health_check_url(with("admin:secret"));
    assert!(!format!("{config:?}").contains("secret"));
}

#[tokio::test]
async fn databases_that_are_checked_at_once_are_not_taken_for_one_another() {
    let behaviours = (0..4).map(|uid| Behaviour {
        uid,
        ..Behaviour::default()
    });
    let mut admins = join_all(behaviours.map(Admin::start)).await;
    let check = check(config());
    for _ in 0..25 {
        let rounds = admins.iter().enumerate().map(async |(uid, admin)| {
            let uid = uid as u64;
            check.ask(Some(&admin.url()), &hosts(uid)).await
        });
        assert!(join_all(rounds).await.iter().all(Result::is_ok));
    }
    for (uid, admin) in admins.iter_mut().enumerate() {
        let own = format!("/v1/bdbs/{uid}/availability");
        let asked = admin.asked();
        assert_eq!(asked.len(), 50);
        let about_it = asked.iter().filter(|path| path.starts_with(&own));
        assert_eq!(about_it.count(), 25);
    }
}

#[tokio::test]
async fn an_administration_that_says_nothing_is_given_up_in_time() {
    let admin = Admin::start(Behaviour {
        silent: true,
        ..Behaviour::default()
    })
    .await;
    let check = check(LagAwareConfig {
        http_timeout: Duration::from_millis(100),
        ..config()
    });
    let began = Instant::now();
    let result = check.ask(Some(&admin.url()), &hosts(7)).await;
    assert_eq!(
        result.unwrap_err().0,
        format!("{}: no answer within 100ms", admin.url())
    );
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // One answer for each connection, and no sign that it was the last.
    TaskTracker::new().spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            let mut lines = BufReader::new(&mut stream);
            // Who comes and goes without a question was a spare connection.
            while !asked.ends_with("\r\n\r\n") && lines.read_line(&mut asked).await.unwrap() > 0 {}
            let list = r#"[{"uid":7,"endpoints":[{"dns_name":"redis-7.example"}]}]"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
            let _ = stream.write_all((head + list).as_bytes()).await;
        }
    });
    let check = check(config());
    for _ in 0..50 {
        check.ask(Some(&url), &hosts(7)).await.unwrap();
    }
}

#[tokio::test]
async fn an_unbounded_answer_is_not_read_to_its_end() {
    let admin = Admin::start(Behaviour {
        list: Some(" ".repeat(5 * 1024 * 1024)),
        ..Behaviour::default()
    })
    .await;
    let result = check(config()).ask(Some(&admin.url()), &hosts(7)).await;
    assert_eq!(
        result.unwrap_err().0,
        format!("{}: length limit exceeded", admin.url())
    );
}

/// Asks an administration that speaks TLS.
async fn over_tls(server: Arc<ServerConfig>, config: LagAwareConfig) -> Result<(), Unhealthy> {
    let admin = Admin::start(Behaviour {
        tls: Some(server),
        ..Behaviour::default()
    })
    .await;
    // Neither scheme nor port in the address: both are the defaults.
    let check = check(LagAwareConfig {
        rest_api_port: admin.port,
        ..config
    });
    check.ask(Some("localhost"), &hosts(7)).await
}

#[tokio::test]
async fn a_certificate_of_a_known_authority_is_trusted_and_of_an_unknown_one_is_not() {
    let certificates = Certificates::make();
    for (tls, trusted) in [(certificates.known(false), true), (None, false)] {
        let config = LagAwareConfig { tls, ..config() };
        let result = over_tls(certificates.server(false), config).await;
        assert_eq!(result.is_ok(), trusted, "{result:?}");
        if let Err(Unhealthy(result)) = result {
            assert!(result.contains("UnknownIssuer"), "{result}");
        }
    }
}

#[tokio::test]
async fn without_verification_any_certificate_is_trusted() {
    let config = LagAwareConfig {
        verify_tls: false,
        ..config()
    };
    let server = Certificates::make().server(false);
    over_tls(server, config).await.unwrap();
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let certificates = Certificates::make();
    for has_certificate in [true, false] {
        let tls = certificates.known(has_certificate);
        let config = LagAwareConfig { tls, ..config() };
        let result = over_tls(certificates.server(true), config).await;
        assert_eq!(result.is_ok(), has_certificate, "{result:?}");
    }
}

#[test]
fn what_cannot_be_used_is_found_when_it_is_configured() {
    let root_cert = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec();
    let unreadable = LagAwareConfig {
        tls: Some(TlsCertificates {
            client_tls: None,
            root_cert: Some(root_cert),
        }),
        ..config()
    };
    let error = LagAwareHealthCheck::new(unreadable).unwrap_err();
    assert!(matches!(error, LagAwareError::Tls(_)), "{error}");
    let ambiguous = LagAwareConfig {
        auth_basic: Some(("a:b".into(), "c".into())),
        ..config()
    };
    let error = LagAwareHealthCheck::new(ambiguous).unwrap_err();
    assert!(matches!(error, LagAwareError::User));
}

#[test]
fn it_prevents_a_return_and_does_not_evict_unless_configured() {
    assert!(check(config()).failback_only());
    let failback_only = false;
    let full = check(LagAwareConfig {
        failback_only,
        ..config()
    });
    assert!(!full.failback_only());
}

#[test]
fn no_secret_is_shown() {
    let tls = Certificates::make().known(true);
    let shown = format!("{:?}", check(LagAwareConfig { tls, ..config() }));
    assert!(shown.contains("admin") && !shown.contains("secret") && !shown.contains("KEY"));
}
