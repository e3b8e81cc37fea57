//! Where and how an answer breaks.

use crate::fault::Fault;

/// The text of an error that comes when tokens have already been sent.
pub const RUNNER_STOPPED: &str = "model runner has unexpectedly stopped, this may be due to resource \
                        limitations or an internal error, check ollama server logs for details";

/// A break behind the token `after`, or behind the last one where there are fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub after: usize,
    pub how: How,
}

/// See the faults of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Error,
    Reset,
    CleanEnd,
    Stall,
    HalfLine,
    HugeLine(u64),
}

impl Cut {
    /// The break a fault means, if it means one.
    pub fn of(fault: &Fault) -> Option<Self> {
        let (after, how) = match *fault {
            Fault::Crash { after } | Fault::ErrorLine { after } => (after, How::Error),
            Fault::Reset { after } => (after, How::Reset),
            Fault::CleanEnd { after } => (after, How::CleanEnd),
            Fault::Stall { after } => (after, How::Stall),
            Fault::HalfLine { after } => (after, How::HalfLine),
            Fault::HugeLine { after, bytes } => (after, How::HugeLine(bytes)),
            _ => return None,
        };
        Some(Self { after, how })
    }
}
