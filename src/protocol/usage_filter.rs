//! Removes from a stream the one event that the router asked for and the client did not.
//!
//! When `stream_options.include_usage` was spliced into a request, the answer has one event more:
//! no choices, but usage. A client that did not ask may fail on it (`choices[0]` is common),
//! so exactly that event is cut and every other byte passes as it came.
//!
//! To decide about an event it must be whole, so the unfinished one at the end of a chunk is held
//! back: at most 64 KiB, beyond which an event is no usage event and passes unread. Servers
//! flush whole events, so in practice nothing is held and chunks pass without a copy.

use bytes::{Bytes, BytesMut};

use super::scan::{Choices, Scanner};
use super::sse::{Sse, Token};

/// More than any usage event, and all that one stream may hold back.
const MAX_HELD: usize = 64 * 1024;

/// The filter of one stream.
#[derive(Debug)]
pub struct UsageFilter {
    sse: Sse,
    scanner: Scanner,
    event: Event,
    /// The unfinished event, unless it is passed on already.
    held: BytesMut,
    /// The unfinished event is too long, so that its beginning has been sent.
    flows: bool,
}

/// What the unfinished event has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Silent,
    /// Usage, and that there are no choices.
    UsageOnly,
    Other,
}

impl UsageFilter {
    /// For a stream that was asked for usage by the router alone.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sse: Sse::new(),
            scanner: Scanner::new(),
            event: Event::Silent,
            held: BytesMut::new(),
            flows: false,
        }
    }

    /// The next bytes of the answer; returns what may go to the client now, which may be nothing.
    #[must_use]
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let mut sent = Sent::default();
        let mut rest = &chunk[..];
        // Whole events of this chunk that stay: `kept..at`.
        let (mut kept, mut at) = (0, 0);
        while let Some(token) = self.sse.next(&mut rest) {
            match token {
                Token::Data(data) => self.data(data),
                Token::DataEnd => self.data(b"\n"),
                Token::NamedError => self.event = Event::Other,
                Token::EventEnd => {
                    let end = chunk.len() - rest.len();
                    if self.ends_cut() {
                        sent.add(chunk.slice(kept..at));
                        kept = end;
                    } else if !self.held.is_empty() {
                        sent.add(self.held.split().freeze());
                    }
                    self.held.clear();
                    self.flows = false;
                    at = end;
                }
            }
        }
        if self.flows {
            at = chunk.len();
        } else if self.held.len() + chunk.len() - at > MAX_HELD {
            self.flows = true;
            sent.add(self.held.split().freeze());
            at = chunk.len();
        } else {
            self.held.extend_from_slice(&chunk[at..]);
        }
        sent.add(chunk.slice(kept..at));
        sent.done
    }

    /// The answer is over: what is still held, an event without its end.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// The event is over; true if it is to be cut. Forgets it.
    fn ends_cut(&mut self) -> bool {
        self.scanner.reset();
        let event = std::mem::replace(&mut self.event, Event::Silent);
        event == Event::UsageOnly && !self.flows
    }

    fn data(&mut self, mut data: &[u8]) {
        while let Some(document) = self.scanner.next(&mut data) {
            let usage_only =
                document.usage && document.choices == Some(Choices::None) && !document.error;
            self.event = match self.event {
                Event::Silent | Event::UsageOnly if usage_only => Event::UsageOnly,
                _ => Event::Other,
            };
        }
    }
}

impl Default for UsageFilter {
    fn default() -> Self {
        Self::new()
    }
}

/// Slices put together; the first one without a copy.
#[derive(Default)]
struct Sent {
    done: Bytes,
}

