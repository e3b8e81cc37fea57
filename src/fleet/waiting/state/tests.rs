use proptest::prelude::*;

use super::*;

/// Drives the state as the actor does; a reply is the ticket itself.
fn ticket(offer: Option<Offer<u64>>) -> Option<u64> {
    offer.map(|offer| offer.ticket)
}

#[test]
fn the_one_who_came_first_tries_first_and_the_next_follows_when_it_is_served() {
    let mut state = State::new();
    assert_eq!(ticket(state.join(1, false, 1)), Some(1));
    assert_eq!(ticket(state.join(2, false, 2)), None);
    assert_eq!(ticket(state.join(3, false, 3)), None);
    assert_eq!(ticket(state.left(1)), Some(2));
    assert_eq!(ticket(state.left(2)), Some(3));
}

#[test]
fn a_turn_without_room_ends_the_round_until_there_is_news() {
    let mut state = State::new();
    state.join(1, false, 1);
    state.join(2, false, 2);
    assert_eq!(ticket(state.again(1, false, 1)), None);
    assert_eq!(ticket(state.freed()), Some(1));
}

#[test]
fn news_during_a_turn_is_not_lost() {
    let mut state = State::new();
    state.join(1, false, 1);
    assert_eq!(ticket(state.freed()), None);
    assert_eq!(ticket(state.again(1, false, 1)), Some(1));
    assert_eq!(ticket(state.again(1, false, 1)), None);
}

#[test]
fn a_request_that_can_use_only_some_servers_does_not_block_the_line() {
    let mut state = State::new();
    assert_eq!(ticket(state.join(1, true, 1)), Some(1));
    state.join(2, false, 2);
    assert_eq!(ticket(state.again(1, true, 1)), Some(2));
    assert_eq!(ticket(state.again(2, false, 2)), None);
    assert_eq!(ticket(state.freed()), Some(1));
}

#[test]
fn an_earlier_arrival_takes_its_place_before_later_ones() {
    let mut state = State::new();
    state.join(5, false, 5);
    assert_eq!(ticket(state.again(5, false, 5)), None);
    assert_eq!(ticket(state.join(2, false, 2)), Some(2));
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
    /// Whatever happens: one turn at a time, nobody is forgotten, and no one who waits unconstrained
    /// is passed by a later arrival.
    #[test]
    fn nobody_overtakes_and_nobody_is_forgotten(steps in steps()) {
        let mut state = State::new();
        let mut waiting: BTreeMap<u64, bool> = BTreeMap::new();
        let mut turn: Option<u64> = None;
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
                    if turn == Some(who) {
                        turn = None;
                    }
                    state.left(who)
                }
                Step::Try(found_room) => {
                    let Some(who) = turn.take() else { continue };
                    if found_room {
                        waiting.remove(&who);
                        state.left(who)
                    } else {
                        state.again(who, waiting[&who], who)
                    }
                }
                Step::Freed => state.freed(),
            };
            if let Some(offer) = offer {
                prop_assert!(turn.is_none(), "two turns at once");
                prop_assert!(waiting.contains_key(&offer.ticket));
                let passed = waiting.range(..offer.ticket).any(|(_, constrained)| !constrained);
                prop_assert!(!passed, "{} overtook", offer.ticket);
                turn = Some(offer.ticket);
            }
        }
        // Room for everybody: all are served.
        let mut offer = if turn.is_none() { ticket(state.freed()) } else { turn };
        while let Some(who) = offer {
            waiting.remove(&who);
            offer = ticket(state.left(who));
        }
        prop_assert!(waiting.is_empty(), "forgotten: {waiting:?}");
    }
}
