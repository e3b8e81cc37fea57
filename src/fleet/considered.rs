//! What spoke for and against each server when a request was sent to one of them.
//!
//! Read from the same cells as the ranking, just after it, so that an operator sees why a request went where
//! it went. It must be cheap, since every request has it: no allocation, and no more than the first few
//! servers. It keeps names and no servers, so that one that was removed is not kept by the memory of
//! a request.

use std::fmt;
use std::sync::Arc;

use super::endpoint::Endpoint;
use super::leasing::LeaseRequest;
use super::view::{Holder, ModelView};
use crate::routing::Candidate as _;

/// Of so many servers it is known; of a larger fleet, of those that rank first.
pub const MOST_CONSIDERED: usize = 16;

/// The servers that had the model, and what spoke for and against each.
#[derive(Clone, Debug, Default)]
pub struct Considered {
    names: Arc<[Arc<str>]>,
    reasons: [Seen; MOST_CONSIDERED],
}

/// One server, as it was found.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    reason: Reason,
    in_flight: u16,
    slots: u16,
}

/// What spoke for or against a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// It was not looked at.
    #[default]
    Unseen,
    /// The request was sent there.
    Chosen,
    /// It had the model loaded, and room.
    Loaded,
    /// It had room, and would have had to load the model.
    Cold,
    /// It does not answer.
    Down,
    /// An operator keeps new requests from it, or from the model there.
    Draining,
    /// Its kind does not have the API.
    Unsupported,
    /// It said lately that it does not have the API.
    Refuses,
    /// The client named other servers, or those of its key are others.
    NotAllowed,
    /// It has failed this request already.
    Tried,
    /// Requests for the model fail there.
    Failing,
    /// A request has failed there, and it is not known yet whose fault that was.
    Suspected,
    /// It gives no slot: a trial runs, it asked for a pause, or a load holds it.
    Pausing,
    /// All its slots are in use.
    Full,
    /// It loads another model.
    LoadsOther,
}

impl Reason {
    /// Whether the request could have been sent there.
    #[must_use]
    pub const fn is_for(self) -> bool {
        matches!(self, Self::Chosen | Self::Loaded | Self::Cold)
    }

    /// In one word, for programs.
    #[must_use]
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            _ if self.is_for() => "possible",
            _ => "excluded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unseen => "not looked at",
            Self::Chosen => "the best of those that had room",
            Self::Loaded => "has the model loaded and had room",
            Self::Cold => "had room, and would have had to load the model",
            Self::Down => "does not answer",
            Self::Draining => "drains",
            Self::Unsupported => "its kind does not have this call",
            Self::Refuses => "said lately that it does not have this call",
            Self::NotAllowed => "not among the servers that the client or its key allows",
            Self::Tried => "has failed this request already",
            Self::Failing => "requests for this model fail there",
            Self::Suspected => "a request has just failed there",
            Self::Pausing => "gives no slot for the moment",
            Self::Full => "all its slots are in use",
            Self::LoadsOther => "loads another model",
        })
    }
}

impl Considered {
    /// The holders of the model as they are, one of which is chosen, or none.
    pub(super) fn new(
        model: &ModelView,
        request: &LeaseRequest,
        chosen: Option<&Arc<Endpoint>>,
    ) -> Self {
        let mut reasons = [Seen::default(); MOST_CONSIDERED];
        let holders = model.ranked_holders();
        for (seen, (is_warm, holder)) in reasons.iter_mut().zip(holders) {
            let is_chosen = chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, &holder.endpoint));
            *seen = Seen {
                reason: match is_chosen {
                    true => Reason::Chosen,
                    false => reason(holder, request, is_warm),
                },
                in_flight: small(holder.in_flight()),
                slots: small(holder.slots()),
            };
        }
        Self {
            names: Arc::clone(model.names()),
            reasons,
        }
    }

    /// Each server by name, what spoke for or against it, and how many of its slots were in use.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Reason, u16, u16)> {
        let seen = self.names.iter().zip(&self.reasons);
        seen.map(|(name, seen)| (name, seen.reason, seen.in_flight, seen.slots))
    }
}

fn reason(holder: &Holder, request: &LeaseRequest, is_warm: bool) -> Reason {
    if !holder.endpoint.is_up() {
        Reason::Down
    } else if !holder.is_up() {
        Reason::Draining
    } else if let Some(reason) = request.disallows(holder) {
        reason
    } else if holder.refuses(request.api) {
        Reason::Refuses
    } else if holder.is_failing() {
        Reason::Failing
    } else if holder.is_refusing() {
        Reason::Pausing
    } else if holder.in_flight() >= holder.slots() {
        Reason::Full
    } else if !is_warm && holder.is_loading_other() {
        Reason::LoadsOther
    } else if holder.is_suspected() {
        Reason::Suspected
    } else if is_warm {
        Reason::Loaded
    } else {
        Reason::Cold
    }
}

fn small(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
