//! What is remembered of one JSON object of an answer: a few flags and numbers, nothing else.

use super::choices::Finishes;
use super::kind::Kind;

/// A count above this is not a count of tokens, and is ignored: one absurd
/// number must not falsify a year's sums.
const MAX_COUNT: f64 = 1e12;

/// What one object of an answer said, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Document {
    /// `"done"`, if it is `true` or `false`.
    pub(in crate::protocol) done: Option<bool>,
    /// An `"error"` that says something (not `null`, `false`, or an empty text, object or array), or `"object":"error"`.
    pub(in crate::protocol) error: bool,
    /// `"choices"`, if it is an array.
    pub(in crate::protocol) choices: Option<Choices>,
    /// Which of the choices said why they ended; of a message, which has none, whether it did.
    pub(in crate::protocol) finishes: Finishes,
    /// `"type"`, where objects have one.
    pub(in crate::protocol) kind: Kind,
    /// `"usage"` is an object.
    pub(in crate::protocol) usage: bool,
    /// `"prompt_eval_count"`
    pub(in crate::protocol) prompt_eval_count: Option<u64>,
    /// `"prompt_eval_cached_count"`
    pub(in crate::protocol) prompt_eval_cached_count: Option<u64>,
    /// `"eval_count"`
    pub(in crate::protocol) eval_count: Option<u64>,
    /// `"usage":{"prompt_tokens"`, or `"input_tokens"` there
    pub(in crate::protocol) prompt_tokens: Option<u64>,
    /// `"usage":{"completion_tokens"`, or `"output_tokens"` there
    pub(in crate::protocol) completion_tokens: Option<u64>,
    /// `"usage":{"total_tokens"`
    pub(in crate::protocol) total_tokens: Option<u64>,
    /// `"usage":{"prompt_tokens_details":{"cached_tokens"`, or `"input_tokens_details"` there
    pub(in crate::protocol) cached_tokens: Option<u64>,
    /// `"usage":{"cache_read_input_tokens"`, which are not among the `input_tokens`
    pub(in crate::protocol) cache_read_tokens: Option<u64>,
    /// `"usage":{"cache_creation_input_tokens"`, likewise
    pub(in crate::protocol) cache_creation_tokens: Option<u64>,
}

/// What `"choices"` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Choices {
    /// `[]`: OpenAI's usage-only event.
    None,
    /// A piece of the answer.
    Some,
}

/// The key whose value is being passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// One that does not matter.
    Other,
    Done,
    Error,
    /// What kind of object it is: vLLM has one for errors.
    Object,
    Choices,
    Usage,
    PromptEvalCount,
    PromptEvalCachedCount,
    EvalCount,
    PromptTokens,
    CompletionTokens,
    TotalTokens,
    PromptDetails,
    CachedTokens,
    CacheReadTokens,
    CacheCreationTokens,
    Index,
    FinishReason,
    Kind,
    Inner,
    Delta,
    StopReason,
}

impl Field {
    /// A key of the object itself.
    #[inline]
    pub(super) fn at_top(key: &[u8]) -> Self {
        match key {
            b"done" => Self::Done,
            b"error" => Self::Error,
            b"object" => Self::Object,
            b"choices" => Self::Choices,
            b"usage" => Self::Usage,
            b"prompt_eval_count" => Self::PromptEvalCount,
            b"prompt_eval_cached_count" => Self::PromptEvalCachedCount,
            b"eval_count" => Self::EvalCount,
            _ => Self::Other,
        }
    }

    /// A key of an object that says in its `type` what it is.
    pub(super) fn at_typed_top(key: &[u8]) -> Self {
        match key {
            b"type" => Self::Kind,
            b"message" | b"response" => Self::Inner,
            b"delta" => Self::Delta,
            b"stop_reason" => Self::StopReason,
            _ => Self::at_top(key),
        }
    }

    /// A key of the object under `message` or `response`.
    pub(super) fn in_inner(key: &[u8]) -> Self {
        match key {
            b"usage" => Self::Usage,
            _ => Self::Other,
        }
    }

    /// A key of the object under `delta`.
    pub(super) fn in_delta(key: &[u8]) -> Self {
        match key {
            b"stop_reason" => Self::StopReason,
            _ => Self::Other,
        }
    }

