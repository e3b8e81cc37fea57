//! The files themselves: which one is written to, when the next begins, and when one goes.
//!
//! **What cannot be written** is taken back by the code that owns the file, and nothing of it is pending. **A
//! file that cannot be removed** stays known, and is tried again when something else has happened.

use std::io;

use super::super::current::Current;
use super::super::disk::SegmentName;
use super::super::payload;
use super::{Entry, Writer};
use crate::spend::NotRecorded;

impl Writer {
    /// Writes the buffer at the end of the current segment, or nothing.
    pub(super) fn write(&mut self) -> Result<(), NotRecorded> {
        match self.try_write() {
            Ok(()) => {
                self.unwritable = false;
                Ok(())
            }
            Err(error) => {
                let why = self.failed(&error);
                self.unwritable = true;
                Err(why)
            }
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin_segment()?,
        };
        let written = current.append(&self.buffer);
        self.ledger.grown(current.name, current.length);
        self.current = Some(current);
        written
    }

    fn begin_segment(&mut self) -> io::Result<Current> {
        self.segments += 1;
        let name = SegmentName {
            producer: self.producer,
            number: self.segments,
        };
        let current = Current::begin(&*self.disk, name, self.format)?;
        self.ledger.opened(name);
        Ok(current)
    }

    /// From the first record with a charge on, segments need a version that knows charges.
    pub(super) fn raise_format(&mut self, group: &[Entry]) {
        let charged = |(record, _): &Entry| !record.charge.payers.is_empty();
        if self.format < payload::CHARGES && group.iter().any(charged) {
            self.format = payload::CHARGES;
            self.seal();
            self.leave_segment();
        }
    }

    pub(super) fn leave_segment(&mut self) {
        if let Some(current) = self.current.take() {
            self.ledger.closed(current.name);
        }
    }

    pub(super) fn remove_finished(&mut self) {
        for finished in self.ledger.finished() {
            let removed = if finished.damaged {
                self.disk.set_aside(finished.name)
            } else {
                self.disk.remove(finished.name)
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(segment = %finished.name, %error, "cannot remove a journal segment");
                }
                _ => self.ledger.removed(finished.name),
            }
        }
    }
}
