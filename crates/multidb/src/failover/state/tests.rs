//! The rules, one by one, and then all at once in any order.

use proptest::prelude::*;

use super::*;
use crate::circuit::Circuit;
use crate::detector::ConsecutiveFailureDetector;
use crate::error::Error;
use crate::strategy::WeightBasedFailoverStrategy;

const GRACE: Duration = Duration::from_secs(60);
const FALLBACK: Duration = Duration::from_secs(120);
const A: DatabaseId = DatabaseId(1);
const B: DatabaseId = DatabaseId(2);
const LINK: LinkId = LinkId(1);

fn policy() -> Policy {
    Policy {
        success_threshold: 2,
        last_resort: true,
        fallback: Some(FALLBACK),
        strategy: Arc::new(WeightBasedFailoverStrategy),
        detectors: vec![Arc::new(ConsecutiveFailureDetector::new(5))],
    }
}

fn report(started: Instant, unhealthy: Option<&str>) -> Report {
    Report {
        started,
        unhealthy: unhealthy.map(str::to_owned),
        failback_refused: None,
    }
}

fn new_member(id: DatabaseId, weight: f64, report: Report) -> NewMember {
    NewMember {
        database: Database {
            id,
            name: format!("db{id}").into(),
        },
        weight,
        grace: GRACE,
        report,
    }
}

/// A (heavier) and B, both connected, A active.
fn pair() -> (State, Instant) {
    let now = Instant::now();
    let mut state = State::new(policy(), now);
    state.add(new_member(A, 2.0, report(now, None)), now);
    state.add(new_member(B, 1.0, report(now, None)), now);
    state.begin(now);
    state.link_up(A, now);
    state.link_up(B, now);
    assert_eq!(state.chosen().map(|chosen| chosen.id), Some(A));
    state.take_effects();
    (state, now)
}

fn active(state: &State) -> Option<DatabaseId> {
    state.chosen().map(|chosen| chosen.id)
}

fn circuit(state: &State, id: DatabaseId) -> CircuitState {
    state.status().database(id).expect("a member").circuit
}

fn episode(state: &State, id: DatabaseId) -> Episode {
    state.get(id).expect("a member").circuit.episode()
}

fn fail(state: &mut State, id: DatabaseId, kind: FailureKind, now: Instant) -> bool {
    let episode = episode(state, id);
    state.failed(id, episode, LINK, kind, now)
}

fn asked(effects: &[Effect]) -> Vec<DatabaseId> {
    let confirm = |effect: &Effect| match effect {
        Effect::Confirm { id, .. } => Some(*id),
        _ => None,
    };
    effects.iter().filter_map(confirm).collect()
}

fn switches(effects: &[Effect]) -> Vec<SwitchReason> {
    let switch = |effect: &Effect| match effect {
        Effect::Switched { reason, .. } => Some(*reason),
        _ => None,
    };
    effects.iter().filter_map(switch).collect()
}

/// A fails and does not answer the confirmation.
fn lose_a(state: &mut State, now: Instant) {
    assert!(!fail(state, A, FailureKind::Timeout, now));
    state.confirmed(A, &report(now, Some("silent")), now);
    assert_eq!(circuit(state, A), CircuitState::Open);
}

/// A round after the grace, and another.
fn recover_a(state: &mut State, now: Instant) {
    state.tick(now);
    assert_eq!(circuit(state, A), CircuitState::HalfOpen);
    state.health(A, &report(now, None), now);
    state.health(A, &report(now, None), now);
    state.link_up(A, now);
    assert_eq!(circuit(state, A), CircuitState::Closed);
}

#[test]
fn one_failure_is_a_suspicion_and_its_confirmation_decides() {
    let (mut state, now) = pair();
    assert!(!fail(&mut state, A, FailureKind::Timeout, now), "undecided");
    assert_eq!(asked(&state.take_effects()), [A]);
    assert_eq!(active(&state), Some(A));

    state.confirmed(A, &report(now, Some("silent")), now);
    let effects = state.take_effects();
    assert_eq!(active(&state), Some(B));
    assert_eq!(switches(&effects), [SwitchReason::Failover]);
    assert!(effects.contains(&Effect::Settled(A)));
    assert!(effects.contains(&Effect::Abandon {
        id: A,
        silent: true
    }));
}