    /// A key of the object under `usage`.
    pub(super) fn in_usage(key: &[u8]) -> Self {
        match key {
            b"prompt_tokens" | b"input_tokens" => Self::PromptTokens,
            b"completion_tokens" | b"output_tokens" => Self::CompletionTokens,
            b"total_tokens" => Self::TotalTokens,
            b"prompt_tokens_details" | b"input_tokens_details" => Self::PromptDetails,
            b"cache_read_input_tokens" => Self::CacheReadTokens,
            b"cache_creation_input_tokens" => Self::CacheCreationTokens,
            _ => Self::Other,
        }
    }

    /// A key of the object under `prompt_tokens_details` or `input_tokens_details` there.
    pub(super) fn in_details(key: &[u8]) -> Self {
        match key {
            b"cached_tokens" => Self::CachedTokens,
            _ => Self::Other,
        }
    }

    /// A key of one of the `choices`.
    #[inline]
    pub(super) fn in_choice(key: &[u8]) -> Self {
        match key {
            b"index" => Self::Index,
            b"finish_reason" => Self::FinishReason,
            _ => Self::Other,
        }
    }
}

impl Document {
    /// `Document::default()`, which is not `const`.
    pub(super) const EMPTY: Self = Self {
        done: None,
        error: false,
        choices: None,
        finishes: Finishes::NONE,
        kind: Kind::Other,
        usage: false,
        prompt_eval_count: None,
        prompt_eval_cached_count: None,
        eval_count: None,
        prompt_tokens: None,
        completion_tokens: None,
        total_tokens: None,
        cached_tokens: None,
        cache_read_tokens: None,
        cache_creation_tokens: None,
    };

    /// A number, `true`, `false` or `null` has passed. Of a repeated key the last one counts.
    pub(super) fn scalar(&mut self, field: Field, text: &[u8]) {
        match field {
            Field::Done => {
                self.done = match text {
                    b"true" => Some(true),
                    b"false" => Some(false),
                    _ => None,
                }
            }
            Field::Error => self.error |= !matches!(text, b"null" | b"false"),
            Field::PromptEvalCount => self.prompt_eval_count = count(text),
            Field::PromptEvalCachedCount => self.prompt_eval_cached_count = count(text),
            Field::EvalCount => self.eval_count = count(text),
            Field::PromptTokens => self.prompt_tokens = count(text),
            Field::CompletionTokens => self.completion_tokens = count(text),
            Field::TotalTokens => self.total_tokens = count(text),
            Field::CachedTokens => self.cached_tokens = count(text),
            Field::CacheReadTokens => self.cache_read_tokens = count(text),
            Field::CacheCreationTokens => self.cache_creation_tokens = count(text),
            Field::Choices
            | Field::Usage
            | Field::PromptDetails
            | Field::Object
            | Field::Index
            | Field::FinishReason
            | Field::Kind
            | Field::Inner
            | Field::Delta
            | Field::StopReason
            | Field::Other => {}
        }
    }

    /// An object or an array begins; `open` is its first byte.
    pub(super) fn begins(&mut self, field: Field, open: u8) {
        match (field, open) {
            (Field::Usage, b'{') => self.usage = true,
            (Field::Choices, b'[') => self.choices = Some(Choices::None),
            _ => {}
        }
    }
}

/// A count as any server may spell it: `26`, `26.0`, `2.6e1`. Negative and absurd ones are none.
pub(super) fn count(text: &[u8]) -> Option<u64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // Within the bound the cast only drops a fraction.
    (0.0..=MAX_COUNT).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_in_any_spelling_and_nonsense_is_none() {
        for (text, expected) in [
            ("26", Some(26)),
            ("0", Some(0)),
            ("26.0", Some(26)),
            ("1e3", Some(1000)),
            ("2.65E1", Some(26)),
            ("-5", None),
            ("1e400", None),
            ("18446744073709551616", None),
            ("1000000000001", None),
            ("nan", None),
            ("true", None),
            ("", None),
        ] {
            assert_eq!(count(text.as_bytes()), expected, "{text}");
        }
    }
}
