//! The name of a blob: what its bytes come to.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::protocol::canonical_digest;

/// `sha256:` and 64 hex digits in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// Reads either of its two forms, `sha256:` and `sha256-`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        canonical_digest(text).map(|digest| Self(digest.into()))
    }

    /// The one of what has been hashed.
    pub(super) fn of(hash: Sha256) -> Self {
        let mut text = String::from("sha256:");
        for byte in hash.finalize() {
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text.into())
    }

    /// As it stands in paths of the registry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its file.
    pub(super) fn file(&self) -> String {
        self.0.replace(':', "-")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_back_from_the_name_of_its_file() {
        let digest = Digest::of(Sha256::new_with_prefix(b"x"));
        assert!(digest.as_str().starts_with("sha256:2d711642b726"));
        assert_eq!(Digest::parse(&digest.file()), Some(digest));
        for wrong in ["", "sha256:", "sha256-../x", "sha512:00"] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }
}