#[test]
fn a_database_that_answers_is_kept_and_not_asked_again_for_a_moment() {
    let (mut state, now) = pair();
    assert!(!fail(&mut state, A, FailureKind::Dropped, now));
    assert!(
        !fail(&mut state, A, FailureKind::Dropped, now),
        "the same question"
    );
    assert_eq!(asked(&state.take_effects()), [A]);
    state.confirmed(A, &report(now, None), now);
    assert_eq!(active(&state), Some(A));
    assert!(state.take_effects().contains(&Effect::Settled(A)));
    assert!(
        fail(&mut state, A, FailureKind::Dropped, now),
        "it has just answered"
    );
    assert!(asked(&state.take_effects()).is_empty());
}

#[test]
fn a_connection_that_times_out_to_a_healthy_database_is_replaced() {
    let (mut state, now) = pair();
    fail(&mut state, A, FailureKind::Timeout, now);
    state.take_effects();
    state.confirmed(A, &report(now, None), now);
    let effects = state.take_effects();
    assert!(effects.contains(&Effect::Abandon {
        id: A,
        silent: true
    }));
    assert_eq!(active(&state), Some(A));

    // Not when something has succeeded over it since: then it was the command.
    state.link_up(A, now);
    let later = now + CONFIRMED_FOR;
    fail(&mut state, A, FailureKind::Timeout, later);
    state.succeeded(A, 1, later);
    state.confirmed(A, &report(later, None), later);
    assert!(
        state
            .take_effects()
            .iter()
            .all(|e| !matches!(e, Effect::Abandon { .. }))
    );
}

#[test]
fn a_read_only_answer_is_confirmed_over_a_new_connection() {
    let (mut state, now) = pair();
    fail(&mut state, A, FailureKind::ReadOnly, now);
    let mode = ConfirmMode::NewConnection;
    let confirm = Effect::Confirm { id: A, mode };
    assert_eq!(state.take_effects(), [confirm]);
    state.confirmed(A, &report(now, Some("it is a slave")), now);
    assert_eq!(active(&state), Some(B));
    let patient = Effect::Abandon {
        id: A,
        silent: false,
    };
    assert!(
        state.take_effects().contains(&patient),
        "answers still come"
    );
}

#[test]
fn a_lost_connection_asks_and_a_failed_one_decides() {
    let (mut state, now) = pair();
    state.link_lost(A, now);
    assert_eq!(asked(&state.take_effects()), [A]);
    assert_eq!(active(&state), Some(A));
    state.connect_failed(A, FailureKind::Connect, "refused", now);
    assert_eq!(active(&state), Some(B));
    assert!(state.take_effects().contains(&Effect::Settled(A)));
    state.confirmed(A, &report(now, None), now);
    assert_eq!(circuit(&state, A), CircuitState::Open, "already decided");
}

/// A lost packet is not worth a grace and a fallback interval.
#[test]
fn a_first_connection_that_takes_too_long_asks_and_a_second_decides() {
    let (mut state, now) = pair();
    state.connect_failed(A, FailureKind::Timeout, "no answer", now);
    assert_eq!(asked(&state.take_effects()), [A]);
    assert_eq!(active(&state), Some(A));
    state.confirmed(A, &report(now, None), now);
    assert_eq!(circuit(&state, A), CircuitState::Closed, "it is there");
    state.connect_failed(A, FailureKind::Timeout, "no answer", now);
    assert_eq!(circuit(&state, A), CircuitState::Open);

    let (mut state, now) = pair();
    state.connect_failed(A, FailureKind::Timeout, "no answer", now);
    state.confirmed(A, &report(now, Some("silent")), now);
    assert_eq!(circuit(&state, A), CircuitState::Open, "nor does it answer");

    let (mut state, now) = pair();
    for _ in 0..3 {
        state.connect_failed(A, FailureKind::Timeout, "no answer", now);
        state.link_up(A, now);
        state.confirmed(A, &report(now, None), now);
    }
    assert_eq!(
        circuit(&state, A),
        CircuitState::Closed,
        "never two in a row"
    );
}

