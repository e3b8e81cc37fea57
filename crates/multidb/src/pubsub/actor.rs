//! The shell around the course: one task that owns every connection and every reader's outlet.
//!
//! A task of its own rather than a mailbox actor, because it listens to sockets as much as to
//! messages. Nothing in its loop waits: connecting, subscribing, pinging and pausing are futures it
//! owns, so that ending the task ends all of it at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use redis::aio::PubSub;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ear::{Asked, Ear};
use super::errand;
use super::intake::{Heard, INTAKE};
use super::interest::{Granted, Interest};
use super::item::Item;
use super::message::Message;
use super::shards::Shards;
use super::state::{Act, LegId, Limits, State, Token};
use super::topic::{Topic, TopicKind};
use super::{Settings, Source};
use crate::database::DatabaseId;
use crate::{Active, Event};

/// Messages handed out before the other work is looked at again.
const BATCH: usize = 64;

pub(super) struct HubTask {
    pub(super) stop: CancellationToken,
    pub(super) active: watch::Receiver<Active>,
    pub(super) mailbox: mpsc::UnboundedReceiver<Message>,
    pub(super) source: Arc<dyn Source>,
    pub(super) settings: Settings,
}

/// What one of the futures has come to.
enum Fact {
    Opened(LegId, DatabaseId, Result<PubSub, Arc<str>>),
    Answered(LegId, Topic, Token, Asked),
    Left(LegId),
    Broken(LegId, Arc<str>),
    Rested(Token),
    /// A server was told something that is not answered.
    Told,
}

struct Shell {
    source: Arc<dyn Source>,
    settings: Settings,
    state: State<Heard>,
    interest: Interest<oneshot::Sender<Granted>>,
    ears: Vec<Ear>,
    jobs: FuturesUnordered<BoxFuture<'static, Fact>>,
    /// Why legs died, for the announcement that follows.
    why: Arc<str>,
}

impl HubTask {
    pub(super) async fn run(mut self) {
        let mut shell = Shell::new(self.source, self.settings);
        shell.goes(self.active.borrow_and_update().clone());
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = self.active.changed() => match changed {
                    Ok(()) => {
                        shell.goes(self.active.borrow_and_update().clone());
                    }
                    Err(_) => break,
                },
                message = self.mailbox.recv() => match message {
                    Some(message) => shell.told(message),
                    None => break,
                },
                Some(fact) = shell.jobs.next() => shell.found(fact),
                () = tokio::task::unconstrained(filled(&mut shell.ears)) => shell.hand_out(),
            }
            shell.act();
            // Handing out may be much work and is never waited for: others want to run as well.
            tokio::task::yield_now().await;
        }
    }
}

