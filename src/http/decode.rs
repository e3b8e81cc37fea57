//! Decoding a request's body: gzip and zstd, in memory that is bounded by what may come out.
//!
//! A small body can stand for a large one, so what comes out is counted while it does, and the limit is
//! the same as for a body that was sent plain. Decoding takes time in proportion to that, so it is
//! done on a thread where no other request waits, by few requests at a time.
//!
//! Many small bodies can stand for many large ones, so all that are decoded have a bounded room in memory
//! together, which each leaves when it is dropped. A body that has waited for its turn and its room for long is refused:
//! who has room waits for nothing here, so nobody waits for ever.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::body::BodyError;

/// What zstd may remember while it decodes, as a power of two: what browsers and RFC 9659 allow.
const ZSTD_WINDOW: u32 = 23;

/// How many bodies are decoded at a time.
const AT_ONCE: usize = 2;
/// All that are decoded have room for so many of the longest.
const LONGEST_ONES: u64 = 4;
/// The unit of that room, in bytes.
const UNIT: u64 = 1024;
/// How long a body waits for its turn and its room.
const PATIENCE: Duration = Duration::from_secs(30);

/// Decodes bodies, of all requests together in bounded memory. Clones share the bounds.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
    units: u32,
}

/// What was decoded, and the room that it takes.
struct Decoded {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// Takes the encoding out of the headers: the body goes on without it.
    pub(super) fn take(headers: &mut HeaderMap) -> Result<Option<Self>, BodyError> {
        let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
        let coding = match (named.next(), named.next()) {
            (None, _) => return Ok(None),
            (Some(name), None) => name.as_bytes().trim_ascii().to_ascii_lowercase(),
            (Some(_), Some(_)) => return Err(BodyError::Encoded),
        };
        let coding = match coding.as_slice() {
            b"" | b"identity" => None,
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            _ => return Err(BodyError::Encoded),
        };
        headers.remove(header::CONTENT_ENCODING);
        Ok(coding)
    }

    fn decode(self, body: &[u8], limit: u64) -> Result<Vec<u8>, BodyError> {
        let mut decoded = Vec::new();
        let most = limit.saturating_add(1);
        let read = match self {
            Self::Gzip => flate2::read::MultiGzDecoder::new(body)
                .take(most)
                .read_to_end(&mut decoded),
            Self::Zstd => zstd::Decoder::with_buffer(body).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW)?;
                decoder.take(most).read_to_end(&mut decoded)
            }),
        };
        let length = u64::try_from(decoded.len()).unwrap_or(u64::MAX);
        match read {
            _ if length > limit => Err(BodyError::TooLarge(limit)),
            Ok(_) => Ok(decoded),
            Err(_) => Err(BodyError::Garbled),
        }
    }
}

impl Decoder {
    /// For bodies of which the longest has so many bytes.
    pub(super) fn new(longest: u64) -> Self {
        let units = longest.saturating_mul(LONGEST_ONES).div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            room: Arc::new(Semaphore::new(permits)),
            units,
        }
    }

    /// The body without its encoding, if it has no more than `limit` bytes.
    pub(super) async fn decode(
        &self,
        coding: Coding,
        body: Bytes,
        limit: u64,
    ) -> Result<Bytes, BodyError> {
        let deadline = Instant::now() + PATIENCE;
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = timeout_at(deadline, turn).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(BodyError::Busy)?;
        // The turn is over when the thread is done, also if the client is gone by then.
        let decoding = spawn_blocking(move || (coding.decode(&body, limit), turn));
        // It fails only when the runtime ends.
        let (bytes, turn) = decoding.await.map_err(|_| BodyError::Cut)?;
        let bytes = bytes?;
        let taken = u64::try_from(bytes.capacity())
            .unwrap_or(u64::MAX)
            .div_ceil(UNIT);
        let taken = u32::try_from(taken).unwrap_or(u32::MAX).min(self.units);
        let room = Arc::clone(&self.room).acquire_many_owned(taken);
        let room = timeout_at(deadline, room).await;
        let room = room.ok().and_then(Result::ok).ok_or(BodyError::Busy)?;
        drop(turn);
        Ok(Bytes::from_owner(Decoded { bytes, _room: room }))
    }
}

