//! How long an answer may become, where the client says so: what a request may cost at most.
//!
//! Limits are held to it, so it must be no less than what a server goes by: each API has its own field, and of one that some
//! server does not read, or could read otherwise, nothing follows.

use super::fields::{Field, Fields};
use super::walk;
use crate::protocol::api::Api;

/// The most tokens an answer may have, over all of its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxOutput {
    /// The client leaves it to the model, or says something of which nothing follows.
    Unsaid,
    /// So many, on every server.
    Tokens(u64),
    /// So many, but not on an Ollama: it does not read the field.
    UnlessOllama(u64),
}

impl MaxOutput {
    /// The most tokens there can be, if anything is known of them.
    #[must_use]
    pub fn bound(self, may_be_ollama: impl FnOnce() -> bool) -> Option<u64> {
        match self {
            Self::Tokens(most) => Some(most),
            Self::UnlessOllama(most) if !may_be_ollama() => Some(most),
            Self::Unsaid | Self::UnlessOllama(_) => None,
        }
    }
}

/// What a field says that nobody can be sure of.
struct Unclear;

pub(super) fn max_output(api: Api, fields: &Fields<'_>) -> MaxOutput {
    let tokens = |field| {
        let most = stated(fields, field)?;
        Ok(most.map_or(MaxOutput::Unsaid, |most| MaxOutput::Tokens(most.max(1))))
    };
    let most = match api {
        Api::OllamaEmbed | Api::OllamaEmbeddings | Api::OllamaShow | Api::OpenAiEmbeddings => {
            Ok(MaxOutput::Tokens(0))
        }
        Api::OllamaChat | Api::OllamaGenerate => Ok(num_predict(fields)),
        Api::OpenAiChat | Api::OpenAiCompletions => of_choices(api, fields),
        Api::OpenAiResponses => tokens(Field::MaxOutputTokens),
        Api::AnthropicMessages => tokens(Field::MaxTokens),
        Api::OpenAiTranscriptions => Ok(MaxOutput::Unsaid),
    };
    most.unwrap_or(MaxOutput::Unsaid)
}

/// Below zero is without end.
fn num_predict(fields: &Fields<'_>) -> MaxOutput {
    let mut most = None;
    if let Some(options) = fields.get(Field::Options) {
        let _ = walk::entries(options, |key, value| {
            if key == b"num_predict" {
                most = count(value.get());
            }
        });
    }
    // Zero is one.
    most.map_or(MaxOutput::Unsaid, |most| MaxOutput::Tokens(most.max(1)))
}

/// Chats have two fields for it, of which servers prefer one or the other.
fn of_choices(api: Api, fields: &Fields<'_>) -> Result<MaxOutput, Unclear> {
    let most = stated(fields, Field::MaxTokens)?;
    let newer = match api {
        Api::OpenAiChat => stated(fields, Field::MaxCompletionTokens)?,
        _ => None,
    };
    let choices = stated(fields, Field::N)?.unwrap_or(1).max(1);
    let all = |most: u64| most.max(1).saturating_mul(choices);
    Ok(match (most, newer) {
        (Some(most), newer) => MaxOutput::Tokens(all(most.max(newer.unwrap_or(0)))),
        (None, Some(newer)) => MaxOutput::UnlessOllama(all(newer)),
        (None, None) => MaxOutput::Unsaid,
    })
}

/// The number under `field`, if there is one.
fn stated(fields: &Fields<'_>, field: Field) -> Result<Option<u64>, Unclear> {
    let Some(json) = fields.get(field) else {
        return Ok(None);
    };
    // Python's servers read a key in its own spelling only, and the first or the last of two as they like.
    if fields.is_repeated(field) || fields.is_respelt(field) {
        return Err(Unclear);
    }
    count(json).map(Some).ok_or(Unclear)
}

/// A number in any spelling that some server takes: Python's take `64.0` and `"64"`.
fn count(json: &str) -> Option<u64> {
    let text = json.trim_matches('"');
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (0.0..1e15).contains(&number).then(|| number.ceil() as u64)
    })
}

