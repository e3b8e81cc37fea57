//! What is kept of answers that are read whole before any of it is passed on.
//!
//! Every answer may be kept up to [`FREE`]. Beyond that it takes room from a [`Budget`] that all answers share,
//! and that has it again when the last byte has been written to the client, however slowly that reads.
//! Without room the answer passes as it comes: it loses its second try, and nothing else.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// About as much of any answer is kept.
const FREE: usize = 256 << 10;
/// About as much of one answer is kept at most: the vectors of some hundred inputs.
pub(super) const MOST: usize = 8 << 20;
/// Beyond [`FREE`], of all answers together.
const ALL: usize = 64 << 20;
/// What the budget counts in.
const UNIT: usize = 1 << 10;

/// The room that all answers share.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ALL / UNIT)))
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(units).ok()
    }
}

/// Pieces put together; a single one is not copied.
#[derive(Debug)]
pub(super) struct Pieces {
    first: Bytes,
    more: BytesMut,
    room: usize,
    taken: Option<OwnedSemaphorePermit>,
}

impl Pieces {
    pub(super) fn add(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
            return;
        }
        if self.more.is_empty() {
            self.more
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&piece);
    }

    /// Whether another piece may be added.
    pub(super) fn has_room(&self) -> bool {
        self.len() < self.room
    }

    /// Whether another piece may be added, with more room if need be. It doubles, as the memory does.
    pub(super) fn finds_room(&mut self, budget: &Budget) -> bool {
        if self.has_room() {
            return true;
        }
        let room = (self.room * 2).min(MOST);
        if room <= self.len() {
            return false;
        }
        let Some(taken) = budget.take(room - self.room) else {
            return false;
        };
        match &mut self.taken {
            Some(former) => former.merge(taken),
            none => *none = Some(taken),
        }
        self.room = room;
        true
    }

    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it. The room it has taken is free again when the last reference to it is dropped.
    pub(super) fn joined(self) -> Bytes {
        let bytes = match self.more.is_empty() {
            true => self.first,
            false => self.more.freeze(),
        };
        match self.taken {
            None => bytes,
            Some(taken) => Bytes::from_owner(Kept {
                bytes,
                _taken: taken,
            }),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(first: Bytes) -> Self {
        Self {
            first,
            more: BytesMut::new(),
            room: FREE,
            taken: None,
        }
    }
}

/// An answer, and the room it takes.
struct Kept {
    bytes: Bytes,
    _taken: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much as is kept of an endless answer.
    fn fill(budget: &Budget) -> Pieces {
        let mut pieces = Pieces::from(Bytes::new());
        while pieces.finds_room(budget) {
            pieces.add(Bytes::from(vec![b'x'; 100_000]));
        }
        pieces
    }

    #[test]
    fn one_answer_is_kept_up_to_its_bound_and_all_up_to_theirs() {
        let budget = Budget::new();
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push(fill(&budget));
        }
        let sizes = kept.iter().map(Pieces::len);
        assert!(sizes.clone().all(|size| size < MOST + 100_000));
        assert!(kept[0].len() >= MOST);
        assert!(sizes.sum::<usize>() < ALL + 20 * (FREE + 100_000));
        let last = kept.pop().unwrap().len();
        assert!((FREE..FREE + 100_000).contains(&last), "{last}");
    }

    #[test]
    fn room_is_free_again_when_the_bytes_have_been_written_and_not_before() {
        let budget = Budget::new();
        let bytes = fill(&budget).joined();
        let free = budget.0.available_permits();
        assert!(free < ALL / UNIT);
        let part = bytes.slice(..10);
        drop(bytes);
        assert_eq!(budget.0.available_permits(), free);
        drop(part);
        assert_eq!(budget.0.available_permits(), ALL / UNIT);
    }

    #[test]
    fn what_is_small_takes_no_room_and_is_not_copied() {
        let budget = Budget::new();
        let piece = Bytes::from_static(b"{}");
        let mut pieces = Pieces::from(piece.clone());
        assert!(pieces.finds_room(&budget) && !pieces.is_empty());
        assert_eq!(pieces.joined().as_ptr(), piece.as_ptr());
        assert_eq!(budget.0.available_permits(), ALL / UNIT);
    }
}
