//! A short text that is put together from pieces, in fixed memory.

/// At most `N` bytes; a longer text is remembered as too long, and is then equal to nothing.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Word<const N: usize> {
    bytes: [u8; N],
    /// `N + 1` when too long.
    len: usize,
}

impl<const N: usize> Word<N> {
    pub(in crate::protocol) const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    pub(in crate::protocol) fn push(&mut self, piece: &[u8]) {
        match self
            .bytes
            .get_mut(self.len..self.len.saturating_add(piece.len()))
        {
            Some(free) => {
                free.copy_from_slice(piece);
                self.len += piece.len();
            }
            None => self.spoil(),
        }
    }

    /// Makes it equal to nothing.
    pub(in crate::protocol) const fn spoil(&mut self) {
        self.len = N + 1;
    }

    pub(in crate::protocol) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(in crate::protocol) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The text; nothing when it was too long.
    pub(in crate::protocol) fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }
}