impl Sent {
    fn add(&mut self, part: Bytes) {
        if part.is_empty() {
            return;
        }
        if self.done.is_empty() {
            self.done = part;
            return;
        }
        let done = std::mem::take(&mut self.done);
        let mut joined = done.try_into_mut().unwrap_or_else(|done| {
            let mut joined = BytesMut::with_capacity(done.len() + part.len());
            joined.extend_from_slice(&done);
            joined
        });
        joined.extend_from_slice(&part);
        self.done = joined.freeze();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIECE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn filtered(chunks: &[&str]) -> String {
        let mut filter = UsageFilter::new();
        let mut sent = Vec::new();
        for chunk in chunks {
            sent.extend_from_slice(&filter.push(Bytes::copy_from_slice(chunk.as_bytes())));
            assert!(filter.held.len() <= MAX_HELD);
        }
        sent.extend_from_slice(&filter.finish());
        String::from_utf8(sent).unwrap()
    }

    #[test]
    fn the_usage_event_is_cut_and_nothing_else() {
        assert_eq!(filtered(&[PIECE, USAGE, DONE]), [PIECE, DONE].concat());
        let at_once = [PIECE, PIECE, USAGE, DONE].concat();
        assert_eq!(filtered(&[&at_once]), [PIECE, PIECE, DONE].concat());
    }

    #[test]
    fn events_that_only_resemble_it_stay() {
        for event in [
            "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[\"\"],\"usage\":{}}\n\n",
            "data: {\"choices\":[],\"usage\":null}\n\n",
            "data: {\"choices\":[],\"prompt_filter_results\":[{\"usage\":{}}]}\n\n",
            "data: {\"usage\":{}}\n\n",
            "data: {\"choices\":null,\"usage\":{}}\n\n",
            "data: {\"choices\":[],\"usage\":{},\"error\":\"x\"}\n\n",
            "data: {\"choices\":[{}]}\ndata: {\"choices\":[],\"usage\":{}}\n\n",
            "data: {\"choices\":[],\"usage\":{}}",
            ": {\"choices\":[],\"usage\":{}}\n\n",
            "\n\n\n",
        ] {
            assert_eq!(filtered(&[event]), event);
        }
    }

    #[test]
    fn it_is_cut_in_every_spelling() {
        for event in [
            ": ping\r\nevent: message\r\ndata:{\"usage\":{\"a\":1} , \"choices\" : [ ]}\r\n\r\n",
            "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n",
        ] {
            assert_eq!(filtered(&[event, DONE]), DONE);
        }
    }

    #[test]
    fn whole_events_pass_without_a_copy() {
        let mut filter = UsageFilter::new();
        let chunk = Bytes::from([PIECE, PIECE].concat());
        assert_eq!(filter.push(chunk.clone()).as_ptr(), chunk.as_ptr());
        let half = Bytes::from([PIECE, "data: {\"cho"].concat());
        let sent = filter.push(half.clone());
        assert_eq!((sent.as_ptr(), sent.len()), (half.as_ptr(), PIECE.len()));
    }

    #[test]
    fn an_endless_event_is_passed_on() {
        let mut filter = UsageFilter::new();
        let mut sent = filter
            .push(Bytes::from_static(
                b"data: {\"choices\":[],\"usage\":{\"x\":\"",
            ))
            .len();
        for _ in 0..200 {
            sent += filter.push(Bytes::from(vec![b'x'; 1000])).len();
            assert!(filter.held.len() <= MAX_HELD);
        }
        assert_eq!(sent, 34 + 200_000);
        assert_eq!(filter.push(Bytes::from_static(b"\"}}\n\n")).len(), 5);
        assert!(filter.push(Bytes::from_static(USAGE.as_bytes())).is_empty());
    }

    proptest! {
        #[test]
        fn however_it_is_cut_exactly_the_usage_events_are_missing(
            events in prop::collection::vec(prop::sample::select(vec![
                PIECE, USAGE, DONE, ": ping\n\n", "\n", "data: x\r\n\r\n", "data: é\ndata\n\n",
                "data: {\"usage\":{},\"choices\":[]}\r\n\r\n", "event: a\ndata: {}\n\n", "data: {\"\n\n",
            ]), 0..10),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let body = events.concat();
            let expected: String = events.iter().filter(|event| !event.contains("\"usage\":{")).copied().collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let mut filter = UsageFilter::new();
            let mut sent = Vec::new();
            for cut in cuts.windows(2) {
                sent.extend_from_slice(&filter.push(Bytes::copy_from_slice(&body.as_bytes()[cut[0]..cut[1]])));
            }
            sent.extend_from_slice(&filter.finish());
            prop_assert_eq!(String::from_utf8(sent).unwrap(), expected);
        }
    }
}
