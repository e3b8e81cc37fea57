//! One connection as the state sees it: how far it is, and what it has subscribed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Activation;
use crate::pubsub::topic::Topic;

/// Identifies a connection. Never reused.
pub(in crate::pubsub) type ConnId = u64;

/// One request to subscribe. A confirmation of an earlier one means nothing any more.
pub(in crate::pubsub) type Token = u64;

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) activation: Activation,
    /// Connected. Before that nothing can be subscribed.
    open: bool,
    topics: HashMap<Topic, Subscription>,
    /// What must be answered before the connection can take over: everything wanted when it opened.
    /// Later requests are not waited for, or a stream of them would keep it from ever being ready.
    unanswered: HashSet<Topic>,
}

#[derive(Debug)]
enum Subscription {
    Requested(Token),
    Confirmed,
    Refused(Arc<str>),
}

impl Conn {
    pub(super) fn new(id: ConnId, activation: Activation) -> Self {
        Self {
            id,
            activation,
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
        self.topics.insert(topic, Subscription::Requested(token));
    }

    /// True when this answers the newest request for the topic.
    pub(super) fn answer(
        &mut self,
        topic: &Topic,
        token: Token,
        answer: Result<(), Arc<str>>,
    ) -> bool {
        match self.topics.get_mut(topic) {
            Some(subscription @ Subscription::Requested(_)) if subscription.is(token) => {
                *subscription = match answer {
                    Ok(()) => Subscription::Confirmed,
                    Err(reason) => Subscription::Refused(reason),
                };
                self.unanswered.remove(topic);
                true
            }
            _ => false,
        }
    }

    /// True when the server has to be asked to unsubscribe.
    pub(super) fn forget(&mut self, topic: &Topic) -> bool {
        self.unanswered.remove(topic);
        self.topics.remove(topic).is_some()
    }

    pub(super) fn has_confirmed(&self, topic: &Topic) -> bool {
        matches!(self.topics.get(topic), Some(Subscription::Confirmed))
    }

    /// What the server does not allow.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Topic, &Arc<str>)> {
        self.topics
            .iter()
            .filter_map(|(topic, subscription)| match subscription {
                Subscription::Refused(reason) => Some((topic, reason)),
                _ => None,
            })
    }
}

impl Subscription {
    fn is(&self, token: Token) -> bool {
        matches!(self, Self::Requested(asked) if *asked == token)
    }
}
