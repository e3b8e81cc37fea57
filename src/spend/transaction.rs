//! Bringing batches into the database, whatever is in them.
//!
//! A batch that the database will never accept would block all others for ever. So what is
//! refused as poison is halved until it is one batch, and in that batch until it is one row. Each
//! step is tried and taken back, together with all that was found good before it, since two rows may
//! be too much only together. Then the batch is applied without what is at fault, and that is kept
//! as dead letters, in one transaction under the batch's own id: it is settled once, like any other.
//!
//! Only what the database itself calls poison is treated so. Everything else is an error, and tried
//! again by whoever called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::payload;
use super::settlement::Settlement;
use super::stats::SpendStats;
use crate::clock;
use crate::domain::EntityKind;
use crate::store::{BatchId, DeadLetter, Error, Fence, Flush, SealedBatch, Store};

/// Other writers held the rows: so often it is tried again at once, before it counts as a failure.
const MOST_CONTENDED: u32 = 8;

/// Writes them, and says how each ended.
pub(super) async fn write(
    store: &Store,
    batches: &[Arc<SealedBatch>],
    fence: Option<&Fence>,
    stats: &SpendStats,
) -> Result<Vec<Settlement>, Error> {
    let mut settled = Vec::with_capacity(batches.len());
    // What is still to be written, the next part last.
    let mut parts = vec![batches];
    while let Some(part) = parts.pop() {
        let flush = Flush {
            batches: part,
            fence,
            letters: &[],
        };
        match apply(store, flush).await {
            Ok(()) => settled.extend(part.iter().map(|batch| Settlement::whole(batch.id))),
            Err(Error::Poison(reason)) => match part {
                [] => {}
                [batch] => {
                    settled.push(set_aside(store, batch, fence, &reason, stats).await?);
                }
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            },
            Err(error) => return Err(error),
        }
    }
    Ok(settled)
}

/// Which of `ids` are in the database, and how they ended.
pub(super) async fn settled(store: &Store, ids: &[BatchId]) -> Result<Vec<Settlement>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let applied = store.applied_for_good(ids).await?;
    let mut dead: BTreeMap<BatchId, u64> = BTreeMap::new();
    if !applied.is_empty() {
        let ids: Vec<Uuid> = applied.iter().map(|&id| letter_id(id)).collect();
        for letter in store.letters(&ids).await? {
            // A replayed one is a batch of its own now, and counted there.
            let records = payload::decode(letter.payload.as_bytes()).map_or(0, |kept| kept.records);
            let sum = dead.entry(letter.batch).or_default();
            *sum = sum.saturating_add(records);
        }
    }
    let settlement = |id| Settlement {
        id,
        dead: dead.get(&id).copied().unwrap_or(0),
    };
    Ok(applied.into_iter().map(settlement).collect())
}

/// Applies a batch without what is at fault in it.
async fn set_aside(
    store: &Store,
    batch: &Arc<SealedBatch>,
    fence: Option<&Fence>,
    reason: &str,
    stats: &SpendStats,
) -> Result<Settlement, Error> {
    // Somebody may have done this before, and only the answer was lost.
    if let Some(done) = settled(store, &[batch.id]).await?.pop() {
        return Ok(done);
    }
    let (good, bad) = separate(store, batch, fence).await?;
    let mut kept = only(batch, &bad);
    kept.records = records_in(&kept).min(batch.records).max(1);
    let letter = DeadLetter {
        id: letter_id(batch.id),
        batch: batch.id,
        reason: reason.to_owned(),
        payload: payload::encode(&kept),
        created_at: clock::unix_seconds(),
        replayed_at: None,
    };
    tracing::error!(
        batch = %batch.id, records = kept.records, letter = %letter.id, reason,
        "usage that the database will never accept is set aside",
    );
    let flush = Flush {
        batches: &[Arc::new(only(batch, &good))],
        fence,
        letters: &[letter],
    };
    apply(store, flush).await?;
    stats.dead_letters.fetch_add(1, Relaxed);
    Ok(Settlement {
        id: batch.id,
        dead: kept.records,
    })
}

