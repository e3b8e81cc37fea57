//! What has come over a connection and has not been handed out.
//!
//! Bounded: what does not fit is counted in its place, by one entry whose count grows, and announced
//! to all readers when that entry is handed out.

use std::collections::VecDeque;

use super::item::Published;
use super::topic::TopicKind;

/// Messages that may wait.
pub(super) const RECEIVE_BUFFER: usize = 8192;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A message, by the kind of subscription it came through.
    Message(TopicKind, Published),
    /// So many did not fit.
    Missed(u64),
}

#[derive(Debug)]
pub(super) struct ReceiveBuffer(VecDeque<Received>);

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Keeps it, or counts it.
    pub(super) fn keep(&mut self, received: Received) {
        let fits = self.0.len() < RECEIVE_BUFFER;
        let lost = match received {
            Received::Message(..) if fits => return self.0.push_back(received),
            Received::Message(..) => 1,
            Received::Missed(missed) => missed,
        };
        match self.0.back_mut() {
            Some(Received::Missed(missed)) => *missed += lost,
            _ => self.0.push_back(Received::Missed(lost)),
        }
    }

    pub(super) fn next(&mut self) -> Option<Received> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Received {
        let message = Published {
            channel: "c".into(),
            pattern: None,
            payload: number.to_string().into(),
        };
        Received::Message(TopicKind::Channel, message)
    }

    #[test]
    fn what_does_not_fit_is_counted_in_its_place() {
        let mut receive_buffer = ReceiveBuffer::new();
        for number in 0..RECEIVE_BUFFER + 5 {
            receive_buffer.keep(message(number));
        }
        receive_buffer.keep(Received::Missed(10));
        for number in 0..RECEIVE_BUFFER {
            assert_eq!(receive_buffer.next(), Some(message(number)));
        }
        receive_buffer.keep(message(RECEIVE_BUFFER + 5));
        assert_eq!(receive_buffer.next(), Some(Received::Missed(15)));
        assert_eq!(receive_buffer.next(), Some(message(RECEIVE_BUFFER + 5)));
        assert!(receive_buffer.is_empty());
    }

    #[test]
    fn it_never_holds_more_than_its_messages_and_a_mark_between_each() {
        let mut receive_buffer = ReceiveBuffer::new();
        for number in 0..10 * RECEIVE_BUFFER {
            receive_buffer.keep(message(number));
            if number % 3 == 0 {
                receive_buffer.next();
            }
            assert!(receive_buffer.0.len() <= RECEIVE_BUFFER + 1);
        }
    }
}
