//! How the body of an answer is framed, whatever its content type says.
//!
//! Servers and the proxies before them send events as `text/plain`, lines as `application/json`, and
//! one object as a stream. So what was asked for says what to expect, and the first bytes say
//! whether it came: an object never begins like an event, and what begins like neither is no answer. How the bytes
//! were cut must not matter, so nothing is decided before there are enough of them.

use super::api::{Api, Format};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How a stream of events may begin; a comment begins with the colon.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// What the first bytes of a body say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It is framed like this.
    Of(Format),
    /// More must come first.
    Open,
    /// No answer: a page or a text of something before the server, whatever braces are in it.
    Other,
}

/// The framing of a body of `api` that was asked for as `expected` and begins with `first`.
#[must_use]
pub fn framing(api: Api, expected: Format, first: &[u8]) -> Beginning {
    if BYTE_ORDER_MARK.starts_with(first) {
        return Beginning::Open;
    }
    let first = first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(first);
    match (first.trim_ascii_start(), expected) {
        ([], _) => Beginning::Open,
        // What is said in a recording: `[Music]`.
        ([b'[', ..], _) if api.may_answer_text() => Beginning::Of(Format::Unread),
        ([b'{', inside @ ..], Format::Ndjson) => of_brace(inside),
        ([b'{' | b'[', ..], Format::Sse) => Beginning::Of(Format::Json),
        ([b'{' | b'[', ..], _) => Beginning::Of(expected),
        (first, _) if FIELDS.iter().any(|field| first.starts_with(field)) => {
            Beginning::Of(Format::Sse)
        }
        (first, _) if FIELDS.iter().any(|field| field.starts_with(first)) => Beginning::Open,
        (first, _) if api.may_answer_text() && !first.starts_with(b"<") => {
            Beginning::Of(Format::Unread)
        }
        _ => Beginning::Other,
    }
}

/// Where lines are expected: one object over several lines ends the first of them behind its brace.
fn of_brace(inside: &[u8]) -> Beginning {
    let mut inside = inside.iter().filter(|byte| !matches!(byte, b' ' | b'\t'));
    match inside.next() {
        None => Beginning::Open,
        Some(b'\n' | b'\r') => Beginning::Of(Format::Json),
        Some(_) => Beginning::Of(Format::Ndjson),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Format::{Json, Ndjson, Sse};

    fn framed(first: &[u8]) -> [Beginning; 3] {
        [Json, Ndjson, Sse].map(|expected| framing(Api::OpenAiChat, expected, first))
    }

    #[test]
    fn the_first_bytes_say_what_came_and_the_request_what_to_expect() {
        for (first, asked) in [
            ("{\"done\":false}\n", [Json, Ndjson, Json]),
            ("{ \"done\":false}\n", [Json, Ndjson, Json]),
            ("{\n  \"done\": true\n}", [Json, Json, Json]),
            ("{ \r\n", [Json, Json, Json]),
            ("[1]", [Json, Ndjson, Json]),
            ("data: {}\n\n", [Sse, Sse, Sse]),
            ("\u{feff}data:{}\n\n", [Sse, Sse, Sse]),
            ("\r\n\r\nevent: x\n", [Sse, Sse, Sse]),
            (": ping\n\n", [Sse, Sse, Sse]),
            ("id: 1\n", [Sse, Sse, Sse]),
            ("retry: 1\n", [Sse, Sse, Sse]),
        ] {
            assert_eq!(
                framed(first.as_bytes()),
                asked.map(Beginning::Of),
                "{first:?}"
            );
        }
    }

    #[test]
    fn too_little_decides_nothing() {
        for first in [
            &b""[..],
            b"\n \n",
            b"\xEF",
            b"\xEF\xBB\xBF",
            b"\xEF\xBB\xBF\n",
            b"da",
            b"e",
            b"\nretry",
        ] {
            assert_eq!(framed(first), [Beginning::Open; 3], "{first:?}");
        }
        for first in ["{", "{ ", " {\t"] {
            assert_eq!(
                framing(Api::OllamaChat, Ndjson, first.as_bytes()),
                Beginning::Open,
                "{first:?}"
            );
        }
    }

    #[test]
    fn a_page_or_a_text_is_no_beginning_of_an_answer() {
        for first in [
            "<html><style>p { margin: 0 }</style>",
            "upstream error {}",
            "upstream connect error: reset\n\n",
            "database is locked",
            "\u{feff}no",
        ] {
            assert_eq!(framed(first.as_bytes()), [Beginning::Other; 3], "{first:?}");
        }
    }

    #[test]
    fn a_transcription_is_a_text_unless_it_begins_as_an_object_or_an_event() {
        for (first, expected) in [
            ("Hello.", Format::Unread),
            ("[Music]", Format::Unread),
            ("{\"text\":\"\"}", Format::Json),
            ("data: {}\n\n", Format::Sse),
        ] {
            let api = Api::OpenAiTranscriptions;
            let framed = framing(api, Format::Json, first.as_bytes());
            assert_eq!(framed, Beginning::Of(expected), "{first:?}");
        }
        let framed = |first: &str| framing(Api::OpenAiTranscriptions, Json, first.as_bytes());
        assert_eq!(framed("da"), Beginning::Open);
        assert_eq!(framed("<html>"), Beginning::Other);
    }
}
