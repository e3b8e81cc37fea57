//! The description and the calls.

use std::collections::BTreeSet;

use serde_json::Value;

use super::account::Draft;
use super::{all, openapi};

fn description() -> Value {
    serde_json::from_str(&openapi::describe(&all())).unwrap()
}

#[test]
fn every_call_is_described_with_what_it_takes_and_gives() {
    let description = description();
    for route in all() {
        let path = route.path.replace('*', "");
        let method = route.method.as_str().to_ascii_lowercase();
        let call = &description["paths"][&path][&method];
        assert!(call["summary"].is_string(), "{method} {path}");
        for name in route.takes.iter().chain(&route.gives) {
            let schema = &description["components"]["schemas"][name];
            assert!(schema.is_object(), "{name}");
        }
    }
    let described: usize = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|methods| methods.as_object().unwrap().len())
        .sum();
    assert_eq!(described, all().len(), "two calls with one path and method");
}

#[test]
fn what_is_described_of_an_account_is_what_is_read() {
    let written = serde_json::to_value(Draft::default()).unwrap();
    let fields: BTreeSet<&String> = written.as_object().unwrap().keys().collect();
    let description = description();
    let schema = &description["components"]["schemas"]["Draft"]["properties"];
    let described: BTreeSet<&String> = schema.as_object().unwrap().keys().collect();
    assert_eq!(fields, described);
}