#[test]
fn an_answer_to_an_earlier_question_decides_nothing() {
    let (mut state, now) = pair();
    fail(&mut state, A, FailureKind::Timeout, now);
    // Decided otherwise while it was under way, and asked again.
    state.connect_failed(A, FailureKind::Connect, "refused", now);
    state.force(A, now).expect("a member");
    let later = now + CONFIRMED_FOR;
    fail(&mut state, A, FailureKind::Timeout, later);
    state.take_effects();
    state.confirmed(A, &report(now, Some("silent")), later);
    assert_eq!(circuit(&state, A), CircuitState::Closed);
    assert!(!state.take_effects().contains(&Effect::Settled(A)));
    state.confirmed(A, &report(later, Some("silent")), later);
    assert_eq!(circuit(&state, A), CircuitState::Open);
}

#[test]
fn a_caller_that_went_away_is_no_failure_but_a_suspicion() {
    let (mut state, now) = pair();
    for _ in 0..100 {
        state.waited(A, episode(&state, A), now);
    }
    assert_eq!(asked(&state.take_effects()), [A], "once");
    assert_eq!(state.status().database(A).expect("a member").failures, 0);
    state.confirmed(A, &report(now, Some("silent")), now);
    assert_eq!(active(&state), Some(B));

    // It answers, and nothing comes over this connection: another is made, gently.
    let (mut state, now) = pair();
    let silent = false;
    state.waited(A, episode(&state, A), now);
    state.confirmed(A, &report(now, None), now);
    let replaced = Effect::Abandon { id: A, silent };
    assert!(state.take_effects().contains(&replaced));
    assert_eq!(active(&state), Some(A));
    state.link_up(A, now);

    // Others are answered: it was the command.
    let later = now + CONFIRMED_FOR;
    state.waited(A, episode(&state, A), later);
    state.succeeded(A, 1, later);
    state.confirmed(A, &report(later, None), later);
    assert!(!state.take_effects().contains(&replaced));

    // What happened before the circuit changed counts no more.
    let before = episode(&state, A);
    lose_a(&mut state, later + CONFIRMED_FOR);
    state.take_effects();
    state.waited(A, before, later + CONFIRMED_FOR);
    assert_eq!(state.take_effects(), []);
}

#[test]
fn a_cluster_connection_that_does_not_know_where_keys_are_is_replaced_whatever_else_succeeds() {
    let (mut state, now) = pair();
    fail(&mut state, A, FailureKind::Redirected, now);
    state.succeeded(A, 10, now);
    state.confirmed(A, &report(now, None), now);
    let silent = false;
    let replaced = Effect::Abandon { id: A, silent };
    assert!(state.take_effects().contains(&replaced));
    assert_eq!(circuit(&state, A), CircuitState::Closed);
}

#[test]
fn a_late_failure_belongs_to_the_episode_it_was_sent_in() {
    let (mut state, now) = pair();
    let before = episode(&state, A);
    lose_a(&mut state, now);
    let mut later = now + GRACE;
    recover_a(&mut state, later);
    state.take_effects();
    for _ in 0..100 {
        later += Duration::from_millis(1);
        assert!(state.failed(A, before, LINK, FailureKind::Timeout, later));
    }
    assert_eq!(circuit(&state, A), CircuitState::Closed);
    assert_eq!(
        circuit(&state, B),
        CircuitState::Closed,
        "nor is it another one's"
    );
    assert!(asked(&state.take_effects()).is_empty());
}

#[test]
fn a_detector_moves_only_where_another_can_take_over() {
    let (mut state, mut now) = pair();
    let reject = |state: &mut State, now: &mut Instant| {
        for _ in 0..5 {
            *now += CONFIRMED_FOR;
            if !fail(
                state,
                active(state).expect("an active one"),
                FailureKind::TryAgain,
                *now,
            ) {
                let id = active(state).expect("an active one");
                state.confirmed(id, &report(*now, None), *now);
            }
        }
    };
    reject(&mut state, &mut now);
    assert_eq!(active(&state), Some(B), "five in a row, though it answers");
    reject(&mut state, &mut now);
    reject(&mut state, &mut now);
    assert_eq!(active(&state), Some(B), "no other");
    assert_eq!(circuit(&state, B), CircuitState::Closed);
}

