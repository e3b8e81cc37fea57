//! Sends an answer that is not streamed, whole or broken.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};

use crate::answer::{How, Ongoing, RUNNER_STOPPED};
use crate::catalogue::Entry;
use crate::fault::Stage;
use crate::node::Node;
use crate::scheduler::Refusal;
use crate::wire::{Abort, Body};

use super::problem::Problem;
use super::reply::respond;

/// An answer that is ready.
pub struct Whole<'a> {
    pub content_type: &'static str,
    /// Its bytes; `false` asks for those of an answer that ended without its end.
    pub bytes: &'a (dyn Fn(bool) -> Bytes + Sync),
    pub ongoing: Ongoing,
    /// Prompt and eval tokens, for the counters.
    pub tokens: (u64, u64),
    pub cut: Option<How>,
}

/// Responds with it, or breaks as the fault says. It is counted when its bytes are handed to the
/// connection, so a client that has left by then counts as cancelled.
pub async fn deliver(whole: Whole<'_>) -> Result<Response<Body>, Problem> {
    let Whole {
        content_type,
        bytes,
        mut ongoing,
        tokens: (prompt, eval),
        cut,
    } = whole;
    let body = match cut {
        None => Body::whole_then(bytes(true), move || ongoing.finish(prompt, eval)),
        Some(How::Stall) => {
            // Held until the client leaves; leaving drops it as cancelled.
            std::future::pending::<()>().await;
            Body::empty()
        }
        Some(how) => {
            ongoing.fail();
            match how {
                How::Error => return Err(Problem::internal(RUNNER_STOPPED)),
                How::Reset => Body::broken(&bytes(true), Abort::Reset),
                How::HalfLine => Body::broken(&bytes(true), Abort::Close),
                How::HugeLine(length) => Body::whole(huge(length)),
                How::CleanEnd | How::Stall => Body::whole(bytes(false)),
            }
        }
    };
    Ok(respond(StatusCode::OK, content_type, body))
}

/// Fails with 503 where a fault says so, whatever the queue holds.
pub fn refuse(node: &Node, entry: &Entry) -> Result<(), Problem> {
    match node.faults.take(Stage::Schedule, Some(&entry.name)) {
        Some(_) => Err(Refusal::Busy.into()),
        None => Ok(()),
    }
}

fn huge(length: u64) -> Bytes {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_bytes(b'x', length);
    bytes.freeze()
}
