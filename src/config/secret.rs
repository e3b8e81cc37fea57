//! Text that is never shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

const REDACTED: &str = "[redacted]";

/// A password, key or address with one inside. Printing, logging and serialising it all redact;
/// reading it takes the word [`expose`](Self::expose), which is easy to look for.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { REDACTED })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer, "text in quotes", |written| {
            Ok::<_, std::convert::Infallible>(Self(written.to_owned()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("hunter2");
        let printed = format!(
            "{secret} {secret:?} {}",
            serde_json::to_string(&secret).unwrap()
        );
        assert_eq!(printed, "[redacted] Secret([redacted]) \"[redacted]\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn an_empty_secret_says_that_it_is_empty() {
        assert_eq!(Secret::default().to_string(), "");
    }
}
