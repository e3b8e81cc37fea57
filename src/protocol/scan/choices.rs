//! Which of an answer's choices have said why they ended.
//!
//! A client may ask for several answers to one prompt, whose pieces then come in any order; each says
//! for itself why it ended (`finish_reason`). The stream is over when all that have begun did.

use super::document::{Field, count};
use super::{SCALAR, piece};

/// Choices of an index above this count as the one of this index.
const LAST: u64 = 63;

/// The choices seen, a bit for each index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Finishes {
    seen: u64,
    ended: u64,
}

/// One choice of one object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    index: u64,
    /// It says why it ended.
    pub(super) ended: bool,
}

impl Finishes {
    /// The only answer there is, at its end.
    pub(in crate::protocol) const ENDED: Self = Self { seen: 1, ended: 1 };

    pub(in crate::protocol) const NONE: Self = Self { seen: 0, ended: 0 };

    pub(super) const fn note(&mut self, choice: Choice) {
        let bit = 1 << choice.index;
        self.seen |= bit;
        if choice.ended {
            self.ended |= bit;
        }
    }

    /// Also what another object said.
    pub(in crate::protocol) const fn add(&mut self, other: Self) {
        self.seen |= other.seen;
        self.ended |= other.ended;
    }

    /// Whether every choice that has begun has ended, and so many have: they may come one after another.
    pub(in crate::protocol) const fn is_over(self, wanted: u32) -> bool {
        let enough = if wanted > u64::BITS {
            u64::BITS
        } else {
            wanted
        };
        self.ended != 0 && self.seen == self.ended && self.ended.count_ones() >= enough
    }
}

impl Choice {
    /// The only one there is, at its end.
    pub(super) const ENDED: Self = Self {
        index: 0,
        ended: true,
    };

    /// A number, `true`, `false` or `null` has passed.
    pub(super) fn scalar(&mut self, field: Field, text: &[u8]) {
        match field {
            Field::Index => {
                self.index = match text {
                    [digit @ b'0'..=b'9'] => u64::from(digit - b'0'), // nearly always
                    _ => count(text).unwrap_or(0).min(LAST),
                }
            }
            Field::FinishReason => self.ended = !matches!(text, b"null" | b"false"),
            _ => {}
        }
    }
}

/// The usual array of choices, of which the first one begins at `at`, read in one step: what they say, and
/// where the array is over. Whatever is not exactly that is left to the incremental scanner.
#[inline]
pub(super) fn read(bytes: &[u8], mut at: usize) -> Option<(Finishes, usize)> {
    let mut finishes = Finishes::NONE;
    loop {
        let mut choice = Choice::default();
        at = piece::behind(bytes, at, b'{')?;
        loop {
            let (key, value, behind) = piece::entry(bytes, at)?;
            at = behind;
            let field = Field::in_choice(key);
            match (field, value) {
                (Field::Other, _) => {}
                (Field::FinishReason, [b'"', ..]) => choice.ended = value.len() > 2,
                (Field::FinishReason, [b'{' | b'[', ..]) => choice.ended = false,
                (Field::Index, [b'"' | b'{' | b'[', ..]) => {}
                _ if value.len() > SCALAR => return None,
                _ => choice.scalar(field, value),
            }
            match bytes.get(at)? {
                b',' => at = piece::behind_space(bytes, at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        finishes.note(choice);
        match bytes.get(at + 1)? {
            b',' => at = piece::behind_space(bytes, at + 2),
            b']' => return Some((finishes, at + 2)),
            _ => return None,
        }
    }
}
