//! `[[endpoint]]`: one server behind the router.

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{EndpointUrl, Secret, Slots};

/// One server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Endpoint {
    /// Its root; paths are added to it.
    pub url: EndpointUrl,
    /// How it is called in headers, metrics and reports; unique. After loading never empty:
    /// `host:port` where nothing was written.
    #[serde(default)]
    pub name: String,
    /// Which API it has.
    #[serde(default)]
    pub kind: Kind,
    /// Concurrent requests per model; [`Slots::Auto`] leaves it to `[routing]`.
    #[serde(default)]
    pub slots: Slots,
    /// Its share among servers of equal priority; above zero.
    #[serde(default = "one")]
    pub weight: f64,
    /// Lower is used first; higher only when the lower ones are busy or gone.
    #[serde(default)]
    pub priority: i32,
    /// Sent to it as a bearer token; empty sends none.
    #[serde(default)]
    pub api_key: Secret,
    /// What it serves, if it cannot say so itself.
    #[serde(default)]
    pub models: Vec<String>,
    /// What it is also called, together with others: keys and requests may be limited to it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// It has the account at ollama.com: what needs one goes to it. At most one server.
    #[serde(default)]
    pub cloud: bool,
}

/// Which API a server has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Ollama's own API.
    #[default]
    Ollama,
    /// Any server with an OpenAI-compatible API.
    #[serde(rename = "openai")]
    OpenAi,
    /// llama.cpp's `llama-server`.
    LlamaServer,
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::LlamaServer => "llama-server",
        }
    }

    /// The one that is written so.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        let all = [Self::Ollama, Self::OpenAi, Self::LlamaServer];
        all.into_iter().find(|kind| kind.as_str() == written)
    }

    /// Whether such a server always tells which models it has, so that nobody else needs to.
    #[must_use]
    pub fn lists_models(self) -> bool {
        match self {
            Self::Ollama => true,
            Self::OpenAi | Self::LlamaServer => false,
        }
    }
}

impl Endpoint {
    /// A server at this address, everything else by default and named for its host and port.
    #[must_use]
    pub fn at(url: EndpointUrl) -> Self {
        Self {
            name: url.host_and_port(),
            url,
            kind: Kind::default(),
            slots: Slots::default(),
            weight: one(),
            priority: 0,
            api_key: Secret::default(),
            models: Vec::new(),
            labels: Vec::new(),
            cloud: false,
        }
    }

    /// Where its paths begin. Addresses of servers of OpenAI's calls are often written with the first part
    /// of those calls' paths.
    #[must_use]
    pub fn root(&self) -> Uri {
        let whole = self.url.uri();
        let written = self.url.as_str().trim_end_matches('/');
        match (self.kind, written.strip_suffix("/v1")) {
            (Kind::OpenAi, Some(root)) => root.parse().unwrap_or_else(|_| whole.clone()),
            _ => whole.clone(),
        }
    }

    /// Its address, the same however it is written: what tells servers apart.
    #[must_use]
    pub fn address(&self) -> String {
        let root = self.root();
        format!(
            "{}{}",
            self.url.reached(),
            root.path().trim_end_matches('/')
        )
    }
}

/// Ollama where it listens unless told otherwise.
impl Default for Endpoint {
    fn default() -> Self {
        Self::at(EndpointUrl::local_ollama())
    }
}

fn one() -> f64 {
    1.0
}
