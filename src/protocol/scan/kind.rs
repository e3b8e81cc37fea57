//! What an event is, as its `type` says it: Anthropic's messages, OpenAI's responses and transcriptions.

/// As far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::protocol) enum Kind {
    /// Anything else.
    #[default]
    Other,
    /// The beginning of a message, with a first count of what it read.
    Start,
    /// A piece of what is generated.
    Piece,
    /// The end of a whole answer.
    End,
    /// The end of an answer that its server could not finish.
    Failed,
    /// An error.
    Error,
}

/// As long as the longest type that is told from others.
pub(super) const LONGEST: usize = "response.code_interpreter_call_code.delta".len();

impl Kind {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"message_start" => Self::Start,
            b"message_stop"
            | b"response.completed"
            | b"response.incomplete"
            | b"transcript.text.done" => Self::End,
            b"response.failed" => Self::Failed,
            b"error" => Self::Error,
            b"content_block_delta" => Self::Piece,
            name if name.len() <= LONGEST && name.ends_with(b".delta") => Self::Piece,
            _ => Self::Other,
        }
    }
}
