//! What has come over a connection and has not been handed out.
//!
//! Bounded: what finds no room is counted in its place, by one mark that grows, and announced to
//! everyone when its turn comes.

use std::collections::VecDeque;

use super::item::Published;
use super::topic::TopicKind;

/// Messages that may wait.
pub(super) const INTAKE: usize = 8192;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A message, by the kind of subscription it came through.
    Message(TopicKind, Published),
    /// So many found no room.
    Missed(u64),
}

#[derive(Debug)]
pub(super) struct Intake(VecDeque<Heard>);

impl Intake {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Keeps it, or counts it.
    pub(super) fn keep(&mut self, heard: Heard) {
        let room = self.0.len() < INTAKE;
        let lost = match heard {
            Heard::Message(..) if room => return self.0.push_back(heard),
            Heard::Message(..) => 1,
            Heard::Missed(missed) => missed,
        };
        match self.0.back_mut() {
            Some(Heard::Missed(missed)) => *missed += lost,
            _ => self.0.push_back(Heard::Missed(lost)),
        }
    }

    pub(super) fn next(&mut self) -> Option<Heard> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Heard {
        let message = Published {
            channel: "c".into(),
            pattern: None,
            payload: number.to_string().into(),
        };
        Heard::Message(TopicKind::Channel, message)
    }

    #[test]
    fn what_finds_no_room_is_counted_where_it_would_have_been() {
        let mut intake = Intake::new();
        for number in 0..INTAKE + 5 {
            intake.keep(message(number));
        }
        intake.keep(Heard::Missed(10));
        for number in 0..INTAKE {
            assert_eq!(intake.next(), Some(message(number)));
        }
        intake.keep(message(INTAKE + 5));
        assert_eq!(intake.next(), Some(Heard::Missed(15)));
        assert_eq!(intake.next(), Some(message(INTAKE + 5)));
        assert!(intake.is_empty());
    }

    #[test]
    fn it_never_holds_more_than_its_messages_and_a_mark_between_each() {
        let mut intake = Intake::new();
        for number in 0..10 * INTAKE {
            intake.keep(message(number));
            if number % 3 == 0 {
                intake.next();
            }
            assert!(intake.0.len() <= INTAKE + 1);
        }
    }
}