/// The rows of `batch` that can be written together, and the others.
async fn separate(
    store: &Store,
    batch: &SealedBatch,
    fence: Option<&Fence>,
) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let all: Vec<usize> = (0..rows(batch)).collect();
    let (mut good, mut bad) = (Vec::with_capacity(all.len()), Vec::new());
    let mut parts: Vec<&[usize]> = vec![&all];
    while let Some(part) = parts.pop() {
        let together: Vec<usize> = good.iter().chain(part).copied().collect();
        let flush = Flush {
            batches: &[Arc::new(only(batch, &together))],
            fence,
            letters: &[],
        };
        match dry_run(store, flush).await {
            Ok(()) => good = together,
            Err(Error::Poison(_)) => match part {
                [] => {}
                [row] => bad.push(*row),
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            },
            Err(error) => return Err(error),
        }
    }
    Ok((good, bad))
}

async fn apply(store: &Store, flush: Flush<'_>) -> Result<(), Error> {
    let mut times = 0;
    loop {
        match store.apply(flush).await {
            Err(Error::Contended(why)) if times < MOST_CONTENDED => {
                tracing::debug!(why, times, "other writers held the rows; trying again");
                times += 1;
                pause(times).await;
            }
            outcome => return outcome.map(drop),
        }
    }
}

async fn dry_run(store: &Store, flush: Flush<'_>) -> Result<(), Error> {
    let mut times = 0;
    loop {
        match store.dry_run(flush).await {
            Err(Error::Contended(_)) if times < MOST_CONTENDED => {
                times += 1;
                pause(times).await;
            }
            outcome => return outcome.map(drop),
        }
    }
}

async fn pause(times: u32) {
    let most = Duration::from_millis(2 << times);
    tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
}

fn rows(batch: &SealedBatch) -> usize {
    batch.rows.len() + batch.spend.len() + batch.daily.len()
}

/// The batch with only these of its rows, which are numbered through its three lists.
fn only(batch: &SealedBatch, numbers: &[usize]) -> SealedBatch {
    let (tokens, spend) = (batch.rows.len(), batch.spend.len());
    let mut kept = SealedBatch {
        rows: Vec::new(),
        spend: Vec::new(),
        daily: Vec::new(),
        ..*batch
    };
    for &number in numbers {
        if number < tokens {
            kept.rows.push(batch.rows[number].clone());
        } else if number < tokens + spend {
            kept.spend.push(batch.spend[number - tokens].clone());
        } else {
            kept.daily
                .push(batch.daily[number - tokens - spend].clone());
        }
    }
    kept
}

/// How many records these rows are of, at least: a record is once in the rows of each kind of
/// account, unless it names two accounts of one kind.
fn records_in(rows: &SealedBatch) -> u64 {
    let mut spend: BTreeMap<EntityKind, u64> = BTreeMap::new();
    for row in &rows.spend {
        *spend.entry(row.kind).or_default() += row.spent.requests;
    }
    let mut daily: BTreeMap<EntityKind, u64> = BTreeMap::new();
    for row in &rows.daily {
        *daily.entry(row.kind).or_default() += row.spent.requests + row.failed_requests;
    }
    let most = spend.into_values().chain(daily.into_values()).max();
    most.unwrap_or(0).max(rows.rows.len() as u64)
}

/// The same batch makes the same letter, whoever writes it: two who do cannot both.
fn letter_id(batch: BatchId) -> Uuid {
    digest(&[b"batch", batch.to_string().as_bytes()])
}

/// A letter about something that is no batch: who sent it sends it again, if anybody did.
pub(super) fn letter_about(
    entry: &str,
    batch: Option<BatchId>,
    reason: &str,
    text: &str,
) -> DeadLetter {
    DeadLetter {
        id: digest(&[b"entry", entry.as_bytes(), text.as_bytes()]),
        batch: batch.unwrap_or(BatchId {
            producer: Uuid::nil(),
            seq: 0,
        }),
        reason: format!("an entry of the stream is no batch: {reason}"),
        payload: text.to_owned(),
        created_at: clock::unix_seconds(),
        replayed_at: None,
    }
}

fn digest(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
