//! Long work that reports in lines: pull, push, create.
//!
//! The work runs as a task and writes lines; a client that asked for a stream gets them as they
//! come, another one gets the last line, and an error among them gets its status. The task ends
//! when the client has left, at its next line.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::answer::{Cut, Family, How, RUNNER_STOPPED};
use crate::fault::Fault;
use crate::go;
use crate::node::Node;
use crate::wire::{Abort, Body};

use super::problem::Problem;
use super::reply::{JSON, NDJSON, respond};

/// The client has left, or the work was aborted by a fault.
pub struct Stopped;

/// Where the work writes its lines.
pub struct Progress {
    lines: mpsc::Sender<Result<Bytes, Abort>>,
    written: usize,
    cut: Option<Cut>,
}

/// A line without numbers.
#[derive(Serialize)]
pub struct Status<'a> {
    pub status: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
}

impl Progress {
    /// Writes one line.
    pub async fn write<T: Serialize>(&mut self, line: &T) -> Result<(), Stopped> {
        if let Some(cut) = self.cut.filter(|cut| self.written >= cut.after) {
            match cut.how {
                How::Error => self.fail(RUNNER_STOPPED).await,
                How::Reset => self.send(Err(Abort::Reset)).await?,
                How::HalfLine => {
                    self.send(Ok(Bytes::from_static(b"{\"status\":\"pul")))
                        .await?;
                    self.send(Err(Abort::Close)).await?;
                }
                How::Stall => self.lines.closed().await,
                How::CleanEnd | How::HugeLine(_) => {}
            }
            return Err(Stopped);
        }
        self.written += 1;
        let mut bytes = go::to_vec(line);
        bytes.push(b'\n');
        self.send(Ok(bytes.into())).await
    }

    /// Writes a line that has only a status.
    pub async fn status(&mut self, status: &str) -> Result<(), Stopped> {
        self.write(&Status { status }).await
    }

    /// Writes that it has failed; nothing should be written after it.
    pub async fn fail(&mut self, error: &str) {
        let mut bytes = go::to_vec(&Error { error });
        bytes.push(b'\n');
        // The client may have left.
        let _ = self.send(Ok(bytes.into())).await;
    }

    /// Waits until the client has left.
    pub async fn abandoned(&self) {
        self.lines.closed().await;
    }

    async fn send(&self, line: Result<Bytes, Abort>) -> Result<(), Stopped> {
        self.lines.send(line).await.map_err(|_| Stopped)
    }
}

/// Runs `work` and answers with its lines.
pub async fn report<F>(
    node: &Arc<Node>,
    stream: bool,
    fault: Option<Fault>,
    work: impl FnOnce(Progress) -> F,
) -> Response<Body>
where
    F: Future<Output = Result<(), Stopped>> + Send + 'static,
{
    let (lines, mut inbox) = mpsc::channel(8);
    let cut = fault.as_ref().and_then(Cut::of);
    let work = work(Progress {
        lines,
        written: 0,
        cut,
    });
    let stop = node.stop.clone();
    node.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            // `Stopped` is how it ends early; there is no client left.
            _ = work => {}
        }
    });
    if stream {
        return respond(StatusCode::OK, NDJSON, Body::Lines(inbox));
    }
    let mut last = Bytes::new();
    while let Some(line) = inbox.recv().await {
        match line {
            Ok(line) => last = line,
            Err(_) => return Problem::internal("EOF").respond(Family::Ollama),
        }
    }
    let status = match last.starts_with(b"{\"error\"") {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    };
    last.truncate(last.len().saturating_sub(1));
    respond(status, JSON, Body::whole(last))
}
