//! Places for real commands on a half-open database.
//!
//! One word holds both the episode and how many places are taken, so that a reservation made for one
//! episode can be neither counted nor given back in another. No lock, no owner to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::Episode;

/// Bits for the number of places taken; the rest is the episode's.
const TAKEN_BITS: u32 = 16;
const TAKEN: u64 = (1 << TAKEN_BITS) - 1;

/// The places of one database.
#[derive(Debug, Default)]
pub struct Trials {
    word: AtomicU64,
    freed: Notify,
}

/// One place. Dropping it gives it back, and wakes one who waits for it.
#[derive(Debug)]
pub struct Trial {
    places: Arc<Trials>,
    episode: Episode,
}

impl Trials {
    /// A place in `episode`, if fewer than `limit` are taken. Taking the first place of a new
    /// episode forgets what was taken in the old.
    pub fn reserve(self: &Arc<Self>, episode: Episode, limit: u16) -> Option<Trial> {
        let mark = episode.0 << TAKEN_BITS;
        self.word
            .try_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let present = word & !TAKEN;
                // A reservation for an episode that is over must not bring it back.
                let taken = match present.cmp(&mark) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => word & TAKEN,
                    std::cmp::Ordering::Greater => return None,
                };
                (taken < u64::from(limit)).then_some(mark | (taken + 1))
            })
            .ok()
            .map(|_| Trial {
                places: Arc::clone(self),
                episode,
            })
    }

    /// For whoever found them all taken: the next that is given back. Ask for it before asking for a
    /// place, so that none goes by unseen.
    pub fn freed(&self) -> &Notify {
        &self.freed
    }

    /// Places taken in `episode`.
    #[cfg(test)]
    pub fn taken(&self, episode: Episode) -> u16 {
        let word = self.word.load(Ordering::Acquire);
        if word >> TAKEN_BITS == episode.0 {
            // At most sixteen bits, by the mask.
            u16::try_from(word & TAKEN).unwrap_or(u16::MAX)
        } else {
            0
        }
    }
}

impl Trial {
    /// The episode it is for.
    pub fn episode(&self) -> Episode {
        self.episode
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let mark = self.episode.0 << TAKEN_BITS;
        // Of another episode: it was forgotten with that.
        let _ = self
            .places
            .word
            .try_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & !TAKEN == mark && word & TAKEN > 0).then(|| word - 1)
            });
        self.places.freed.notify_one();
    }
}