/// How many answers to one prompt are wanted, where the client says so in OpenAI's API.
pub(super) fn choices(api: Api, fields: &Fields<'_>) -> u32 {
    match api {
        Api::OpenAiChat | Api::OpenAiCompletions => {
            let n = fields.get(Field::N).and_then(count);
            n.and_then(|n| n.try_into().ok()).unwrap_or(1)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::peek;
    use super::*;

    fn most(api: Api, rest: &str) -> MaxOutput {
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
            (Api::OpenAiChat, r#","n":"2""#, 2),
            (Api::OpenAiChat, r#","n":2.0"#, 2),
            (Api::OpenAiChat, r#","n":[2]"#, 1),
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
    fn each_api_says_it_in_its_own_place_and_no_other_counts() {
        use MaxOutput::{Tokens, Unsaid};
        let everywhere = r#","max_tokens":64,"max_completion_tokens":1,"max_output_tokens":7,"options":{"num_predict":3}"#;
        for (api, expected) in [
            (Api::OllamaChat, Tokens(3)),
            (Api::OllamaGenerate, Tokens(3)),
            (Api::OllamaEmbed, Tokens(0)),
            (Api::OpenAiChat, Tokens(64)),
            (Api::OpenAiCompletions, Tokens(64)),
            (Api::OpenAiEmbeddings, Tokens(0)),
            (Api::OpenAiResponses, Tokens(7)),
            (Api::AnthropicMessages, Tokens(64)),
        ] {
            assert_eq!(most(api, everywhere), expected, "{api:?}");
            let nothing = most(api, "");
            assert!(matches!(nothing, Unsaid | Tokens(0)), "{api:?}");
        }
        let foreign = r#","max_completion_tokens":1,"options":{"num_predict":1}"#;
        for api in [
            Api::OpenAiCompletions,
            Api::OpenAiResponses,
            Api::AnthropicMessages,
        ] {
            assert_eq!(most(api, foreign), Unsaid, "{api:?}");
        }
    }

    #[test]
    fn of_two_limits_of_a_chat_the_larger_one_holds_and_the_newer_one_alone_not_on_ollama() {
        use MaxOutput::{Tokens, UnlessOllama, Unsaid};
        for (rest, expected) in [
            (r#","max_tokens":64,"max_completion_tokens":9"#, Tokens(64)),
            (r#","max_tokens":9,"max_completion_tokens":64"#, Tokens(64)),
            (r#","max_completion_tokens":9"#, UnlessOllama(9)),
            (r#","max_completion_tokens":9,"n":3"#, UnlessOllama(27)),
            (
                r#","max_tokens":null,"max_completion_tokens":9"#,
                UnlessOllama(9),
            ),
            // One of the two is without end, whichever the server reads.
            (r#","max_tokens":-1,"max_completion_tokens":9"#, Unsaid),
            (r#","max_tokens":9,"max_completion_tokens":-1"#, Unsaid),
        ] {
            assert_eq!(most(Api::OpenAiChat, rest), expected, "{rest}");
        }
        assert_eq!(UnlessOllama(9).bound(|| true), None);
        assert_eq!(UnlessOllama(9).bound(|| false), Some(9));
        assert_eq!(Tokens(9).bound(|| true), Some(9));
        assert_eq!(Unsaid.bound(|| false), None);
    }

    #[test]
    fn what_some_server_could_read_as_more_is_no_limit() {
        use MaxOutput::{Tokens, Unsaid};
        for (api, rest, expected) in [
            (Api::OpenAiChat, r#","max_tokens":10,"n":3"#, Tokens(30)),
            (Api::OpenAiChat, r#","max_tokens":10,"n":0"#, Tokens(10)),
            (Api::OpenAiChat, r#","max_tokens":10,"n":"3""#, Tokens(30)),
            (Api::OpenAiChat, r#","max_tokens":10,"n":2.5"#, Tokens(30)),
            (Api::OpenAiChat, r#","max_tokens":10,"n":-3"#, Unsaid),
            (Api::OpenAiChat, r#","max_tokens":10,"n":1,"N":9"#, Unsaid),
            (Api::OpenAiChat, r#","max_tokens":0"#, Tokens(1)),
            (Api::OpenAiChat, r#","max_tokens":64.0"#, Tokens(64)),
            (Api::OpenAiChat, r#","max_tokens":"64""#, Tokens(64)),
            (Api::OpenAiChat, r#","max_tokens":"many""#, Unsaid),
            (Api::OpenAiChat, r#","max_tokens":1e400"#, Unsaid),
            (Api::OpenAiChat, r#","MAX_TOKENS":1"#, Unsaid),
            (
                Api::AnthropicMessages,
                r#","max_tokens":99,"max_to\u212aens":1"#,
                Unsaid,
            ),
            (
                Api::OpenAiResponses,
                r#","max_output_tokens":99,"max_output_tokens":1"#,
                Unsaid,
            ),
            (Api::AnthropicMessages, r#","max_tokens":-1"#, Unsaid),
        ] {
            assert_eq!(most(api, rest), expected, "{api:?} {rest}");
        }
        for (options, expected) in [
            ("64", Tokens(64)),
            ("64.0", Tokens(64)),
            ("0", Tokens(1)),
            ("-1", Unsaid),
            ("-2", Unsaid),
            ("null", Unsaid),
            ("1,\"num_predict\":-1", Unsaid),
            ("-1,\"num_predict\":8", Tokens(8)),
            ("-1,\"NUM_PREDICT\":8", Unsaid),
        ] {
            let rest = format!(r#","options":{{"num_predict":{options}}}"#);
            assert_eq!(most(Api::OllamaChat, &rest), expected, "{options}");
        }
    }
}
