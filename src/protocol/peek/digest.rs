//! A hash that every router computes alike, today and after the next release.
//!
//! std's hashers may change with the compiler, so what routers share or keep must not rest on them.
//! It tells requests apart, not enemies: who provokes a collision only shares a loaded model, or a
//! server, with himself.

/// Eight bytes at a time, multiplied and folded.
pub(super) struct Digest(u64);

impl Digest {
    const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;
    /// 2^64 divided by the golden ratio, odd: spreads every bit upwards.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(super) const fn new() -> Self {
        Self(Self::EMPTY)
    }

    /// Adds one part. Its length goes with it, so that `ab`, `c` is not `a`, `bc`.
    pub(super) fn write(&mut self, part: &[u8]) {
        self.word(part.len() as u64);
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    /// Adds a text of any length at a bounded price: its length and both its ends.
    pub(super) fn write_ends(&mut self, text: &[u8]) {
        const END: usize = 512;
        self.word(text.len() as u64);
        if text.len() <= 2 * END {
            self.write(text);
        } else {
            self.write(&text[..END]);
            self.write(&text[text.len() - END..]);
        }
    }

    /// 0 only when nothing was added.
    pub(super) fn finish(self) -> u64 {
        match self.0 {
            Self::EMPTY => 0,
            hash => hash.max(1),
        }
    }

    const fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(Self::SPREAD);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn digest(parts: &[&[u8]]) -> u64 {
        let mut digest = Digest::new();
        parts.iter().for_each(|part| digest.write(part));
        digest.finish()
    }

    #[test]
    fn parts_are_kept_apart_and_nothing_is_zero() {
        assert_eq!(digest(&[]), 0);
        assert_ne!(digest(&[b""]), 0);
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a\0"]));
    }

    #[test]
    fn small_differences_do_not_collide() {
        let all: HashSet<u64> = (0..100_000_u32)
            .map(|number| digest(&[b"num_ctx", &number.to_le_bytes()]))
            .collect();
        assert_eq!(all.len(), 100_000);
    }

    #[test]
    fn of_a_long_text_the_ends_and_the_length_count() {
        let ends = |text: &[u8]| {
            let mut digest = Digest::new();
            digest.write_ends(text);
            digest.finish()
        };
        let text = vec![b'a'; 5000];
        for at in [0, 511, 4488, 4999] {
            let mut other = text.clone();
            other[at] = b'b';
            assert_ne!(ends(&text), ends(&other), "{at}");
        }
        assert_ne!(ends(&text), ends(&text[1..]));
    }
}
