//! The bounded buffer between the hub and one slow reader.
//!
//! The hub never waits for a reader. When the buffer is full the newest items are not kept, and a
//! marker in their position says how many; the buffer is filled again only when half of it is free,
//! so that a reader that cannot keep up sees a few long gaps instead of a gap after every message.
//!
//! The marker takes a slot that is reserved for it, and holds the counter that the hub goes on
//! counting with. The reader closes the counter by taking it; a hub that finds it closed knows that
//! there is space again. Nothing is counted twice or lost between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::item::Item;

/// A counter that has been read and takes no more.
const TAKEN: u64 = u64::MAX;

/// The hub's side.
#[derive(Debug)]
pub(super) struct ItemSender {
    slots: mpsc::Sender<Slot>,
    /// The marker that is last in the buffer, while nothing more fits.
    lag: Option<Arc<AtomicU64>>,
}

/// The reader's side.
#[derive(Debug)]
pub(super) struct ItemReceiver(mpsc::Receiver<Slot>);

#[derive(Debug)]
enum Slot {
    Item(Item),
    Missed(Arc<AtomicU64>),
}

/// A buffer for `capacity` items, at least one.
pub(super) fn buffer(capacity: usize) -> (ItemSender, ItemReceiver) {
    let (slots, taken) = mpsc::channel(capacity.max(1) + 1);
    let sender = ItemSender { slots, lag: None };
    (sender, ItemReceiver(taken))
}

impl ItemSender {
    /// Puts an item in, or counts it.
    pub(super) fn offer(&mut self, item: Item) {
        let weight = match item {
            Item::Lagged { missed } => missed,
            _ => 1,
        };
        if self
            .lag
            .as_ref()
            .is_some_and(|missed| self.counts(missed, weight))
        {
            return;
        }
        self.lag = None;
        // One slot is for the marker. A send fails only when the reader is gone.
        if self.slots.capacity() >= 2 {
            drop(self.slots.try_send(Slot::Item(item)));
        } else {
            let missed = Arc::new(AtomicU64::new(weight));
            drop(self.slots.try_send(Slot::Missed(Arc::clone(&missed))));
            self.lag = Some(missed);
        }
    }

    /// Counts as long as there is too little space and the count has not been read.
    fn counts(&self, missed: &AtomicU64, weight: u64) -> bool {
        let enough = (self.slots.max_capacity() / 2).max(2);
        let more =
            |count: u64| (count != TAKEN).then(|| count.saturating_add(weight).min(TAKEN - 1));
        self.slots.capacity() < enough
            && missed
                .try_update(Ordering::AcqRel, Ordering::Acquire, more)
                .is_ok()
    }
}

impl ItemReceiver {
    /// The next item; `None` when the hub has dropped its side and everything has been read.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0.poll_recv(cx).map(|slot| {
            slot.map(|slot| match slot {
                Slot::Item(item) => item,
                Slot::Missed(count) => Item::Lagged {
                    missed: count.swap(TAKEN, Ordering::AcqRel),
                },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;

    use super::*;
    use crate::pubsub::item::Published;

    fn message(number: u64) -> Item {
        Item::Message(Published {
            channel: "c".into(),
            pattern: None,
            payload: number.to_string().into(),
        })
    }

    fn number(item: &Item) -> Option<u64> {
        item.message()?.payload().ok()?.parse().ok()
    }

    fn take(receiver: &mut ItemReceiver) -> Option<Item> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match receiver.poll_take(&mut cx) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_full_buffer_keeps_what_it_has_and_counts_the_rest_in_its_place() {
        let (mut sender, mut receiver) = buffer(3);
        for number in 0..10 {
            sender.offer(message(number));
        }
        for expected in 0..3 {
            assert_eq!(
                take(&mut receiver).as_ref().and_then(number),
                Some(expected)
            );
        }
        assert_eq!(take(&mut receiver), Some(Item::Lagged { missed: 7 }));
        assert_eq!(take(&mut receiver), None);
        sender.offer(message(10));
        assert_eq!(take(&mut receiver).as_ref().and_then(number), Some(10));
    }

    #[test]
    fn a_lag_counts_as_many_items_as_it_stands_for() {
        let (mut sender, mut receiver) = buffer(1);
        sender.offer(message(0));
        sender.offer(Item::Lagged { missed: 41 });
        sender.offer(message(1));
        assert_eq!(take(&mut receiver).as_ref().and_then(number), Some(0));
        assert_eq!(take(&mut receiver), Some(Item::Lagged { missed: 42 }));
    }

    #[test]
    fn a_reader_that_left_costs_nothing() {
        let (mut sender, receiver) = buffer(1);
        drop(receiver);
        for number in 0..10 {
            sender.offer(message(number));
        }
        assert!(sender.slots.is_closed());
    }

    proptest! {
        /// Items received and items announced as missed add up to the number of items published, at
        /// every step.
        #[test]
        fn nothing_is_missed_unannounced(
            capacity in 1_usize..9,
            steps in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let (mut sender, mut receiver) = buffer(capacity);
            let (mut sent, mut seen) = (0, 0);
            for offers in steps {
                if offers {
                    sender.offer(message(sent));
                    sent += 1;
                } else if let Some(item) = take(&mut receiver) {
                    match item {
                        Item::Lagged { missed } => seen += missed,
                        item => {
                            prop_assert_eq!(number(&item), Some(seen));
                            seen += 1;
                        }
                    }
                }
                prop_assert!(receiver.0.len() <= capacity + 1);
            }
            drop(sender);
            while let Some(item) = take(&mut receiver) {
                match item {
                    Item::Lagged { missed } => seen += missed,
                    item => {
                        prop_assert_eq!(number(&item), Some(seen));
                        seen += 1;
                    }
                }
            }
            prop_assert_eq!(seen, sent);
        }
    }

    /// The same with two threads, where the reader takes the marker while the hub counts.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_count_is_exact_when_both_sides_run_at_once() {
        const ALL: u64 = 200_000;
        let (mut sender, mut receiver) = buffer(7);
        let hub = std::thread::spawn(move || {
            for number in 0..ALL {
                sender.offer(message(number));
            }
        });
        let (mut seen, mut gaps) = (0, 0);
        while let Some(item) = poll_fn(|cx| receiver.poll_take(cx)).await {
            match item {
                Item::Lagged { missed } => {
                    seen += missed;
                    gaps += 1;
                }
                item => {
                    assert_eq!(number(&item), Some(seen));
                    seen += 1;
                }
            }
        }
        hub.join().unwrap();
        assert_eq!(seen, ALL);
        assert!(gaps > 0, "the reader was never lag: nothing was tested");
    }
}
