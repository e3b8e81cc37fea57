//! An error in the place of an answer whose status was 200.
//!
//! Some servers send the head of a stream before they know whether there will be one, and say what went
//! wrong in its first event or line. As long as nothing of it has been passed on, that is the
//! answer with an error status that it would have been otherwise. Which status, some say themselves.
//!
//! Pure: what is not understood is no error, or, in an event that is named one, one without a number.

use bytes::Bytes;
use http::StatusCode;
use memchr::memmem;
use serde_json::Value;

use super::api::{Api, Dialect, Format};
use super::error_body::error_body;

/// What would have been said with an error status.
#[derive(Debug, PartialEq, Eq)]
pub struct SaidError {
    /// The status.
    pub status: StatusCode,
    /// The body, one JSON object, in whatever form it came.
    pub body: Bytes,
}

/// The first error in these bytes, which were framed like this and begin an answer.
#[must_use]
pub fn said_error(api: Api, format: Format, bytes: &[u8]) -> Option<SaidError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    match format {
        // Perhaps with more objects behind it.
        Format::Json => {
            object(api, text).or_else(|| text.lines().find_map(|line| object(api, line)))
        }
        Format::Ndjson => text.lines().find_map(|line| object(api, line)),
        Format::Sse => events(api, text),
        Format::Unread => None,
    }
}

/// What of these events is before a `[DONE]`, of which so many bytes are behind the line: behind an error, some clients
/// would take it for the end of an answer.
#[must_use]
pub fn before_done(events: &Bytes, behind: usize) -> Bytes {
    let events = events.slice(..events.len().saturating_sub(behind));
    let done = memmem::rfind(&events, b"[DONE]").unwrap_or(events.len());
    // Where it was cut, its beginning has been passed on, and is no event without the rest.
    let line = memmem::rfind(&events[..done], b"data:");
    events.slice(..line.unwrap_or(0))
}

fn events(api: Api, text: &str) -> Option<SaidError> {
    let (mut data, mut is_named) = (String::new(), false);
    for line in text.lines().chain([""]) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" if data.is_empty() => value.clone_into(&mut data),
            "data" => data = format!("{data}\n{value}"),
            "event" => is_named = value == "error",
            "" if line.is_empty() => {
                let said = object(api, &data);
                if said.is_some() || is_named {
                    return said.or_else(|| Some(worded(api.dialect(), &data)));
                }
                data.clear();
            }
            _ => {}
        }
    }
    None
}

/// An object with an error in it; Google's servers put it in an array.
fn object(api: Api, text: &str) -> Option<SaidError> {
    let text = text.trim_start_matches('\u{feff}');
    let said: Value = serde_json::from_str(text.trim()).ok()?;
    let object = match &said {
        Value::Array(items) => items.first()?,
        object => object,
    };
    let error = error_in(api, object)?;
    let code = |value: &Value| {
        ["code", "status", "status_code"]
            .into_iter()
            .find_map(|key| status(value.get(key)?))
    };
    Some(SaidError {
        status: code(error)
            .or_else(|| code(object))
            .or_else(|| worded_status(error))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: Bytes::copy_from_slice(text.trim().as_bytes()),
    })
}

/// Where an object says what went wrong, if it is one that does.
fn error_in(api: Api, object: &Value) -> Option<&Value> {
    if let Some(error) = error_of(object) {
        return Some(error);
    }
    let kind = object.get("type").filter(|_| api.types_its_events());
    match kind.and_then(Value::as_str) {
        Some("response.failed") => {
            let error = object.get("response").and_then(error_of);
            return error.or(Some(object));
        }
        Some("error") => return Some(object),
        _ => {}
    }
    // As older releases of vLLM.
    let is_error = object.get("object").is_some_and(|kind| kind == "error");
    is_error.then_some(object)
}

fn error_of(object: &Value) -> Option<&Value> {
    object.get("error").filter(|error| says_something(error))
}

/// The status that an error with this code or of this type has, in Anthropic's dialect and in OpenAI's.
fn worded_status(error: &Value) -> Option<StatusCode> {
    ["code", "type"]
        .into_iter()
        .find_map(|key| named_status(error.get(key)?.as_str()?))
}

