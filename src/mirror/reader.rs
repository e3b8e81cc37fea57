//! One part of a blob, as it is given to a server.
//!
//! A reader holds one piece at a time, and waits where the download is not so far yet. When the download fails it
//! ends with an error, so that nobody takes what has come for the whole.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use super::downloads::Reading;
use super::error::Error;
use super::growing::blocking;
use crate::system::files::read_exact_at;

/// As much is read at once.
const PIECE: u64 = 128 << 10;

/// When this is dropped, nobody reads this part any more.
pub struct BlobReader {
    reading: Reading,
    /// Of a blob that is whole.
    file: Option<Arc<File>>,
    at: u64,
    end: u64,
    served: Counter,
}

impl BlobReader {
    pub(super) fn new(
        reading: Reading,
        file: Option<Arc<File>>,
        part: std::ops::Range<u64>,
        served: Counter,
    ) -> Self {
        Self {
            at: part.start,
            end: part.end.min(reading.size),
            reading,
            file,
            served,
        }
    }

    /// The next piece, once it is there; nothing behind the last.
    ///
    /// # Errors
    /// When it will not be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (file, available) = self.source().await?;
        let (at, until) = (self.at, available.min(self.end).min(self.at + PIECE));
        let length = usize::try_from(until - at).map_err(io::Error::other)?;
        let piece = blocking(move || {
            let mut piece = vec![0; length];
            read_exact_at(&file, &mut piece, at)?;
            Ok(Bytes::from(piece))
        });
        let piece = piece.await?;
        self.at = until;
        self.served.inc_by(piece.len() as u64);
        Ok(Some(piece))
    }

    /// Where the next byte is, and how many are there in all.
    async fn source(&mut self) -> Result<(Arc<File>, u64), Error> {
        if let Some(file) = &self.file {
            return Ok((Arc::clone(file), self.reading.size));
        }
        let at = self.at;
        let Some(progress) = &mut self.reading.progress else {
            return Err(Error::Interrupted);
        };
        let ready = progress.wait_for(|now| now.available > at || now.failed.is_some());
        let now = ready.await.map_err(|_| Error::Interrupted)?;
        match (&now.failed, &now.file) {
            (None, Some(file)) => Ok((Arc::clone(file), now.available)),
            (Some(error), _) => Err(error.clone()),
            (None, None) => Err(Error::Interrupted),
        }
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("digest", &self.reading.digest)
            .field("at", &self.at)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
