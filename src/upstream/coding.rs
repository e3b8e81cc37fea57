//! Undoing the encoding of an answer that was asked for without one.
//!
//! Servers are asked for `identity`, since what they answer is read, and errors and ends are added to it. Some,
//! and proxies before them, encode it all the same. What is understood (gzip, deflate, zstd) is undone
//! here, below everything that reads an answer; what is not passes with its `Content-Encoding`.
//!
//! Memory is bounded whatever is sent: what a few bytes become comes in pieces, as it is read, and a
//! window is at most what HTTP allows. It fails by value: bytes that are not what the header says, or
//! end too early, are an error of the body.

use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use zstd::stream::raw::{Decoder as Unzstd, InBuffer, Operation, OutBuffer};

/// About how large the pieces are.
const PIECE: usize = 32 << 10;
/// The largest window a server may ask for, as a power of two: eight MiB, as for every HTTP client.
const ZSTD_WINDOW: u32 = 23;

/// Undoes the encoding of one body.
pub(super) struct Decoder {
    kind: Kind,
    input: Bytes,
    /// Something has come at all.
    begun: bool,
}

enum Kind {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate {
        /// Made when its first byte is there: some servers leave out the frame of zlib.
        inflate: Option<Decompress>,
        over: bool,
    },
    Zstd {
        decoder: Unzstd<'static>,
        /// Between two frames.
        over: bool,
    },
}

impl Decoder {
    /// For an answer with these headers; removes from them what is not true of the body any more.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Box<Self>> {
        headers.get(CONTENT_ENCODING)?;
        let Some(coding) = coding(headers)? else {
            headers.remove(CONTENT_ENCODING);
            return None;
        };
        let kind = match coding.as_str() {
            "gzip" | "x-gzip" => Kind::Gzip(MultiGzDecoder::new(Vec::new())),
            "deflate" => Kind::Deflate {
                inflate: None,
                over: false,
            },
            "zstd" => Kind::zstd()?,
            _ => return None,
        };
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        Some(Box::new(Self {
            kind,
            input: Bytes::new(),
            begun: false,
        }))
    }

    /// The next bytes that came; all of what came before has been taken with [`Decoder::next`].
    pub(super) fn feed(&mut self, input: Bytes) {
        self.begun |= !input.is_empty();
        self.input = input;
    }

    /// A piece of what they were; nothing when more must come first.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut output = Vec::new();
        loop {
            let before = output.len();
            let read = self.kind.run(&self.input, &mut output)?;
            self.input.advance(read);
            if output.len() >= PIECE {
                break;
            }
            if read == 0 && output.len() == before {
                if !self.input.is_empty() {
                    return Err(io::Error::other("more behind its end"));
                }
                break;
            }
        }
        Ok((!output.is_empty()).then(|| Bytes::from(output)))
    }

    /// The body is over.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match &mut self.kind {
            _ if !self.begun => Ok(()),
            Kind::Gzip(decoder) => decoder.try_finish(),
            Kind::Deflate { over: true, .. } | Kind::Zstd { over: true, .. } => Ok(()),
            Kind::Deflate { .. } | Kind::Zstd { .. } => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The one encoding that was applied, or none; nothing if there were several, or what they are cannot be read.
fn coding(headers: &HeaderMap) -> Option<Option<String>> {
    let mut applied = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        let names = value.to_str().ok()?.split(',');
        let names = names.map(|name| name.trim().to_ascii_lowercase());
        for name in names.filter(|name| !matches!(name.as_str(), "" | "identity")) {
            if applied.replace(name).is_some() {
                return None;
            }
        }
    }
    Some(applied)
}

