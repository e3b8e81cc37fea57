//! An error of a server's in the form that the clients of a path read.
//!
//! A server may answer in another dialect than its path has, and a proxy before it with a page or a text: what it says
//! is then said again in the client's own. What has the form already is left alone.
//!
//! Pure: whatever the bytes are, something can be said.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::api::Dialect;
use super::error_body::error_body;

/// As much of an error is said again, in bytes.
const LONGEST: usize = 4 << 10;

/// What the body of an error says: its message, or all of it where there is none; its beginning, where that is long.
#[must_use]
pub fn error_text(body: &[u8]) -> String {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let message = said.as_ref().and_then(message).map(beginning);
    message.unwrap_or_else(|| {
        let looked_at = &body[..body.len().min(LONGEST)];
        beginning(String::from_utf8_lossy(looked_at).trim())
    })
}

/// The same error with this status for a client of this dialect; nothing where `body` is that already. Anthropic's names the
/// `request`.
#[must_use]
pub fn shaped_error(
    dialect: Dialect,
    status: StatusCode,
    body: &[u8],
    request: Option<&str>,
) -> Option<Bytes> {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    if said.is_some_and(|said| is_shaped(dialect, &said)) {
        return None;
    }
    Some(error_body(dialect, status, &error_text(body), request))
}

fn is_shaped(dialect: Dialect, said: &Value) -> bool {
    let error = said.get("error");
    let says = |key: &str| {
        error
            .and_then(|error| error.get(key))
            .is_some_and(Value::is_string)
    };
    match dialect {
        Dialect::Ollama => error.is_some_and(Value::is_string),
        Dialect::OpenAi => says("message"),
        Dialect::Anthropic => {
            let is_error = said.get("type").is_some_and(|kind| kind == "error");
            is_error && says("type") && says("message")
        }
    }
}

/// The words of an error, wherever servers put them: Ollama's, OpenAI's, Anthropic's, Google's (in an array), those of a response
/// that failed, older vLLM's, `FastAPI`'s.
fn message(said: &Value) -> Option<&str> {
    let said = match said {
        Value::Array(items) => items.first()?,
        said => said,
    };
    let response = said.get("response").unwrap_or(said);
    let error = response.get("error").or_else(|| said.get("error"));
    let found = [
        error,
        error.and_then(|error| error.get("message")),
        said.get("message"),
        said.get("detail"),
    ];
    let mut texts = found.into_iter().flatten().filter_map(Value::as_str);
    texts.find(|text| !text.trim().is_empty())
}

fn beginning(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_error_are_found_whatever_its_form() {
        for (body, expected) in [
            (r#"{"error":"disk full"}"#, "disk full"),
            (r#"{"error":{"message":"m","code":500}}"#, "m"),
            (
                r#"{"type":"error","error":{"type":"x","message":"m"}}"#,
                "m",
            ),
            (r#"{"type":"error","code":"x","message":"m"}"#, "m"),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"x","message":"m"}}}"#,
                "m",
            ),
            (r#"[{"error":{"message":"m"}}]"#, "m"),
            (r#"{"object":"error","message":"m"}"#, "m"),
            (r#"{"detail":"m"}"#, "m"),
            (
                r#"{"detail":[{"loc":["n"]}]}"#,
                r#"{"detail":[{"loc":["n"]}]}"#,
            ),
            (r#"{"error":{"message":""}}"#, r#"{"error":{"message":""}}"#),
            (" bad gateway\n", "bad gateway"),
            ("404 page not found", "404 page not found"),
            ("[1", "[1"),
            ("", ""),
        ] {
            assert_eq!(error_text(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(error_text(b"a\xffb"), "a\u{fffd}b");
        let long = "é".repeat(LONGEST);
        let object = format!(r#"{{"error":"{long}"}}"#);
        for body in [format!("x{long}"), object] {
            assert!(error_text(body.as_bytes()).len() <= LONGEST + 3);
        }
    }

    #[test]
    fn an_error_in_the_form_of_its_path_is_left_alone_and_every_other_is_said_again() {
        let ollama = r#"{"error":"no"}"#;
        let openai = r#"{"error":{"message":"no","type":"x","param":null,"code":"own"}}"#;
        let anthropic =
            r#"{"type":"error","error":{"type":"x","message":"no"},"request_id":"own"}"#;
        let others = [
            "no",
            r#"{"detail":"no"}"#,
            r#"[{"error":{"message":"no"}}]"#,
        ];
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        for (dialect, own) in [
            (Dialect::Ollama, ollama),
            (Dialect::OpenAi, openai),
            (Dialect::Anthropic, anthropic),
        ] {
            let shaped = |body: &str| shaped_error(dialect, status, body.as_bytes(), Some("r-1"));
            let expected = error_body(dialect, status, "no", Some("r-1"));
            for body in [ollama, openai, anthropic].into_iter().chain(others) {
                // Anthropic's has all that OpenAI's clients read.
                let is_own = body == own || (dialect, body) == (Dialect::OpenAi, anthropic);
                let expected = (!is_own).then(|| expected.clone());
                assert_eq!(shaped(body), expected, "{dialect:?} {body}");
            }
        }
    }
}
