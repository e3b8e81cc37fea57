//! One entry of the stream, and what it turns out to be. Pure.

use redis::Value;
use redis::streams::StreamId;

use crate::spend::payload::{self, Undecodable};
use crate::store::{BatchId, SealedBatch};

/// As it was read: nothing has been done about it yet.
#[derive(Debug)]
pub(in crate::spend) struct Entry {
    /// Redis's.
    pub(in crate::spend) id: String,
    /// What its producer said it is, if it can be made out.
    pub(in crate::spend) batch: Option<BatchId>,
    pub(in crate::spend) bytes: u64,
    pub(in crate::spend) rows: u64,
    body: Vec<u8>,
}

/// What is in it.
#[derive(Debug)]
pub(in crate::spend) enum Content {
    Batch(SealedBatch),
    /// From a later version of the program.
    Later(u32),
    /// Not from any: why, and the text, for people.
    Garbage(String, String),
}

impl Entry {
    /// Reads it, once, and lets go of the text. What calls itself one batch and is another is
    /// neither.
    pub(in crate::spend) fn content(&mut self) -> Content {
        let body = std::mem::take(&mut self.body);
        let garbage =
            |why: String| Content::Garbage(why, String::from_utf8_lossy(&body).into_owned());
        match payload::decode(&body) {
            Ok(batch) if self.batch == Some(batch.id) => Content::Batch(batch),
            Ok(batch) if !batch.id.is_possible() => {
                garbage(format!("no batch has the number {}", batch.id.seq))
            }
            Ok(batch) => garbage(format!("it says it is not batch {}, which it is", batch.id)),
            Err(Undecodable::Later(version)) => Content::Later(version),
            Err(Undecodable::Garbage(why)) => garbage(why),
        }
    }
}

impl From<StreamId> for Entry {
    fn from(mut read: StreamId) -> Self {
        let body = match read.map.remove("body") {
            Some(Value::BulkString(bytes)) => bytes,
            _ => Vec::new(),
        };
        Self {
            batch: read.get::<String>("id").and_then(|id| parse(&id)),
            rows: read.get("rows").unwrap_or(0),
            bytes: body.len() as u64,
            id: read.id,
            body,
        }
    }
}

/// Only what may be a batch's: the database is asked about it before anybody has read the text.
fn parse(id: &str) -> Option<BatchId> {
    let (producer, seq) = id.split_once('/')?;
    let id = BatchId {
        producer: producer.parse().ok()?,
        seq: seq.parse().ok()?,
    };
    id.is_possible().then_some(id)
}
