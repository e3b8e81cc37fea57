//! The official Python and JavaScript clients get through the router what they get directly.

use herdsman_simulator::Model;
use herdsman_test_support::clients;
use tokio::process::Command;

use crate::support::{Plan, TestRouter};

const MODEL: &str = "llama3.2";

async fn router() -> TestRouter {
    let model = Model::named(MODEL).saying(["<&>", "\u{2028}", "ü"]);
    Plan::servers(3)
        .each(|server| {
            server.models = vec![model.clone()];
            // Only letters and digits, so that the scripts can take the name out of the texts.
            server.node = server.node.replace('-', "");
            server.decode_interval = std::time::Duration::from_millis(1);
        })
        .start()
        .await
}

async fn compare(client: fn() -> Command) {
    let router = router().await;
    let report = async |url: String| {
        let report = clients::report(client(), &[&url, MODEL]).await;
        report.unwrap_or_else(|complaint| panic!("{url}: {complaint}"))
    };
    let direct = report(router.servers[0].url()).await;
    let routed = report(router.url()).await;
    let differing: Vec<_> = direct
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, value)| routed[key.as_str()] != **value)
        .map(|(key, value)| format!("{key}:\n direct {value}\n routed {}", routed[key.as_str()]))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    router.finish().await;
}

#[tokio::test]
async fn ollama_python_sees_the_same_through_the_router() {
    compare(|| clients::python("conformance.py")).await;
}

#[tokio::test]
async fn ollama_js_sees_the_same_through_the_router() {
    compare(|| clients::javascript("conformance.mjs")).await;
}
