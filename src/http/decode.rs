//! Decoding a request's body: gzip and zstd, in memory that is bounded by what may come out.
//!
//! A small body can stand for a large one, so what comes out is counted while it does, and the limit is
//! the same as for a body that was sent plain. Decoding takes time in proportion to that, so it is
//! done on a thread where no other request waits.

use std::io::Read;

use bytes::Bytes;
use http::{HeaderMap, header};
use tokio::task::spawn_blocking;

use super::body::BodyError;

/// What zstd may remember while it decodes, as a power of two: what browsers and RFC 9659 allow.
const ZSTD_WINDOW: u32 = 23;

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

    /// The body without its encoding, if it has no more than `limit` bytes.
    pub(super) async fn decode(self, body: Bytes, limit: u64) -> Result<Bytes, BodyError> {
        let decoded = spawn_blocking(move || self.decode_now(&body, limit));
        // It fails only when the runtime ends.
        decoded.await.unwrap_or(Err(BodyError::Cut))
    }

    fn decode_now(self, body: &[u8], limit: u64) -> Result<Bytes, BodyError> {
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
            Ok(_) => Ok(decoded.into()),
            Err(_) => Err(BodyError::Garbled),
        }
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
            assert_eq!(coding.decode_now(&body, 1 << 20).unwrap(), text);
            let bomb = coding.decode_now(&body, (1 << 20) - 1);
            assert_eq!(bomb, Err(BodyError::TooLarge((1 << 20) - 1)), "{coding:?}");
            let half = coding.decode_now(&body[..body.len() / 2], 1 << 20);
            assert_eq!(half, Err(BodyError::Garbled), "{coding:?}");
            let plain = coding.decode_now(b"{\"model\":\"m\"}", 100);
            assert_eq!(plain, Err(BodyError::Garbled), "{coding:?}");
        }
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
