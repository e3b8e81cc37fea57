//! The description and the calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::account::Draft;
use super::endpoint::NewEndpoint;
use super::{all, openapi};
use crate::config::Endpoint;

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
        let body = &call["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body.is_object(), route.takes.is_some(), "{method} {path}");
        for schema in call["responses"].as_object().unwrap().values() {
            let body = &schema["content"]["application/json"]["schema"];
            if let Some(named) = body["$ref"].as_str() {
                let found = description.pointer(named.trim_start_matches('#'));
                assert!(
                    found.is_some_and(Value::is_object),
                    "{method} {path}: {named}"
                );
            }
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
fn every_call_that_changes_something_is_told_to_those_who_watch() {
    for route in all() {
        let path = route.path;
        let reads = route.method == http::Method::GET;
        assert_eq!(route.tells.is_none(), reads, "{} {path}", route.method);
    }
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

#[test]
fn what_is_described_of_a_server_is_what_is_read() {
    let fields =
        |value: Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let read = fields(serde_json::to_value(Endpoint::default()).unwrap());
    assert_eq!(
        read,
        fields(serde_json::to_value(NewEndpoint::default()).unwrap())
    );
}

/// Every value there is in a body, and its type, however the description spells it.
#[test]
fn the_shapes_of_all_bodies_stay_what_they_are() {
    let description = description();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let mut shapes = BTreeMap::new();
    for (name, schema) in schemas {
        shape(schemas, name, schema, &mut shapes);
    }
    let lines: Vec<String> = shapes
        .iter()
        .map(|(place, types)| {
            let types: Vec<&str> = types.iter().map(String::as_str).collect();
            format!("{place}: {}", types.join(" | "))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

type Shapes = BTreeMap<String, BTreeSet<String>>;

fn shape(schemas: &serde_json::Map<String, Value>, place: &str, schema: &Value, into: &mut Shapes) {
    if let Some(named) = schema["$ref"].as_str() {
        let name = named.rsplit('/').next().unwrap();
        return shape(schemas, place, &schemas[name], into);
    }
    let ways = ["anyOf", "oneOf"].map(|of| schema[of].as_array());
    for way in ways.into_iter().flatten().flatten() {
        shape(schemas, place, way, into);
    }
    let types = into.entry(place.to_owned()).or_default();
    match (&schema["type"], &schema["const"], schema["enum"].as_array()) {
        (_, Value::String(one), _) => drop(types.insert(format!("{one:?}"))),
        (_, _, Some(several)) => types.extend(several.iter().map(Value::to_string)),
        (Value::String(one), ..) => drop(types.insert(one.clone())),
        (Value::Array(several), ..) => {
            types.extend(several.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        shape(schemas, &format!("{place}.{name}"), schema, into);
    }
    let entries = schema["prefixItems"].as_array().into_iter().flatten();
    for entry in entries.chain(schema.get("items")) {
        shape(schemas, &format!("{place}[]"), entry, into);
    }
    if let Some(any) = schema
        .get("additionalProperties")
        .filter(|any| any.is_object())
    {
        shape(schemas, &format!("{place}.*"), any, into);
    }
}