#[test]
fn grace_is_kept_while_another_serves() {
    let (mut state, now) = pair();
    lose_a(&mut state, now);
    for seconds in 1..60 {
        let now = now + Duration::from_secs(seconds);
        state.health(A, &report(now, None), now);
        state.tick(now);
        assert_eq!(circuit(&state, A), CircuitState::Open, "after {seconds} s");
    }
    recover_a(&mut state, now + GRACE);
    assert_eq!(active(&state), Some(B), "and then the fallback interval");
}

#[test]
fn fallback_happens_once_after_its_interval_and_a_last_question() {
    let (mut state, now) = pair();
    lose_a(&mut state, now);
    recover_a(&mut state, now + GRACE);
    state.take_effects();
    assert_eq!(state.deadline(), Some(now + FALLBACK));
    state.tick(now + FALLBACK - Duration::from_millis(1));
    assert!(asked(&state.take_effects()).is_empty());

    let then = now + FALLBACK;
    state.tick(then);
    assert_eq!(asked(&state.take_effects()), [A]);
    assert_eq!(active(&state), Some(B));
    state.confirmed(A, &report(then, None), then);
    assert_eq!(switches(&state.take_effects()), [SwitchReason::Fallback]);
    assert_eq!(active(&state), Some(A));
    state.tick(then + FALLBACK * 3);
    assert!(switches(&state.take_effects()).is_empty());
}

/// Its checks pass, and what users ask of it fails: every vain return makes the next one rarer.
#[test]
fn a_return_that_does_not_last_doubles_the_interval_before_the_next() {
    let (mut state, mut now) = pair();
    let leave = |state: &mut State, now: Instant| {
        for _ in 0..5 {
            fail(state, A, FailureKind::NoWrites, now);
        }
        assert_eq!(active(state), Some(B));
        recover_a(state, now + GRACE);
        state.take_effects();
    };
    leave(&mut state, now);
    for doubled in [1, 2, 4, 8, 16, 32, 32] {
        let due = now + FALLBACK * doubled;
        state.tick(due - Duration::from_millis(1));
        assert_eq!(asked(&state.take_effects()), [], "not before {doubled}");
        state.tick(due);
        assert_eq!(asked(&state.take_effects()), [A]);
        state.confirmed(A, &report(due, None), due);
        assert_eq!(active(&state), Some(A));
        now = due + Duration::from_secs(1);
        leave(&mut state, now);
    }
    // One that lasts is a new beginning.
    now += FALLBACK * 32;
    state.tick(now);
    state.confirmed(A, &report(now, None), now);
    now += FALLBACK * 32;
    leave(&mut state, now);
    state.take_effects();
    state.tick(now + FALLBACK);
    assert_eq!(asked(&state.take_effects()), [A]);
}

#[test]
fn the_better_one_that_fails_its_last_question_is_not_returned_to() {
    let (mut state, now) = pair();
    lose_a(&mut state, now);
    recover_a(&mut state, now + GRACE);
    let then = now + FALLBACK;
    state.tick(then);
    state.confirmed(A, &report(then, Some("down again")), then);
    assert_eq!(active(&state), Some(B));
    assert_eq!(circuit(&state, A), CircuitState::Open);
}

#[test]
fn without_an_interval_there_is_no_fallback() {
    let (mut state, now) = pair();
    state.set_fallback(Some(Duration::ZERO), now);
    lose_a(&mut state, now);
    recover_a(&mut state, now + GRACE);
    state.tick(now + FALLBACK * 10);
    assert_eq!(active(&state), Some(B));
    let far = now + FALLBACK * 20;
    state.set_fallback(Some(Duration::from_secs(1)), far);
    state.confirmed(A, &report(far, None), far);
    assert_eq!(active(&state), Some(A));
}

#[test]
fn among_equal_weights_there_is_no_fallback() {
    let (mut state, now) = pair();
    state.set_weight(B, 2.0, now).expect("a member");
    assert_eq!(active(&state), Some(A));
    lose_a(&mut state, now);
    recover_a(&mut state, now + GRACE);
    state.take_effects();
    state.tick(now + FALLBACK);
    assert!(asked(&state.take_effects()).is_empty());
    assert_eq!(active(&state), Some(B));
}

