//! A model as the simulator's user describes it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One model of a simulated server. Only the name is needed; everything else has a plausible value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Any spelling; shown as `/api/tags` shows it, in this case and with its tag.
    pub name: String,
    /// 64 hex digits; empty: made of the name and the server's seed.
    pub digest: String,
    /// Bytes, on disk and when loaded.
    pub size: u64,
    /// `details.family`.
    pub family: String,
    /// `details.parameter_size`.
    pub parameter_size: String,
    /// `details.quantization_level`.
    pub quantization: String,
    /// The longest context it was trained for.
    pub context_length: u64,
    /// Length of its vectors.
    pub embedding_length: usize,
    /// `completion`, `tools`, `thinking`, `embedding`, `vision`, `insert`.
    pub capabilities: Vec<String>,
    /// Text appended to the tokens of its answers in turn, for text that a relay must not change.
    pub pieces: Vec<String>,
    /// Overrides the server's `parallel`.
    pub parallel: Option<usize>,
    /// Overrides the server's `default_predict`.
    pub predict: Option<usize>,
    /// Last change, in Unix seconds.
    pub modified: i64,
    /// Whether it computes vectors; a real model that only chats does not.
    pub embeds: bool,
    /// What `/api/show` says of its licence.
    pub license: String,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            name: String::new(),
            digest: String::new(),
            size: 2_019_393_189,
            family: "llama".to_owned(),
            parameter_size: "3.2B".to_owned(),
            quantization: "Q4_K_M".to_owned(),
            context_length: 131_072,
            embedding_length: 64,
            capabilities: vec!["completion".to_owned(), "tools".to_owned()],
            pieces: Vec::new(),
            parallel: None,
            predict: None,
            modified: 1_755_766_800,
            embeds: true,
            license: String::new(),
        }
    }
}

impl Model {
    /// A chat model that can call tools.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// A model that only embeds. Like Ollama's, it has a single slot unless told otherwise.
    #[must_use]
    pub fn embedding(name: impl Into<String>) -> Self {
        Self {
            family: "nomic-bert".to_owned(),
            parameter_size: "137M".to_owned(),
            quantization: "F16".to_owned(),
            size: 274_302_450,
            context_length: 2048,
            capabilities: vec!["embedding".to_owned()],
            ..Self::named(name)
        }
    }

    /// The tiny model that the recorded calls were made with: it chats, and nothing else.
    pub(super) fn tiny() -> Self {
        Self {
            size: 510_904,
            parameter_size: "125K".to_owned(),
            quantization: "unknown".to_owned(),
            context_length: 2048,
            capabilities: vec!["completion".to_owned()],
            embeds: false,
            ..Self::default()
        }
    }

    /// Also thinks, when asked to.
    #[must_use]
    pub fn thinking(mut self) -> Self {
        self.capabilities.push("thinking".to_owned());
        self
    }

    /// With these pieces of text in its answers.
    #[must_use]
    pub fn saying<T: Into<String>>(mut self, pieces: impl IntoIterator<Item = T>) -> Self {
        self.pieces = pieces.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }

    pub(super) fn slots(&self, server: usize) -> usize {
        let embeds_only = self.can("embedding") && !self.can("completion");
        let default = if embeds_only { 1 } else { server };
        self.parallel.unwrap_or(default).max(1)
    }

    /// The digest it was given, or one that is the same on every server with the same seed.
    pub(super) fn digest(&self, canonical: &str, seed: u64) -> String {
        if self.digest.is_empty() {
            hex_sha256(format!("{canonical}\n{seed}").as_bytes())
        } else {
            self.digest.clone()
        }
    }
}

pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
