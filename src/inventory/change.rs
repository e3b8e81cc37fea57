//! What operators ask for, and what that does to the list. Pure.

use crate::config::Endpoint;
use crate::domain::ModelName;
use crate::fleet::Drain;
use crate::store::Precondition;

/// A server that an operator added.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    pub(super) endpoint: Endpoint,
    pub(super) drain: Drain,
    /// In Unix seconds.
    pub(super) created_at: i64,
    /// Grows with every change.
    pub(super) version: i64,
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new server.
    Add(Endpoint),
    /// Other settings for the one of this name.
    Set {
        /// How it is called.
        name: String,
        /// What is said of it from now on, under the same name.
        endpoint: Endpoint,
        /// What was seen of it before.
        version: i64,
    },
    /// It takes nothing new: none of it, or not this model.
    Drain(String, Option<ModelName>),
    /// It takes requests again.
    Resume(String, Option<ModelName>),
    /// It goes.
    Remove(String),
}

/// What a change does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Of one that operators have not added.
    Hold {
        /// How it is called.
        name: String,
        /// It outlives all routers.
        lasting: bool,
        /// What of it took nothing new.
        before: Drain,
        /// What of it takes nothing new.
        drain: Drain,
        /// It is stored; else this router alone does it, until it is.
        is_kept: bool,
    },
    /// One that was added is new, or other than it was.
    Put {
        /// As it is from now on.
        added: Box<Added>,
        /// What has to be so, for it to be done.
        before: Precondition,
    },
    /// One that was added goes.
    Remove {
        /// How it is called.
        name: String,
        /// Whether it is in the list: the database may have one that is not understood.
        is_known: bool,
    },
}

impl Added {
    pub(super) fn with_version(self, version: i64) -> Self {
        Self { version, ..self }
    }

    /// What a change of it does.
    pub(super) fn put(&self, change: impl FnOnce(&mut Self)) -> Step {
        let mut added = self.clone();
        change(&mut added);
        Step::Put {
            // As the database counts; without one, so that a change that was not seen is noticed.
            added: Box::new(added.with_version(self.version + 1)),
            before: Precondition::Version(self.version),
        }
    }
}
