//! One server's part of a call that takes long: sends it, and reads its lines to the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::merge::{Failed, Merge};
use super::meters::Meters;
use super::reader::SUCCESS;
use crate::fleet::Endpoint;
use crate::protocol::{LONGEST_LINE, ManageApi, ProgressLine, error_text};
use crate::upstream::{AnswerBody, Client, Failure, Remote};

/// How often a server that says nothing is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// As much of an error is read.
const LONGEST_ERROR: usize = 64 << 10;

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) api: ManageApi,
    /// What goes on of the client's headers.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Where this server's part is kept.
pub(super) struct Part<'a> {
    pub(super) progress: &'a watch::Sender<Merge>,
    pub(super) server: usize,
    pub(super) meters: &'a Meters,
}

/// Connections of this call alone: it may take hours, and no request for inference shall wait for it or find a
/// connection that it has left.
pub(super) fn remote(client: &Client, endpoint: &Endpoint) -> Remote {
    Remote {
        target: Arc::clone(&endpoint.settings().target),
        connections: client.connections(Duration::ZERO),
    }
}

/// Has the server do it, and returns when it has said `success`.
pub(super) async fn follow(
    client: &Client,
    endpoint: &Endpoint,
    outgoing: &Outgoing,
    silence: Duration,
    part: &Part<'_>,
) -> Result<(), Failed> {
    let remote = remote(client, endpoint);
    let Outgoing { api, headers, body } = outgoing;
    let method = api.method();
    let sent = client.send_to(&remote, &method, api.path(), headers, body);
    let answer = awaited(endpoint, silence, sent).await?.map_err(failure)?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    part.progress.send_modify(Merge::begin);
    let mut lines = Lines::new(answer.into_body());
    loop {
        let line = awaited(endpoint, silence, lines.next()).await??;
        let Some(line) = line else {
            return Err(late("its answer ended before it had succeeded"));
        };
        if let Some(words) = line.error {
            return Err(Failed {
                status: None,
                words,
            });
        }
        if line.status == SUCCESS {
            return Ok(());
        }
        let mut more = 0;
        part.progress
            .send_modify(|merge| more = merge.heard(part.server, &line));
        part.meters.moved(api.verb(), more);
    }
}

/// Waits for a server that may be silent for long, but not when it is found down, and not for ever.
pub(super) async fn awaited<T>(
    endpoint: &Endpoint,
    silence: Duration,
    what: impl Future<Output = T>,
) -> Result<T, Failed> {
    let mut what = std::pin::pin!(what);
    let since = Instant::now();
    loop {
        let left = silence.saturating_sub(since.elapsed());
        if let Ok(done) = timeout(LOOK.min(left), what.as_mut()).await {
            return Ok(done);
        }
        // What it says counts, not what its probes do: it may be too busy for those.
        if !endpoint.is_up() {
            return Err(late("the server does not answer any more"));
        }
        if since.elapsed() >= silence {
            return Err(late("the server has said nothing for too long"));
        }
    }
}

/// The words of an answer that is a refusal.
pub(super) async fn refused(answer: Response<AnswerBody>) -> Failed {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_ERROR).collect();
    let body = timeout(LOOK, body).await;
    let words = match body {
        Ok(Ok(body)) => error_text(&body.to_bytes()),
        _ => String::new(),
    };
    answered(status, words)
}

/// A refusal with this status. What is between the router and the server is not the client's.
pub(super) fn answered(status: StatusCode, words: String) -> Failed {
    let internal = matches!(status.as_u16(), 300..=399 | 401..=403 | 407);
    match words.is_empty() || internal {
        true => Failed {
            status: Some(StatusCode::BAD_GATEWAY),
            words: format!("the server answered {status}"),
        },
        false => Failed {
            status: Some(status),
            words,
        },
    }
}

/// No answer.
pub(super) fn failure(failure: Failure) -> Failed {
    let status = match failure {
        Failure::Loop => StatusCode::LOOP_DETECTED,
        Failure::Local(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    Failed {
        status: Some(status),
        words: failure.to_string(),
    }
}

fn late(words: &str) -> Failed {
    Failed {
        status: None,
        words: words.to_owned(),
    }
}

/// The lines of a body, one at a time.
struct Lines {
    body: AnswerBody,
    read: BytesMut,
    /// So many bytes of it have no end of a line in them.
    searched: usize,
}

impl Lines {
    fn new(body: AnswerBody) -> Self {
        Self {
            body,
            read: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next line; nothing at the end.
    async fn next(&mut self) -> Result<Option<ProgressLine>, Failed> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read[self.searched..]) {
                let line = self.read.split_to(self.searched + end + 1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return parsed(&line).map(Some);
            }
            self.searched = self.read.len();
            if self.searched > LONGEST_LINE {
                return Err(late("its answer is not understood: a line without an end"));
            }
            match self.body.frame().await {
                None if self.read.trim_ascii().is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return parsed(&self.read.split()).map(Some);
                }
                Some(Ok(frame)) => {
                    self.read
                        .extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                Some(Err(error)) => return Err(late(&format!("its answer broke off: {error}"))),
            }
        }
    }
}

fn parsed(line: &[u8]) -> Result<ProgressLine, Failed> {
    let line = ProgressLine::parse(line);
    line.ok_or_else(|| late("its answer is not understood: a line that is no object"))
}
