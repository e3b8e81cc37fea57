//! JSON as `encoding/json` writes it: `<`, `>`, `&`, U+2028 and U+2029 never appear raw in a string.
//!
//! The last two matter: some clients split lines at them, and a stream that
//! carried them raw would be cut inside a string.

use std::io;

use bytes::BufMut;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Serialises with Go's escapes. A value that cannot be serialised becomes `null`: the shapes of
/// this simulator have string keys only, so it does not happen.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut out, GoFormatter);
    match value.serialize(&mut serializer) {
        Ok(()) => out,
        Err(_) => b"null".to_vec(),
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn quote(out: &mut impl BufMut, text: &str) {
    out.put_u8(b'"');
    escape(out, text);
    out.put_u8(b'"');
}

/// Appends `text` as the inside of a JSON string.
pub fn escape(out: &mut impl BufMut, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let mut control = *b"\\u0000";
        let (escaped, width): (&[u8], usize) = match bytes[at] {
            b'"' => (b"\\\"", 1),
            b'\\' => (b"\\\\", 1),
            b'\n' => (b"\\n", 1),
            b'\r' => (b"\\r", 1),
            b'\t' => (b"\\t", 1),
            0x08 => (b"\\b", 1),
            0x0c => (b"\\f", 1),
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            byte if byte < 0x20 => {
                control[4] = HEX[usize::from(byte >> 4)];
                control[5] = HEX[usize::from(byte & 15)];
                (&control, 1)
            }
            0xe2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => (b"\\u2028", 3),
            0xe2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => (b"\\u2029", 3),
            _ => {
                at += 1;
                continue;
            }
        };
        out.put_slice(&bytes[copied..at]);
        out.put_slice(escaped);
        at += width;
        copied = at;
    }
    out.put_slice(&bytes[copied..]);
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        escape(&mut escaped, fragment);
        writer.write_all(&escaped)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_go_escapes_is_escaped() {
        let text = "<a href=\"x\">\u{2028}\u{1}&\n\u{7f}é";
        let expected = r#""\u003ca href=\"x\"\u003e\u2028\u0001\u0026\n"#.to_owned() + "\u{7f}é\"";
        assert_eq!(to_vec(text), expected.as_bytes());
        let mut out = Vec::new();
        quote(&mut out, text);
        assert_eq!(out, expected.as_bytes());
    }

    proptest! {
        #[test]
        fn every_string_survives_the_round_trip(text in any::<String>()) {
            let mut out = Vec::new();
            quote(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            prop_assert_eq!(to_vec(&text), out);
        }
    }
}
