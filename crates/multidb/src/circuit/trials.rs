//! Slots for real commands on a half-open database.
//!
//! One word holds both the episode and how many slots are taken, so that a reservation made for one
//! episode can be neither counted nor given back in another. No lock, no owner to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::Episode;

/// Bits for the number of slots taken; the rest is the episode's.
const TAKEN_BITS: u32 = 16;
const TAKEN: u64 = (1 << TAKEN_BITS) - 1;

/// The trial slots of one database.
#[derive(Debug, Default)]
pub struct Trials {
    word: AtomicU64,
    freed: Notify,
}

/// One slot. Dropping it gives it back, and wakes one command that waits for it.
#[derive(Debug)]
pub struct Trial {
    trials: Arc<Trials>,
    episode: Episode,
}

impl Trials {
    /// A slot in `episode`, if fewer than `limit` are taken. Taking the first slot of a new
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
                trials: Arc::clone(self),
                episode,
            })
    }

    /// Notifies of a slot that is given back. Wait for it before asking for a slot, so that none is
    /// missed.
    pub fn freed(&self) -> &Notify {
        &self.freed
    }

    /// Slots taken in `episode`.
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
            .trials
            .word
            .try_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & !TAKEN == mark && word & TAKEN > 0).then(|| word - 1)
            });
        self.trials.freed.notify_one();
    }
}