fn named_status(name: &str) -> Option<StatusCode> {
    Some(match name {
        "authentication_error" | "invalid_api_key" => StatusCode::UNAUTHORIZED,
        "permission_error" => StatusCode::FORBIDDEN,
        "not_found_error" | "model_not_found" => StatusCode::NOT_FOUND,
        "request_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => {
            StatusCode::TOO_MANY_REQUESTS
        }
        "overloaded_error" => StatusCode::SERVICE_UNAVAILABLE,
        "context_length_exceeded" => StatusCode::BAD_REQUEST,
        // Of what the client has sent: `invalid_prompt`, `invalid_image_url`, `image_too_large`.
        name if name.starts_with("invalid_") || name.starts_with("image_") => {
            StatusCode::BAD_REQUEST
        }
        _ => return None,
    })
}

/// Some servers send the field in every object.
fn says_something(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// A status of an error, as a number or as its digits.
fn status(value: &Value) -> Option<StatusCode> {
    let code = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_u64()?,
    };
    let status = StatusCode::from_u16(u16::try_from(code).ok()?).ok()?;
    (status.is_client_error() || status.is_server_error()).then_some(status)
}

/// What an event says that is named an error, and is not an object with one.
fn worded(dialect: Dialect, data: &str) -> SaidError {
    let object: Value = serde_json::from_str(data).unwrap_or_default();
    let message = object
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or(data);
    let message = match message.is_empty() {
        true => "the server said that it failed, and not why",
        false => message,
    };
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    SaidError {
        status,
        body: error_body(dialect, status, message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(format: Format, text: &str) -> Option<(u16, String)> {
        said_by(Api::OpenAiChat, format, text)
    }

    fn said_by(api: Api, format: Format, text: &str) -> Option<(u16, String)> {
        let said = said_error(api, format, text.as_bytes())?;
        Some((
            said.status.as_u16(),
            String::from_utf8(said.body.to_vec()).unwrap(),
        ))
    }

    #[test]
    fn an_error_is_found_in_every_framing_and_passed_on_as_it_came() {
        let error = r#"{"error":{"message":"no","code":null}}"#;
        for (format, text) in [
            (Format::Json, error.to_owned()),
            (Format::Json, format!(" {error}\n")),
            (Format::Ndjson, format!("{error}\n")),
            (Format::Ndjson, error.to_owned()),
            (Format::Ndjson, format!("{{\"done\":false}}\n{error}\n")),
            (Format::Sse, format!("data: {error}\n\ndata: [DONE]\n\n")),
            (Format::Sse, format!(": ping\r\n\r\ndata:{error}\r\n\r\n")),
            (Format::Sse, format!("event: error\ndata: {error}")),
        ] {
            assert_eq!(said(format, &text), Some((500, error.to_owned())), "{text}");
        }
        let two_lines = "data: {\"error\":\ndata: \"no\"}\n\n";
        assert_eq!(
            said(Format::Sse, two_lines),
            Some((500, "{\"error\":\n\"no\"}".to_owned()))
        );
    }

    #[test]
    fn the_status_is_the_one_that_the_error_names() {
        for (error, status) in [
            (r#"{"error":{"message":"no","code":400}}"#, 400),
            (r#"{"error":{"message":"no","code":"429"}}"#, 429),
            (r#"{"error":{"message":"no","status":503}}"#, 503),
            (r#"{"error":"no","status_code":404}"#, 404),
            (r#"{"object":"error","message":"no","code":400}"#, 400),
            (r#"[{"error":{"message":"no","code":503}}]"#, 503),
            ("\u{feff}{\"error\":{\"code\":404}}", 404),
            (r#"{"error":{"code":"rate_limit_exceeded"}}"#, 429),
            (r#"{"error":{"code":"model_not_found"}}"#, 404),
            (r#"{"error":{"code":"server_error"}}"#, 500),
            (r#"{"error":{"code":null,"type":"overloaded_error"}}"#, 503),
            (r#"{"error":{"code":200}}"#, 500),
            (r#"{"error":{"code":-1}}"#, 500),
            (r#"{"error":{"code":70000}}"#, 500),
        ] {
            assert_eq!(said(Format::Json, error).unwrap().0, status, "{error}");
        }
    }

    #[test]
    fn an_event_that_says_in_its_type_that_it_is_an_error_needs_no_name() {
        let failed = |error: &str| {
            format!(
                r#"{{"type":"response.failed","response":{{"status":"failed","error":{error}}}}}"#
            )
        };
        let responses = [
            (
                r#"{"type":"error","code":"server_error","message":"no"}"#.to_owned(),
                500,
            ),
            (
                r#"{"type":"error","code":"rate_limit_exceeded","message":"no"}"#.to_owned(),
                429,
            ),
            (r#"{"type":"error","message":"no"}"#.to_owned(), 500),
            (failed(r#"{"code":"server_error","message":"no"}"#), 500),
            (
                failed(r#"{"code":"rate_limit_exceeded","message":"no"}"#),
                429,
            ),
            (failed(r#"{"code":"invalid_prompt","message":"no"}"#), 400),
            (failed("null"), 500),
        ];
        for (event, status) in &responses {
            let events = format!(": ping\n\ndata: {event}\n\n");
            let said = said_by(Api::OpenAiResponses, Format::Sse, &events);
            assert_eq!(said, Some((*status, event.clone())), "{event}");
            // Other APIs have no types.
            assert_eq!(said_by(Api::OpenAiChat, Format::Sse, &events), None);
        }
        let event = r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#;
        let said = said_by(
            Api::AnthropicMessages,
            Format::Sse,
            &format!("data: {event}\n\n"),
        );
        assert_eq!(said, Some((503, event.to_owned())));
        let (event, status) = &responses[0];
        let said = said_by(Api::OpenAiResponses, Format::Json, event);
        assert_eq!(said, Some((*status, event.clone())));
    }

    #[test]
    fn an_event_that_is_named_an_error_is_one_whatever_it_says() {
        for (data, message) in [
            ("out of order", "out of order"),
            (r#"{"message":"no"}"#, "no"),
        ] {
            let (status, body) =
                said(Format::Sse, &format!("event: error\ndata: {data}\n\n")).unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (status, &body["error"]["message"]),
                (500, &Value::from(message))
            );
        }
        assert!(said(Format::Sse, "event: error\n\n").is_some());
    }

    #[test]
    fn an_end_behind_an_error_is_left_out() {
        for (events, left) in [
            (
                "data: {\"error\":1}\n\ndata: [DONE]\n\n",
                "data: {\"error\":1}\n\n",
            ),
            ("data:[DONE]\n\n", ""),
            ("\n\ndata: [DONE]", "\n\n"),
            ("NE]\n\n", ""),
        ] {
            assert_eq!(before_done(&Bytes::from(events), 0), left, "{events}");
        }
        let twice = Bytes::from("data: x\n\ndata: [DONE]\n\ndata: [DONE]\n\n");
        assert_eq!(before_done(&twice, 15), "data: x\n\n");
        assert_eq!(before_done(&twice, 99), "");
    }

    #[test]
    fn an_answer_is_no_error() {
        for (format, text) in [
            (Format::Json, r#"{"error":null,"choices":[]}"#),
            (Format::Json, r#"{"error":"","done":true}"#),
            (Format::Json, r#"{"error":{},"done":true}"#),
            (Format::Json, r#"{"error":[],"done":true}"#),
            (Format::Json, r#"[{"object":"list"}]"#),
            (Format::Json, r#"[]"#),
            (Format::Json, r#"{"message":{"error":"no"}}"#),
            (Format::Json, r#"{"error":"#),
            (
                Format::Sse,
                "data: {\"choices\":[]}\n\nevent: message\ndata: x\n\n",
            ),
            (Format::Unread, r#"{"error":"no"}"#),
        ] {
            assert_eq!(said(format, text), None, "{text}");
        }
    }
}
