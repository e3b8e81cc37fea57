//! The responder: one process that serves as one Ollama server on each of its ports.
//!
//! It exists so that the bench measures proxies and not a server: it parses what it must and writes
//! what it has prepared. To a proxy it looks real: real chunks, one write per piece, the head with
//! the first piece, the end of the chunks in a write of its own (as Go's server does), keep-alive,
//! `TCP_NODELAY`. Faults, models that load and queues are simulated by the product's simulator.
//!
//! It ends with its parent. A connection that breaks ends that connection's task and nothing else.

mod answers;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::TaskTracker;

pub use self::answers::model_name;
use self::answers::{Answers, Catalogue, END_OF_CHUNKS};
use crate::wire::{Body, Inbox};

const MAX_REQUEST: usize = 1 << 20;

enum Route {
    Hello { head_only: bool },
    Version,
    Tags,
    Ps,
    Show,
    Chat,
    Unknown,
}

#[derive(Deserialize)]
struct ChatRequest<'a> {
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(default = "streams")]
    stream: bool,
    #[serde(default)]
    options: Options,
}

/// `num_predict` is Ollama's; `pace_ms` is ours, and travels in the body because a proxy may drop
/// headers it does not know but must not touch a body.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    num_predict: u32,
    pace_ms: u64,
}

fn streams() -> bool {
    true
}

/// Serves until killed, after one JSON line with the addresses on standard output.
///
/// # Errors
/// When an address cannot be bound or reported.
pub async fn run(ports: u16, models: u64) -> io::Result<()> {
    let catalogue = Arc::new(Catalogue::new(models));
    let connections = TaskTracker::new();
    let mut addresses = Vec::new();
    for _ in 0..ports {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        addresses.push(listener.local_addr()?);
        let (tracker, catalogue) = (connections.clone(), Arc::clone(&catalogue));
        connections.spawn(async move { accept(&listener, &tracker, &catalogue).await });
    }
    let mut out = io::stdout();
    writeln!(out, "{}", serde_json::to_string(&addresses)?)?;
    out.flush()?;
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn accept(listener: &TcpListener, connections: &TaskTracker, catalogue: &Arc<Catalogue>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the next connection may find one.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let catalogue = Arc::clone(catalogue);
        connections.spawn(async move {
            // A peer may leave in the middle.
            drop(serve(socket, &catalogue).await);
        });
    }
}

async fn serve(mut socket: TcpStream, catalogue: &Catalogue) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut inbox = Inbox::new();
    let mut body = Vec::new();
    let mut answers = Answers::new("");
    loop {
        let head = loop {
            match inbox.request(route).map_err(invalid)? {
                Some(head) => break head,
                None if inbox.fill(&mut socket).await? == 0 => return Ok(()),
                None => {}
            }
        };
        read_body(head.body, &mut inbox, &mut socket, &mut body).await?;
        match head.line {
            Route::Chat => match serde_json::from_slice::<ChatRequest<'_>>(&body) {
                Ok(request) => {
                    answers.render_for(&request.model);
                    chat(&mut socket, &request, &answers).await?;
                }
                Err(_) => socket.write_all(&catalogue.bad_request).await?,
            },
            Route::Hello { head_only: true } => socket.write_all(&catalogue.hello_head).await?,
            Route::Hello { head_only: false } => socket.write_all(&catalogue.hello).await?,
            Route::Version => socket.write_all(&catalogue.version).await?,
            Route::Tags => socket.write_all(&catalogue.tags).await?,
            Route::Ps => socket.write_all(&catalogue.ps).await?,
            Route::Show => socket.write_all(&catalogue.show).await?,
            Route::Unknown => socket.write_all(&catalogue.not_found).await?,
        }
        if head.close {
            return Ok(());
        }
    }
}

fn route(method: &str, path: &str) -> Route {
    let path = path.split('?').next().unwrap_or_default();
    match (method, path) {
        ("POST", "/api/chat") => Route::Chat,
        ("GET", "/") => Route::Hello { head_only: false },
        ("HEAD", "/") => Route::Hello { head_only: true },
        ("GET", "/api/version") => Route::Version,
        ("GET", "/api/tags") => Route::Tags,
        ("GET", "/api/ps") => Route::Ps,
        ("POST", "/api/show") => Route::Show,
        _ => Route::Unknown,
    }
}

async fn read_body(
    mut framing: Body,
    inbox: &mut Inbox,
    socket: &mut TcpStream,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    body.clear();
    loop {
        let used = framing
            .feed(inbox.unread(), |content| body.extend_from_slice(content))
            .map_err(invalid)?;
        inbox.consume(used);
        if framing.is_complete() {
            return Ok(());
        }
        if body.len() > MAX_REQUEST || inbox.fill(socket).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn chat(
    socket: &mut TcpStream,
    request: &ChatRequest<'_>,
    answers: &Answers,
) -> io::Result<()> {
    if !request.stream {
        return socket.write_all(&answers.whole).await;
    }
    let pace = Duration::from_millis(request.options.pace_ms);
    let mut clock = (!pace.is_zero()).then(|| {
        let mut clock = interval_at(Instant::now() + pace, pace);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock
    });
    for index in 0..=request.options.num_predict {
        match &mut clock {
            Some(clock) => drop(clock.tick().await),
            // Streams of a real server do not wait for each other's whole answers.
            None => yield_now().await,
        }
        let last = index == request.options.num_predict;
        socket.write_all(answers.piece(index == 0, last)).await?;
    }
    socket.write_all(END_OF_CHUNKS).await
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