#[test]
fn with_no_circuit_closed_the_first_healthy_one_is_tried_early() {
    let (mut state, now) = pair();
    lose_a(&mut state, now);
    state.health(B, &report(now, Some("down")), now);
    assert_eq!(active(&state), None);
    assert!(state.is_urgent());
    assert!(state.take_effects().contains(&Effect::AllDown));

    let later = now + Duration::from_secs(1);
    state.health(B, &report(later, None), later);
    assert_eq!(
        active(&state),
        None,
        "there is nothing to try without a connection"
    );
    state.link_up(B, later);
    let chosen = state.chosen().expect("B, on trial");
    assert_eq!((chosen.id, chosen.trial), (B, true));
    assert_eq!(switches(&state.take_effects()), [SwitchReason::Recovered]);
    state.trial_succeeded(B, chosen.episode, later);
    state.trial_succeeded(B, chosen.episode, later);
    assert_eq!(circuit(&state, B), CircuitState::Closed);
    assert_eq!(state.chosen().map(|chosen| chosen.trial), Some(false));
    assert!(!state.is_urgent());
}

#[test]
fn without_the_last_resort_grace_is_absolute() {
    let now = Instant::now();
    let mut state = State::new(
        Policy {
            last_resort: false,
            ..policy()
        },
        now,
    );
    state.add(new_member(A, 1.0, report(now, Some("down"))), now);
    state.begin(now);
    let later = now + GRACE - Duration::from_secs(1);
    state.health(A, &report(later, None), later);
    assert_eq!(active(&state), None);
    recover_a(&mut state, now + GRACE);
    assert_eq!(active(&state), Some(A));
}

#[test]
fn one_failure_on_trial_ends_the_trial() {
    let (mut state, now) = pair();
    state.health(B, &report(now, Some("down")), now);
    lose_a(&mut state, now);
    let later = now + Duration::from_secs(1);
    state.link_up(A, later);
    state.health(A, &report(later, None), later);
    assert!(state.chosen().expect("on trial").trial);
    assert!(fail(&mut state, A, FailureKind::Timeout, later));
    assert_eq!(circuit(&state, A), CircuitState::Open);
    assert_eq!(active(&state), None);
}

#[test]
fn a_round_that_began_before_the_circuit_changed_says_nothing_about_it() {
    let (mut state, now) = pair();
    let began = now;
    lose_a(&mut state, now);
    let then = now + GRACE;
    state.tick(then);
    state.health(A, &report(began, None), then);
    state.health(A, &report(began, None), then);
    state.health(A, &report(began, Some("old")), then);
    assert_eq!(circuit(&state, A), CircuitState::HalfOpen);
}

#[test]
fn a_failback_check_prevents_a_return_and_does_not_evict() {
    let (mut state, now) = pair();
    let lagging = |started| Report {
        failback_refused: Some("it lags".to_owned()),
        ..report(started, None)
    };
    state.health(A, &lagging(now), now);
    assert_eq!(active(&state), Some(A), "it is not evicted");
    lose_a(&mut state, now);
    recover_a(&mut state, now + GRACE);
    state.health(A, &lagging(now + GRACE), now + GRACE);
    state.take_effects();
    state.tick(now + FALLBACK);
    assert!(
        asked(&state.take_effects()).is_empty(),
        "it is not returned to"
    );
    let refused = state.set_active(A, &lagging(now + FALLBACK), now + FALLBACK);
    assert!(matches!(refused, Err(Error::Unhealthy { .. })));

    state.health(B, &report(now + FALLBACK, Some("down")), now + FALLBACK);
    assert_eq!(active(&state), Some(A), "better than none");
}

