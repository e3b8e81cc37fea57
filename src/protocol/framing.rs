//! How the body of an answer is framed, whatever its content type says.
//!
//! Servers and the proxies before them send events as `text/plain`, lines as `application/json`, and
//! one object as a stream. So what was asked for says what to expect, and the first bytes say
//! whether it came: an object never begins like an event.

use super::api::Format;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How a stream of events may begin; a comment begins with the colon.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// The framing of a body that was asked for as `expected` and begins with `first`.
#[must_use]
pub fn framing(expected: Format, first: &[u8]) -> Format {
    match (begin(first), expected) {
        ([b'{', b'\n' | b'\r', ..], Format::Ndjson) => Format::Json, // over several lines
        ([b'{' | b'[', ..], Format::Sse) => Format::Json,
        ([b'{' | b'[', ..], _) => expected,
        (first, _) if FIELDS.iter().any(|field| first.starts_with(field)) => Format::Sse,
        _ => expected,
    }
}

/// Whether a body of this framing can begin with `first`. A page of something before the server cannot, whatever
/// braces are in it.
#[must_use]
pub fn can_begin(format: Format, first: &[u8]) -> bool {
    match (format, begin(first)) {
        (Format::Unread, _) | (_, []) => true,
        (Format::Json, [b'{' | b'[', ..]) => true,
        (Format::Json, _) | (_, [b'<', ..]) => false,
        (Format::Ndjson | Format::Sse, _) => true,
    }
}

fn begin(first: &[u8]) -> &[u8] {
    let first = first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(first);
    first.trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_came_and_the_request_what_to_expect() {
        use Format::{Json, Ndjson, Sse};
        for (first, asked) in [
            ("{\"done\":false}\n", [Json, Ndjson, Json]),
            ("{\n  \"done\": true\n}", [Json, Json, Json]),
            ("[1]", [Json, Ndjson, Json]),
            ("data: {}\n\n", [Sse, Sse, Sse]),
            ("\u{feff}data:{}\n\n", [Sse, Sse, Sse]),
            ("\r\n\r\nevent: x\n", [Sse, Sse, Sse]),
            (": ping\n\n", [Sse, Sse, Sse]),
            ("id: 1\n", [Sse, Sse, Sse]),
            ("retry: 1\n", [Sse, Sse, Sse]),
            // Too little to tell, and nothing that is known.
            ("", [Json, Ndjson, Sse]),
            ("\n\n", [Json, Ndjson, Sse]),
            ("da", [Json, Ndjson, Sse]),
            ("<html>", [Json, Ndjson, Sse]),
        ] {
            let framed = [Json, Ndjson, Sse].map(|expected| framing(expected, first.as_bytes()));
            assert_eq!(framed, asked, "{first:?}");
        }
    }

    #[test]
    fn a_page_is_no_beginning_of_an_answer() {
        use Format::{Json, Ndjson, Sse, Unread};
        let page = b"<html><style>p { margin: 0 }</style>";
        for (format, first, can) in [
            (Json, &page[..], false),
            (Ndjson, page, false),
            (Sse, page, false),
            (Unread, page, true),
            (Json, b"upstream error {}", false),
            (Json, b" ", true),
            (Json, b"\xEF\xBB\xBF\n{", true),
            (Sse, b"da", true),
            (Ndjson, b"{", true),
        ] {
            assert_eq!(can_begin(format, first), can, "{format:?} {first:?}");
        }
    }
}
