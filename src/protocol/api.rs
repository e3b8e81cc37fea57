//! The APIs that are understood, and how each one frames its answer.
//!
//! Everything that differs between paths is defined here, so that no other file matches on path
//! text. A path that is not listed is not an inference API and never reaches the gateway.

/// The family of APIs a path belongs to: decides the shape of errors and of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/api/…`
    Ollama,
    /// `/v1/…`
    OpenAi,
    /// `/v1/messages`
    Anthropic,
}

impl Dialect {
    /// Of any path, whether or not there is such an API.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            "/v1/messages" | "/v1/messages/count_tokens" => Self::Anthropic,
            _ if path.starts_with("/v1/") => Self::OpenAi,
            _ => Self::Ollama,
        }
    }
}

/// How the body of an answer is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object, not streamed.
    Json,
    /// One JSON object per line (`application/x-ndjson`).
    Ndjson,
    /// Server-sent events (`text/event-stream`).
    Sse,
    /// In an encoding that is not understood: passed whole, and not looked into.
    Unread,
}

/// One inference API, or one that is routed like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `POST /api/chat`
    OllamaChat,
    /// `POST /api/generate`
    OllamaGenerate,
    /// `POST /api/embed`
    OllamaEmbed,
    /// `POST /api/embeddings`, deprecated, still used
    OllamaEmbeddings,
    /// `POST /api/show`
    OllamaShow,
    /// `POST /v1/chat/completions`
    OpenAiChat,
    /// `POST /v1/completions`
    OpenAiCompletions,
    /// `POST /v1/embeddings`
    OpenAiEmbeddings,
}

impl Api {
    /// Every API there is.
    pub const ALL: [Self; 8] = [
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
        Self::OllamaEmbeddings,
        Self::OllamaShow,
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiEmbeddings,
    ];

    /// The API of `POST` to `path`.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.path() == path)
    }

    /// The path, the same on the router and on the server behind it.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::OllamaChat => "/api/chat",
            Self::OllamaGenerate => "/api/generate",
            Self::OllamaEmbed => "/api/embed",
            Self::OllamaEmbeddings => "/api/embeddings",
            Self::OllamaShow => "/api/show",
            Self::OpenAiChat => "/v1/chat/completions",
            Self::OpenAiCompletions => "/v1/completions",
            Self::OpenAiEmbeddings => "/v1/embeddings",
        }
    }

    /// Its dialect.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed
            | Self::OllamaEmbeddings
            | Self::OllamaShow => Dialect::Ollama,
            Self::OpenAiChat | Self::OpenAiCompletions | Self::OpenAiEmbeddings => Dialect::OpenAi,
        }
    }

    /// Whether the answer may come in pieces at all.
    #[must_use]
    pub const fn can_stream(self) -> bool {
        matches!(
            self,
            Self::OllamaChat | Self::OllamaGenerate | Self::OpenAiChat | Self::OpenAiCompletions
        )
    }

    /// What a request that says nothing about `stream` gets.
    #[must_use]
    pub const fn streams_when_omitted(self) -> bool {
        matches!(self, Self::OllamaChat | Self::OllamaGenerate)
    }

    /// Whether the server computes for it; `/api/show` only reads a file.
    #[must_use]
    pub const fn takes_slot(self) -> bool {
        !matches!(self, Self::OllamaShow)
    }

    /// The framing of a successful answer.
    #[must_use]
    pub const fn format(self, streaming: bool) -> Format {
        match (streaming && self.can_stream(), self.dialect()) {
            (false, _) => Format::Json,
            (true, Dialect::Ollama) => Format::Ndjson,
            (true, Dialect::OpenAi | Dialect::Anthropic) => Format::Sse,
        }
    }

    /// Ollama's own name for the request, which its messages quote.
    pub(super) const fn request_type(self) -> &'static str {
        match self {
            Self::OllamaChat => "ChatRequest",
            Self::OllamaGenerate => "GenerateRequest",
            Self::OllamaEmbed => "EmbedRequest",
            Self::OllamaEmbeddings => "EmbeddingRequest",
            Self::OllamaShow => "ShowRequest",
            Self::OpenAiChat => "ChatCompletionRequest",
            Self::OpenAiCompletions => "CompletionRequest",
            Self::OpenAiEmbeddings => "EmbedRequest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_one_api_and_determines_its_dialect() {
        for (i, api) in Api::ALL.into_iter().enumerate() {
            let dialect = if api.path().starts_with("/v1/") {
                Dialect::OpenAi
            } else {
                Dialect::Ollama
            };
            assert_eq!(api.dialect(), dialect, "{api:?}");
            assert!(Api::ALL[..i].iter().all(|other| other.path() != api.path()));
        }
    }

    #[test]
    fn what_cannot_stream_never_does() {
        for api in Api::ALL {
            assert!(api.can_stream() || !api.streams_when_omitted(), "{api:?}");
            assert_eq!(api.can_stream(), api.format(true) != Format::Json);
            assert_eq!(api.format(false), Format::Json);
        }
    }

    #[test]
    fn only_show_takes_no_slot() {
        let free: Vec<_> = Api::ALL
            .into_iter()
            .filter(|api| !api.takes_slot())
            .collect();
        assert_eq!(free, [Api::OllamaShow]);
    }
}