#[test]
fn the_active_one_is_removed_only_when_another_takes_over() {
    let (mut state, now) = pair();
    state.remove(A, now).expect("B takes over");
    assert_eq!(active(&state), Some(B));
    assert!(matches!(state.remove(B, now), Err(Error::StillNeeded(_))));
    assert!(matches!(
        state.remove(A, now),
        Err(Error::UnknownDatabase(A))
    ));
    assert_eq!(active(&state), Some(B));
    assert!(fail(&mut state, B, FailureKind::Timeout, now) || !state.take_effects().is_empty());
    assert!(state.failed(
        A,
        Circuit::new(now, GRACE, 1).episode(),
        LINK,
        FailureKind::Timeout,
        now
    ));
}

#[test]
fn the_end_of_one_connection_is_one_failure_however_many_commands_it_takes_along() {
    let (mut state, now) = pair();
    for _ in 0..64 {
        assert!(!fail(&mut state, A, FailureKind::Dropped, now), "undecided");
    }
    assert_eq!(asked(&state.take_effects()), [A]);
    state.confirmed(A, &report(now, None), now);
    assert_eq!(
        (active(&state), circuit(&state, A)),
        (Some(A), CircuitState::Closed)
    );
    // Of five connections in a row it is too much.
    let episode = episode(&state, A);
    for link in 2..=5 {
        for _ in 0..64 {
            state.failed(A, episode, LinkId(link), FailureKind::Dropped, now);
        }
    }
    assert_eq!(
        (active(&state), circuit(&state, A)),
        (Some(B), CircuitState::Open)
    );
}

#[test]
fn a_refusal_needs_no_confirmation_where_another_can_take_over() {
    let (mut state, now) = pair();
    assert!(fail(&mut state, A, FailureKind::NoWrites, now), "decided");
    assert_eq!(
        (active(&state), circuit(&state, A)),
        (Some(B), CircuitState::Open)
    );
    // No other is left: it is asked, and kept while it answers.
    assert!(!fail(&mut state, B, FailureKind::NoWrites, now));
    state.confirmed(B, &report(now, None), now);
    assert_eq!(
        (active(&state), circuit(&state, B)),
        (Some(B), CircuitState::Closed)
    );
}

#[test]
fn a_weight_and_a_new_member_take_effect_at_once() {
    let (mut state, now) = pair();
    state.set_weight(A, 0.5, now).expect("a member");
    assert_eq!(active(&state), Some(B));
    assert_eq!(
        switches(&state.take_effects()),
        [SwitchReason::Reconfigured]
    );

    let c = DatabaseId(3);
    state.add(new_member(c, 9.0, report(now, None)), now);
    assert_eq!(active(&state), Some(B), "it is not connected yet");
    state.link_up(c, now);
    assert_eq!(active(&state), Some(c));
    let d = DatabaseId(4);
    state.add(new_member(d, 99.0, report(now, Some("down"))), now);
    state.link_up(d, now);
    assert_eq!(active(&state), Some(c), "not healthy");
}

