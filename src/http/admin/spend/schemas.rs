//! The answers, for `/admin/openapi.json`.

use serde_json::{Value, json};

pub(in crate::http::admin) fn schemas() -> Vec<(&'static str, Value)> {
    let (whole, text, flag) = (
        json!({ "type": "integer" }),
        json!({ "type": "string" }),
        json!({ "type": "boolean" }),
    );
    let (some, said) = (
        json!({ "type": ["integer", "null"] }),
        json!({ "type": ["string", "null"] }),
    );
    let object = |fields: Value| json!({ "type": "object", "properties": fields });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let amount = object(json!({ "batches": whole, "records": whole }));
    let account = object(json!({
        "recorded": whole, "committed": whole, "dead_lettered": whole, "pending": whole,
    }));
    let letter = object(json!({
        "id": text, "producer": text, "seq": whole, "records": some, "reason": text,
        "created_at": whole, "replayed_at": some, "payload": {},
    }));
    vec![
        (
            "SpendReport",
            object(json!({
                "source": { "enum": ["spend", "daily_spend"] },
                "kind": said, "from": said, "to": said, "group_by": list(text.clone()),
                "items": list(object(json!({
                    "kind": text, "entity": text, "date": text, "api_key": text, "model": text,
                    "endpoint": text, "spend_nano_usd": whole, "spend_usd": text,
                    "input_tokens": whole, "output_tokens": whole, "requests": whole,
                    "failed_requests": some,
                }))),
                "more": flag,
            })),
        ),
        (
            "SpendQueue",
            object(json!({
                "carrier": { "enum": ["redis", "in_process"] }, "records": account,
                "refused": whole,
                "journal": object(json!({
                    "healthy": flag, "bytes": whole, "batches": whole, "rows": whole,
                    "oldest_unflushed_seconds": whole,
                })),
                "places": object(json!({
                    "journal": amount, "to_redis": amount, "in_redis": amount, "to_database": amount,
                })),
                "redis": { "type": ["object", "null"], "properties": {
                    "up": flag, "full": flag, "batches": whole, "rows": whole, "bytes": whole,
                    "resent": whole, "diverted": whole,
                } },
                "lease": { "type": ["object", "null"], "properties": {
                    "leads": flag, "epoch": some, "left_seconds": some,
                } },
                "database": object(json!({
                    "up": flag, "error": said, "last_leader": said, "last_epoch": some,
                    "dead_letters": some,
                })),
            })),
        ),
        (
            "SpendVerified",
            object(json!({
                "holds": flag, "problems": list(text.clone()), "router": account,
                "database": object(json!({
                    "dead_letters": whole,
                    "problems": list(json!({
                        "type": "object", "properties": {
                            "what": { "enum": ["missing", "spend", "tokens", "more"] },
                        },
                    })),
                    "producers": list(object(json!({
                        "producer": text, "through": whole, "newest": whole,
                        "missing": list(list(whole.clone())), "dead_lettered": whole,
                        "last_seen": whole,
                    }))),
                })),
            })),
        ),
        ("DeadLetter", letter),
        (
            "DeadLetterList",
            object(json!({
                "items": list(json!({ "$ref": "#/components/schemas/DeadLetter" })), "next": said,
            })),
        ),
    ]
}
