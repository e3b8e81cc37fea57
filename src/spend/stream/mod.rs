//! The stream in Redis that carries batches from those who count to the one who writes.
//!
//! Owns the names of the keys, and how each step is done so that any of them may be repeated: what
//! was appended twice is one batch with one id, what was read is still there until it is removed,
//! what was removed is removed. It must not know who leads, or what a database is.
//!
//! It is bounded in entries and in bytes, and never trimmed: what does not fit is not taken, and
//! stays in its producer's journal. It promises nothing: Redis may lose all of it at any moment.

mod entry;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamPendingReply, StreamReadReply};
use redis::{FromRedisValue, RedisError, Script, cmd, pipe};
use tokio::time::timeout;

use super::payload::{VERSION, encode, timed_rows};
use crate::store::{BatchId, SealedBatch, offload};

pub(super) use entry::{Content, Entry};

/// The one group, and the one name in it: who leads takes over what the leader before it had read.
const GROUP: &str = "flush";
const CONSUMER: &str = "leader";

/// An answer that takes longer does not come any more.
const ANSWER: Duration = Duration::from_secs(5);

/// How much Redis holds of what the database has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Batches.
    pub entries: u64,
    /// Bytes of their texts.
    pub bytes: u64,
}

impl Default for StreamLimits {
    /// Twenty routers for some hours, or a quarter of a small Redis.
    fn default() -> Self {
        Self {
            entries: 200_000,
            bytes: 256 << 20,
        }
    }
}

/// What waits in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Batches.
    pub batches: u64,
    /// Rows of theirs that belong to a minute or a day.
    pub rows: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// It has room for a tenth more at most.
    pub crowded: bool,
}

/// Redis did not do it, or nobody knows whether it did.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// What the client said.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// It said nothing.
    #[error("no answer within {} s", ANSWER.as_secs())]
    Timeout,
}

/// See the module.
#[derive(Clone)]
pub struct Stream<C> {
    connection: C,
    stream: Arc<str>,
    backlog: Arc<str>,
    limits: StreamLimits,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Stream<C> {
    /// The stream of the routers that share `prefix`. Both keys are in one slot of a cluster: a script
    /// takes no others together.
    pub fn new(connection: C, prefix: &str, limits: StreamLimits) -> Self {
        Self {
            connection,
            stream: format!("{{{prefix}:spend}}:batches").into(),
            backlog: format!("{{{prefix}:spend}}:backlog").into(),
            limits,
        }
    }

    /// Appends from the first on as many as there is room for; their entries' ids.
    pub(super) async fn append(
        &self,
        batches: &[Arc<SealedBatch>],
    ) -> Result<Vec<String>, StreamError> {
        let script = Script::new(scripts::APPEND);
        let mut call = script.key(&*self.stream);
        call.key(&*self.backlog)
            .arg(self.limits.entries)
            .arg(self.limits.bytes);
        let rows = batches.iter().map(|batch| batch.row_count()).sum();
        let texts = offload(rows, || {
            let texts = batches.iter().map(|batch| encode(batch));
            texts.collect::<Vec<_>>()
        });
        for (batch, text) in batches.iter().zip(texts) {
            call.arg(batch.id.to_string())
                .arg(VERSION)
                .arg(timed_rows(batch))
                .arg(text);
        }
        answered(call.invoke_async(&mut self.connection.clone())).await
    }

    /// Entries that nobody has read, at most so many. They stay, as read by the leader.
    pub(super) async fn read(&self, count: usize) -> Result<Vec<Entry>, StreamError> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(CONSUMER);
        read.arg("COUNT").arg(count);
        read.arg("STREAMS").arg(&*self.stream).arg(">");
        let reply: Option<StreamReadReply> = self.in_group(&read).await?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(entries(keys.into_iter().flat_map(|key| key.ids)))
    }

