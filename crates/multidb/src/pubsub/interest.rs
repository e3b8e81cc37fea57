//! Which reader wants which topics.
//!
//! Pure bookkeeping between readers, which come and go and each want a set of topics, and the
//! state of the connections, which knows topics only. It cannot fail: a reader that is gone is
//! skipped.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::buffer::ItemSender;
use super::item::{Item, Published};
use super::topic::{Topic, TopicKind};

pub(super) type ReaderId = u64;

/// The result of a request.
pub(super) type Granted = Result<(), Refusal>;

/// Which topic is not allowed, and the server's error text.
pub(super) type Refusal = (Topic, Arc<str>);

/// `R` is what answers a request.
#[derive(Debug)]
pub(super) struct Interest<R> {
    readers: HashMap<ReaderId, Reader>,
    /// By kind, so that a message is looked up by the bytes it came with.
    topics: [HashMap<Bytes, Wanted>; 3],
    requests: HashMap<u64, Request<R>>,
    counter: u64,
}

#[derive(Debug)]
struct Reader {
    sender: ItemSender,
    topics: HashSet<Topic>,
    /// A request of it has been fulfilled, so it has a stream in which a gap means something.
    listens: bool,
}

#[derive(Debug, Default)]
struct Wanted {
    readers: BTreeSet<ReaderId>,
    /// Requests that wait for this topic, and whose they are.
    requests: Vec<(u64, ReaderId)>,
}

#[derive(Debug)]
struct Request<R> {
    /// Topics without an answer.
    open: usize,
    refused: Option<Refusal>,
    reply: R,
}

impl<R> Interest<R> {
    pub(super) fn new() -> Self {
        Self {
            readers: HashMap::new(),
            topics: Default::default(),
            requests: HashMap::new(),
            counter: 0,
        }
    }

    pub(super) fn add(&mut self, reader: ReaderId, sender: ItemSender) {
        self.readers.insert(
            reader,
            Reader {
                sender,
                topics: HashSet::new(),
                listens: false,
            },
        );
    }

    /// A reader leaves. Returns the topics that no reader wants any longer.
    pub(super) fn remove(&mut self, reader: ReaderId) -> Vec<Topic> {
        let all = self.of(reader, |_| true);
        let unwanted = self.unwant(reader, all);
        self.readers.remove(&reader);
        unwanted
    }

    /// What a reader wants, of a kind.
    pub(super) fn of(&self, reader: ReaderId, which: impl Fn(&Topic) -> bool) -> Vec<Topic> {
        self.readers.get(&reader).map_or_else(Vec::new, |reader| {
            reader
                .topics
                .iter()
                .filter(|topic| which(topic))
                .cloned()
                .collect()
        })
    }

    /// Requests of a reader that are not waited for any more; its topics stay wanted. A reader that asks
    /// again and again while no database answers must not leave a request behind each time.
    pub(super) fn forget(&mut self, reader: ReaderId, topics: &[Topic], gone: impl Fn(&R) -> bool) {
        for topic in topics {
            let Some(wanted) = self.topics[topic.kind as usize].get_mut(&topic.name) else {
                continue;
            };
            let requests = &mut self.requests;
            wanted.requests.retain(|(request, other)| {
                let idle = *other == reader
                    && requests
                        .get(request)
                        .is_none_or(|request| gone(&request.reply));
                if idle {
                    requests.remove(request);
                }
                !idle
            });
        }
    }

    /// A reader wants topics; `reply` comes back when the last of them is answered.
    pub(super) fn want(&mut self, reader: ReaderId, topics: &[Topic], reply: R) {
        let Some(wanting) = self.readers.get_mut(&reader) else {
            return;
        };
        self.counter += 1;
        let request = self.counter;
        for topic in topics {
            wanting.topics.insert(topic.clone());
            let wanted = self.topics[topic.kind as usize]
                .entry(topic.name.clone())
                .or_default();
            wanted.readers.insert(reader);
            wanted.requests.push((request, reader));
        }
        let open = topics.len();
        let refused = None;
        self.requests.insert(
            request,
            Request {
                open,
                refused,
                reply,
            },
        );
    }

