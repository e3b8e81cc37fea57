//! The segment that is being written: always whole up to its length.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, Segment, SegmentName};
use super::frame;
use super::payload::{self, Header};

/// See the module.
pub(super) struct Current {
    pub(super) name: SegmentName,
    pub(super) file: Arc<dyn Segment>,
    /// Up to here there are whole frames.
    pub(super) length: u64,
    /// Beyond that there are bytes of a failed write.
    torn: bool,
}

impl Current {
    /// A new file, with its header.
    pub(super) fn begin(disk: &dyn Disk, name: SegmentName, format: u32) -> io::Result<Self> {
        let mut header = Vec::new();
        frame::append(&mut header, frame::HEADER, 0, |buffer| {
            let producer = name.producer.to_string();
            payload::write(buffer, &Header { format, producer });
        });
        let mut current = Self {
            name,
            file: disk.create(name)?,
            length: 0,
            torn: false,
        };
        if let Err(error) = current.append(&header) {
            // Should that fail as well, a file without records is left, and the next start removes it.
            let _ = disk.remove(name);
            return Err(error);
        }
        Ok(current)
    }

    /// Writes all of `bytes` at the end, or leaves nothing that a later write would be appended to.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.truncate(self.length)?;
            self.torn = false;
        }
        if let Err(error) = self.file.append(bytes) {
            self.torn = self.file.truncate(self.length).is_err();
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}
