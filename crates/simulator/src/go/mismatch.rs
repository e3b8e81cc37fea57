//! What `encoding/json` says of text it cannot read into a struct.
//!
//! serde knows the kind of value it found and what was wanted, but not the way to it: each object adds
//! its key to the error on its way up.

use serde::de;

/// Separates the parts of an error on its way up.
const MARK: char = '\u{1}';

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// In Go's words.
    pub text: String,
    /// The keys to the value of another type, with dots; empty when it is something else.
    pub path: String,
    /// Go's name of the type that was wanted there.
    pub wanted: String,
}

impl Unreadable {
    /// From serde's words about a value of the Go type `name`.
    pub(super) fn of(error: &str, name: &str) -> Self {
        let error = without_place(error);
        if let Some((found, path, wanted)) = parts(error) {
            let short = name.rsplit('.').next().unwrap_or(name);
            return Self {
                text: format!(
                    "json: cannot unmarshal {found} into Go struct field {short}.{path} of type {wanted}"
                ),
                path: path.to_owned(),
                wanted: wanted.to_owned(),
            };
        }
        let text = match mismatch(error) {
            Some((found, _)) => {
                format!("json: cannot unmarshal {found} into Go value of type {name}")
            }
            None if error.starts_with("EOF ") => "unexpected EOF".to_owned(),
            None => error.to_owned(),
        };
        Self {
            text,
            path: String::new(),
            wanted: String::new(),
        }
    }
}

/// An error of the value under `key`.
pub fn in_field<E: de::Error>(error: &E, key: &str) -> E {
    let text = error.to_string();
    let text = without_place(&text);
    let marked = |found, path: &str, wanted| format!("{MARK}{found}{MARK}{path}{MARK}{wanted}");
    E::custom(match (parts(text), mismatch(text)) {
        (Some((found, path, wanted)), _) => marked(found, &format!("{key}.{path}"), wanted),
        (None, Some((found, wanted))) => marked(found, key, wanted),
        (None, None) => text.to_owned(),
    })
}

fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (found, rest) = text.strip_prefix(MARK)?.split_once(MARK)?;
    let (path, wanted) = rest.split_once(MARK)?;
    Some((found, path, wanted))
}

/// serde_json ends its errors with where they are.
fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

/// Go's names of what was found and of what was wanted.
fn mismatch(text: &str) -> Option<(&'static str, &str)> {
    let (found, wanted) = text
        .strip_prefix("invalid type: ")?
        .split_once(", expected ")?;
    let found = match found.split([' ', ',']).next()? {
        "integer" | "floating" => "number",
        "string" => "string",
        "sequence" => "array",
        "map" => "object",
        "boolean" => "bool",
        _ => return None,
    };
    let wanted = match wanted {
        "a string" | "text or parts" => "string",
        "a boolean" => "bool",
        "f64" | "i64" => "int",
        other => other,
    };
    Some((found, wanted))
}
