//! How many entries Redis is asked for at once. Pure.
//!
//! An answer has to come in time, and nobody knows how large entries are before they are there. So a
//! round begins with one, and with each kind of entries again, and asks for twice as many while as many
//! of the largest it has seen would still make a small answer. After an answer that did not come in
//! time the next round begins with one again, and whatever can be read at all is read.

/// Never more than this: the answer is parsed while nothing else happens.
const MOST: usize = 64;
/// Of an answer: larger ones take too long.
const MOST_BYTES: u64 = 2 << 20;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadSize {
    entries: usize,
    /// Bytes of the largest that was seen.
    largest: u64,
}

impl Default for ReadSize {
    fn default() -> Self {
        Self {
            entries: 1,
            largest: 1,
        }
    }
}

impl ReadSize {
    /// How many to ask for.
    pub(super) fn entries(self) -> usize {
        self.entries
    }

    /// Takes the sizes of the entries of an answer into account.
    pub(super) fn answered(&mut self, sizes: impl Iterator<Item = u64>) {
        self.largest = sizes.fold(self.largest, u64::max);
        let fit = usize::try_from(MOST_BYTES / self.largest).unwrap_or(MOST);
        self.entries = (self.entries * 2).min(fit).clamp(1, MOST);
    }

    /// Others are read now, of which nothing is known.
    pub(super) fn reset(&mut self) {
        self.entries = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_as_far_as_the_largest_entry_allows() {
        let mut read_size = ReadSize::default();
        let mut asked = Vec::new();
        for size in [100, 200, 400, 100_000, 700_000, 100, 5_000_000] {
            read_size.answered([size, 1].into_iter());
            asked.push(read_size.entries());
        }
        assert_eq!(asked, [2, 4, 8, 16, 2, 2, 1]);
    }

    #[test]
    fn it_is_bounded_and_is_reset_for_others() {
        let mut read_size = ReadSize::default();
        for _ in 0..20 {
            read_size.answered([1].into_iter());
        }
        assert_eq!(read_size.entries(), MOST);
        read_size.reset();
        assert_eq!(read_size.entries(), 1);
        read_size.answered(std::iter::empty());
        assert_eq!(read_size.entries(), 2);
    }
}
