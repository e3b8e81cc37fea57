//! `flush_leader`: the fence that an earlier leader cannot pass.
//!
//! A lease says who should write; it cannot stop a router that was paused and goes on after its lease has
//! expired.
//! So each leader has a number, greater than all before, and its transactions begin with claiming
//! the one row here under that number. The claim holds the row until the commit: a newer leader
//! waits for an older one's open transaction, no longer than the server lets it be abandoned, and
//! an older one finds no row that is older than itself. Two who were given the same number, by two
//! Redis databases that know nothing of each other, are told apart by their names: the first of them
//! to write is the one.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Store;
use super::dialect::{Dialect, Value};
use super::error::Error;
use super::limits;
use super::pool::read;
use super::schema::flush_leader;

/// Whose transaction it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Its number, greater than that of every leader before it.
    pub epoch: u64,
    /// Who it is, as nobody else ever was: a router that starts anew is another.
    pub leader: String,
}

pub(super) async fn pass<C: Dialect>(connection: &mut C, fence: &Fence) -> Result<(), Error> {
    let epoch = limits::number(fence.epoch).map_err(Error::Poison)?;
    let claim = "UPDATE flush_leader SET epoch = ?, leader = ? \
                 WHERE singleton = 1 AND (epoch < ? OR (epoch = ? AND leader = ?))";
    let values = [
        Value::Number(epoch),
        Value::Text(&fence.leader),
        Value::Number(epoch),
        Value::Number(epoch),
        Value::Text(&fence.leader),
    ];
    match connection.run(claim, &values).await? {
        0 => Err(Error::Fenced { epoch: fence.epoch }),
        _ => Ok(()),
    }
}

impl Store {
    /// The last leader that wrote. Epoch 0: none has. A source of epochs that lost its data has to
    /// continue from here, or no router could lead any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_leader(&self) -> Result<Fence, Error> {
        let found: Result<Vec<(i64, String)>, Error> = read!(self, |conn| flush_leader::table
            .select((flush_leader::epoch, flush_leader::leader))
            .load(conn));
        let last = found?.into_iter().max().unwrap_or_default();
        Ok(Fence {
            epoch: last.0.unsigned_abs(),
            leader: last.1,
        })
    }
}
