//! What a subscriber receives: messages, and everything that stands between them.
//!
//! An announcement is an item like a message, because it refers to a position in the stream:
//! before it items came over one connection, after it over another.

use std::str::{self, Utf8Error};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::topic::Topic;
use crate::database::Database;

/// One step of a subscriber's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A published message.
    Message(Published),
    /// The connection broke. Nothing is received from here on, until a [`Item::Gap`].
    Interrupted {
        /// Which database it was.
        database: Database,
    },
    /// What follows comes over another connection than what came before; what was published in
    /// between may be missing. A program that derives state from messages reads that state afresh now.
    Gap(Gap),
    /// The subscriber was too slow for its buffer: from this position items are missing, messages and
    /// announcements alike. Has the same consequence as a gap.
    Lagged {
        /// How many. What was lost before it could be sorted by topic is counted for every reader.
        missed: u64,
    },
    /// The current database does not allow this subscription. It has ended.
    Refused {
        /// Which one.
        topic: Topic,
        /// The server's error text.
        reason: Arc<str>,
    },
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it was published.
    pub channel: Bytes,
    /// The pattern that let it through; `None` for a subscription by name.
    pub pattern: Option<Bytes>,
    /// What was published.
    pub payload: Bytes,
}

/// Why a stream has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The active database changed. The new one was subscribed before the old one was left, but
    /// publishers change over at moments of their own.
    Moved,
    /// The connection broke and was made anew on the same database.
    Reconnected,
}

/// A gap in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where everything before came from.
    pub from: Database,
    /// Where everything after comes from.
    pub to: Database,
    /// Why.
    pub cause: GapCause,
    /// For how long it was known that no connection delivers. Zero when the old connection counted as
    /// working until the new one was ready, as in every move between healthy databases.
    pub silence: Duration,
    /// Messages that came over the new connection before it took over and did not fit.
    pub dropped: u64,
}

impl GapCause {
    /// A label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Reconnected => "reconnected",
        }
    }
}

impl Published {
    /// The channel as text.
    ///
    /// # Errors
    /// When it is none.
    pub fn channel(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.channel)
    }

    /// The payload as text.
    ///
    /// # Errors
    /// When it is none.
    pub fn payload(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.payload)
    }
}

impl Item {
    /// The message, if it is one.
    pub fn message(&self) -> Option<&Published> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Whether messages may be missing at this position.
    pub fn is_gap(&self) -> bool {
        !matches!(self, Self::Message(_))
    }
}
