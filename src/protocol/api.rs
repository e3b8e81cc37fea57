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
    /// A text, or in an encoding that is not understood: passed whole, and not looked into.
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
    /// `POST /v1/responses`
    OpenAiResponses,
    /// `POST /v1/audio/transcriptions`
    OpenAiTranscriptions,
    /// `POST /v1/messages`
    AnthropicMessages,
}

impl Api {
    /// Every API there is.
    pub const ALL: [Self; 11] = [
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
        Self::OllamaEmbeddings,
        Self::OllamaShow,
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiEmbeddings,
        Self::OpenAiResponses,
        Self::OpenAiTranscriptions,
        Self::AnthropicMessages,
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
            Self::OpenAiResponses => "/v1/responses",
            Self::OpenAiTranscriptions => "/v1/audio/transcriptions",
            Self::AnthropicMessages => "/v1/messages",
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
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiEmbeddings
            | Self::OpenAiResponses
            | Self::OpenAiTranscriptions => Dialect::OpenAi,
            Self::AnthropicMessages => Dialect::Anthropic,
        }
    }

    /// Whether the answer may come in pieces at all.
    #[must_use]
    pub const fn can_stream(self) -> bool {
        !matches!(
            self,
            Self::OllamaEmbed | Self::OllamaEmbeddings | Self::OllamaShow | Self::OpenAiEmbeddings
        )
    }

    /// Whether the body of a request is a form with a file (`multipart/form-data`), not JSON.
    #[must_use]
    pub const fn takes_form(self) -> bool {
        matches!(self, Self::OpenAiTranscriptions)
    }

    /// Whether an answer may be a text, even an empty one: what is said in a recording.
    #[must_use]
    pub const fn may_answer_text(self) -> bool {
        matches!(self, Self::OpenAiTranscriptions)
    }

    /// Whether the objects of an answer say in their `type` what they are.
    pub(super) const fn types_its_events(self) -> bool {
        matches!(
            self,
            Self::OpenAiResponses | Self::OpenAiTranscriptions | Self::AnthropicMessages
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

    /// The package of [`Api::request_type`] in Ollama's source.
    pub(super) const fn request_package(self) -> &'static str {
        match self.dialect() {
            Dialect::Ollama => "api",
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
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
            Self::OpenAiResponses => "ResponsesRequest",
            Self::OpenAiTranscriptions => "TranscriptionRequest",
            Self::AnthropicMessages => "MessagesRequest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_one_api_and_determines_its_dialect() {
        for (i, api) in Api::ALL.into_iter().enumerate() {
            assert_eq!(api.dialect(), Dialect::of(api.path()), "{api:?}");
            assert_eq!(i, api as usize, "tables are indexed by it");
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
