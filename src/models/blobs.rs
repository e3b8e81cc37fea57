//! Blobs: asked for on, and uploaded to, the servers that were chosen for them.
//!
//! A body goes to all servers that lack the blob as it comes, each over a channel of a few pieces, so memory is
//! bounded however large it is and the slowest server sets the pace. One that fails is dropped, and named; the
//! upload has failed only when all have. Whether the bytes are those of the digest is checked by the servers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::follow::{answered, awaited, failure, remote};
use super::merge::{Failed, Share, Standing};
use super::meters::UPLOAD;
use super::outcome::{Call, Outcome, conclude};
use super::run::Means;
use crate::fleet::Endpoint;
use crate::protocol::error_text;
use crate::upstream::{Fetched, Piece, Upload};

/// How long a server may take to say whether it has a blob.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// So many run at once.
pub(super) const MOST_UPLOADS: usize = 64;
/// Pieces on their way to one server.
const PIECES: usize = 4;
/// How long an answer may be, in bytes.
const LONGEST: usize = 64 << 10;
/// A client may pause for this long inside a blob.
const GAP: Duration = Duration::from_secs(60);
/// So much more is read of a body that nobody needs, so that its client reads the answer.
const DRAINED: u64 = 256 << 20;

/// Whether one server has a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Yes,
    No,
    /// It did not say so.
    Unknown(Failed),
}

/// What became of an upload.
#[derive(Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// A server has it that had not.
    pub created: bool,
    /// The servers that do not have it, by name.
    pub left_out: Vec<Arc<str>>,
}

/// Asks one server.
pub(super) async fn has(means: &Means, endpoint: &Endpoint, digest: &str) -> Has {
    let remote = remote(&means.client, endpoint);
    let path = path(digest);
    let asked = means
        .client
        .fetch(&remote, Method::HEAD, &path, ASKED_WITHIN, LONGEST);
    match asked.await {
        Ok(answer) if answer.status.is_success() => Has::Yes,
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => Has::No,
        Ok(answer) => Has::Unknown(answered(answer.status, String::new())),
        Err(error) => Has::Unknown(failure(error)),
    }
}

/// Asks all of them.
pub(super) async fn have(means: &Means, endpoints: &[Arc<Endpoint>], digest: &str) -> Vec<Has> {
    join_all(
        endpoints
            .iter()
            .map(|endpoint| has(means, endpoint, digest)),
    )
    .await
}

/// One server that gets the body.
struct Receiver {
    endpoint: Arc<Endpoint>,
    pieces: mpsc::Sender<Piece>,
    state: Sending,
}

/// What the half that reads the body tells the one that sends it to a server.
#[derive(Clone, Default)]
struct Sending {
    /// The server gets no more, and its answer is not waited for.
    dropped: CancellationToken,
    /// It has been given all of it: from now on its answer is waited for.
    fed: CancellationToken,
}

/// Sends a body to all servers that lack it.
pub(super) async fn upload<B>(
    means: &Means,
    endpoints: &[Arc<Endpoint>],
    digest: &str,
    headers: &HeaderMap,
    body: B,
) -> Result<Uploaded, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let had = have(means, endpoints, digest).await;
    let mut shares: Vec<Share> = endpoints.iter().zip(&had).map(share).collect();
    let lacking = endpoints.iter().zip(&had).enumerate();
    let lacking = lacking.filter(|(_, (_, has))| **has == Has::No);
    let length = body.size_hint().exact();
    let (mut receivers, mut sending) = (Vec::new(), Vec::new());
    for (at, (endpoint, _)) in lacking {
        let (pieces, upload) = mpsc::channel(PIECES);
        let state = Sending::default();
        receivers.push(Receiver {
            endpoint: Arc::clone(endpoint),
            pieces,
            state: state.clone(),
        });
        let upload = Upload::new(upload, length);
        sending.push(async move {
            let sent = send(means, endpoint, digest, headers, upload, state).await;
            (at, sent)
        });
    }
    // An error of the client's ends the other half where it is, and every server sees half a body.
    let sending = async { Ok::<_, Error>(join_all(sending).await) };
    let sent = tokio::try_join!(sending, feed(means, body, receivers));
    let (sent, ()) = sent.inspect_err(|_| means.meters.cancelled(UPLOAD))?;
    let created = sent.iter().any(|(_, sent)| sent.is_ok());
    for (at, sent) in sent {
        shares[at].standing = match sent {
            Ok(()) => Standing::Done,
            Err(failed) => Standing::Failed(failed),
        };
    }
    means.meters.ended(UPLOAD, &shares, false);
    concluded(&shares, digest, created)
}