    /// A reader no longer wants topics. Returns those that no reader wants any longer. Its requests
    /// for them are dropped unanswered: a reader that unsubscribes does not wait for a subscription.
    pub(super) fn unwant(&mut self, reader: ReaderId, topics: Vec<Topic>) -> Vec<Topic> {
        let mut unwanted = Vec::new();
        for topic in topics {
            if let Some(reader) = self.readers.get_mut(&reader) {
                reader.topics.remove(&topic);
            }
            let names = &mut self.topics[topic.kind as usize];
            let Some(wanted) = names.get_mut(&topic.name) else {
                continue;
            };
            wanted.readers.remove(&reader);
            for (request, _) in wanted
                .requests
                .extract_if(.., |(_, other)| *other == reader)
            {
                self.requests.remove(&request);
            }
            if wanted.readers.is_empty() {
                names.remove(&topic.name);
                unwanted.push(topic);
            }
        }
        unwanted
    }

    /// A topic is delivered from here on. Returns the requests that had waited only for it.
    pub(super) fn settled(&mut self, topic: &Topic) -> Vec<(R, Granted)> {
        let Some(wanted) = self.topics[topic.kind as usize].get_mut(&topic.name) else {
            return Vec::new();
        };
        let requests = std::mem::take(&mut wanted.requests);
        for (_, reader) in &requests {
            if let Some(reader) = self.readers.get_mut(reader) {
                reader.listens = true;
            }
        }
        self.answer(requests, None)
    }

    /// A topic is not allowed: readers that wait for it get that as the answer, readers that had it
    /// get it as an item of their stream.
    pub(super) fn refused(&mut self, topic: &Topic, reason: &Arc<str>) -> Vec<(R, Granted)> {
        let Some(wanted) = self.topics[topic.kind as usize].remove(&topic.name) else {
            return Vec::new();
        };
        for id in &wanted.readers {
            let Some(reader) = self.readers.get_mut(id) else {
                continue;
            };
            reader.topics.remove(topic);
            if !wanted.requests.iter().any(|(_, waits)| waits == id) {
                reader.sender.offer(Item::Refused {
                    topic: topic.clone(),
                    reason: Arc::clone(reason),
                });
            }
        }
        self.answer(wanted.requests, Some((topic.clone(), Arc::clone(reason))))
    }

    fn answer(
        &mut self,
        requests: Vec<(u64, ReaderId)>,
        refused: Option<Refusal>,
    ) -> Vec<(R, Granted)> {
        let mut answers = Vec::new();
        for (id, _) in requests {
            let Some(request) = self.requests.get_mut(&id) else {
                continue;
            };
            request.open = request.open.saturating_sub(1);
            if refused.is_some() {
                request.refused.clone_from(&refused);
            }
            if request.open == 0
                && let Some(request) = self.requests.remove(&id)
            {
                answers.push((request.reply, request.refused.map_or(Ok(()), Err)));
            }
        }
        answers
    }

    /// A message, to those who want its topic.
    pub(super) fn deliver(&mut self, kind: TopicKind, message: &Published) {
        let name = message.pattern.as_ref().unwrap_or(&message.channel);
        let Some(wanted) = self.topics[kind as usize].get(name) else {
            return;
        };
        for id in &wanted.readers {
            if let Some(reader) = self.readers.get_mut(id) {
                reader.sender.offer(Item::Message(message.clone()));
            }
        }
    }

