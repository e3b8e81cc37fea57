//! What a token is here, so that a test can say beforehand what an answer must contain and what it
//! must be charged.
//!
//! There is no tokenizer: a prompt is counted by its bytes and an answer is made of tokens that
//! name the server that wrote them. Both rules are part of the simulator's contract; tests compute
//! with them.

/// Bytes of prompt that make one token.
const BYTES_PER_TOKEN: usize = 4;
/// What a chat template adds around each message.
const FRAMING: u64 = 3;

/// The `prompt_eval_count` of a prompt: 1 for the beginning of the text and, for each part,
/// 3 for its framing and one for every four bytes begun.
///
/// The parts are the contents of a chat's messages in order (`system` of `/v1/messages` and
/// `instructions` of `/v1/responses` come first); for `/api/generate` and `/v1/completions` the
/// `system` text if there is one, then the prompt, then the suffix if there is one; for embeddings
/// each input alone, the counts then added.
pub fn prompt_tokens<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    parts
        .into_iter()
        .fold(1, |sum, part| sum + FRAMING + text_tokens(part))
}

/// What Ollama's chat template adds to the tiny model's prompts, in bytes that are a token each.
const TINY_TEMPLATE: u64 = 18;

/// The most tokens that a prompt can be: a request that must not be truncated is measured by it.
pub fn most_tokens<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().map(|part| part.len() as u64);
    TINY_TEMPLATE + bytes.sum::<u64>()
}

/// The tokens of one text without any framing: one for every four bytes begun.
#[must_use]
pub fn text_tokens(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

/// The text of the token at `index` of a node's `request`-th generation (from 1):
/// `node-request-index`, then a space. A model with [`pieces`](super::Model::pieces) appends its
/// piece to it.
#[must_use]
pub fn token_text(node: &str, request: u64, index: usize) -> String {
    format!("{node}-{request}-{index} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_counts_its_bytes_and_its_framing() {
        assert_eq!(prompt_tokens([]), 1);
        assert_eq!(prompt_tokens([""]), 4);
        assert_eq!(prompt_tokens(["12345", "1234"]), 1 + 3 + 2 + 3 + 1);
        assert_eq!(token_text("n1", 7, 0), "n1-7-0 ");
    }
}