fn share((endpoint, has): (&Arc<Endpoint>, &Has)) -> Share {
    Share {
        name: Arc::clone(endpoint.name()),
        status: "".into(),
        standing: match has {
            Has::Yes => Standing::Done,
            Has::No => Standing::Running,
            Has::Unknown(failed) => Standing::Failed(failed.clone()),
        },
    }
}

fn concluded(shares: &[Share], digest: &str, created: bool) -> Result<Uploaded, Error> {
    let failed = shares.iter().filter_map(|share| match &share.standing {
        Standing::Failed(why) => Some((&share.name, why)),
        _ => None,
    });
    let failed: Vec<_> = failed.collect();
    for (endpoint, why) in &failed {
        tracing::warn!(%endpoint, digest, why = %why.words, "server does not have a blob");
    }
    if failed.len() < shares.len() {
        return Ok(Uploaded {
            created,
            left_out: failed.iter().map(|(name, _)| Arc::clone(name)).collect(),
        });
    }
    let call = Call {
        verb: UPLOAD,
        what: digest,
    };
    match conclude(call, shares, &[]) {
        Outcome::Failed { status, words } => Err(Error::new(status, words)),
        Outcome::Success => Err(Error::interrupted()),
    }
}

/// Sends what is fed to one server, and reads what it says of it.
async fn send(
    means: &Means,
    endpoint: &Arc<Endpoint>,
    digest: &str,
    headers: &HeaderMap,
    upload: Upload,
    state: Sending,
) -> Result<(), Failed> {
    let (remote, path) = (remote(&means.client, endpoint), path(digest));
    let sent = means
        .client
        .upload(&remote, &path, headers, upload, LONGEST);
    let mut sent = std::pin::pin!(sent);
    let answer = tokio::select! {
        answer = sent.as_mut() => answer,
        () = state.dropped.cancelled() => return Err(late()),
        () = state.fed.cancelled() => awaited(endpoint, means.silence, sent).await?,
    };
    match answer {
        Ok(Fetched { status, .. }) if status.is_success() => Ok(()),
        Ok(Fetched { status, body, .. }) => Err(answered(status, error_text(&body))),
        // It may have got it from somebody else, and then reads no more.
        Err(error) => match has(means, endpoint, digest).await {
            Has::Yes => Ok(()),
            _ => Err(failure(error)),
        },
    }
}

fn late() -> Failed {
    Failed {
        status: None,
        words: "the server takes no more of the blob".to_owned(),
    }
}

/// Passes the body on, at the pace of the slowest that still takes it.
async fn feed<B>(means: &Means, mut body: B, mut receivers: Vec<Receiver>) -> Result<(), Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut unneeded = 0;
    while unneeded <= DRAINED {
        let piece = tokio::select! {
            piece = next(&mut body) => piece?,
            () = means.cutting.cancelled() => return Err(Error::closing()),
        };
        pass(means, &mut receivers, &piece).await;
        match piece {
            Piece::End => break,
            Piece::Data(data) if receivers.is_empty() => unneeded += data.len() as u64,
            Piece::Data(_) => {}
        }
    }
    for receiver in &receivers {
        receiver.state.fed.cancel();
    }
    Ok(())
}

async fn next<B>(body: &mut B) -> Result<Piece, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    match timeout(GAP, body.frame()).await {
        Ok(None) => Ok(Piece::End),
        Ok(Some(Ok(frame))) => Ok(Piece::Data(frame.into_data().unwrap_or_default())),
        Ok(Some(Err(_))) => Err(Error::wrong("request body ended early")),
        Err(_) => {
            let words = "request body did not arrive in time";
            Err(Error::new(StatusCode::REQUEST_TIMEOUT, words))
        }
    }
}

/// Gives all of them one piece; those that take no more get none from now on.
async fn pass(means: &Means, receivers: &mut Vec<Receiver>, piece: &Piece) {
    let mut at = 0;
    while let Some(receiver) = receivers.get(at) {
        let taken = receiver.pieces.send(piece.clone());
        match awaited(&receiver.endpoint, means.silence, taken).await {
            Ok(Ok(())) => {
                if let Piece::Data(data) = piece {
                    means.meters.moved(UPLOAD, data.len() as u64);
                }
                at += 1;
                continue;
            }
            Ok(Err(_)) => {} // it has answered already, or broken off
            Err(_) => receiver.state.dropped.cancel(),
        }
        receivers.swap_remove(at);
    }
}

fn path(digest: &str) -> String {
    format!("/api/blobs/{digest}")
}
