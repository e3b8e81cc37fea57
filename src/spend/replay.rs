//! Dead letters, tried again.
//!
//! What was set aside becomes a batch of its own, whose producer is the letter. So replaying it twice,
//! or two operators at once, adds it once; and what is still refused stays a letter.

use std::sync::Arc;

use crate::clock;
use crate::store::{BatchId, DeadLetter, Error, Flush, Store};

use super::payload;

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is in the database now, or was already.
    Added,
    /// It is no usage: an entry of the stream that nobody could read. Who sent it, if anybody did, has
    /// sent it again.
    NotUsage(String),
    /// The database still does not take it.
    Refused(String),
}

/// How many records something of is in `letter`; `None` if it is no usage.
#[must_use]
pub fn records_in(letter: &DeadLetter) -> Option<u64> {
    let kept = payload::decode(letter.payload.as_bytes()).ok()?;
    Some(kept.records)
}

/// Adds what is in `letter` to the database.
///
/// # Errors
/// When the database is in no state to say.
pub async fn replay(store: &Store, letter: &DeadLetter) -> Result<Replayed, Error> {
    let mut batch = match payload::decode(letter.payload.as_bytes()) {
        Ok(batch) => batch,
        Err(why) => return Ok(Replayed::NotUsage(why.to_string())),
    };
    batch.id = BatchId {
        producer: letter.id,
        seq: 1,
    };
    let flush = Flush {
        batches: &[Arc::new(batch)],
        ..Flush::default()
    };
    match store.apply(flush).await {
        Ok(_) => {
            store
                .mark_replayed(letter.id, clock::unix_seconds())
                .await?;
            Ok(Replayed::Added)
        }
        Err(Error::Poison(why)) => Ok(Replayed::Refused(why)),
        Err(error) => Err(error),
    }
}
