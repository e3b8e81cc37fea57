use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const GRACE: Duration = Duration::from_secs(60);

fn circuit() -> (Circuit, Instant) {
    let now = Instant::now();
    (Circuit::new(now, GRACE, 2), now)
}

#[test]
fn it_is_tried_after_its_grace_and_not_before() {
    let (mut circuit, now) = circuit();
    assert!(circuit.open(now));
    assert_eq!(circuit.deadline(), Some(now + GRACE));
    assert!(!circuit.tick(now + GRACE - Duration::from_millis(1)));
    assert!(circuit.tick(now + GRACE));
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    assert_eq!(circuit.deadline(), None);
}

#[test]
fn failures_while_open_do_not_prolong_the_grace() {
    let (mut circuit, now) = circuit();
    circuit.open(now);
    assert!(!circuit.open(now + GRACE / 2));
    assert!(circuit.tick(now + GRACE));
}

#[test]
fn it_closes_after_as_many_successes_as_asked_and_opens_after_one_failure() {
    let (mut circuit, now) = circuit();
    circuit.open(now);
    circuit.tick(now + GRACE);
    let episode = circuit.episode();
    assert!(!circuit.trial_succeeded(episode, now));
    assert!(circuit.open(now));

    circuit.try_early(now);
    let episode = circuit.episode();
    assert!(!circuit.trial_succeeded(episode, now));
    assert!(circuit.trial_succeeded(episode, now));
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[test]
fn a_late_result_of_an_earlier_trial_changes_nothing() {
    let (mut circuit, now) = circuit();
    circuit.open(now);
    circuit.try_early(now);
    let first = circuit.episode();
    circuit.open(now);
    circuit.try_early(now);
    assert!(!circuit.trial_succeeded(first, now));
    assert!(!circuit.trial_succeeded(first, now));
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
}

#[test]
fn trial_slots_are_bounded_and_given_back() {
    let (circuit, _) = circuit();
    let trials = Arc::new(Trials::default());
    let one = trials.reserve(circuit.episode(), 2);
    let two = trials.reserve(circuit.episode(), 2);
    assert!(one.is_some() && two.is_some());
    assert!(trials.reserve(circuit.episode(), 2).is_none());
    drop(one);
    assert_eq!(trials.taken(circuit.episode()), 1);
    assert!(trials.reserve(circuit.episode(), 2).is_some());
}

#[test]
fn a_trial_slot_of_an_earlier_episode_is_not_given_back_to_a_later_one() {
    let (mut circuit, now) = circuit();
    let trials = Arc::new(Trials::default());
    let old = trials.reserve(circuit.episode(), 1);
    let before = circuit.episode();
    circuit.open(now);
    let new = trials.reserve(circuit.episode(), 1);
    assert!(new.is_some());
    drop(old);
    assert_eq!(trials.taken(circuit.episode()), 1);
    assert!(trials.reserve(before, 1).is_none(), "that episode is over");
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Tick(u64),
    Early,
    Succeed { stale: bool },
    Force,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Open),
        (0u64..90).prop_map(Step::Tick),
        Just(Step::Early),
        any::<bool>().prop_map(|stale| Step::Succeed { stale }),
        Just(Step::Force),
    ]
}

proptest! {
    /// Whatever happens: an open circuit leads to a closed one only through a trial with enough
    /// successes of its own, or by force; and it is not tried within its grace except early.
    #[test]
    fn trust_is_earned(steps in proptest::collection::vec(step(), 0..200)) {
        let (mut circuit, mut now) = circuit();
        let mut earlier = circuit.episode();
        let mut earned = 0;
        for step in steps {
            let (before, since, episode) = (circuit.state(), circuit.since(), circuit.episode());
            let reported = |stale| if stale { earlier } else { episode };
            let current = |stale: bool| !stale || earlier == episode;
            let changed = match step {
                Step::Open => circuit.open(now),
                Step::Tick(seconds) => {
                    now += Duration::from_secs(seconds);
                    circuit.tick(now)
                }
                Step::Early => circuit.try_early(now),
                Step::Succeed { stale } => {
                    if before == CircuitState::HalfOpen && current(stale) {
                        earned += 1;
                    }
                    circuit.trial_succeeded(reported(stale), now)
                }
                Step::Force => circuit.force_close(now),
            };
            prop_assert_eq!(changed, circuit.state() != before);
            prop_assert_eq!(changed, circuit.episode() > episode);
            match (before, circuit.state()) {
                (CircuitState::Open, CircuitState::Closed) => {
                    prop_assert!(matches!(step, Step::Force));
                }
                (CircuitState::HalfOpen, CircuitState::Closed) => {
                    prop_assert!(matches!(step, Step::Force) || earned == 2);
                }
                (CircuitState::Open, CircuitState::HalfOpen) => {
                    prop_assert!(matches!(step, Step::Early) || now >= since + GRACE);
                }
                (CircuitState::Closed, CircuitState::HalfOpen) => prop_assert!(false),
                _ => {}
            }
            if changed {
                earlier = episode;
                earned = 0;
            }
        }
    }

    /// However trial slots are taken and dropped, never more than the limit are out, and none is lost.
    #[test]
    fn no_trial_slot_is_lost(
        limit in 1u16..5,
        steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..100),
    ) {
        let (circuit, _) = circuit();
        let trials = Arc::new(Trials::default());
        let mut held = Vec::new();
        for (take, which) in steps {
            if take {
                let place = trials.reserve(circuit.episode(), limit);
                prop_assert_eq!(place.is_some(), held.len() < usize::from(limit));
                held.extend(place);
            } else if !held.is_empty() {
                let which = which.index(held.len());
                held.swap_remove(which);
            }
            prop_assert_eq!(usize::from(trials.taken(circuit.episode())), held.len());
        }
    }
}