    /// Entries from `cursor` on that were read and not removed, at most so many; where the next
    /// begin, if there are any.
    pub(super) async fn claim(
        &self,
        cursor: &str,
        count: usize,
    ) -> Result<(Vec<Entry>, Option<String>), StreamError> {
        let mut claim = cmd("XAUTOCLAIM");
        claim.arg(&*self.stream).arg(GROUP).arg(CONSUMER);
        claim.arg(0).arg(cursor).arg("COUNT").arg(count);
        let reply: StreamAutoClaimReply = self.in_group(&claim).await?;
        let next = Some(reply.next_stream_id).filter(|next| next != "0-0");
        Ok((entries(reply.claimed.into_iter()), next))
    }

    /// How many entries were read and not removed.
    pub(super) async fn unfinished(&self) -> Result<u64, StreamError> {
        let mut ask = cmd("XPENDING");
        ask.arg(&*self.stream).arg(GROUP);
        let reply: StreamPendingReply = self.in_group(&ask).await?;
        Ok(reply.count() as u64)
    }

    /// Forgets entries that have been dealt with.
    pub(super) async fn remove(&self, entries: &[Entry]) -> Result<u64, StreamError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let script = Script::new(scripts::REMOVE);
        let mut call = script.key(&*self.stream);
        call.key(&*self.backlog).arg(GROUP);
        for entry in entries {
            call.arg(&*entry.id).arg(entry.bytes).arg(entry.rows);
        }
        answered(call.invoke_async(&mut self.connection.clone())).await
    }

    /// Those whose entry is not there any more.
    pub(super) async fn vanished(
        &self,
        held: &[(String, BatchId)],
    ) -> Result<Vec<BatchId>, StreamError> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let script = Script::new(scripts::PRESENT);
        let mut call = script.key(&*self.stream);
        for (entry, id) in held {
            call.arg(entry).arg(id.to_string());
        }
        let present: Vec<bool> = answered(call.invoke_async(&mut self.connection.clone())).await?;
        let both = held.iter().zip(present);
        Ok(both.filter(|(_, there)| !there).map(|(h, _)| h.1).collect())
    }

    /// How much waits.
    ///
    /// # Errors
    /// When Redis does not say.
    pub async fn depth(&self) -> Result<Depth, StreamError> {
        let mut ask = pipe();
        ask.cmd("XLEN").arg(&*self.stream);
        ask.cmd("HMGET")
            .arg(&*self.backlog)
            .arg("rows")
            .arg("bytes");
        let (batches, backlog): (u64, [Option<i64>; 2]) =
            answered(ask.query_async(&mut self.connection.clone())).await?;
        let [rows, bytes] = backlog.map(|n| u64::try_from(n.unwrap_or(0)).unwrap_or(0));
        let crowds = |waiting: u64, most: u64| waiting > most - most / 10;
        let StreamLimits {
            entries,
            bytes: most,
        } = self.limits;
        Ok(Depth {
            batches,
            rows,
            bytes,
            crowded: crowds(batches, entries) || crowds(bytes, most),
        })
    }

    /// What needs the group, which is made when it is missing: at first, and when Redis was emptied.
    async fn in_group<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StreamError> {
        let mut connection = self.connection.clone();
        match answered(command.query_async(&mut connection)).await {
            Err(StreamError::Redis(error)) if error.code() == Some("NOGROUP") => {
                let mut make = cmd("XGROUP");
                make.arg("CREATE").arg(&*self.stream).arg(GROUP);
                make.arg(0).arg("MKSTREAM");
                match answered::<()>(make.query_async(&mut connection)).await {
                    // Somebody else made it meanwhile.
                    Err(StreamError::Redis(error)) if error.code() == Some("BUSYGROUP") => {}
                    made => made?,
                }
                answered(command.query_async(&mut connection)).await
            }
            other => other,
        }
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, RedisError>>) -> Result<T, StreamError> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StreamError::Timeout),
    }
}

fn entries(ids: impl Iterator<Item = StreamId>) -> Vec<Entry> {
    ids.map(Entry::from).collect()
}
