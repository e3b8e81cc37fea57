//! Sending one request to one server, as far as that server takes what the router adds to it.
//!
//! A stream is asked for its usage, which some servers refuse with 400. Such a server is asked again without,
//! on the same slot, the usage is estimated, and the endpoint remembers it for a while; likewise
//! that it does not have an API, so that not every request pays for a try.

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, timeout};

use super::Gateway;
use super::attempt::{Slot, Stopped};
use super::server_error::SAID_WITHIN;
use super::whole::piece;
use crate::backend::{ClientRequest, Outgoing};
use crate::fleet::Refusable;
use crate::upstream::{AnswerBody, Failure};

/// As much of a refusal is looked at.
const LOOKED_AT: usize = 64 << 10;

impl Gateway {
    /// Sends the request; returns what was sent, and the head of the answer.
    pub(super) async fn ask<'a>(
        &self,
        slot: &Slot,
        request: &'a ClientRequest,
    ) -> Result<(Outgoing<'a>, Response<AnswerBody>), Stopped> {
        let refusals = slot.endpoint().refusals();
        let asks_usage = !refusals.holds(Refusable::Usage);
        let (sent, mut answer) = self.send(slot, request, asks_usage).await?;
        let status = answer.status();
        if sent.hides_usage
            && matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
            )
            && Box::pin(refuses_usage(&mut answer))
                .await
                .map_err(Stopped::by)?
        {
            tracing::info!(
                endpoint = %slot.endpoint().name(),
                "server takes no stream_options: the usage of its streams is estimated"
            );
            refusals.note(Refusable::Usage, Instant::now());
            return self.send(slot, request, false).await;
        }
        Ok((sent, answer))
    }

    async fn send<'a>(
        &self,
        slot: &Slot,
        request: &'a ClientRequest,
        asks_usage: bool,
    ) -> Result<(Outgoing<'a>, Response<AnswerBody>), Stopped> {
        let spelling = slot.pool().map(|pool| pool.spelling());
        let spelling = spelling
            .as_ref()
            .map_or(&*request.model, |spelling| &***spelling);
        let settings = slot.settings();
        let sent = settings.backend.request(request, spelling, asks_usage);
        let remote = slot.endpoint().remote(settings);
        let answer = self
            .client
            .infer(&remote, sent.api, &sent.headers, &sent.body)
            .await
            .map_err(Stopped::by)?;
        Ok((sent, answer))
    }
}

/// Whether a refusal names what the router added. What was read of it is read again.
async fn refuses_usage(answer: &mut Response<AnswerBody>) -> Result<bool, Failure> {
    if answer.headers().contains_key(CONTENT_ENCODING) {
        return Ok(false);
    }
    let body = answer.body_mut();
    let mut said = Vec::new();
    let read = async {
        while said.len() < LOOKED_AT && !body.is_end_stream() {
            match piece(body).await? {
                Some(more) => said.extend_from_slice(&more),
                None => break,
            }
        }
        Ok(())
    };
    let half = |_| Failure::Closed("half a refusal".to_owned());
    timeout(SAID_WITHIN, read).await.map_err(half)??;
    let names = names_usage(&said);
    body.unread(Bytes::from(said));
    Ok(names)
}

/// As vLLM, `FastAPI` and others word it.
fn names_usage(refusal: &[u8]) -> bool {
    let refusal = refusal.to_ascii_lowercase();
    ["stream_options", "stream options", "include_usage"]
        .iter()
        .any(|name| memchr::memmem::find(&refusal, name.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_about_the_usage_only_if_it_names_it() {
        for said in [
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#,
            "Stream options can only be defined when `stream=True`.",
            "unknown field include_usage",
        ] {
            assert!(names_usage(said.as_bytes()), "{said}");
        }
        assert!(!names_usage(br#"{"error":"messages must not be empty"}"#));
        assert!(!names_usage(b""));
    }
}
