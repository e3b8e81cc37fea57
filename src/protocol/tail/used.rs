//! What one object of an answer says of the whole of it.

use crate::domain::TokenCounts;
use crate::protocol::api::{Api, Dialect};
use crate::protocol::scan::{Choices, Document};

/// Whether an object says that its answer has not been computed to its end. Ollama says so when its runner
/// ends before its answer does: in its own API, and in OpenAI's by neither a reason nor a single token.
pub(super) fn is_given_up(api: Api, document: &Document) -> bool {
    match api.dialect() {
        Dialect::Ollama => document.done == Some(false),
        Dialect::OpenAi | Dialect::Anthropic => {
            document.choices == Some(Choices::Some)
                && !document.finishes.is_over(1)
                && document.completion_tokens == Some(0)
        }
    }
}

/// The usage an object states. Ollama leaves a zero out, so where it says one number, the one that is absent is
/// zero; OpenAI's servers say nothing at all unless they say it under `usage`.
pub(super) fn tokens(api: Api, document: &Document) -> Option<TokenCounts> {
    let (input, output) = match api {
        Api::OllamaChat | Api::OllamaGenerate => {
            let cached = document.prompt_eval_cached_count;
            let input = document.prompt_eval_count.or(cached);
            input.or(document.eval_count)?;
            (input, document.eval_count)
        }
        Api::OllamaEmbed => (Some(document.prompt_eval_count?), None),
        Api::OllamaEmbeddings | Api::OllamaShow => return None,
        Api::OpenAiChat | Api::OpenAiCompletions => {
            document.prompt_tokens.or(document.completion_tokens)?;
            (document.prompt_tokens, document.completion_tokens)
        }
        Api::OpenAiEmbeddings => {
            let total = document.total_tokens.or(document.prompt_tokens)?;
            (Some(total), None)
        }
    };
    Some(TokenCounts {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
    })
}
