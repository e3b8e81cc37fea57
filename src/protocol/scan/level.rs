//! The objects of an answer whose keys are looked at: each lies in the one before it, at a fixed depth.

use super::document::Field;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The outermost object.
    Top,
    /// `usage` in it.
    Usage,
    /// `prompt_tokens_details` in that.
    Details,
    /// The array `choices`, which has no keys.
    Choices,
    /// One of its elements.
    Choice,
    /// `delta` of an event.
    Delta,
    /// `message` or `response` of an event.
    Inner,
    /// `usage` in it.
    InnerUsage,
    /// `input_tokens_details` in that.
    InnerDetails,
}

impl Level {
    /// Brackets that are open inside of it.
    pub(super) const fn depth(self) -> usize {
        match self {
            Self::Top => 1,
            Self::Usage | Self::Choices | Self::Delta | Self::Inner => 2,
            Self::Details | Self::Choice | Self::InnerUsage => 3,
            Self::InnerDetails => 4,
        }
    }

    /// What it lies in.
    pub(super) const fn parent(self) -> Self {
        match self {
            Self::Top | Self::Usage | Self::Choices | Self::Delta | Self::Inner => Self::Top,
            Self::Details => Self::Usage,
            Self::Choice => Self::Choices,
            Self::InnerUsage => Self::Inner,
            Self::InnerDetails => Self::InnerUsage,
        }
    }

    /// What begins in it with this bracket, under this key.
    pub(super) const fn inner(self, field: Field, open: u8) -> Option<Self> {
        Some(match (self, field, open) {
            (Self::Top, Field::Usage, b'{') => Self::Usage,
            (Self::Top, Field::Choices, b'[') => Self::Choices,
            (Self::Top, Field::Delta, b'{') => Self::Delta,
            (Self::Top, Field::Inner, b'{') => Self::Inner,
            (Self::Usage, Field::PromptDetails, b'{') => Self::Details,
            (Self::Inner, Field::Usage, b'{') => Self::InnerUsage,
            (Self::InnerUsage, Field::PromptDetails, b'{') => Self::InnerDetails,
            _ => return None,
        })
    }

    /// What a key in it means; `typed` says whether the outermost object has a `type`.
    pub(super) fn field(self, key: &[u8], typed: bool) -> Field {
        match self {
            Self::Top if typed => Field::at_typed_top(key),
            Self::Top => Field::at_top(key),
            Self::Usage | Self::InnerUsage => Field::in_usage(key),
            Self::Details | Self::InnerDetails => Field::in_details(key),
            Self::Choice => Field::in_choice(key),
            Self::Delta => Field::in_delta(key),
            Self::Inner => Field::in_inner(key),
            Self::Choices => Field::Other,
        }
    }
}
