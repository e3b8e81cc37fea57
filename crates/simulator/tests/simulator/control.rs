//! Controlling a server over HTTP, as one in another process is.

use std::time::Duration;

use herdsman_simulator::cli::{serve, serve_until_stopped};
use herdsman_simulator::{Config, Error, Model};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::wire::{call, post};
use super::{MODEL, start};

#[tokio::test]
async fn faults_counters_and_models_are_controlled_over_http() {
    let server = start(Config {
        node: "n9".into(),
        default_predict: 2,
        ..Config::default()
    })
    .await;
    let (main, control) = (server.addr(), server.control_addr());
    assert_eq!(call(control, "GET", "/_sim", "").await.json()["node"], "n9");
    let fault = json!({"fault": "error_line", "after": 1, "model": MODEL, "next": 1});
    assert_eq!(post(control, "/_sim/faults", fault).await.status, 204);
    let ask = json!({"model": MODEL, "prompt": "a"});
    assert!(post(main, "/api/generate", ask.clone()).await.lines()[1]["error"].is_string());
    assert_eq!(
        post(main, "/api/generate", ask.clone()).await.lines().len(),
        3
    );

    let refuse = json!([{"fault": "busy"}, {"fault": "refuse"}]);
    assert_eq!(post(control, "/_sim/faults", refuse).await.status, 204);
    assert!(TcpStream::connect(main).await.is_err());
    let counters = call(control, "GET", "/_sim/counters", "").await.json();
    assert_eq!(
        (counters["finished"].as_u64(), counters["failed"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(
        call(control, "DELETE", "/_sim/faults", "").await.status,
        204
    );
    assert_eq!(post(main, "/api/generate", ask.clone()).await.status, 200);

    assert_eq!(
        post(control, "/_sim/models", json!([{"name": "new"}]))
            .await
            .status,
        204
    );
    assert_eq!(post(main, "/api/generate", ask).await.status, 404);
    assert_eq!(
        call(main, "GET", "/_sim/counters", "").await.json()["finished"],
        2
    );
    assert_eq!(
        post(control, "/_sim/faults", json!({"fault": "no"}))
            .await
            .status,
        400
    );
    assert_eq!(call(control, "GET", "/api/tags", "").await.status, 404);
}

#[tokio::test]
async fn a_restart_can_be_requested() {
    let server = start(Config::default()).await;
    post(server.addr(), "/api/generate", json!({"model": MODEL})).await;
    let answer = post(
        server.control_addr(),
        "/_sim/restart",
        json!({"pause": "20ms"}),
    )
    .await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        call(server.addr(), "GET", "/api/ps", "").await.body(),
        r#"{"models":[]}"#
    );
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let server = start(Config::default()).await;
    let config = Config {
        listen: Some(server.addr()),
        ..Config::default()
    };
    assert!(matches!(
        herdsman_simulator::Simulator::start(config).await,
        Err(Error::Listen(addr, _)) if addr == server.addr()
    ));
}

#[tokio::test]
async fn the_program_serves_until_it_is_stopped() {
    let (ready, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let config = Config {
        models: vec![Model::named(MODEL)],
        ..Config::default()
    };
    let program = tokio::spawn(serve(
        config,
        move |server| ready.send(server.addr()).unwrap(),
        stopped,
    ));
    let address = address.await.unwrap();
    assert_eq!(call(address, "GET", "/", "").await.status, 200);
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), program)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    serve_until_stopped(Config::default(), async {})
        .await
        .unwrap();
}
