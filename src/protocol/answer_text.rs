//! How much text is in an answer that does not say what it used.
//!
//! Only for answers that are there as a whole: they are parsed, which is done for no other answer. What is not
//! understood has no text.

use serde_json::Value;

/// Where an object has what was generated: of Ollama's, a message's, a response's and a transcription's.
const TEXTS: [&str; 6] = [
    "response", "thinking", "message", "content", "output", "text",
];

/// How many bytes were generated in these, which are a whole answer: one object, or lines or events of them.
#[must_use]
pub fn answer_text(answer: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim_start_matches('\u{feff}').trim();
    match serde_json::from_str(text) {
        Ok(object) => of_object(&object),
        Err(_) => text.lines().map(of_line).sum(),
    }
}

fn of_line(line: &str) -> u64 {
    let line = line.strip_prefix("data:").unwrap_or(line);
    let object = serde_json::from_str(line.trim());
    object.map_or(0, |object| of_object(&object))
}

fn of_object(object: &Value) -> u64 {
    let here = TEXTS.map(|key| object.get(key).map_or(0, texts));
    let choices = object.get("choices").and_then(Value::as_array);
    let choices = choices.into_iter().flatten().map(|choice| {
        let parts = ["text", "message", "delta"].map(|key| choice.get(key).map_or(0, texts));
        parts.iter().sum::<u64>()
    });
    here.iter().sum::<u64>() + choices.sum::<u64>()
}

/// All texts in a message: what it says, thinks, and calls.
fn texts(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(texts).sum(),
        Value::Object(fields) => {
            let said = fields
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "role" | "type" | "id" | "status"));
            said.map(|(_, value)| texts(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_was_generated_and_nothing_around_it() {
        for (answer, bytes) in [
            (
                r#"{"message":{"role":"assistant","content":"hello"},"done":true}"#,
                5,
            ),
            (
                r#"{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":"xyz"}}}]}}"#,
                4,
            ),
            (
                r#"{"response":"hi","thinking":"so","done":true,"context":[1,2,3]}"#,
                4,
            ),
            (r#"{"response":"","done":true,"done_reason":"load"}"#, 0),
            (
                r#"{"choices":[{"text":"abc"},{"message":{"role":"assistant","content":"de"}}]}"#,
                5,
            ),
            (
                "{\"message\":{\"content\":\"a\"}}\n{\"message\":{\"content\":\"bc\"},\"done\":true}\n",
                3,
            ),
            (
                "data: {\"choices\":[{\"delta\":{\"content\":\"abcd\"}}]}\n\ndata: [DONE]\n\n",
                4,
            ),
            (r#"{"text":"heard"}"#, 5),
            (
                r#"{"type":"message","content":[{"type":"text","text":"abc"},{"type":"tool_use","id":"1","name":"f","input":{"a":"xy"}}]}"#,
                6,
            ),
            (
                r#"{"object":"response","output":[{"type":"message","status":"completed","content":[{"type":"output_text","text":"abcd"}]}]}"#,
                4,
            ),
            ("\u{feff} {\"response\":\"a\"}", 1),
            ("upstream error", 0),
            ("", 0),
        ] {
            assert_eq!(answer_text(answer.as_bytes()), bytes, "{answer}");
        }
    }
}
