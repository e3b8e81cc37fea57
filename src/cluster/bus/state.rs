//! What is to be told next: pure.

use std::collections::VecDeque;

use super::event::Event;

/// More is not kept: what is older is known by then in other ways.
const MOST_PENDING: usize = 1_024;
/// Events of one message, at most.
const MOST_TOLD: usize = 128;

#[derive(Debug, Default)]
pub(super) struct State {
    pending: VecDeque<Event>,
    is_out: bool,
}

impl State {
    /// To be told. The same news is told once.
    pub(super) fn tell(&mut self, event: Event) {
        if self.pending.contains(&event) {
            return;
        }
        if self.pending.len() == MOST_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(event);
    }

    /// What goes out now: one message at a time.
    pub(super) fn next(&mut self) -> Vec<Event> {
        if self.is_out || self.pending.is_empty() {
            return Vec::new();
        }
        self.is_out = true;
        let most = self.pending.len().min(MOST_TOLD);
        self.pending.drain(..most).collect()
    }

    /// It is out, or lost.
    pub(super) fn published(&mut self) {
        self.is_out = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(server: usize) -> Event {
        let server = server.to_string();
        Event::Down { server }
    }

    #[test]
    fn one_message_is_out_at_a_time_and_takes_what_came_meanwhile() {
        let mut state = State::default();
        state.tell(down(1));
        assert_eq!(state.next(), [down(1)]);
        state.tell(down(2));
        state.tell(down(2));
        state.tell(down(3));
        assert!(state.next().is_empty(), "the first is still out");
        state.published();
        assert_eq!(state.next(), [down(2), down(3)]);
        state.published();
        assert!(state.next().is_empty());
    }

    #[test]
    fn of_too_much_news_the_oldest_is_dropped() {
        let mut state = State::default();
        for server in 0..=MOST_PENDING {
            state.tell(down(server));
        }
        let mut told = Vec::new();
        loop {
            let next = state.next();
            if next.is_empty() {
                break;
            }
            assert!(next.len() <= MOST_TOLD);
            told.extend(next);
            state.published();
        }
        assert_eq!(told.len(), MOST_PENDING);
        assert_eq!(
            (told.first(), told.last()),
            (Some(&down(1)), Some(&down(MOST_PENDING)))
        );
    }
}
