//! Who wants what.
//!
//! Pure bookkeeping between readers, which come and go and each want a set of topics, and the
//! course of the connections, which knows topics only. It fails by nothing: whoever is gone is
//! passed over.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::buffer::Outlet;
use super::item::{Item, Published};
use super::topic::{Topic, TopicKind};

pub(super) type ReaderId = u64;

/// What a wish comes to.
pub(super) type Granted = Result<(), Refusal>;

/// Which topic is not allowed, and the server's words.
pub(super) type Refusal = (Topic, Arc<str>);

/// `R` is what answers a wish.
#[derive(Debug)]
pub(super) struct Interest<R> {
    readers: HashMap<ReaderId, Reader>,
    /// By kind, so that a message is looked up by the bytes it came with.
    topics: [HashMap<Bytes, Wanted>; 3],
    wishes: HashMap<u64, Wish<R>>,
    counter: u64,
}

#[derive(Debug)]
struct Reader {
    outlet: Outlet,
    topics: HashSet<Topic>,
    /// A wish of it has been fulfilled, so it has a stream in which a gap means something.
    listens: bool,
}

#[derive(Debug, Default)]
struct Wanted {
    readers: BTreeSet<ReaderId>,
    /// Wishes that wait for this topic, and whose they are.
    wishes: Vec<(u64, ReaderId)>,
}

#[derive(Debug)]
struct Wish<R> {
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
            wishes: HashMap::new(),
            counter: 0,
        }
    }

    pub(super) fn add(&mut self, reader: ReaderId, outlet: Outlet) {
        self.readers.insert(
            reader,
            Reader {
                outlet,
                topics: HashSet::new(),
                listens: false,
            },
        );
    }

    /// A reader leaves. Returns the topics that nobody wants any longer.
    pub(super) fn remove(&mut self, reader: ReaderId) -> Vec<Topic> {
        let all = self.of(reader, |_| true);
        let unwanted = self.unwant(reader, all);
        self.readers.remove(&reader);
        unwanted
    }

    /// What a reader wants, of a kind.
    pub(super) fn of(&self, reader: ReaderId, which: impl Fn(&Topic) -> bool) -> Vec<Topic> {
        self.readers.get(&reader).map_or_else(Vec::new, |reader| {
            reader.topics.iter().filter(|topic| which(topic)).cloned().collect()
        })
    }

    /// A reader wants topics; `reply` comes back when the last of them is answered.
    pub(super) fn want(&mut self, reader: ReaderId, topics: &[Topic], reply: R) {
        let Some(wanting) = self.readers.get_mut(&reader) else {
            return;
        };
        self.counter += 1;
        let wish = self.counter;
        for topic in topics {
            wanting.topics.insert(topic.clone());
            let wanted = self.topics[topic.kind as usize]
                .entry(topic.name.clone())
                .or_default();
            wanted.readers.insert(reader);
            wanted.wishes.push((wish, reader));
        }
        let open = topics.len();
        let refused = None;
        self.wishes.insert(wish, Wish { open, refused, reply });
    }

    /// A reader has had enough of topics. Returns those that nobody wants any longer. Wishes it had
    /// for them are dropped unanswered: whoever unsubscribes does not wait for a subscription.
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
            for (wish, _) in wanted.wishes.extract_if(.., |(_, other)| *other == reader) {
                self.wishes.remove(&wish);
            }
            if wanted.readers.is_empty() {
                names.remove(&topic.name);
                unwanted.push(topic);
            }
        }
        unwanted
    }

    /// A topic is delivered from here on. Returns the wishes that had waited only for it.
    pub(super) fn settled(&mut self, topic: &Topic) -> Vec<(R, Granted)> {
        let Some(wanted) = self.topics[topic.kind as usize].get_mut(&topic.name) else {
            return Vec::new();
        };
        let wishes = std::mem::take(&mut wanted.wishes);
        for (_, reader) in &wishes {
            if let Some(reader) = self.readers.get_mut(reader) {
                reader.listens = true;
            }
        }
        self.answer(wishes, None)
    }

    /// A topic is not allowed: whoever waits for it gets that as the answer, whoever had it is told
    /// in its stream.
    pub(super) fn refused(&mut self, topic: &Topic, reason: &Arc<str>) -> Vec<(R, Granted)> {
        let Some(wanted) = self.topics[topic.kind as usize].remove(&topic.name) else {
            return Vec::new();
        };
        for id in &wanted.readers {
            let Some(reader) = self.readers.get_mut(id) else {
                continue;
            };
            reader.topics.remove(topic);
            if !wanted.wishes.iter().any(|(_, waits)| waits == id) {
                reader.outlet.offer(Item::Refused {
                    topic: topic.clone(),
                    reason: Arc::clone(reason),
                });
            }
        }
        self.answer(wanted.wishes, Some((topic.clone(), Arc::clone(reason))))
    }

    fn answer(
        &mut self,
        wishes: Vec<(u64, ReaderId)>,
        refused: Option<Refusal>,
    ) -> Vec<(R, Granted)> {
        let mut answers = Vec::new();
        for (id, _) in wishes {
            let Some(wish) = self.wishes.get_mut(&id) else {
                continue;
            };
            wish.open = wish.open.saturating_sub(1);
            if refused.is_some() {
                wish.refused.clone_from(&refused);
            }
            if wish.open == 0
                && let Some(wish) = self.wishes.remove(&id)
            {
                answers.push((wish.reply, wish.refused.map_or(Ok(()), Err)));
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
                reader.outlet.offer(Item::Message(message.clone()));
            }
        }
    }

    /// An announcement, to everyone who has a stream.
    pub(super) fn announce(&mut self, item: &Item) {
        for reader in self.readers.values_mut().filter(|reader| reader.listens) {
            reader.outlet.offer(item.clone());
        }
    }
}
