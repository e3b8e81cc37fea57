//! An answer that comes in lines of JSON.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::cli::Failure;

/// No line of a command is longer.
const LONGEST: usize = 16 << 20;

/// The lines that are still to come. Dropping it tells the router that nobody waits for them.
pub(in crate::cli) struct Lines {
    body: Incoming,
    read: BytesMut,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            read: BytesMut::new(),
            ended: false,
        }
    }

    /// The next one; nothing behind the last. A line that reports an error is a failure. Can be dropped at any
    /// moment.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(line) = self.take_line() {
                let line = line.trim_ascii();
                if line.is_empty() {
                    continue;
                }
                let value: Value =
                    serde_json::from_slice(line).map_err(Failure::to("read the answer"))?;
                return match value["error"].as_str() {
                    Some(error) => Err(Failure::to("do it")(error.to_owned())),
                    None => Ok(Some(value)),
                };
            }
            if self.ended {
                return Ok(None);
            }
            self.read_more().await?;
        }
    }

    /// A whole line, or at the end what there is.
    fn take_line(&mut self) -> Option<BytesMut> {
        match memchr::memchr(b'\n', &self.read) {
            Some(end) => Some(self.read.split_to(end + 1)),
            None if self.ended && !self.read.is_empty() => Some(self.read.split()),
            None => None,
        }
    }

    async fn read_more(&mut self) -> Result<(), Failure> {
        if self.read.len() > LONGEST {
            return Err(Failure::to("read the answer")("a line is too long"));
        }
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.read.extend_from_slice(data);
                }
            }
            Some(Err(error)) => return Err(Failure::to("read the answer")(error)),
            None => self.ended = true,
        }
        Ok(())
    }
}
