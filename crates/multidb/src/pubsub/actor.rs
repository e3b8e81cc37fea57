//! The task around the state: it owns every connection and every reader's sender.
//!
//! A task of its own rather than a mailbox actor, because it reads sockets as well as messages. Nothing in its loop waits: connecting, subscribing, pinging and pausing are futures it
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

use super::interest::{Granted, Interest};
use super::item::Item;
use super::listener::{Listener, SubscribeOutcome};
use super::message::Message;
use super::operation;
use super::receive_buffer::{RECEIVE_BUFFER, Received};
use super::shards::Shards;
use super::state::{Action, ConnId, Limits, State, Token};
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

/// The result of one of the futures.
enum Completion {
    Opened(ConnId, DatabaseId, Result<PubSub, Arc<str>>),
    Answered(ConnId, Topic, Token, SubscribeOutcome),
    Left(ConnId),
    Broken(ConnId, Arc<str>),
    BackoffOver(Token),
    /// An unsubscription that is not waited for has been sent.
    Unsubscribed,
}

struct Runner {
    source: Arc<dyn Source>,
    settings: Settings,
    state: State<Received>,
    interest: Interest<oneshot::Sender<Granted>>,
    listeners: Vec<Listener>,
    jobs: FuturesUnordered<BoxFuture<'static, Completion>>,
    /// Why connections were lost, for the announcement that follows.
    why: Arc<str>,
}

impl HubTask {
    pub(super) async fn run(mut self) {
        let mut runner = Runner::new(self.source, self.settings);
        runner.set_active(self.active.borrow_and_update().clone());
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = self.active.changed() => match changed {
                    Ok(()) => {
                        runner.set_active(self.active.borrow_and_update().clone());
                    }
                    Err(_) => break,
                },
                message = self.mailbox.recv() => match message {
                    Some(message) => runner.handle(message),
                    None => break,
                },
                Some(completion) = runner.jobs.next() => runner.completed(completion),
                () = tokio::task::unconstrained(any_ready(&mut runner.listeners)) => runner.dispatch(),
            }
            runner.run_actions();
            // Handing out may be much work and never waits: other tasks must run as well.
            tokio::task::yield_now().await;
        }
    }
}

