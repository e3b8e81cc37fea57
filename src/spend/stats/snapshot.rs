//! The figures of the journal, all of one moment.
//!
//! Its thread makes a new one after each change and before that change is answered or reported,
//! and readers see the last one whole. So sums that have to agree do so whenever one looks.

use uuid::Uuid;

use crate::spend::Account;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(in crate::spend) struct JournalSnapshot {
    /// Records since the start of the process, and those that were found then.
    pub(in crate::spend) all: Account,
    /// Who this process is as a producer.
    pub(in crate::spend) producer: Uuid,
    /// Records since the start of the process.
    pub(in crate::spend) own: Account,
    /// Batches not known to be in the database, the open one included.
    pub(in crate::spend) batches: u64,
    /// Rows in these that belong to a minute or a day.
    pub(in crate::spend) rows: u64,
    /// When the oldest pending record ended, in Unix seconds.
    pub(in crate::spend) oldest: Option<i64>,
    /// On disk.
    pub(in crate::spend) bytes: u64,
    /// It can be written, and has room.
    pub(in crate::spend) healthy: bool,
}

impl JournalSnapshot {
    /// Of a journal in which nothing is.
    pub(in crate::spend) fn nothing() -> Self {
        Self {
            all: Account::default(),
            producer: Uuid::nil(),
            own: Account::default(),
            batches: 0,
            rows: 0,
            oldest: None,
            bytes: 0,
            healthy: true,
        }
    }
}
