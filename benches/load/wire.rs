//! Just enough HTTP/1.1 to read messages fast, for both ends of the bench.
//!
//! The bench must cost little compared with the proxies it measures, and it must not share code with
//! them: a framing error of hyper's would be invisible to a hyper client. Heads are `httparse`'s
//! work; bodies by `Content-Length`, by chunks or until the peer closes are read here. Anything
//! else is an error, never a guess.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const INBOX: usize = 16 * 1024;
const MAX_HEADERS: usize = 48;

/// Bytes that are no HTTP message we could read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The head is malformed.
    #[error("malformed head: {0}")]
    Head(#[from] httparse::Error),
    /// The head does not fit the buffer.
    #[error("a head of more than {INBOX} bytes")]
    HeadTooLong,
    /// A length or a chunk is malformed.
    #[error("malformed framing of a body")]
    Framing,
}

/// Received bytes that have not been understood yet.
pub struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What a head says, kept after its bytes are gone.
pub struct Head<T> {
    /// What the caller made of the first line.
    pub line: T,
    /// How the body is framed.
    pub body: Body,
    /// The peer will close after this message.
    pub close: bool,
    length: usize,
}

/// What is still to come of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Everything until the peer closes.
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In a size line; `extension` once its digits are over.
    Size {
        /// Value of the digits so far.
        size: u64,
        /// Past the digits.
        extension: bool,
    },
    /// In data.
    Data(u64),
    /// In the line end after data.
    DataEnd,
    /// In the trailer; `blank` while its current line is empty.
    Trailer {
        /// Nothing on this line yet.
        blank: bool,
    },
    /// Complete.
    End,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; INBOX].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// What is there.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Forgets the first `count` unread bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits for more bytes; 0 when the peer has closed.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` when the buffer is full of one head.
    pub async fn fill(&mut self, socket: &mut TcpStream) -> io::Result<usize> {
        if self.end == self.bytes.len() {
            if self.start == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    WireError::HeadTooLong,
                ));
            }
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let read = socket.read(&mut self.bytes[self.end..]).await?;
        self.end += read;
        Ok(read)
    }

    /// Reads a request's head if it is complete; `line` judges method and path.
    ///
    /// # Errors
    /// When the bytes are no request.
    pub fn request<T>(
        &mut self,
        line: impl FnOnce(&str, &str) -> T,
    ) -> Result<Option<Head<T>>, WireError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = request.parse(self.unread())? else {
            return Ok(None);
        };
        let line = line(
            request.method.unwrap_or_default(),
            request.path.unwrap_or_default(),
        );
        let head = Head::new(line, request.headers, Body::Length(0), length)?;
        self.consume(head.length);
        Ok(Some(head))
    }

    /// Reads a response's head if it is complete; its line is the status.
    ///
    /// # Errors
    /// When the bytes are no response.
    pub fn response(&mut self) -> Result<Option<Head<u16>>, WireError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(self.unread())? else {
            return Ok(None);
        };
        let status = response.code.unwrap_or_default();
        let head = Head::new(status, response.headers, Body::UntilClose, length)?;
        self.consume(head.length);
        Ok(Some(head))
    }
}

impl<T> Head<T> {
    fn new(
        line: T,
        headers: &[httparse::Header<'_>],
        unframed: Body,
        length: usize,
    ) -> Result<Self, WireError> {
        let mut body = unframed;
        let mut close = false;
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| WireError::Framing)?;
                body = Body::Length(text.trim().parse().map_err(|_| WireError::Framing)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(WireError::Framing);
                }
                body = Body::Chunked(Chunk::Size {
                    size: 0,
                    extension: false,
                });
            } else if header.name.eq_ignore_ascii_case("connection") {
                close = header.value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(Self {
            line,
            body,
            close,
            length,
        })
    }
}

impl Body {
    /// Nothing more belongs to this body.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::End))
    }

    /// Hands the content found in `input` to `content` and says how many bytes belong to it.
    ///
    /// # Errors
    /// [`WireError::Framing`] for a malformed chunk.
    pub fn feed(
        &mut self,
        input: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<usize, WireError> {
        match self {
            Self::UntilClose => {
                content(input);
                Ok(input.len())
            }
            Self::Length(left) => {
                let (taken, rest) = take(*left, input);
                *left = rest;
                content(taken);
                Ok(taken.len())
            }
            Self::Chunked(chunk) => {
                let mut at = 0;
                while at < input.len() && *chunk != Chunk::End {
                    if let Chunk::Data(left) = chunk {
                        let (taken, rest) = take(*left, &input[at..]);
                        content(taken);
                        at += taken.len();
                        *chunk = if rest == 0 {
                            Chunk::DataEnd
                        } else {
                            Chunk::Data(rest)
                        };
                    } else {
                        chunk.step(input[at])?;
                        at += 1;
                    }
                }
                Ok(at)
            }
        }
    }
}

impl Chunk {
    fn step(&mut self, byte: u8) -> Result<(), WireError> {
        match (&mut *self, byte) {
            (Self::Size { size, .. }, b'\n') => {
                *self = match *size {
                    0 => Self::Trailer { blank: true },
                    size => Self::Data(size),
                };
            }
            (Self::Size { extension, .. }, b'\r' | b';' | b' ') => *extension = true,
            (
                Self::Size {
                    extension: true, ..
                },
                _,
            ) => {}
            (Self::Size { size, .. }, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(WireError::Framing)?;
                *size = size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(u64::from(digit)))
                    .ok_or(WireError::Framing)?;
            }
            (Self::DataEnd, b'\r') | (Self::Trailer { .. }, b'\r') => {}
            (Self::DataEnd, b'\n') => {
                *self = Self::Size {
                    size: 0,
                    extension: false,
                }
            }
            (Self::Trailer { blank: true }, b'\n') => *self = Self::End,
            (Self::Trailer { blank }, byte) => *blank = byte == b'\n',
            (Self::DataEnd | Self::Data(_) | Self::End, _) => return Err(WireError::Framing),
        }
        Ok(())
    }
}

fn take(left: u64, input: &[u8]) -> (&[u8], u64) {
    let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    (&input[..count], left - count as u64)
}
