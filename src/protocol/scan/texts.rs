//! What is inside a string, a key or a number, wherever the bytes are cut.

use super::document::Field;
use super::kind::Kind;
use super::{Place, Scanner};
use crate::protocol::skip;

impl Scanner {
    pub(super) fn text(&mut self, rest: &mut &[u8]) {
        match skip::quote_or_escape(rest) {
            None => *rest = &[],
            Some(at) => {
                self.place = match rest[at] {
                    b'"' => Place::Structure,
                    _ => Place::TextEscape,
                };
                *rest = &rest[at + 1..];
            }
        }
    }

    /// In a text that is compared: with an escape in it, it is none of those that are looked for.
    pub(super) fn word(&mut self, rest: &mut &[u8]) {
        let Some(at) = skip::quote_or_escape(rest) else {
            self.scalar.push(rest);
            *rest = &[];
            return;
        };
        self.scalar.push(&rest[..at]);
        self.place = Place::TextEscape;
        if rest[at] == b'"' {
            let word = self.scalar.get().unwrap_or_default();
            match self.field {
                Field::Kind => self.document.kind = Kind::of(word),
                _ => self.document.error |= word == b"error",
            }
            self.place = Place::Structure;
        }
        *rest = &rest[at + 1..];
    }

    pub(super) fn key(&mut self, rest: &mut &[u8]) {
        let Some(at) = skip::quote_or_escape(rest) else {
            self.key.push(rest);
            *rest = &[];
            return;
        };
        let part = &rest[..at];
        if rest[at] == b'\\' {
            self.key.push(part);
            self.place = Place::KeyEscape;
        } else if self.key.is_empty() {
            self.end_key(part); // whole, as nearly always
        } else {
            self.key.push(part);
            let key = self.key;
            self.end_key(key.get().unwrap_or_default());
        }
        *rest = &rest[at + 1..];
    }

    fn end_key(&mut self, key: &[u8]) {
        self.field = self.level.field(key, self.typed);
        self.place = Place::Structure;
    }

    pub(super) fn key_escape(&mut self, byte: u8) {
        self.place = match byte {
            b'u' => Place::KeyUnicode { left: 4, value: 0 },
            // No key that is looked for has a quote, slash or control character in it.
            _ => {
                self.key.spoil();
                Place::Key
            }
        };
    }

    pub(super) fn key_unicode(&mut self, byte: u8, left: u8, value: u16) {
        let digit = char::from(byte).to_digit(16).unwrap_or(0xFFFF) as u16;
        let value = (value << 4) | digit; // no hex digit: spoils, for it is then not ASCII
        self.place = match left {
            1 => Place::Key,
            _ => Place::KeyUnicode {
                left: left - 1,
                value,
            },
        };
        if left == 1 {
            match u8::try_from(value) {
                Ok(ascii) if ascii.is_ascii() => self.key.push(&[ascii]),
                _ => self.key.spoil(),
            }
        }
    }

    pub(super) fn scalar(&mut self, rest: &mut &[u8]) {
        let end = rest.iter().position(|byte| {
            matches!(byte, b',' | b'}' | b']' | b'{' | b'[' | b'"' | b':')
                || matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
        });
        self.scalar.push(&rest[..end.unwrap_or(rest.len())]);
        *rest = &rest[end.unwrap_or(rest.len())..];
        if end.is_some() {
            let text = self.scalar.get().unwrap_or_default();
            match &mut self.choice {
                Some(choice) => choice.scalar(self.field, text),
                None => self.document.scalar(self.field, text),
            }
            self.place = Place::Structure;
        }
    }
}
