//! The code of the last error a server sent, read off the wire as it passes.
//!
//! diesel keeps the server's message and drops its code, and a message is nothing to decide on: it
//! is in the server's language. Whether usage is thrown out as poison depends on that code. So the
//! stream under the protocol is wrapped, and the five letters are noted when an `ErrorResponse` goes
//! by. Nothing is changed or delayed; a connection's errors and its answers come in one order, so
//! the code noted last belongs to the error that was returned last.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The SQLSTATE of a connection's last error.
#[derive(Clone, Debug, Default)]
pub(super) struct LastError(Arc<AtomicU64>);

impl LastError {
    /// The five letters, or nothing before the first error.
    pub(super) fn state(&self) -> String {
        let bytes = self.0.load(Relaxed).to_be_bytes();
        String::from_utf8_lossy(&bytes[3..])
            .trim_matches('\0')
            .to_owned()
    }

    fn note(&self, code: [u8; 5]) {
        let [a, b, c, d, e] = code;
        self.0
            .store(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]), Relaxed);
    }
}

/// A stream whose incoming messages are looked at.
pub(super) struct Wire<S> {
    inner: S,
    scan: Scan,
}

impl<S> Wire<S> {
    /// `negotiated`: the server answers whether it speaks TLS, in a byte that is no message.
    pub(super) fn new(inner: S, last: LastError, negotiated: bool) -> Self {
        let scan = Scan {
            last,
            skip: u64::from(negotiated),
            ..Scan::default()
        };
        Self { inner, scan }
    }
}

/// TLS under the wire: what is encrypted is not looked at, what comes out of it is.
pub(super) struct Within<T>(pub(super) T);

impl<S, T> TlsConnect<Wire<S>> for Within<T>
where
    S: Send + 'static,
    T: TlsConnect<S> + Send,
    T::Future: Send + 'static,
    T::Stream: 'static,
    T::Error: 'static,
{
    type Stream = Wire<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: Wire<S>) -> Self::Future {
        let last = stream.scan.last;
        let secured = self.0.connect(stream.inner);
        Box::pin(async move { Ok(Wire::new(secured.await?, last, false)) })
    }
}

impl<S: TlsStream + Unpin> TlsStream for Wire<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.scan
            .pass(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A message is its kind, its length (itself included, its kind not) and its body.
#[derive(Default)]
struct Scan {
    last: LastError,
    /// Bytes that are not of interest.
    skip: u64,
    /// The begin of a message, and of an error as much as it takes.
    kept: Vec<u8>,
}

const HEAD: usize = 5;
const ERROR: u8 = b'E';
/// Severity, twice, and code are the first fields, and short.
const ENOUGH: usize = 64;

impl Scan {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let skipped =
                    usize::try_from(self.skip).map_or(bytes.len(), |n| n.min(bytes.len()));
                self.skip -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            self.kept.push(byte);
            bytes = rest;
            let [kind, length @ ..] = self.kept.as_slice() else {
                continue;
            };
            let Some(length) = length.first_chunk::<4>() else {
                continue;
            };
            let body = u64::from(u32::from_be_bytes(*length)).saturating_sub(4);
            let seen = (self.kept.len() - HEAD) as u64;
            if *kind == ERROR && seen < body && self.kept.len() < HEAD + ENOUGH {
                continue;
            }
            if *kind == ERROR
                && let Some(code) = code(self.kept.get(HEAD..).unwrap_or_default())
            {
                self.last.note(code);
            }
            self.kept.clear();
            self.skip = body.saturating_sub(seen);
        }
    }
}

/// Fields are a letter and a text that ends with zero; `C` is the code.
fn code(body: &[u8]) -> Option<[u8; 5]> {
    body.split(|&byte| byte == 0)
        .find_map(|field| field.strip_prefix(b"C"))
        .and_then(|code| code.try_into().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    fn error(code: &str) -> Vec<u8> {
        let fields = format!(
            "SFEHLER\0VERROR\0C{code}\0MUngültig\0F{}\0\0",
            "x".repeat(200)
        );
        message(b'E', fields.as_bytes())
    }

    fn seen(pieces: &[&[u8]], skip: u64) -> String {
        let mut scan = Scan {
            skip,
            ..Scan::default()
        };
        for piece in pieces {
            scan.pass(piece);
        }
        scan.last.state()
    }

    #[test]
    fn the_last_error_is_noted_and_nothing_else() {
        let row = message(b'D', b"E\0\0\0\x20SERROR\0C22003\0\0");
        assert_eq!(seen(&[&row, &message(b'Z', b"I")], 0), "");
        let stream = [
            row.clone(),
            error("40P01"),
            row,
            error("22003"),
            message(b'Z', b"E"),
        ];
        assert_eq!(seen(&[&stream.concat()], 0), "22003");
        assert_eq!(seen(&[b"N", &error("57P01")], 1), "57P01");
    }

    #[test]
    fn an_error_without_a_code_notes_none() {
        assert_eq!(seen(&[&message(b'E', b"SERROR\0\0")], 0), "");
        assert_eq!(seen(&[&message(b'E', b"")], 0), "");
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut_the_code_is_found(
            before in proptest::collection::vec((any::<u8>(), 0_usize..100), 0..6),
            cuts in proptest::collection::vec(1_usize..40, 1..60),
        ) {
            let mut stream: Vec<u8> = before
                .iter()
                .filter(|(kind, _)| *kind != b'E')
                .flat_map(|(kind, size)| message(*kind, &vec![b'E'; *size]))
                .collect();
            stream.extend(error("23514"));
            stream.extend(message(b'Z', b"E"));
            let mut rest = stream.as_slice();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(seen(&pieces, 0), "23514");
        }
    }
}
