//! Frames: how the journal's bytes are cut, and how to tell whole ones from torn ones. Pure.
//!
//! ```text
//! length u32 | crc32 u32 | kind u8 | batch number u64 | payload
//!                          └──────────── length, crc ─────────┘      (little-endian)
//! ```
//!
//! Every frame says which batch it belongs to, so that what a batch consists of never has to be
//! inferred from its neighbours. When something in the middle of a file is damaged, the rest still
//! falls into the right batches.

use std::ops::Range;

/// The first frame of a segment: who writes it, in which format.
pub(super) const HEADER: u8 = 1;
/// One usage record.
pub(super) const RECORD: u8 = 2;
/// The batch is complete: no later frame has its number.
pub(super) const SEAL: u8 = 3;

/// Larger ones are not written, and a length beyond it is damage.
pub(super) const MAX_BODY: usize = 64 * 1024;

const PREFIX: usize = 8;
const MIN_BODY: usize = 9;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) batch: u64,
    pub(super) payload: &'a [u8],
}

/// What a segment's bytes turn out to be, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Frame(Frame<'a>),
    /// Not a frame, but whole frames follow: something happened to the file.
    Damage(Range<usize>),
    /// Not a frame, and nothing follows: the write that a crash cut short.
    Torn(Range<usize>),
}

/// Appends a frame whose payload `write` appends. `false`, and nothing appended, if it is too large.
pub(super) fn append(
    buffer: &mut Vec<u8>,
    kind: u8,
    batch: u64,
    write: impl FnOnce(&mut Vec<u8>),
) -> bool {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    buffer.push(kind);
    buffer.extend_from_slice(&batch.to_le_bytes());
    write(buffer);
    let body = &buffer[start + PREFIX..];
    let (length, crc) = (body.len(), crc32fast::hash(body));
    match u32::try_from(length) {
        Ok(bytes) if length <= MAX_BODY => {
            buffer[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
            buffer[start + 4..start + PREFIX].copy_from_slice(&crc.to_le_bytes());
            true
        }
        _ => {
            buffer.truncate(start);
            false
        }
    }
}

/// Cuts a segment's bytes into what they are.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        if let Some((frame, next)) = frame_at(bytes, at) {
            at = next;
            return Some(Found::Frame(frame));
        }
        let start = at;
        // A length that happens to be plausible still has to match 32 bits of checksum.
        let resumed = (start + 1..bytes.len()).find(|&next| frame_at(bytes, next).is_some());
        at = resumed.unwrap_or(bytes.len());
        Some(match resumed {
            Some(end) => Found::Damage(start..end),
            None => Found::Torn(start..bytes.len()),
        })
    })
}

fn frame_at(bytes: &[u8], at: usize) -> Option<(Frame<'_>, usize)> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if !(MIN_BODY..=MAX_BODY).contains(&length) {
        return None;
    }
    let body = rest.get(..length)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (&kind, rest) = body.split_first()?;
    let (batch, payload) = rest.split_first_chunk::<8>()?;
    let frame = Frame {
        kind,
        batch: u64::from_le_bytes(*batch),
        payload,
    };
    Some((frame, at + PREFIX + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn three() -> (Vec<u8>, [usize; 4]) {
        let (mut bytes, mut ends) = (Vec::new(), [0; 4]);
        for batch in 1..=3_u8 {
            assert!(append(&mut bytes, RECORD, batch.into(), |b| {
                b.extend_from_slice(&[batch; 40]);
            }));
            ends[usize::from(batch)] = bytes.len();
        }
        (bytes, ends)
    }

    fn batches(bytes: &[u8]) -> Vec<u64> {
        scan(bytes)
            .filter_map(|found| match found {
                Found::Frame(frame) => Some(frame.batch),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, _) = three();
        assert_eq!(batches(&bytes), [1, 2, 3]);
    }

    #[test]
    fn zeros_that_a_lost_write_leaves_are_a_torn_tail() {
        let (mut bytes, ends) = three();
        bytes.resize(ends[3] + 5_000, 0);
        let torn = scan(&bytes).last().unwrap();
        assert_eq!(torn, Found::Torn(ends[3]..bytes.len()));
    }

    #[test]
    fn a_frame_too_large_is_not_written() {
        let mut bytes = vec![7];
        assert!(!append(&mut bytes, RECORD, 1, |b| b.resize(b.len() + MAX_BODY, 0)));
        assert_eq!(bytes, [7]);
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_leaves_the_whole_frames_before_it(cut in 0..171_usize) {
            let (bytes, ends) = three();
            let whole = ends[1..].iter().filter(|&&end| end <= cut).count();
            prop_assert_eq!(batches(&bytes[..cut.min(bytes.len())]).len(), whole);
        }

        #[test]
        fn a_changed_byte_costs_its_own_frame_only(at in 0..171_usize, bit in 0..8_u8) {
            let (mut bytes, ends) = three();
            let hit = ends[1..].iter().filter(|&&end| end <= at).count();
            bytes[at] ^= 1 << bit;
            let left: Vec<u64> = (1..=3).filter(|&b| b != hit as u64 + 1).collect();
            prop_assert_eq!(batches(&bytes), left);
        }

        #[test]
        fn any_bytes_are_cut_without_a_gap(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let covered: usize = scan(&bytes)
                .map(|found| match found {
                    Found::Frame(frame) => PREFIX + MIN_BODY + frame.payload.len(),
                    Found::Damage(range) | Found::Torn(range) => range.len(),
                })
                .sum();
            prop_assert_eq!(covered, bytes.len());
        }
    }
}
