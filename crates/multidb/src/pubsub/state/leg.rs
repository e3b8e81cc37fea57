//! One connection as the course sees it: how far it is, and what it carries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Place;
use crate::pubsub::topic::Topic;

/// A connection, for the short time it lives. Never reused.
pub(in crate::pubsub) type LegId = u64;

/// One request to subscribe. A confirmation of an earlier one means nothing any more.
pub(in crate::pubsub) type Token = u64;

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) place: Place,
    /// Connected. Before that nothing can be subscribed.
    open: bool,
    topics: HashMap<Topic, Carried>,
    /// What must be answered before the leg can take over: everything wanted when it opened.
    /// Later wishes are not waited for, or a stream of them would keep it from ever being ready.
    unanswered: HashSet<Topic>,
}

#[derive(Debug)]
enum Carried {
    Asked(Token),
    Confirmed,
    Refused(Arc<str>),
}

impl Leg {
    pub(super) fn new(id: LegId, place: Place) -> Self {
        Self {
            id,
            place,
            open: false,
            topics: HashMap::new(),
            unanswered: HashSet::new(),
        }
    }

    pub(super) fn open(&mut self, wanted: impl Iterator<Item = Topic>) {
        self.open = true;
        self.unanswered = wanted.collect();
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn is_ready(&self) -> bool {
        self.open && self.unanswered.is_empty()
    }

    pub(super) fn ask(&mut self, topic: Topic, token: Token) {
        self.topics.insert(topic, Carried::Asked(token));
    }

    /// True when this answers the newest request for the topic.
    pub(super) fn answer(
        &mut self,
        topic: &Topic,
        token: Token,
        answer: Result<(), Arc<str>>,
    ) -> bool {
        match self.topics.get_mut(topic) {
            Some(carried @ Carried::Asked(_)) if carried.is(token) => {
                *carried = match answer {
                    Ok(()) => Carried::Confirmed,
                    Err(reason) => Carried::Refused(reason),
                };
                self.unanswered.remove(topic);
                true
            }
            _ => false,
        }
    }

    /// True when the server has to be told.
    pub(super) fn forget(&mut self, topic: &Topic) -> bool {
        self.unanswered.remove(topic);
        self.topics.remove(topic).is_some()
    }

    pub(super) fn carries(&self, topic: &Topic) -> bool {
        matches!(self.topics.get(topic), Some(Carried::Confirmed))
    }

    /// What the server does not allow.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Topic, &Arc<str>)> {
        self.topics
            .iter()
            .filter_map(|(topic, carried)| match carried {
                Carried::Refused(reason) => Some((topic, reason)),
                _ => None,
            })
    }
}

impl Carried {
    fn is(&self, token: Token) -> bool {
        matches!(self, Self::Asked(asked) if *asked == token)
    }
}
