//! `/admin/openapi.json`: the calls, for code generators.
//!
//! The schemas are derived from the types that are read and written, so that no description can
//! differ from them. What is read and what is written are described apart: what may be left out of
//! a body is always there in an answer.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Route, SchemaOf};

pub(super) fn describe(routes: &[Route]) -> String {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes {
        let path = route.path.replace('*', "");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = call(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "herdsman admin",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Money is integer nano-USD, moments are Unix seconds, null is without limit. \
                            Errors are {\"error\": \"…\"}.",
        },
        "security": [{ "admin_key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "admin_key": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas.all(),
        },
    })
    .to_string()
}

fn call(route: &Route, schemas: &mut Schemas) -> Value {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name.trim_start_matches('*'), "in": "path", "required": true,
            "schema": { "type": "string" },
        }))
    });
    let in_query = route.query.iter().map(|name| {
        json!({ "name": name, "in": "query", "required": false, "schema": { "type": "string" } })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    // A list is posted to for something to be made, anything else for something to be done.
    let makes = route.method == http::Method::POST && !route.path.contains('{');
    let status = match (route.accepted, makes) {
        (true, _) => "202",
        (false, true) => "201",
        (false, false) => "200",
    };
    let mut done = json!({ "description": "done" });
    if let Some(gives) = route.gives {
        done["content"] = content(gives, &mut schemas.written);
    }
    let error = content(
        SchemaGenerator::subschema_for::<Error>,
        &mut schemas.written,
    );
    let failed = json!({ "description": "not done, and why", "content": error });
    let mut call = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": { status: done, "default": failed },
    });
    if let Some(takes) = route.takes {
        let content = content(takes, &mut schemas.read);
        call["requestBody"] = json!({ "required": true, "content": content });
    }
    call
}

fn content(of: SchemaOf, schemas: &mut SchemaGenerator) -> Value {
    json!({ "application/json": { "schema": of(schemas) } })
}

/// The types that were named so far. A name stands for one type, read or written.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        all.extend(self.written.take_definitions(true));
        all
    }
}

/// Why a call was not done.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "errors of all paths are written by one file, as text"
)]
struct Error {
    /// In a sentence.
    error: String,
}
