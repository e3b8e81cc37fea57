//! One round: from the stream to the database until nothing is left.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use redis::aio::ConnectionLike;
use tokio::time::Instant;

use super::Setup;
use super::read_size::ReadSize;
use super::state::Ended;
use crate::spend::portion::Portion;
use crate::spend::stream::{Content, Entry, StreamError};
use crate::spend::transaction::{self, letter_about};
use crate::store::{self, BatchId, DeadLetter, Fence, SealedBatch, offload};

/// Read before anything is written: so many entries, or so many bytes of them, which are two to three
/// times as many in memory.
const MOST_ENTRIES: usize = 1_024;
const MOST_BYTES: u64 = 64 << 20;

/// Of a batch's text, about.
const BYTES_OF_A_ROW: u64 = 50;

/// See the module.
pub(super) struct Round<C>(Setup<C>, Portion);

/// Why a round ends before the stream is empty.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("this router does not lead any more")]
    NotLeading,
    #[error("Redis: {0}")]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Where to read next.
enum Source {
    /// What nobody has read.
    New,
    /// Whether something was read before and not removed: by a leader before this one, by a round that
    /// failed, or with an answer that never came.
    Pending,
    /// That, from this entry on.
    Claimed(String),
    Exhausted,
}

/// What was read, to be written and then removed.
#[derive(Default)]
struct Load {
    batches: Vec<Arc<SealedBatch>>,
    letters: Vec<DeadLetter>,
    /// Of these nothing is left to do when that is committed.
    done: Vec<Entry>,
    /// Only a later version understands these.
    later: Vec<Entry>,
    bytes: u64,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Round<C> {
    pub(super) fn new(setup: Setup<C>, portion: Portion) -> Self {
        Self(setup, portion)
    }

    /// Runs it.
    pub(super) async fn run(&self) -> Ended {
        let ended = self.drain().await;
        let Setup { stream, stats, .. } = &self.0;
        match stream.depth().await {
            Ok(depth) => stats.saw(Some(depth)),
            Err(error) => {
                stats.saw(None);
                tracing::debug!(%error, "cannot ask Redis how much waits");
            }
        }
        ended
    }

    async fn drain(&self) -> Ended {
        let Some(leadership) = self.0.lease.leadership() else {
            return Ended::NotLeading;
        };
        match self.empty(leadership.epoch).await {
            Ok(batches) => Ended::Empty { batches },
            Err(Stop::NotLeading) => Ended::NotLeading,
            Err(Stop::Store(store::Error::Fenced { epoch })) => {
                self.give_up_lead(epoch).await;
                Ended::NotLeading
            }
            Err(stop) => {
                match stop {
                    Stop::Store(_) => &self.0.stats.flush_errors,
                    _ => &self.0.stats.redis_errors,
                }
                .fetch_add(1, Relaxed);
                tracing::error!(error = %stop, "usage in Redis is not in the database yet");
                Ended::Failed
            }
        }
    }

    /// Reads and writes until there is nothing more to read. Returns how many batches that were.
    async fn empty(&self, epoch: u64) -> Result<usize, Stop> {
        let (mut source, mut read_size, mut batches) = (Source::New, ReadSize::default(), 0);
        loop {
            let (mut load, mut stopped) = (Load::default(), None);
            while load.has_room() && !matches!(source, Source::Exhausted) {
                match self.read(&mut source, &mut read_size).await {
                    Ok(entries) => {
                        read_size.answered(entries.iter().map(|entry| entry.bytes));
                        load.take(entries);
                    }
                    // What was read before is there all the same.
                    Err(stop) => stopped = Some(stop),
                }
                // Nor does it wait until Redis has answered whether there is more of another kind.
                let changes = matches!(source, Source::Pending) && !load.is_empty();
                if stopped.is_some() || changes {
                    break;
                }
            }
            let over = load.is_empty() && matches!(source, Source::Exhausted);
            if !load.is_empty() {
                batches += load.batches.len();
                self.write(epoch, load).await?;
            }
            match stopped {
                Some(stop) => return Err(stop),
                None if over => return Ok(batches),
                None => {}
            }
        }
    }

    async fn read(
        &self,
        source: &mut Source,
        read_size: &mut ReadSize,
    ) -> Result<Vec<Entry>, Stop> {
        let stream = &self.0.stream;
        Ok(match source {
            Source::New => {
                let entries = stream.read(read_size.entries()).await?;
                if entries.len() < read_size.entries() {
                    *source = Source::Pending;
                }
                entries
            }
            Source::Pending => {
                read_size.reset();
                *source = match stream.unfinished().await? {
                    0 => Source::Exhausted,
                    _ => Source::Claimed("0-0".to_owned()),
                };
                Vec::new()
            }
            Source::Claimed(cursor) => {
                let (entries, next) = stream.claim(cursor, read_size.entries()).await?;
                *source = next.map_or(Source::Exhausted, Source::Claimed);
                entries
            }
            Source::Exhausted => Vec::new(),
        })
    }

    async fn write(&self, epoch: u64, load: Load) -> Result<(), Stop> {
        let Setup {
            stream,
            store,
            leader,
            stats,
            ..
        } = &self.0;
        self.still_leads(epoch)?;
        let fence = Fence {
            epoch,
            leader: leader.to_string(),
        };
        let mut left = &load.batches[..];
        while !left.is_empty() {
            let (part, rest) = left.split_at(self.1.of(left));
            self.still_leads(epoch)?;
            let began = Instant::now();
            let written = transaction::write(store, part, Some(&fence), stats).await;
            stats.flush_seconds.observe(began.elapsed().as_secs_f64());
            written?;
            left = rest;
        }
        let Load {
            mut done,
            later,
            letters,
            ..
        } = load;
        if !letters.is_empty() {
            tracing::error!(
                letters = letters.len(),
                "entries of the stream are no batches"
            );
            store.add_dead_letters(&letters).await?;
            stats.dead_letters.fetch_add(letters.len() as u64, Relaxed);
        }
        done.extend(self.overtaken(later).await?);
        stream.remove(&done).await?;
        Ok(())
    }

    fn still_leads(&self, epoch: u64) -> Result<(), Stop> {
        match self.0.lease.leadership() {
            Some(leadership) if leadership.epoch == epoch => Ok(()),
            _ => Err(Stop::NotLeading),
        }
    }

    /// Those that somebody who understands them has applied.
    async fn overtaken(&self, later: Vec<Entry>) -> Result<Vec<Entry>, Stop> {
        let ids: Vec<BatchId> = later.iter().filter_map(|entry| entry.batch).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let applied = self.0.store.applied_for_good(&ids).await?;
        let done = |entry: &Entry| entry.batch.is_some_and(|id| applied.contains(&id));
        Ok(later.into_iter().filter(done).collect())
    }

    /// The database has seen a newer leader: the next epoch has to be above that one's.
    async fn give_up_lead(&self, epoch: u64) {
        tracing::warn!(epoch, "a newer leader has written to the database");
        match self.0.store.last_leader().await {
            Ok(last) => self.0.lease.superseded(last.epoch.max(epoch)),
            Err(error) => {
                tracing::warn!(%error, "cannot ask the database who leads");
                self.0.lease.superseded(epoch.saturating_add(1));
            }
        }
    }
}

impl Load {
    fn take(&mut self, mut entries: Vec<Entry>) {
        let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        self.bytes += bytes;
        let rows = usize::try_from(bytes / BYTES_OF_A_ROW).unwrap_or(usize::MAX);
        let contents = offload(rows, || {
            entries.iter_mut().map(Entry::content).collect::<Vec<_>>()
        });
        for (entry, content) in entries.into_iter().zip(contents) {
            match content {
                Content::Batch(batch) => {
                    self.batches.push(Arc::new(batch));
                    self.done.push(entry);
                }
                Content::Later(version) => {
                    tracing::warn!(
                        version,
                        entry = entry.id,
                        "only a later version understands this batch"
                    );
                    self.later.push(entry);
                }
                Content::Garbage(reason, text) => {
                    self.letters
                        .push(letter_about(&entry.id, entry.batch, &reason, &text));
                    self.done.push(entry);
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.batches.len() < MOST_ENTRIES && self.bytes < MOST_BYTES
    }

    fn is_empty(&self) -> bool {
        self.done.is_empty() && self.later.is_empty()
    }
}