impl AsRef<[u8]> for Decoded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn encoded(coding: Coding, text: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Zstd => zstd::encode_all(text, 0).unwrap(),
            Coding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn a_body_is_decoded_whole_or_refused_and_never_beyond_its_limit() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let text = vec![b'x'; 1 << 20];
            let body = encoded(coding, &text);
            assert!(body.len() < 10_000, "{coding:?}");
            assert_eq!(coding.decode(&body, 1 << 20).unwrap(), text);
            let bomb = coding.decode(&body, (1 << 20) - 1);
            assert_eq!(bomb, Err(BodyError::TooLarge((1 << 20) - 1)), "{coding:?}");
            let half = coding.decode(&body[..body.len() / 2], 1 << 20);
            assert_eq!(half, Err(BodyError::Garbled), "{coding:?}");
            let plain = coding.decode(b"{\"model\":\"m\"}", 100);
            assert_eq!(plain, Err(BodyError::Garbled), "{coding:?}");
        }
    }

    /// In the room for four of the longest, of which each takes up to twice its length.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_are_decoded_take_bounded_memory_together_and_wait_for_it() {
        const LONGEST: u64 = 1 << 20;
        let decoder = Decoder::new(LONGEST);
        let body = Bytes::from(encoded(Coding::Gzip, &vec![b'x'; 1 << 20]));
        let decode = || decoder.decode(Coding::Gzip, body.clone(), LONGEST);
        let mut held = Vec::new();
        let refused = loop {
            match decode().await {
                Ok(decoded) => held.push(decoded),
                Err(refused) => break refused,
            }
            assert!(held.len() <= 4, "there is no end of it");
        };
        assert_eq!(refused, BodyError::Busy);
        assert!(held.len() >= 2, "{}", held.len());
        // A part of a body is all of it in memory.
        let part = held.pop().map(|decoded| decoded.slice(..1));
        assert_eq!(decode().await, Err(BodyError::Busy));
        drop(part);
        assert_eq!(decode().await.map(|decoded| decoded.len()), Ok(1 << 20));
        held.push(decode().await.unwrap());
        // Who waits is served when there is room, in its turn, and who has left does not count.
        let left = tokio::time::timeout(Duration::from_secs(1), decode()).await;
        assert!(left.is_err());
        let (waiting, ()) = tokio::join!(
            futures_util::future::join_all((0..16).map(|_| async { decode().await.map(drop) })),
            async { held.clear() }
        );
        assert!(waiting.iter().all(Result::is_ok), "{waiting:?}");
        let bomb = encoded(Coding::Gzip, &vec![b'x'; 64 << 20]);
        let bomb = decoder.decode(Coding::Gzip, bomb.into(), LONGEST).await;
        assert_eq!(bomb, Err(BodyError::TooLarge(LONGEST)));
        assert_eq!(decoder.turns.available_permits(), AT_ONCE);
        assert_eq!(decoder.room.available_permits(), 4 << 10);
    }

    #[test]
    fn an_encoding_is_taken_out_of_the_headers_and_an_unknown_one_refused() {
        let take = |named: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in named {
                headers.append(
                    header::CONTENT_ENCODING,
                    http::HeaderValue::from_static(name),
                );
            }
            Coding::take(&mut headers).inspect(|_| assert!(headers.is_empty()))
        };
        assert_eq!(take(&[]), Ok(None));
        assert_eq!(take(&["identity"]), Ok(None));
        assert_eq!(take(&["GZIP"]), Ok(Some(Coding::Gzip)));
        assert_eq!(take(&["zstd"]), Ok(Some(Coding::Zstd)));
        for unknown in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"]] {
            assert_eq!(take(unknown), Err(BodyError::Encoded), "{unknown:?}");
        }
    }
}
