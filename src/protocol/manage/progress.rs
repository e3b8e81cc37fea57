//! One line that tells how far a pull, a push or a create is.

use serde::Deserialize;

use crate::protocol::quote::quote;

/// No server writes longer ones.
pub const LONGEST_LINE: usize = 64 << 10;

/// A line. Values of strange types are left out, and with them nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressLine {
    /// What is being done.
    pub status: String,
    /// The layer that it is about.
    pub digest: String,
    /// How large that is, in bytes.
    pub total: u64,
    /// How much of it is done.
    pub completed: u64,
    /// Why it failed; then nothing follows.
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    status: serde_json::Value,
    #[serde(default)]
    digest: serde_json::Value,
    #[serde(default)]
    total: serde_json::Value,
    #[serde(default)]
    completed: serde_json::Value,
    error: Option<serde_json::Value>,
}

impl ProgressLine {
    /// Reads a line; nothing, when it is no object.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.trim_ascii_start().first() != Some(&b'{') {
            return None; // serde would read a list, too
        }
        let written: Written = serde_json::from_slice(line).ok()?;
        let text = |value: serde_json::Value| value.as_str().map(str::to_owned);
        Some(Self {
            status: text(written.status).unwrap_or_default(),
            digest: text(written.digest).unwrap_or_default(),
            total: written.total.as_u64().unwrap_or(0),
            completed: written.completed.as_u64().unwrap_or(0),
            error: written.error.map(words),
        })
    }

    /// The line, with its end, as Ollama writes it: without what is nothing.
    #[must_use]
    pub fn render(status: &str, layer: Option<(&str, u64, u64)>) -> String {
        let status = quote(status);
        match layer {
            None => format!("{{\"status\":{status}}}\n"),
            Some((digest, total, completed)) => {
                let digest = quote(digest);
                let mut line = format!("{{\"status\":{status},\"digest\":{digest}");
                for (key, number) in [("total", total), ("completed", completed)] {
                    if number > 0 {
                        line.push_str(&format!(",\"{key}\":{number}"));
                    }
                }
                line.push_str("}\n");
                line
            }
        }
    }

    /// The last line of what has failed.
    #[must_use]
    pub fn render_error(error: &str) -> String {
        format!("{{\"error\":{}}}\n", quote(error))
    }
}

fn words(error: serde_json::Value) -> String {
    match error {
        serde_json::Value::String(words) => words,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        for line in [
            "{\"status\":\"pulling manifest\"}\n",
            "{\"status\":\"pulling f7508202326c\",\"digest\":\"sha256:f7\",\"total\":17}\n",
            "{\"status\":\"pulling f7508202326c\",\"digest\":\"sha256:f7\",\"total\":17,\"completed\":5}\n",
        ] {
            let read = ProgressLine::parse(line.as_bytes()).unwrap();
            let layer =
                (!read.digest.is_empty()).then_some((&*read.digest, read.total, read.completed));
            assert_eq!(ProgressLine::render(&read.status, layer), line);
        }
        let error = ProgressLine::render_error("a\u{2028}\"b");
        let read = ProgressLine::parse(error.as_bytes()).unwrap();
        assert_eq!(read.error.as_deref(), Some("a\u{2028}\"b"));
        assert!(!error.contains('\u{2028}'));
    }

    #[test]
    fn values_of_strange_types_are_left_out_and_what_is_no_object_is_nothing() {
        let line = br#"{"status":5,"total":-1,"completed":"x","digest":"d","more":[]}"#;
        let read = ProgressLine::parse(line).unwrap();
        assert_eq!((&*read.digest, read.total), ("d", 0));
        for wrong in [&b"[1]"[..], b"", b"pulling", b"{\"status\":\"pul"] {
            assert_eq!(ProgressLine::parse(wrong), None);
        }
    }
}
