//! One client: one connection, one request at a time, every answer checked.
//!
//! It does not control the load; it sends requests, and reports when the answer began and ended or
//! what was wrong with it. After an error it reconnects.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::lines::Lines;
use super::request::Request;
use crate::plan::Ask;
use crate::wire::{Body, Inbox, WireError};

/// A client's connection and its request.
pub struct Client {
    address: SocketAddr,
    ask: Ask,
    request: Request,
    socket: Option<TcpStream>,
    inbox: Inbox,
    lines: Lines,
}

/// A complete and correct answer.
pub struct Answer {
    /// When the first byte of its body came.
    pub first_byte: Instant,
    /// When its end came.
    pub end: Instant,
    /// Its lines.
    pub lines: u32,
}

/// An observer of an answer while it arrives.
pub trait Watcher {
    /// The answer's body has begun.
    fn began(&self);
    /// `lines` more lines came at once, `since` the lines before them.
    fn arrived(&self, lines: u32, since: Instant, now: Instant);
}

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection broke, or could not be made.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It was not HTTP.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// It was refused.
    #[error("status {0}")]
    Status(u16),
    /// The peer closed in the middle.
    #[error("closed after {0} lines")]
    Closed(u32),
    /// It ended in good order but was not the answer.
    #[error("{lines} lines, done: {done}; {expected} lines were asked for")]
    Wrong {
        /// Lines that came.
        lines: u32,
        /// Whether the last one said so.
        done: bool,
        /// Lines that were asked for.
        expected: u32,
    },
}

/// No observer.
impl Watcher for () {
    fn began(&self) {}
    fn arrived(&self, _lines: u32, _since: Instant, _now: Instant) {}
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(address: SocketAddr, ask: Ask) -> Self {
        Self {
            address,
            ask,
            request: Request::new(address, ask),
            socket: None,
            inbox: Inbox::new(),
            lines: Lines::new(),
        }
    }

    /// Sends another request from now on, on the same connection.
    pub fn set_ask(&mut self, ask: Ask) {
        self.request = Request::new(self.address, ask);
        self.ask = ask;
    }

    /// Sends request number `serial` and reads its answer to the end.
    ///
    /// # Errors
    /// Whatever makes the answer not count; the connection is given up then.
    pub async fn ask(
        &mut self,
        serial: u64,
        model: u64,
        watcher: &impl Watcher,
    ) -> Result<Answer, Failure> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect().await?,
        };
        let (answer, close) = self.exchange(&mut socket, serial, model, watcher).await?;
        if !close {
            self.socket = Some(socket);
        }
        Ok(answer)
    }

    async fn connect(&mut self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        self.inbox = Inbox::new();
        Ok(socket)
    }

    async fn exchange(
        &mut self,
        socket: &mut TcpStream,
        serial: u64,
        model: u64,
        watcher: &impl Watcher,
    ) -> Result<(Answer, bool), Failure> {
        let Self {
            ask,
            request,
            inbox,
            lines,
            ..
        } = self;
        lines.restart();
        socket.write_all(request.numbered(serial, model)).await?;
        let head = loop {
            match inbox.response()? {
                Some(head) => break head,
                None if inbox.fill(socket).await? == 0 => return Err(Failure::Closed(0)),
                None => {}
            }
        };
        if head.line != 200 {
            return Err(Failure::Status(head.line));
        }
        let mut body = head.body;
        let mut first_byte = None;
        let mut previous = Instant::now();
        loop {
            let before = lines.count();
            let used = body.feed(inbox.unread(), |content| lines.feed(content))?;
            inbox.consume(used);
            let now = Instant::now();
            if first_byte.is_none() && lines.begun() {
                first_byte = Some(now);
                previous = now;
                watcher.began();
            } else if lines.count() > before {
                watcher.arrived(lines.count() - before, previous, now);
                previous = now;
            }
            if body.is_complete() {
                break;
            }
            if inbox.fill(socket).await? == 0 {
                if body == Body::UntilClose {
                    break;
                }
                return Err(Failure::Closed(lines.count()));
            }
        }
        lines.finish();
        let end = Instant::now();
        let (count, done, expected) = (lines.count(), lines.done(), ask.lines());
        match first_byte {
            Some(first_byte) if done && count == expected => Ok((
                Answer {
                    first_byte,
                    end,
                    lines: count,
                },
                head.close || body == Body::UntilClose,
            )),
            _ => Err(Failure::Wrong {
                lines: count,
                done,
                expected,
            }),
        }
    }
}
