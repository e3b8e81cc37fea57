//! How many entries Redis is asked for at once. Pure.
//!
//! An answer has to come in time, and nobody knows how large entries are before they are there. So a
//! round begins with one, and asks for more while answers stay small. After an answer that did not
//! come in time the next round begins with one again, and whatever can be read at all is read.

/// Never more than this: the answer is taken to pieces while nothing else happens.
const MOST: usize = 64;
/// Of an answer: larger ones take too long.
const MOST_BYTES: u64 = 2 << 20;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride(usize);

impl Default for Stride {
    fn default() -> Self {
        Self(1)
    }
}

impl Stride {
    /// How many to ask for.
    pub(super) fn entries(self) -> usize {
        self.0
    }

    /// So large was the answer.
    pub(super) fn answered(&mut self, bytes: u64) {
        self.0 = if bytes > MOST_BYTES {
            (self.0 / 2).max(1)
        } else if bytes > MOST_BYTES / 2 {
            self.0
        } else {
            (self.0 * 2).min(MOST)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_answers_are_small_and_shrinks_when_they_are_not() {
        let mut stride = Stride::default();
        let mut asked = Vec::new();
        for bytes in [100, 200, 400, 1_500_000, 3_000_000, 2_900_000, 1_000_000] {
            stride.answered(bytes);
            asked.push(stride.entries());
        }
        assert_eq!(asked, [2, 4, 8, 8, 4, 2, 4]);
        for _ in 0..20 {
            stride.answered(1);
        }
        assert_eq!(stride.entries(), MOST);
        for _ in 0..20 {
            stride.answered(u64::MAX);
        }
        assert_eq!(stride, Stride::default());
    }
}
