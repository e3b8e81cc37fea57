//! A call that takes long, as one client follows it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::error::Error;
use super::jobs::Joined;
use super::outcome::Outcome;
use super::reader::{Told, last_line};
use crate::protocol::ProgressLine;

/// A reader that reads everything at once gets numbers no more often than this.
const PAUSE: Duration = Duration::from_millis(50);

/// One client's part in it. When this is dropped the client has left, and a call that nobody reads ends.
#[derive(Debug)]
pub struct Ongoing {
    joined: Joined,
    told: Told,
    over: bool,
}

impl Ongoing {
    pub(super) fn new(joined: Joined) -> Self {
        Self {
            joined,
            told: Told::default(),
            over: false,
        }
    }

    /// By what operators name it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.joined.id
    }

    /// The servers it is done on.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<str>> {
        let merge = self.joined.progress.borrow();
        let names = merge.servers().iter().map(|share| Arc::clone(&share.name));
        names.collect()
    }

    /// The servers that are left out.
    #[must_use]
    pub fn left_out(&self) -> Vec<Arc<str>> {
        let merge = self.joined.progress.borrow();
        let names = merge.left_out().iter().map(|one| Arc::clone(&one.name));
        names.collect()
    }

    /// Returns when a server has begun to do it.
    ///
    /// # Errors
    /// When none has, and why.
    pub async fn begun(&mut self) -> Result<(), Error> {
        let known = self
            .joined
            .progress
            .wait_for(|merge| merge.begun() || merge.outcome().is_some());
        let merge = known.await.map_err(|_| Error::interrupted())?;
        match merge.outcome() {
            Some(Outcome::Failed { status, words }) if !merge.begun() => {
                Err(Error::new(*status, words.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns when it is done: the last line of its progress.
    ///
    /// # Errors
    /// When it is not, or not everywhere.
    pub async fn done(&mut self) -> Result<String, Error> {
        let ended = self
            .joined
            .progress
            .wait_for(|merge| merge.outcome().is_some());
        let merge = ended.await.map_err(|_| Error::interrupted())?;
        match merge.outcome() {
            Some(Outcome::Failed { status, words }) => Err(Error::new(*status, words.clone())),
            Some(outcome @ Outcome::Success) => Ok(last_line(outcome)),
            None => Err(Error::interrupted()),
        }
    }

    /// The next lines, when there are any; nothing behind the last.
    pub async fn lines(&mut self) -> Option<Bytes> {
        while !self.over {
            let lines = {
                let merge = self.joined.progress.borrow_and_update();
                self.over = merge.outcome().is_some();
                self.told.next(&merge)
            };
            if !lines.is_empty() {
                return Some(lines.into());
            }
            if self.joined.progress.changed().await.is_err() {
                self.over = true;
                let words = Error::interrupted().words;
                return Some(ProgressLine::render_error(&words).into());
            }
            let ended = self
                .joined
                .progress
                .wait_for(|merge| merge.outcome().is_some());
            tokio::select! {
                _ = ended => {}
                () = sleep(PAUSE) => {}
            }
        }
        None
    }
}