impl Kind {
    fn zstd() -> Option<Self> {
        let mut decoder = Unzstd::new().ok()?;
        let window = zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW);
        decoder.set_parameter(window).ok()?;
        Some(Self::Zstd {
            decoder,
            over: false,
        })
    }

    /// Reads some of `input`; returns how much. Adds about a piece to `output` at most.
    fn run(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => {
                let read = match input {
                    [] => {
                        decoder.flush()?;
                        0
                    }
                    input => decoder.write(input)?,
                };
                output.append(decoder.get_mut());
                Ok(read)
            }
            Self::Deflate { over: true, .. } => Ok(0),
            Self::Deflate { inflate, over } => {
                let Some(&first) = input.first().or_else(|| inflate.as_ref().map(|_| &0)) else {
                    return Ok(0);
                };
                // No bare deflate begins like that.
                let inflate = inflate.get_or_insert_with(|| Decompress::new(first & 0x0f == 8));
                output.reserve(PIECE);
                let before = inflate.total_in();
                let status = inflate.decompress_vec(input, output, FlushDecompress::None)?;
                *over = status == Status::StreamEnd;
                Ok(usize::try_from(inflate.total_in() - before).unwrap_or(input.len()))
            }
            Self::Zstd { decoder, over } => {
                if std::mem::take(over) {
                    if input.is_empty() {
                        *over = true;
                        return Ok(0);
                    }
                    decoder.reinit()?;
                }
                output.reserve(PIECE);
                let mut source = InBuffer::around(input);
                let filled = output.len();
                let mut target = OutBuffer::around_pos(output, filled);
                *over = decoder.run(&mut source, &mut target)? == 0;
                Ok(source.pos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn decoder(coding: &'static str) -> Option<Box<Decoder>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
        headers.insert(CONTENT_LENGTH, 7.into());
        let decoder = Decoder::take(&mut headers);
        let kept = headers.contains_key(CONTENT_ENCODING);
        assert_eq!(headers.contains_key(CONTENT_LENGTH), decoder.is_none());
        assert!(!kept || decoder.is_none());
        decoder
    }

    fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
        let level = Compression::default();
        match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            "bare" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(plain, 3).unwrap(),
        }
    }

    /// What `bytes` become when they come in chunks of this size.
    fn decoded(coding: &'static str, bytes: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut decoder = decoder(coding).unwrap();
        let mut plain = Vec::new();
        for chunk in bytes.chunks(chunk) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(piece) = decoder.next()? {
                assert!(piece.len() <= 3 * PIECE, "{}", piece.len());
                plain.extend_from_slice(&piece);
            }
        }
        decoder.finish()?;
        Ok(plain)
    }

    const CODINGS: [(&str, &str); 4] = [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate", "bare"),
        ("zstd", "zstd"),
    ];

    #[test]
    fn however_an_encoded_body_is_cut_it_becomes_what_it_was() {
        let plain: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| (n / 7).to_string().into_bytes())
            .collect();
        for (coding, encoding) in CODINGS {
            let bytes = encoded(encoding, &plain);
            for chunk in [1, 1000, bytes.len()] {
                let decoded = decoded(coding, &bytes, chunk).unwrap();
                assert!(decoded == plain, "{encoding} in chunks of {chunk}");
            }
            assert_eq!(decoded(coding, &[], 1).unwrap(), b"", "{encoding}");
        }
        let twice = [encoded("gzip", b"a"), encoded("gzip", b"b")].concat();
        assert_eq!(decoded("gzip", &twice, 5).unwrap(), b"ab");
        let twice = [encoded("zstd", b"a"), encoded("zstd", b"b")].concat();
        assert_eq!(decoded("zstd", &twice, 5).unwrap(), b"ab");
    }

    #[test]
    fn a_body_that_ends_too_early_or_is_something_else_is_an_error() {
        for (coding, encoding) in CODINGS {
            let bytes = encoded(encoding, &b"some text ".repeat(1000));
            for cut in [1, bytes.len() / 2, bytes.len() - 1] {
                assert!(
                    decoded(coding, &bytes[..cut], 3).is_err(),
                    "{encoding} cut at {cut}"
                );
            }
            assert!(decoded(coding, br#"{"done":true}"#, 100).is_err());
        }
    }

    #[test]
    fn a_piece_that_its_server_flushed_is_there_at_once() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut stream = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        let mut gunzip = decoder("gzip").unwrap();
        let mut unzstd = decoder("zstd").unwrap();
        for _ in 0..3 {
            gzip.write_all(b"data: {}\n\n").unwrap();
            gzip.flush().unwrap();
            gunzip.feed(Bytes::from(std::mem::take(gzip.get_mut())));
            assert_eq!(gunzip.next().unwrap().unwrap(), "data: {}\n\n");
            assert_eq!(gunzip.next().unwrap(), None);
            stream.write_all(b"data: {}\n\n").unwrap();
            stream.flush().unwrap();
            unzstd.feed(Bytes::from(std::mem::take(stream.get_mut())));
            assert_eq!(unzstd.next().unwrap().unwrap(), "data: {}\n\n");
            assert_eq!(unzstd.next().unwrap(), None);
        }
    }

    #[test]
    fn a_few_bytes_that_become_many_come_in_pieces() {
        let plain = vec![b'x'; 30 << 20];
        for (coding, encoding) in CODINGS {
            let bytes = encoded(encoding, &plain);
            assert!(bytes.len() < 40_000);
            assert_eq!(
                decoded(coding, &bytes, bytes.len()).unwrap().len(),
                plain.len()
            );
        }
    }

    #[test]
    fn what_is_not_understood_keeps_its_header() {
        for coding in ["br", "compress", "gzip, gzip", "zstd,gzip", "GZIP2"] {
            assert!(decoder(coding).is_none(), "{coding}");
        }
        for coding in [
            "GZip",
            "x-gzip",
            " zstd ",
            "gzip, identity",
            "identity,gzip,",
        ] {
            assert!(decoder(coding).is_some(), "{coding}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "identity".parse().unwrap());
        assert!(Decoder::take(&mut headers).is_none());
        assert!(headers.is_empty());
    }
}
