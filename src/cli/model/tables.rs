//! Models as people read them.

use bytesize::ByteSize;
use serde_json::Value;

use crate::cli::table;

/// The first digits of a digest name a model well enough.
const DIGITS: usize = 12;

/// `/api/tags`.
pub(super) fn models(shown: &Value) -> String {
    table::of_list(
        &[
            "NAME",
            "ID",
            "SIZE",
            "PARAMETERS",
            "QUANTIZATION",
            "MODIFIED",
        ],
        &shown["models"],
        |model| {
            let details = &model["details"];
            vec![
                text(&model["name"]),
                digest(&model["digest"]),
                size(&model["size"]),
                text(&details["parameter_size"]),
                text(&details["quantization_level"]),
                second(&model["modified_at"]),
            ]
        },
    )
}

/// `/api/ps_details`.
pub(super) fn running(shown: &Value) -> String {
    table::of_list(
        &["SERVER", "NAME", "SIZE", "IN VRAM", "CONTEXT", "UNTIL"],
        &shown["models"],
        |model| {
            vec![
                text(&model["endpoint"]),
                text(&model["name"]),
                size(&model["size"]),
                size(&model["size_vram"]),
                text(&model["context_length"]),
                second(&model["expires_at"]),
            ]
        },
    )
}

/// `/api/show`, without what fills a page.
pub(super) fn description(shown: &Value) -> String {
    let details = &shown["details"];
    let named = [
        ("family", &details["family"]),
        ("format", &details["format"]),
        ("parameters", &details["parameter_size"]),
        ("quantization", &details["quantization_level"]),
        ("modified", &shown["modified_at"]),
    ];
    let mut rows: Vec<_> = named
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), text(value)])
        .filter(|row| row.iter().all(|cell| !cell.is_empty()))
        .collect();
    let able: Vec<_> = list(shown, "capabilities").map(text).collect();
    if !able.is_empty() {
        rows.push(vec!["capabilities".to_owned(), able.join(", ")]);
    }
    for (key, value) in shown["model_info"].as_object().into_iter().flatten() {
        if key.ends_with(".context_length") || key.ends_with(".embedding_length") {
            let name = key.rsplit('.').next().unwrap_or(key).replace('_', " ");
            rows.push(vec![name, text(value)]);
        }
    }
    for line in shown["parameters"]
        .as_str()
        .into_iter()
        .flat_map(str::lines)
    {
        let (name, value) = line.trim().split_once(' ').unwrap_or((line, ""));
        rows.push(vec![name.to_owned(), value.trim().to_owned()]);
    }
    table::of(&["WHAT", "VALUE"], &rows)
}

/// What a load or an unload has done on each server.
pub(super) fn changes(done: &Value) -> String {
    table::of_list(&["SERVER", "RESULT", "MS"], &done["endpoints"], |server| {
        let how = match server["error"].as_str() {
            Some(error) => error.to_owned(),
            None => "done".to_owned(),
        };
        vec![text(&server["endpoint"]), how, text(&server["ms"])]
    })
}

/// On how many servers it failed.
pub(super) fn failed(done: &Value) -> usize {
    list(done, "endpoints")
        .filter(|server| server["error"].is_string())
        .count()
}

fn list<'a>(shown: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    shown[key].as_array().into_iter().flatten()
}

/// Text as it is, numbers in digits, and nothing for what is not there.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn size(value: &Value) -> String {
    let bytes = value.as_u64().filter(|bytes| *bytes > 0);
    bytes.map_or_else(String::new, |bytes| {
        ByteSize(bytes).display().iec().to_string()
    })
}

fn digest(value: &Value) -> String {
    let digest = value.as_str().unwrap_or_default();
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.chars().take(DIGITS).collect()
}

/// A time of RFC 3339 to the second, in the writer's own zone.
fn second(value: &Value) -> String {
    let time = value.as_str().unwrap_or_default();
    time.chars()
        .take("2026-01-01T00:00:00".len())
        .collect::<String>()
        .replace('T', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_are_shown_with_what_tells_them_apart() {
        let shown = json!({"models": [{
            "name": "llama3.2:latest", "digest": "sha256:0123456789abcdef", "size": 2_019_393_189_u64,
            "modified_at": "2026-01-02T03:04:05.678+01:00",
            "details": {"parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
        }, {"name": "on-another-kind"}]});
        insta::assert_snapshot!(models(&shown), @r"
        NAME             ID            SIZE     PARAMETERS  QUANTIZATION  MODIFIED
        llama3.2:latest  0123456789ab  1.9 GiB  3.2B        Q4_K_M        2026-01-02 03:04:05
        on-another-kind
        ");
    }

    #[test]
    fn a_description_leaves_out_what_fills_a_page() {
        let shown = json!({
            "license": "…", "details": {"family": "llama", "parameter_size": "3.2B"},
            "capabilities": ["completion", "tools"],
            "parameters": "stop    \"<|eot|>\"\nnum_ctx 4096",
            "model_info": {"llama.context_length": 131_072, "tokenizer.ggml.tokens": null},
        });
        insta::assert_snapshot!(description(&shown), @r#"
        WHAT            VALUE
        family          llama
        parameters      3.2B
        capabilities    completion, tools
        context length  131072
        stop            "<|eot|>"
        num_ctx         4096
        "#);
    }

    #[test]
    fn what_failed_on_a_server_is_said_of_it() {
        let done = json!({"model": "m", "endpoints": [
            {"endpoint": "gpu-1", "ms": 1200}, {"endpoint": "gpu-2", "error": "no memory", "ms": 3}]});
        assert_eq!(failed(&done), 1);
        insta::assert_snapshot!(changes(&done), @r"
        SERVER  RESULT     MS
        gpu-1   done       1200
        gpu-2   no memory  3
        ");
    }
}
