//! `/admin/openapi.json`: the calls, for programs that write programs.

use serde_json::{Map, Value, json};

use super::{Route, spend};

pub(super) fn describe(routes: &[Route]) -> String {
    let mut paths = Map::new();
    for route in routes {
        let path = route.path.replace('*', "");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = call(route);
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
            "schemas": schemas(),
        },
    })
    .to_string()
}

fn call(route: &Route) -> Value {
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
    let content = |name: &str| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "application/json": { "schema": schema } })
    };
    // A list is posted to for something to be made, anything else for something to be done.
    let makes = route.method == http::Method::POST && !route.path.contains('{');
    let status = if makes { "201" } else { "200" };
    let mut done = json!({ "description": "done" });
    if let Some(gives) = route.gives {
        done["content"] = content(gives);
    }
    let failed = json!({ "description": "not done, and why", "content": content("Error") });
    let mut call = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": { status: done, "default": failed },
    });
    if let Some(takes) = route.takes {
        call["requestBody"] = json!({ "required": true, "content": content(takes) });
    }
    call
}

/// What an account may be said to be: the fields of [`Draft`](super::account::Draft).
fn draft() -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    let whole = || json!({ "type": ["integer", "null"], "minimum": 0 });
    let speed = json!({
        "type": "object",
        "properties": { "rpm": whole(), "tpm": whole(), "parallel": whole() },
    });
    let fields = [
        ("name", text()),
        ("user", text()),
        ("team", text()),
        ("org", text()),
        ("budget", text()),
        ("limit_nano_usd", whole()),
        ("soft_limit_nano_usd", whole()),
        (
            "period",
            json!({ "type": "string", "examples": ["none", "1d", "30d", "month"] }),
        ),
        ("rpm", whole()),
        ("tpm", whole()),
        ("parallel", whole()),
        (
            "model_limits",
            json!({ "type": "object", "additionalProperties": speed }),
        ),
        ("models", json!({ "type": "array", "items": text() })),
        ("metadata", json!({ "type": "object" })),
        ("blocked", json!({ "type": "boolean" })),
        ("expires_at", whole()),
    ];
    fields
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn schemas() -> Value {
    let object =
        |properties: Map<String, Value>| json!({ "type": "object", "properties": properties });
    let with = |more: Value| {
        let mut fields = draft();
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        object(fields)
    };
    let whole = json!({ "type": "integer" });
    let text = json!({ "type": "string" });
    let mut schemas = json!({
        "Draft": object(draft()),
        "NewAccount": with(json!({ "id": text })),
        "Account": with(json!({
            "kind": text, "id": text, "created_at": whole, "version": whole,
            "understood": { "type": "boolean", "default": true },
            "period_start": whole, "spent_nano_usd": whole, "key": text,
        })),
        "AccountList": {
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": { "$ref": "#/components/schemas/Account" } },
                "next": { "type": ["string", "null"] },
            },
        },
        "Price": {
            "type": "object",
            "properties": {
                "model": text, "input_nano_usd": whole, "cached_input_nano_usd": whole,
                "output_nano_usd": whole,
            },
        },
        "PriceList": {
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": { "$ref": "#/components/schemas/Price" } },
            },
        },
        "Redis": {
            "type": "object",
            "properties": {
                "active": { "type": ["integer", "null"] }, "active_for": { "type": "number" },
                "retries": whole, "outcomes_unknown": whole, "unavailable": whole, "switches": whole,
                "databases": { "type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "id": whole, "name": text, "weight": { "type": "number" },
                        "active": { "type": "boolean" }, "circuit": text,
                        "circuit_for": { "type": "number" }, "connected": { "type": "boolean" },
                        "failures": whole,
                        "health": {
                            "type": ["object", "null"],
                            "properties": {
                                "ago": { "type": "number" }, "healthy": { "type": "boolean" },
                                "why": { "type": ["string", "null"] },
                                "failback_refused": { "type": ["string", "null"] },
                            },
                        },
                    },
                } },
            },
        },
        "RedisActivation": {
            "type": "object",
            "properties": { "force": { "type": "boolean", "default": false } },
        },
        "RedisWeight": {
            "type": "object",
            "required": ["weight"],
            "properties": { "weight": { "type": "number", "minimum": 0 } },
        },
        "Error": { "type": "object", "properties": { "error": text } },
    });
    for (name, schema) in spend::schemas() {
        schemas[name] = schema;
    }
    schemas
}
