//! Reading a request's body whole, in bounded memory and bounded time.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use super::State;
use super::decode::{Coding, Decoder};
use super::error::Refusal;

/// How long a body may be that is not about inference.
const SMALL: u64 = 1 << 20;
/// A client may pause for this long inside its body.
const GAP: Duration = Duration::from_secs(30);
/// And take this long for all of it: 256 MiB over a slow connection.
const WHOLE: Duration = Duration::from_secs(10 * 60);

/// A body that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BodyError {
    /// Larger than allowed.
    #[error("request body too large: at most {0} bytes are taken")]
    TooLarge(u64),
    /// Slower than allowed.
    #[error("request body did not arrive in time")]
    TooSlow,
    /// The client stopped sending.
    #[error("request body ended early")]
    Cut,
    /// Encoded in a way that is not read here: the model's name could not be found.
    #[error("of content encodings only gzip and zstd are taken, one at a time")]
    Encoded,
    /// Too many encoded bodies at once.
    #[error("too many encoded request bodies, please try again")]
    Busy,
    /// Not what its content encoding says.
    #[error("request body cannot be decoded")]
    Garbled,
}

impl BodyError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Cut | Self::Garbled => StatusCode::BAD_REQUEST,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to come again, in seconds.
    pub(super) const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Busy => Some(1),
            _ => None,
        }
    }
}

/// Reads the body of a request with these headers, which lose its encoding as it does.
pub(super) async fn read<B>(
    headers: &mut HeaderMap,
    body: B,
    limit: u64,
    decoder: &Decoder,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    match Coding::take(headers)? {
        None => sent(body, limit).await,
        // Boxed: seldom there, so its size is not part of every request.
        Some(coding) => {
            Box::pin(async move {
                let body = sent(body, limit).await?;
                decoder.decode(coding, body, limit).await
            })
            .await
        }
    }
}

/// The body of a request that is not about inference.
pub(super) struct Small(pub(super) Bytes);

impl FromRequest<State> for Small {
    type Rejection = BodyError;

    async fn from_request(request: Request, state: &State) -> Result<Self, BodyError> {
        let (mut head, body) = request.into_parts();
        let decoder = &state.limits.decoder;
        let body = read(&mut head.headers, body, SMALL, decoder).await;
        body.map(Self)
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        Refusal::small_body(self).into_response()
    }
}

/// The body as it was sent.
async fn sent<B>(mut body: B, limit: u64) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().exact();
    if announced.is_some_and(|announced| announced > limit) {
        return Err(BodyError::TooLarge(limit));
    }
    // Nearly every body is one piece that is here already: no timer, no copy.
    let first = timeout(GAP, body.frame());
    let Some(first) = next(first.await.map_err(|_| BodyError::TooSlow)?)? else {
        return Ok(Bytes::new());
    };
    if announced == u64::try_from(first.len()).ok() {
        return Ok(first);
    }
    Box::pin(rest(first, body, limit)).await
}

/// What follows the first piece: seldom there, so its size is not part of every request.
async fn rest<B>(first: Bytes, mut body: B, limit: u64) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let deadline = Instant::now() + WHOLE;
    let mut whole = BytesMut::from(first);
    while let Some(piece) = {
        let wait = (Instant::now() + GAP).min(deadline);
        let piece = timeout_at(wait, body.frame())
            .await
            .map_err(|_| BodyError::TooSlow)?;
        next(piece)?
    } {
        let length = u64::try_from(whole.len() + piece.len()).unwrap_or(u64::MAX);
        if length > limit {
            return Err(BodyError::TooLarge(limit));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn next<E>(frame: Option<Result<Frame<Bytes>, E>>) -> Result<Option<Bytes>, BodyError> {
    match frame {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(_)) => Err(BodyError::Cut),
    }
}
