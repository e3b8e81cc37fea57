//! What an answer's body contains, read as a stream: how many lines, and whether the last one is
//! `done`.
//!
//! Lines are counted, not chunks or reads: a proxy may cut and join the bytes as it likes, but it
//! may not lose a line.

use memchr::memmem::Finder;

const DONE: &[u8] = b"\"done\":true";

/// Reads one body after another.
pub struct Lines {
    done_mark: Finder<'static>,
    unfinished: Vec<u8>,
    count: u32,
    done: bool,
}

impl Lines {
    /// Before any body.
    pub fn new() -> Self {
        Self {
            done_mark: Finder::new(DONE),
            unfinished: Vec::new(),
            count: 0,
            done: false,
        }
    }

    /// Before the next body.
    pub fn restart(&mut self) {
        self.unfinished.clear();
        (self.count, self.done) = (0, false);
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[from..end];
            if self.unfinished.is_empty() {
                self.done = self.done_mark.find(line).is_some();
            } else {
                self.unfinished.extend_from_slice(line);
                self.done = self.done_mark.find(&self.unfinished).is_some();
                self.unfinished.clear();
            }
            self.count += 1;
            from = end + 1;
        }
        self.unfinished.extend_from_slice(&bytes[from..]);
    }

    /// The body is over; an answer that is not streamed ends without a line end.
    pub fn finish(&mut self) {
        if !self.unfinished.is_empty() {
            self.feed(b"\n");
        }
    }

    /// Lines so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Something of the body has been seen.
    pub fn begun(&self) -> bool {
        self.count > 0 || !self.unfinished.is_empty()
    }

    /// The last line was the end of an answer.
    pub fn done(&self) -> bool {
        self.done
    }
}