/// Resolves when an ear has something. All are emptied each time, whoever has the floor.
async fn filled(ears: &mut [Ear]) {
    poll_fn(|cx| {
        let mut ready = Poll::Pending;
        for ear in &mut *ears {
            if ear.poll_fill(cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    })
    .await;
}

impl Shell {
    fn new(source: Arc<dyn Source>, settings: Settings) -> Self {
        let limits = Limits {
            first_rest: Duration::from_millis(50),
            longest_rest: Duration::from_secs(2),
            held: INTAKE,
        };
        Self {
            source,
            settings,
            state: State::new(limits),
            interest: Interest::new(),
            ears: Vec::with_capacity(2),
            jobs: FuturesUnordered::new(),
            why: Arc::from(""),
        }
    }

    fn goes(&mut self, active: Active) {
        self.state.goes(active.database, active.generation);
    }

    fn told(&mut self, message: Message) {
        match message {
            Message::Join { reader, outlet } => self.interest.add(reader, outlet),
            Message::Subscribe {
                reader,
                topics,
                reply,
            } => {
                self.interest
                    .forget(reader, &topics, oneshot::Sender::is_closed);
                self.interest.want(reader, &topics, reply);
                for topic in &topics {
                    self.state.want(topic);
                }
            }
            Message::Unsubscribe {
                reader,
                topics,
                reply,
            } => {
                let unwanted = self.interest.unwant(reader, topics);
                self.unwant(&unwanted);
                let _ = reply.send(());
            }
            Message::UnsubscribeAll {
                reader,
                kind,
                reply,
            } => {
                let topics = self.interest.of(reader, |topic| topic.kind == kind);
                let unwanted = self.interest.unwant(reader, topics);
                self.unwant(&unwanted);
                let _ = reply.send(());
            }
            Message::Left { reader } => {
                let unwanted = self.interest.remove(reader);
                self.unwant(&unwanted);
            }
        }
    }

    fn unwant(&mut self, topics: &[Topic]) {
        let now = Instant::now();
        for topic in topics {
            self.state.unwant(topic, now);
        }
    }

    fn found(&mut self, fact: Fact) {
        let now = Instant::now();
        match fact {
            Fact::Opened(leg, database, Ok(connection)) => self.opened(leg, database, connection),
            Fact::Opened(leg, _, Err(why)) | Fact::Broken(leg, why) => self.died(leg, why),
            Fact::Answered(leg, topic, token, asked) => {
                let answer = match asked {
                    Asked::Confirmed => Ok(()),
                    Asked::Refused(why) => Err(why),
                    Asked::Broken(why) => return self.died(leg, why),
                };
                self.state.answered(leg, &topic, token, answer, now);
            }
            Fact::Left(leg) => {
                // The sign has come through the same connection: all that was before it is there.
                self.empty(leg);
                self.state.left(leg, now);
            }
            Fact::Rested(token) => self.state.rested(token),
            Fact::Told => {}
        }
    }

    fn opened(&mut self, leg: LegId, database: DatabaseId, connection: PubSub) {
        if !self.state.opened(leg, Instant::now()) {
            return;
        }
        let (sink, stream) = connection.split();
        let ear = Ear::new(leg, sink, stream, Shards::new(database, INTAKE));
        let watching = errand::watch(ear.voice(), self.settings);
        self.jobs
            .push(watching.map(move |why| Fact::Broken(leg, why)).boxed());
        self.ears.push(ear);
    }

    fn died(&mut self, leg: LegId, why: Arc<str>) {
        self.empty(leg);
        tracing::debug!(leg, %why, "pub/sub connection lost");
        self.why = why;
        self.state.died(leg, Instant::now(), fastrand::f64());
    }

    /// Hands on everything a leg has brought.
    fn empty(&mut self, leg: LegId) {
        let now = Instant::now();
        let Some(ear) = self.ears.iter_mut().find(|ear| ear.leg == leg) else {
            return;
        };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = ear.poll_fill(&mut cx);
        while let Some(heard) = ear.next() {
            self.state.hear(leg, heard, now);
        }
    }

    fn hand_out(&mut self) {
        let now = Instant::now();
        let mut over = Vec::new();
        for ear in &mut self.ears {
            for _ in 0..BATCH {
                let Some(heard) = ear.next() else {
                    break;
                };
                self.state.hear(ear.leg, heard, now);
            }
            if ear.is_over() {
                over.push(ear.leg);
            }
        }
        for leg in over {
            self.died(leg, "the connection was closed".into());
        }
    }

    fn act(&mut self) {
        while let Some(act) = self.state.take() {
            match act {
                Act::Open { leg, database } => {
                    let opening = errand::open(&*self.source, database.id, self.settings);
                    let opened = move |opened| Fact::Opened(leg, database.id, opened);
                    self.jobs.push(opening.map(opened).boxed());
                }
                Act::Subscribe { leg, topic, token } => self.subscribe(leg, topic, token),
                Act::Unsubscribe { leg, topic } => self.unsubscribe(leg, topic),
                Act::Leave { leg, database } => self.leave(leg, database.id),
                Act::Close { leg } => self.ears.retain(|ear| ear.leg != leg),
                Act::Rest { after, token } => {
                    let rest = sleep(after).map(move |()| Fact::Rested(token));
                    self.jobs.push(rest.boxed());
                }
                Act::Deliver(Heard::Message(kind, message)) => {
                    self.interest.deliver(kind, &message);
                }
                Act::Deliver(Heard::Missed(missed)) => {
                    self.interest.announce(&Item::Lagged { missed });
                }
                Act::Interrupted(database) => {
                    self.interest.announce(&Item::Interrupted {
                        database: database.clone(),
                    });
                    self.source.tell(Event::PubSubGap {
                        from: Some(database),
                        to: None,
                        cause: Arc::clone(&self.why),
                    });
                }
                Act::Gap(gap) => {
                    self.interest.announce(&Item::Gap(gap.clone()));
                    self.source.tell(Event::PubSubGap {
                        from: Some(gap.from),
                        to: Some(gap.to),
                        cause: gap.cause.as_str().into(),
                    });
                }
                Act::Settled(topic) => {
                    for (reply, granted) in self.interest.settled(&topic) {
                        drop(reply.send(granted));
                    }
                }
                Act::Refused(topic, why) => {
                    for (reply, granted) in self.interest.refused(&topic, &why) {
                        drop(reply.send(granted));
                    }
                }
            }
        }
    }

    fn subscribe(&mut self, leg: LegId, topic: Topic, token: Token) {
        if let Some(ear) = self.ears.iter().find(|ear| ear.leg == leg) {
            let voice = ear.voice();
            let (source, settings) = (Arc::clone(&self.source), self.settings);
            let asking = async move {
                let asked = errand::subscribe(voice, source, settings, &topic).await;
                Fact::Answered(leg, topic, token, asked)
            };
            self.jobs.push(asking.boxed());
        }
    }

    fn unsubscribe(&mut self, leg: LegId, topic: Topic) {
        if let Some(ear) = self.ears.iter_mut().find(|ear| ear.leg == leg) {
            if topic.kind == TopicKind::ShardChannel {
                ear.shards.forget(&topic.name);
            }
            let telling = errand::unsubscribe(ear.voice(), self.settings, topic);
            self.jobs.push(telling.map(|()| Fact::Told).boxed());
        }
    }

    fn leave(&mut self, leg: LegId, database: DatabaseId) {
        let trusted = self.source.trusts(database);
        if let Some(ear) = self.ears.iter_mut().find(|ear| ear.leg == leg) {
            let shards = ear.shards.forget_all();
            let leaving = errand::leave(ear.voice(), shards, self.settings, trusted);
            self.jobs
                .push(leaving.map(move |()| Fact::Left(leg)).boxed());
        }
    }
}
