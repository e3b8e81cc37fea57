//! How long an answer may become, where the client says so: what a request may cost at most.

use super::fields::{Field, Fields};
use super::walk;
use crate::protocol::api::{Api, Dialect};

/// The most tokens the answer may have, over all of its choices. Nothing when the client leaves it
/// to the model, or says something a server will refuse.
pub(super) fn max_output(api: Api, fields: &Fields<'_>) -> Option<u64> {
    let number = |field| fields.get(field).and_then(|json| json.parse::<u64>().ok());
    match (api, api.dialect()) {
        (Api::OllamaEmbed | Api::OllamaEmbeddings | Api::OllamaShow | Api::OpenAiEmbeddings, _) => {
            Some(0)
        }
        (_, Dialect::Ollama) => {
            let mut most = None;
            // Below zero is without end, which is no number here either.
            let _ = walk::entries(fields.get(Field::Options)?, |key, value| {
                if key == b"num_predict" {
                    most = value.get().parse().ok();
                }
            });
            most
        }
        (Api::OpenAiResponses, _) => number(Field::MaxOutputTokens),
        (_, Dialect::OpenAi | Dialect::Anthropic) => {
            let most = number(Field::MaxCompletionTokens).or_else(|| number(Field::MaxTokens))?;
            Some(most.saturating_mul(number(Field::N).unwrap_or(1)))
        }
    }
}

/// How many answers to one prompt are wanted, where the client says so in OpenAI's API.
pub(super) fn choices(api: Api, fields: &Fields<'_>) -> u32 {
    match api {
        Api::OpenAiChat | Api::OpenAiCompletions => {
            let n = fields.get(Field::N).and_then(|json| json.parse().ok());
            n.unwrap_or(1)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::peek;
    use super::*;

    fn most(api: Api, rest: &str) -> Option<u64> {
        let body = format!(r#"{{"model":"m"{rest}}}"#);
        peek(api, body.as_bytes()).unwrap().max_output
    }

    #[test]
    fn how_many_answers_are_wanted_is_said_in_openais_api_alone() {
        for (api, rest, expected) in [
            (Api::OpenAiChat, r#","n":3"#, 3),
            (Api::OpenAiCompletions, r#","n":2"#, 2),
            (Api::OpenAiChat, "", 1),
            (Api::OpenAiChat, r#","n":null"#, 1),
            (Api::OpenAiChat, r#","n":"2""#, 1),
            (Api::OllamaChat, r#","n":3"#, 1),
        ] {
            let body = format!(r#"{{"model":"m"{rest}}}"#);
            assert_eq!(
                peek(api, body.as_bytes()).unwrap().choices,
                expected,
                "{api:?} {rest}"
            );
        }
    }

    #[test]
    fn each_dialect_says_it_in_its_own_place() {
        for (api, rest, expected) in [
            (Api::OllamaChat, "", None),
            (
                Api::OllamaChat,
                r#","options":{"num_predict":64}"#,
                Some(64),
            ),
            (Api::OllamaChat, r#","options":{"num_predict":-1}"#, None),
            (Api::OllamaChat, r#","max_tokens":64"#, None),
            (Api::OllamaEmbed, "", Some(0)),
            (Api::OpenAiChat, r#","max_tokens":64"#, Some(64)),
            (
                Api::OpenAiChat,
                r#","max_tokens":64,"max_completion_tokens":9"#,
                Some(9),
            ),
            (
                Api::OpenAiCompletions,
                r#","max_tokens":10,"n":3"#,
                Some(30),
            ),
            (Api::OpenAiChat, r#","max_tokens":"many""#, None),
            (Api::OpenAiResponses, r#","max_output_tokens":7"#, Some(7)),
            (Api::OpenAiResponses, r#","max_tokens":7"#, None),
            (Api::AnthropicMessages, r#","max_tokens":7"#, Some(7)),
        ] {
            assert_eq!(most(api, rest), expected, "{api:?} {rest}");
        }
    }
}