    /// An announcement, to every reader that has a stream.
    pub(super) fn announce(&mut self, item: &Item) {
        for reader in self.readers.values_mut().filter(|reader| reader.listens) {
            reader.sender.offer(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::pubsub::buffer::{ItemReceiver, buffer};

    fn channel(name: &'static str) -> Topic {
        Topic::new(TopicKind::Channel, name)
    }

    fn message(channel: &'static str) -> Published {
        Published {
            channel: channel.into(),
            pattern: None,
            payload: "hello".into(),
        }
    }

    fn items(receiver: &mut ItemReceiver) -> Vec<Item> {
        let mut cx = Context::from_waker(Waker::noop());
        let next = || match receiver.poll_take(&mut cx) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        };
        std::iter::from_fn(next).collect()
    }

    /// Two readers, 1 and 2, and their streams.
    fn two() -> (Interest<&'static str>, ItemReceiver, ItemReceiver) {
        let mut interest = Interest::new();
        let (sender, one) = buffer(8);
        interest.add(1, sender);
        let (sender, two) = buffer(8);
        interest.add(2, sender);
        (interest, one, two)
    }

    #[test]
    fn a_request_for_several_topics_is_granted_with_the_last_of_them() {
        let (mut interest, ..) = two();
        interest.want(1, &[channel("a"), channel("b")], "both");
        interest.want(2, &[channel("b")], "one");
        assert_eq!(interest.settled(&channel("b")), [("one", Ok(()))]);
        assert_eq!(interest.settled(&channel("a")), [("both", Ok(()))]);
        assert_eq!(interest.settled(&channel("a")), []);
    }

    #[test]
    fn a_request_is_refused_when_one_of_its_topics_is_and_says_which() {
        let (mut interest, ..) = two();
        let reason: Arc<str> = "NOPERM".into();
        interest.want(1, &[channel("a"), channel("b")], "both");
        assert_eq!(interest.refused(&channel("b"), &reason), []);
        let refusal = (channel("b"), reason);
        assert_eq!(interest.settled(&channel("a")), [("both", Err(refusal))]);
        assert_eq!(interest.of(1, |_| true), [channel("a")]);
    }

    #[test]
    fn a_reader_of_a_topic_is_told_in_its_stream_that_it_has_ended() {
        let (mut interest, mut one, mut two) = two();
        interest.want(1, &[channel("a")], "first");
        interest.settled(&channel("a"));
        interest.want(2, &[channel("a")], "second");
        let reason: Arc<str> = "NOPERM".into();
        let refusal = (channel("a"), Arc::clone(&reason));
        let answers = interest.refused(&channel("a"), &reason);
        assert_eq!(answers, [("second", Err(refusal))]);
        let topic = channel("a");
        assert_eq!(items(&mut one), [Item::Refused { topic, reason }]);
        assert_eq!(items(&mut two), []);
    }

    #[test]
    fn a_topic_is_wanted_until_the_last_reader_unsubscribes() {
        let (mut interest, mut one, mut two) = two();
        interest.want(1, &[channel("a")], "");
        interest.want(2, &[channel("a")], "");
        interest.deliver(TopicKind::Channel, &message("a"));
        assert_eq!(interest.unwant(1, vec![channel("a")]), []);
        interest.deliver(TopicKind::Channel, &message("a"));
        assert_eq!(interest.remove(2), [channel("a")]);
        interest.deliver(TopicKind::Channel, &message("a"));
        assert_eq!((items(&mut one).len(), items(&mut two).len()), (1, 2));
    }

    #[test]
    fn a_name_means_something_else_as_a_channel_a_pattern_and_a_shard_channel() {
        let (mut interest, mut one, mut two) = two();
        interest.want(1, &[Topic::new(TopicKind::Pattern, "a")], "");
        interest.want(2, &[Topic::new(TopicKind::ShardChannel, "a")], "");
        interest.deliver(TopicKind::Channel, &message("a"));
        assert_eq!((items(&mut one), items(&mut two)), (vec![], vec![]));
        interest.deliver(TopicKind::ShardChannel, &message("a"));
        assert_eq!((items(&mut one).len(), items(&mut two).len()), (0, 1));
        let mut matched = message("b");
        matched.pattern = Some("a".into());
        interest.deliver(TopicKind::Pattern, &matched);
        assert_eq!((items(&mut one).len(), items(&mut two).len()), (1, 0));
    }

    #[test]
    fn gaps_are_announced_to_those_who_have_a_stream() {
        let (mut interest, mut one, mut two) = two();
        interest.want(1, &[channel("a")], "");
        interest.settled(&channel("a"));
        interest.want(2, &[channel("b")], "");
        interest.announce(&Item::Lagged { missed: 1 });
        assert_eq!(items(&mut one), [Item::Lagged { missed: 1 }]);
        assert_eq!(items(&mut two), [], "it has been promised nothing yet");
    }

    #[test]
    fn requests_that_nobody_waits_for_do_not_accumulate() {
        let (mut interest, mut one, _two) = two();
        let topics = [channel("a"), channel("b")];
        interest.want(2, &topics, "gone");
        for _ in 0..100 {
            interest.forget(1, &topics, |reply| *reply == "gone");
            interest.want(1, &topics, "gone");
        }
        interest.forget(1, &topics[..1], |reply| *reply == "gone");
        interest.want(1, &topics[..1], "waits");
        assert_eq!(interest.requests.len(), 2, "the other reader's is its own");
        assert_eq!(interest.settled(&channel("a")), [("waits", Ok(()))]);
        assert_eq!(interest.settled(&channel("b")), [("gone", Ok(()))]);
        interest.announce(&Item::Lagged { missed: 1 });
        assert_eq!(items(&mut one).len(), 1);
    }

    #[test]
    fn a_request_that_is_ended_while_it_waits_is_not_answered() {
        let (mut interest, ..) = two();
        interest.want(1, &[channel("a")], "gone");
        assert_eq!(interest.unwant(1, vec![channel("a")]), [channel("a")]);
        assert_eq!(interest.settled(&channel("a")), []);
        assert!(interest.requests.is_empty());
    }
}
