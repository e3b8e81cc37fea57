//! Errors in the form of each dialect, whole or at the end of a broken stream.
//!
//! An answer that breaks after its first byte has its status sent already; all that is left is to
//! end the stream so that no client takes it for whole. What each client does was read in its
//! source. A clean end without a marker is accepted silently by ollama-python and Go, so:
//!
//! - **NDJSON**: one more line, `{"error":"…"}`, at which all three raise an error. If the stream
//!   broke inside a line, that half line must be ended first, or the error would be part of it.
//!   ollama-python then fails on the half line (`json.loads`), Go likewise (`json.Unmarshal`), and
//!   ollama-js warns, skips it and raises at the error line. If what was cut off is only the line
//!   end, the line is whole and valid and the error line follows. So no client sees a clean end.
//! - **SSE**: an error event, and never `[DONE]`. If the stream broke inside an event, an empty
//!   line ends that first: OpenAI's SDKs fail on half an object, skip half a field name, and raise
//!   at the error event otherwise.
//! - **One object** with a length, or unstreamed: nothing can be appended. The connection has to be
//!   broken, which is for the caller to do.

use bytes::Bytes;
use http::StatusCode;

use super::api::{Api, Dialect, Format};
use super::quote::quote;

/// The content type of an error's body, spelt as Ollama does.
pub const CONTENT_TYPE_JSON: &str = "application/json; charset=utf-8";

