//! What one object of an answer says of the whole of it.

use crate::domain::TokenCounts;
use crate::protocol::api::{Api, Dialect};
use crate::protocol::scan::{Choices, Document};

/// Whether an object says that its answer has not been computed to its end. Ollama says so when its runner
/// ends before its answer does: in its own API, and in the others' by neither a reason nor a single token.
pub(super) fn is_given_up(api: Api, document: &Document) -> bool {
    let is_nothing = !document.finishes.is_over(1) && document.completion_tokens == Some(0);
    match api.dialect() {
        Dialect::Ollama => document.done == Some(false),
        Dialect::Anthropic => is_nothing,
        Dialect::OpenAi => document.choices == Some(Choices::Some) && is_nothing,
    }
}

/// The usage an object states. Ollama leaves a zero out, so where it says one number, the one that is absent is
/// zero; OpenAI's servers say nothing at all unless they say it under `usage`. Of a message the beginning may have
/// said what was `read`.
pub(super) fn tokens(api: Api, document: &Document, read: u64) -> Option<TokenCounts> {
    let (input, output) = match api {
        Api::OllamaChat | Api::OllamaGenerate => {
            let cached = document.prompt_eval_cached_count;
            let input = document.prompt_eval_count.or(cached);
            input.or(document.eval_count)?;
            (input, document.eval_count)
        }
        Api::OllamaEmbed => (Some(document.prompt_eval_count?), None),
        Api::OllamaEmbeddings | Api::OllamaShow => return None,
        Api::OpenAiChat
        | Api::OpenAiCompletions
        | Api::OpenAiResponses
        | Api::OpenAiTranscriptions => {
            document.prompt_tokens.or(document.completion_tokens)?;
            (document.prompt_tokens, document.completion_tokens)
        }
        Api::OpenAiEmbeddings => {
            let total = document.total_tokens.or(document.prompt_tokens)?;
            (Some(total), None)
        }
        Api::AnthropicMessages => {
            let output = document.completion_tokens?;
            let input = all_input(document).filter(|input| *input > 0);
            (input.or(Some(read)), Some(output))
        }
    };
    Some(TokenCounts {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
    })
}

/// What a message has read: what was in the cache, or was put there, is not among the rest.
pub(super) fn all_input(document: &Document) -> Option<u64> {
    let parts = [
        document.prompt_tokens,
        document.cache_read_tokens,
        document.cache_creation_tokens,
    ];
    let stated = parts.into_iter().flatten();
    document.prompt_tokens.map(|_| stated.sum())
}

/// How many of the tokens read were in the cache.
pub(super) fn cached_tokens(document: &Document) -> Option<u64> {
    let cached = document.cached_tokens.or(document.prompt_eval_cached_count);
    cached.or(document.cache_read_tokens)
}