#[test]
fn manually_only_to_a_healthy_one_forced_to_any() {
    let (mut state, now) = pair();
    state
        .set_active(B, &report(now, None), now)
        .expect("healthy");
    assert_eq!(active(&state), Some(B));
    assert_eq!(switches(&state.take_effects()), [SwitchReason::Manual]);
    state.health(A, &report(now, Some("down")), now);
    let refused = state.set_active(A, &report(now, None), now);
    assert!(matches!(refused, Err(Error::Unhealthy { .. })), "its grace");
    assert_eq!(active(&state), Some(B));
    state.force(A, now).expect("a member");
    assert_eq!(active(&state), Some(A));
    assert_eq!(circuit(&state, A), CircuitState::Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Succeed(u64),
    Fail(u64, usize, bool),
    Lose(u64),
    Refuse(u64, bool),
    Wait(u64),
    Up(u64),
    Confirm(u64, bool),
    Health(u64, bool),
    Weight(u64, u8),
    Force(u64),
    Remove(u64),
    Add,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1u64..5;
    prop_oneof![
        3 => (1u64..40_000).prop_map(Step::Pass),
        2 => id().prop_map(Step::Succeed),
        6 => (id(), 0..FailureKind::ALL.len(), any::<bool>()).prop_map(|(i, k, s)| Step::Fail(i, k, s)),
        2 => id().prop_map(Step::Lose),
        2 => (id(), any::<bool>()).prop_map(|(i, silent)| Step::Refuse(i, silent)),
        2 => id().prop_map(Step::Wait),
        4 => id().prop_map(Step::Up),
        6 => (id(), any::<bool>()).prop_map(|(i, healthy)| Step::Confirm(i, healthy)),
        6 => (id(), any::<bool>()).prop_map(|(i, healthy)| Step::Health(i, healthy)),
        1 => (id(), 0u8..4).prop_map(|(i, weight)| Step::Weight(i, weight)),
        1 => id().prop_map(Step::Force),
        1 => id().prop_map(Step::Remove),
        1 => Just(Step::Add),
    ]
}

proptest! {
    /// Whatever happens in whatever order: an open database never takes commands; while a circuit is
    /// closed, the active one is closed; no command waits for a decision that will not come; within one
    /// fallback interval there is one fallback at most; and the events are complete.
    #[test]
    fn the_rules_hold_in_any_order(steps in proptest::collection::vec(step(), 1..150)) {
        let (mut state, mut now) = pair();
        let stale = episode(&state, A);
        let mut last_active = active(&state);
        let mut fell_back: Option<Instant> = None;
        let mut waiting: Vec<DatabaseId> = Vec::new();
        let mut next = 3;
        for step in steps {
            let known = |state: &State, id: u64| state.get(DatabaseId(id)).is_some();
            match step {
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    state.tick(now);
                }
                Step::Succeed(id) => state.succeeded(DatabaseId(id), 1, now),
                Step::Fail(id, kind, late) if known(&state, id) => {
                    let id = DatabaseId(id);
                    let episode = if late { stale } else { episode(&state, id) };
                    if !state.failed(id, episode, LINK, FailureKind::ALL[kind], now) {
                        waiting.push(id);
                    }
                }
                Step::Lose(id) => state.link_lost(DatabaseId(id), now),
                Step::Refuse(id, silent) => {
                    let kind = if silent { FailureKind::Timeout } else { FailureKind::Connect };
                    state.connect_failed(DatabaseId(id), kind, "no connection", now);
                }
                Step::Wait(id) => {
                    let id = DatabaseId(id);
                    if let Some(episode) = state.get(id).map(|entry| entry.circuit.episode()) {
                        state.waited(id, episode, now);
                    }
                }
                Step::Up(id) => state.link_up(DatabaseId(id), now),
                Step::Confirm(id, healthy) => {
                    state.confirmed(DatabaseId(id), &report(now, (!healthy).then_some("x")), now);
                }
                Step::Health(id, healthy) => {
                    state.health(DatabaseId(id), &report(now, (!healthy).then_some("x")), now);
                }
                Step::Weight(id, weight) => {
                    drop(state.set_weight(DatabaseId(id), f64::from(weight), now));
                }
                Step::Force(id) => drop(state.force(DatabaseId(id), now)),
                Step::Remove(id) => drop(state.remove(DatabaseId(id), now)),
                Step::Add if next < 5 => {
                    state.add(new_member(DatabaseId(next), 1.5, report(now, None)), now);
                    next += 1;
                }
                Step::Fail(..) | Step::Add => {}
            }

            for effect in state.take_effects() {
                match effect {
                    Effect::Switched { old, new, reason } => {
                        prop_assert_eq!(old.map(|old| old.id), last_active);
                        last_active = new.map(|new| new.id);
                        if reason == SwitchReason::Fallback {
                            prop_assert!(fell_back.is_none_or(|then| now >= then + FALLBACK));
                            fell_back = Some(now);
                        }
                    }
                    Effect::Settled(id) => waiting.retain(|waiting| *waiting != id),
                    _ => {}
                }
            }
            prop_assert_eq!(last_active, active(&state));
            let chosen = state.chosen().map(|chosen| circuit(&state, chosen.id));
            prop_assert_ne!(chosen, Some(CircuitState::Open));
            let any_closed = !state.none_is_closed();
            prop_assert_eq!(chosen == Some(CircuitState::Closed), any_closed);
            prop_assert_eq!(state.down_since().is_none(), any_closed);
            for id in &waiting {
                let entry = state.get(*id);
                prop_assert!(entry.is_some_and(|entry| entry.suspicion.is_some()), "{} waits for nothing", id);
            }
        }
    }
}