/// The body of an answer that is an error, to be sent with `status` and [`CONTENT_TYPE_JSON`]. Anthropic's
/// names the `request`, where it has an id.
#[must_use]
pub fn error_body(
    dialect: Dialect,
    status: StatusCode,
    message: &str,
    request: Option<&str>,
) -> Bytes {
    let message = quote(message);
    Bytes::from(match dialect {
        Dialect::Ollama => format!(r#"{{"error":{message}}}"#),
        Dialect::OpenAi => format!(
            r#"{{"error":{{"message":{message},"type":"{}","param":null,"code":null}}}}"#,
            openai_type(status)
        ),
        Dialect::Anthropic => {
            let request = request.map(|id| format!(r#","request_id":{}"#, quote(id)));
            format!(
                r#"{{"type":"error","error":{{"type":"{}","message":{message}}}{}}}"#,
                anthropic_type(status),
                request.unwrap_or_default()
            )
        }
    })
}

/// The body of an answer that refuses because the money is spent: not a rate limit's error, which
/// would be over in a moment.
#[must_use]
pub fn quota_body(
    dialect: Dialect,
    status: StatusCode,
    message: &str,
    request: Option<&str>,
) -> Bytes {
    match dialect {
        Dialect::OpenAi => Bytes::from(format!(
            r#"{{"error":{{"message":{},"type":"insufficient_quota","param":null,"code":"insufficient_quota"}}}}"#,
            quote(message)
        )),
        Dialect::Ollama | Dialect::Anthropic => error_body(dialect, status, message, request),
    }
}

/// What to append to a stream that broke after its first byte; nothing where nothing helps.
///
/// `at_line_start` is [`Tail::at_line_start`](super::Tail::at_line_start).
#[must_use]
pub fn stream_end(api: Api, format: Format, at_line_start: bool, message: &str) -> Bytes {
    let body = match api {
        Api::OpenAiResponses => failed_response(message).into(),
        _ => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            error_body(api.dialect(), status, message, None)
        }
    };
    let body = String::from_utf8_lossy(&body);
    Bytes::from(match (format, at_line_start) {
        (Format::Json | Format::Unread, _) => String::new(),
        (Format::Ndjson, true) => format!("{body}\n"),
        (Format::Ndjson, false) => format!("\n{body}\n"),
        (Format::Sse, _) => {
            let end = if at_line_start { "" } else { "\n\n" };
            let name = match (api, api.dialect()) {
                (Api::OpenAiResponses, _) => "event: response.failed\n",
                (_, Dialect::Anthropic) => "event: error\n",
                (_, Dialect::Ollama | Dialect::OpenAi) => "",
            };
            format!("{end}{name}data: {body}\n\n")
        }
    })
}

/// Of a stream of responses: clients that know its events look for this one, and OpenAI's SDKs raise at the
/// `error` beside it.
fn failed_response(message: &str) -> String {
    let message = quote(message);
    format!(
        r#"{{"type":"response.failed","sequence_number":0,"response":{{"id":"","object":"response","created_at":0,"status":"failed","error":{{"code":"server_error","message":{message}}},"incomplete_details":null,"model":"","output":[]}},"error":{{"message":{message},"type":"api_error","param":null,"code":null}}}}"#
    )
}

const fn openai_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "invalid_request_error",
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        _ => "api_error",
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Tail;
    use proptest::prelude::*;
    use serde_json::Value;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_dialect_has_its_shape() {
        let bodies = [Dialect::Ollama, Dialect::OpenAi, Dialect::Anthropic].map(|dialect| {
            let text = "model 'a\"b' not found";
            error_body(dialect, StatusCode::NOT_FOUND, text, Some("r\"1"))
        });
        let bodies = bodies.each_ref().map(text).join("\n");
        insta::assert_snapshot!(bodies, @r#"
        {"error":"model 'a\"b' not found"}
        {"error":{"message":"model 'a\"b' not found","type":"not_found_error","param":null,"code":null}}
        {"type":"error","error":{"type":"not_found_error","message":"model 'a\"b' not found"},"request_id":"r\"1"}
        "#);
    }

    #[test]
    fn the_type_follows_the_status() {
        let types = [400, 401, 403, 404, 413, 429, 500, 502, 503, 504].map(|code| {
            let status = StatusCode::from_u16(code).unwrap();
            format!("{code} {} {}", openai_type(status), anthropic_type(status))
        });
        insta::assert_snapshot!(types.join("\n"), @r#"
        400 invalid_request_error invalid_request_error
        401 authentication_error authentication_error
        403 permission_error permission_error
        404 not_found_error not_found_error
        413 api_error request_too_large
        429 rate_limit_error rate_limit_error
        500 api_error api_error
        502 api_error api_error
        503 api_error overloaded_error
        504 api_error api_error
        "#);
    }

    #[test]
    fn a_broken_stream_ends_with_an_error_of_its_own() {
        let ends = [
            stream_end(Api::OllamaChat, Format::Ndjson, true, "gone"),
            stream_end(Api::OllamaChat, Format::Ndjson, false, "gone"),
            stream_end(Api::OpenAiChat, Format::Sse, true, "gone"),
            stream_end(Api::OpenAiChat, Format::Sse, false, "gone"),
            stream_end(Api::OpenAiChat, Format::Json, false, "gone"),
            stream_end(Api::AnthropicMessages, Format::Sse, true, "gone"),
            stream_end(Api::OpenAiResponses, Format::Sse, true, "gone"),
        ];
        insta::assert_debug_snapshot!(ends.each_ref().map(text), @r#"
        [
            "{\"error\":\"gone\"}\n",
            "\n{\"error\":\"gone\"}\n",
            "data: {\"error\":{\"message\":\"gone\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n",
            "\n\ndata: {\"error\":{\"message\":\"gone\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n",
            "",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"gone\"}}\n\n",
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":0,\"response\":{\"id\":\"\",\"object\":\"response\",\"created_at\":0,\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"gone\"},\"incomplete_details\":null,\"model\":\"\",\"output\":[]},\"error\":{\"message\":\"gone\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n",
        ]
        "#);
    }

    /// What ollama-python and Go do: every line must parse, and none may have an error.
    fn strict_client(body: &[u8]) -> Result<(), ()> {
        let lines = body
            .strip_suffix(b"\n")
            .unwrap_or(body)
            .split(|byte| *byte == b'\n');
        for line in lines {
            let line: Value = serde_json::from_slice(line).map_err(drop)?;
            line.get("error").map_or(Ok(()), |_| Err(()))?;
        }
        Ok(())
    }

    /// What ollama-js does: a line that does not parse is skipped.
    fn lenient_client(body: &[u8]) -> Result<(), ()> {
        for line in body.split(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            line.get("error").map_or(Ok(()), |_| Err(()))?;
        }
        Ok(())
    }

    /// What OpenAI's SDKs do: every event's data must parse, and none may have an error.
    fn sse_client(body: &[u8]) -> Result<(), ()> {
        let mut data = String::new();
        for line in String::from_utf8_lossy(body).lines() {
            match line.strip_prefix("data:") {
                Some(value) => data.push_str(value),
                None if line.is_empty() && !data.is_empty() => {
                    strict_client(std::mem::take(&mut data).as_bytes())?;
                }
                None => {}
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn wherever_a_stream_breaks_every_client_sees_an_error(cut in 0..400_usize, message: String) {
            let ndjson = "{\"message\":{\"content\":\"é \\\" }\"},\"done\":false}\n".repeat(5);
            let cut_at = cut.min(ndjson.len() - 1);
            let mut body = ndjson.as_bytes()[..cut_at].to_vec();
            let mut tail = Tail::new(Api::OllamaChat, true);
            tail.push(&body);
            tail.end();
            body.extend(stream_end(Api::OllamaChat, Format::Ndjson, tail.at_line_start(), &message));
            prop_assert!(strict_client(&body).is_err());
            prop_assert!(lenient_client(&body).is_err());

            let sse = "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}\n\n".repeat(5);
            let mut body = sse.as_bytes()[..cut.min(sse.len())].to_vec();
            let mut tail = Tail::new(Api::OpenAiChat, true);
            tail.push(&body);
            body.extend(stream_end(Api::OpenAiChat, Format::Sse, tail.at_line_start(), &message));
            prop_assert!(sse_client(&body).is_err());
        }
    }
}