/// Resolves when a listener has something. All are emptied each time, whichever is ready.
async fn any_ready(listeners: &mut [Listener]) {
    poll_fn(|cx| {
        let mut ready = Poll::Pending;
        for listener in &mut *listeners {
            if listener.poll_fill(cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    })
    .await;
}

impl Runner {
    fn new(source: Arc<dyn Source>, settings: Settings) -> Self {
        let limits = Limits {
            first_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            held: RECEIVE_BUFFER,
        };
        Self {
            source,
            settings,
            state: State::new(limits),
            interest: Interest::new(),
            listeners: Vec::with_capacity(2),
            jobs: FuturesUnordered::new(),
            why: Arc::from(""),
        }
    }

    fn set_active(&mut self, active: Active) {
        self.state.set_goal(active.database, active.generation);
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Join { reader, sender } => self.interest.add(reader, sender),
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

    fn completed(&mut self, completion: Completion) {
        let now = Instant::now();
        match completion {
            Completion::Opened(conn, database, Ok(connection)) => {
                self.opened(conn, database, connection)
            }
            Completion::Opened(conn, _, Err(why)) | Completion::Broken(conn, why) => {
                self.lost(conn, why)
            }
            Completion::Answered(conn, topic, token, outcome) => {
                let answer = match outcome {
                    SubscribeOutcome::Confirmed => Ok(()),
                    SubscribeOutcome::Refused(why) => Err(why),
                    SubscribeOutcome::Broken(why) => return self.lost(conn, why),
                };
                self.state.answered(conn, &topic, token, answer, now);
            }
            Completion::Left(conn) => {
                // The confirmation came over the same connection: all messages before it are there.
                self.drain(conn);
                self.state.left(conn, now);
            }
            Completion::BackoffOver(token) => self.state.backoff_over(token),
            Completion::Unsubscribed => {}
        }
    }

    fn opened(&mut self, conn: ConnId, database: DatabaseId, connection: PubSub) {
        if !self.state.opened(conn, Instant::now()) {
            return;
        }
        let (sink, stream) = connection.split();
        let listener = Listener::new(conn, sink, stream, Shards::new(database, RECEIVE_BUFFER));
        let watching = operation::watch(listener.conn_sender(), self.settings);
        self.jobs.push(
            watching
                .map(move |why| Completion::Broken(conn, why))
                .boxed(),
        );
        self.listeners.push(listener);
    }

    fn lost(&mut self, conn: ConnId, why: Arc<str>) {
        self.drain(conn);
        tracing::debug!(conn, %why, "pub/sub connection lost");
        self.why = why;
        self.state.lost(conn, Instant::now(), fastrand::f64());
    }

    /// Hands on everything a connection has received.
    fn drain(&mut self, conn: ConnId) {
        let now = Instant::now();
        let Some(listener) = self
            .listeners
            .iter_mut()
            .find(|listener| listener.conn == conn)
        else {
            return;
        };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = listener.poll_fill(&mut cx);
        while let Some(received) = listener.next() {
            self.state.received(conn, received, now);
        }
    }

    fn dispatch(&mut self) {
        let now = Instant::now();
        let mut over = Vec::new();
        for listener in &mut self.listeners {
            for _ in 0..BATCH {
                let Some(received) = listener.next() else {
                    break;
                };
                self.state.received(listener.conn, received, now);
            }
            if listener.is_over() {
                over.push(listener.conn);
            }
        }
        for conn in over {
            self.lost(conn, "the connection was closed".into());
        }
    }

    fn run_actions(&mut self) {
        while let Some(action) = self.state.take() {
            match action {
                Action::Open { conn, database } => {
                    let opening = operation::open(&*self.source, database.id, self.settings);
                    let opened = move |opened| Completion::Opened(conn, database.id, opened);
                    self.jobs.push(opening.map(opened).boxed());
                }
                Action::Subscribe { conn, topic, token } => self.subscribe(conn, topic, token),
                Action::Unsubscribe { conn, topic } => self.unsubscribe(conn, topic),
                Action::Leave { conn, database } => self.leave(conn, database.id),
                Action::Close { conn } => self.listeners.retain(|listener| listener.conn != conn),
                Action::Backoff { after, token } => {
                    let backoff = sleep(after).map(move |()| Completion::BackoffOver(token));
                    self.jobs.push(backoff.boxed());
                }
                Action::Deliver(Received::Message(kind, message)) => {
                    self.interest.deliver(kind, &message);
                }
                Action::Deliver(Received::Missed(missed)) => {
                    self.interest.announce(&Item::Lagged { missed });
                }
                Action::Interrupted(database) => {
                    self.interest.announce(&Item::Interrupted {
                        database: database.clone(),
                    });
                    self.source.emit(Event::PubSubGap {
                        from: Some(database),
                        to: None,
                        cause: Arc::clone(&self.why),
                    });
                }
                Action::Gap(gap) => {
                    self.interest.announce(&Item::Gap(gap.clone()));
                    self.source.emit(Event::PubSubGap {
                        from: Some(gap.from),
                        to: Some(gap.to),
                        cause: gap.cause.as_str().into(),
                    });
                }
                Action::Settled(topic) => {
                    for (reply, granted) in self.interest.settled(&topic) {
                        drop(reply.send(granted));
                    }
                }
                Action::Refused(topic, why) => {
                    for (reply, granted) in self.interest.refused(&topic, &why) {
                        drop(reply.send(granted));
                    }
                }
            }
        }
    }

    fn subscribe(&mut self, conn: ConnId, topic: Topic, token: Token) {
        if let Some(listener) = self.listeners.iter().find(|listener| listener.conn == conn) {
            let conn_sender = listener.conn_sender();
            let (source, settings) = (Arc::clone(&self.source), self.settings);
            let asking = async move {
                let outcome = operation::subscribe(conn_sender, source, settings, &topic).await;
                Completion::Answered(conn, topic, token, outcome)
            };
            self.jobs.push(asking.boxed());
        }
    }

    fn unsubscribe(&mut self, conn: ConnId, topic: Topic) {
        if let Some(listener) = self
            .listeners
            .iter_mut()
            .find(|listener| listener.conn == conn)
        {
            if topic.kind == TopicKind::ShardChannel {
                listener.shards.forget(&topic.name);
            }
            let telling = operation::unsubscribe(listener.conn_sender(), self.settings, topic);
            self.jobs
                .push(telling.map(|()| Completion::Unsubscribed).boxed());
        }
    }

    fn leave(&mut self, conn: ConnId, database: DatabaseId) {
        let trusted = self.source.trusts(database);
        if let Some(listener) = self
            .listeners
            .iter_mut()
            .find(|listener| listener.conn == conn)
        {
            let shards = listener.shards.forget_all();
            let leaving = operation::leave(listener.conn_sender(), shards, self.settings, trusted);
            self.jobs
                .push(leaving.map(move |()| Completion::Left(conn)).boxed());
        }
    }
}
