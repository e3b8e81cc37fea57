use proptest::prelude::*;

use super::*;

/// Drives the state as the actor does; a reply is the arrival number itself.
fn arrival(offer: Option<Offer<u64>>) -> Option<u64> {
    offer.map(|offer| offer.arrival)
}

#[test]
fn the_first_to_arrive_tries_first_and_the_next_follows_when_it_is_served() {
    let mut state = State::new();
    assert_eq!(arrival(state.join(1, false, 1)), Some(1));
    assert_eq!(arrival(state.join(2, false, 2)), None);
    assert_eq!(arrival(state.join(3, false, 3)), None);
    assert_eq!(arrival(state.left(1)), Some(2));
    assert_eq!(arrival(state.left(2)), Some(3));
}

#[test]
fn a_permit_without_a_free_slot_ends_the_round_until_a_slot_is_freed() {
    let mut state = State::new();
    state.join(1, false, 1);
    state.join(2, false, 2);
    assert_eq!(arrival(state.again(1, false, 1)), None);
    assert_eq!(arrival(state.freed()), Some(1));
}

#[test]
fn a_slot_freed_while_the_permit_is_out_is_not_lost() {
    let mut state = State::new();
    state.join(1, false, 1);
    assert_eq!(arrival(state.freed()), None);
    assert_eq!(arrival(state.again(1, false, 1)), Some(1));
    assert_eq!(arrival(state.again(1, false, 1)), None);
}

#[test]
fn a_request_that_can_use_only_some_servers_does_not_block_the_queue() {
    let mut state = State::new();
    assert_eq!(arrival(state.join(1, true, 1)), Some(1));
    state.join(2, false, 2);
    assert_eq!(arrival(state.again(1, true, 1)), Some(2));
    assert_eq!(arrival(state.again(2, false, 2)), None);
    assert_eq!(arrival(state.freed()), Some(1));
}

#[test]
fn an_earlier_arrival_is_queued_before_later_ones() {
    let mut state = State::new();
    state.join(5, false, 5);
    assert_eq!(arrival(state.again(5, false, 5)), None);
    assert_eq!(arrival(state.join(2, false, 2)), Some(2));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(bool),
    Leave(usize),
    Try(bool),
    Freed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(Step::Join),
        1 => (0..8_usize).prop_map(Step::Leave),
        4 => any::<bool>().prop_map(Step::Try),
        2 => Just(Step::Freed),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens: one permit at a time, no request is lost, and none that waits unconstrained
    /// is overtaken by a later arrival.
    #[test]
    fn no_request_overtakes_and_none_is_lost(steps in steps()) {
        let mut state = State::new();
        let mut waiting: BTreeMap<u64, bool> = BTreeMap::new();
        let mut permit: Option<u64> = None;
        let mut next = 0;
        for step in steps {
            let offer = match step {
                Step::Join(constrained) => {
                    next += 1;
                    waiting.insert(next, constrained);
                    state.join(next, constrained, next)
                }
                Step::Leave(nth) => {
                    let Some(&who) = waiting.keys().nth(nth) else { continue };
                    waiting.remove(&who);
                    if permit == Some(who) {
                        permit = None;
                    }
                    state.left(who)
                }
                Step::Try(found_slot) => {
                    let Some(who) = permit.take() else { continue };
                    if found_slot {
                        waiting.remove(&who);
                        state.left(who)
                    } else {
                        state.again(who, waiting[&who], who)
                    }
                }
                Step::Freed => state.freed(),
            };
            if let Some(offer) = offer {
                prop_assert!(permit.is_none(), "two permits at once");
                prop_assert!(waiting.contains_key(&offer.arrival));
                let overtaken = waiting.range(..offer.arrival).any(|(_, constrained)| !constrained);
                prop_assert!(!overtaken, "{} overtook", offer.arrival);
                permit = Some(offer.arrival);
            }
        }
        // Slots for all: all are served.
        let mut offer = if permit.is_none() { arrival(state.freed()) } else { permit };
        while let Some(who) = offer {
            waiting.remove(&who);
            offer = arrival(state.left(who));
        }
        prop_assert!(waiting.is_empty(), "lost: {waiting:?}");
    }
}
