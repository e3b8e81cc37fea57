use super::*;
use crate::backend::Answer;
use crate::protocol::RunningModel;
use crate::upstream::Failure;

fn pool(model: &str) -> Arc<SlotPool> {
    SlotPool::alone(model, 2)
}

fn up(now: Instant) -> State {
    let mut state = State::new(Report::unknown(now), true, None, now);
    state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
    state
}

fn grant(state: &mut State, pool: &Arc<SlotPool>) -> Result<Grant, Refusal> {
    acquire(state, pool, Instant::now())
}

/// What would be granted; the slot is given back at once.
fn acquire(state: &mut State, pool: &Arc<SlotPool>, now: Instant) -> Result<Grant, Refusal> {
    state.acquire(pool, None, now).0.map(|(grant, _)| grant)
}

const COLD: Result<Grant, Refusal> = Ok(Grant {
    cold: true,
    loading: false,
    trial: false,
    watched: true,
});
const JOINED: Result<Grant, Refusal> = Ok(Grant {
    cold: false,
    loading: true,
    trial: false,
    watched: true,
});
/// The model has failed a moment ago, and no other server was left.
const AVOIDED: Result<Grant, Refusal> = Ok(Grant {
    cold: false,
    loading: false,
    trial: false,
    watched: true,
});
const TRIAL: Result<Grant, Refusal> = Ok(Grant {
    cold: false,
    loading: false,
    trial: true,
    watched: true,
});
const WARM: Result<Grant, Refusal> = Ok(Grant {
    cold: false,
    loading: false,
    trial: false,
    watched: false,
});

fn failed(fault: Fault) -> Outcome {
    Outcome::Failed(fault)
}

#[test]
fn a_server_that_has_never_answered_gives_no_slot() {
    let mut state = State::new(Report::unknown(Instant::now()), true, None, Instant::now());
    assert_eq!(grant(&mut state, &pool("a")), Err(Refusal::Down));
}

#[test]
fn one_model_loads_at_a_time_and_others_may_join_it() {
    let (mut state, a, b) = (up(Instant::now()), pool("a"), pool("b"));
    assert_eq!(grant(&mut state, &a), COLD);
    let _running = a.take_any().unwrap();
    assert_eq!(grant(&mut state, &a), JOINED);
    assert_eq!(grant(&mut state, &b), Err(Refusal::Loading));
    state.answered(&a, Instant::now());
    assert_eq!(grant(&mut state, &a), WARM);
    assert_eq!(grant(&mut state, &b), COLD);
}

#[test]
fn an_abandoned_load_makes_room_for_another() {
    let (mut state, a, b) = (up(Instant::now()), pool("a"), pool("b"));
    assert_eq!(grant(&mut state, &a), COLD);
    let effects = state.released(&a, Outcome::Left, false, Instant::now());
    assert!(effects.changed);
    assert_eq!(grant(&mut state, &b), COLD);
}

fn running(model: &str, expires_at: &str) -> RunningModel {
    let text = format!(r#"{{"models":[{{"name":"{model}","expires_at":"{expires_at}"}}]}}"#);
    crate::protocol::parse_ps(text.as_bytes())
        .unwrap()
        .models
        .remove(0)
}

#[test]
fn a_load_ends_when_the_server_lists_the_model_too() {
    let (mut state, a, b, now) = (up(Instant::now()), pool("a"), pool("b"), Instant::now());
    assert_eq!(grant(&mut state, &a), COLD);
    let _running = a.take_any().unwrap();
    let loading = Answer::Loaded(vec![running("a:latest", "0001-01-01T00:00:00Z")]);
    state.probed(Ok(loading), Probe::Loaded, now, now);
    assert_eq!(grant(&mut state, &b), Err(Refusal::Loading));
    let loaded = Answer::Loaded(vec![running("a:latest", "2026-11-21T12:00:00Z")]);
    assert!(state.probed(Ok(loaded), Probe::Loaded, now, now).changed);
    assert_eq!(grant(&mut state, &b), COLD);
}

#[test]
fn slots_are_counted_by_who_holds_them() {
    let (mut state, a) = (up(Instant::now()), pool("a"));
    state.answered(&a, Instant::now());
    let (first, second) = (a.take_any().unwrap(), a.take_any().unwrap());
    assert_eq!(grant(&mut state, &a), Err(Refusal::Full));
    drop(first);
    assert_eq!(grant(&mut state, &a), WARM);
    drop(second);
}

#[test]
fn a_refused_connection_stops_new_requests_until_a_probe_has_an_answer() {
    let (mut state, a, now) = (up(Instant::now()), pool("a"), Instant::now());
    state.answered(&a, now);
    let effects = state.released(&a, failed(Fault::Refused), false, now);
    assert!(effects.changed && effects.ask == [Probe::Alive] && !effects.eject);
    assert!(state.is_up() && !state.takes_requests());
    assert_eq!(grant(&mut state, &a), Err(Refusal::Down));
    let effects = state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
    assert!(effects.changed);
    assert_eq!(grant(&mut state, &a), WARM, "it was there all the time");
}

#[test]
fn a_refused_probe_moves_the_requests_that_wait_and_an_answer_brings_back_a_cold_server() {
    let (mut state, a, now) = (up(Instant::now()), pool("a"), Instant::now());
    state.answered(&a, now);
    let effects = state.probed(refused(), Probe::Alive, now, now);
    assert!(effects.changed && effects.eject);
    assert_eq!(
        (state.report().phase, state.report().since),
        (Phase::Down, now)
    );
    assert_eq!(grant(&mut state, &a), Err(Refusal::Down));
    state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
    assert_eq!(grant(&mut state, &a), COLD);
}

fn refused() -> Result<Answer, Failure> {
    Err(Failure::Refused(String::new()))
}

fn silent() -> Result<Answer, Failure> {
    Err(Failure::Silent)
}

#[test]
fn a_server_is_down_after_the_second_probe_without_an_answer() {
    let (mut state, now) = (up(Instant::now()), Instant::now());
    let effects = state.probed(silent(), Probe::Alive, now, now);
    assert!(state.is_up() && effects.ask == [Probe::Alive]);
    let effects = state.probed(silent(), Probe::Alive, now, now);
    assert!(!state.is_up() && effects.eject);
}

#[test]
fn a_connection_that_cannot_be_made_says_nothing_about_those_that_are_open() {
    let now = Instant::now();
    let unresolved = || Err(Failure::NotConnected("no such host".to_owned()));
    let slow = || Err(Failure::ConnectTimeout);
    let mut state = up(now);
    state.probed(unresolved(), Probe::Alive, now, now);
    assert!(state.is_up());
    let effects = state.probed(slow(), Probe::Alive, now, now);
    assert!(!state.is_up() && !effects.eject);
    let effects = state.probed(refused(), Probe::Alive, now, now);
    assert!(
        effects.eject && effects.changed,
        "now they are known to be dead"
    );

    // A host that has gone answers nothing on the open connection, and then makes no other.
    let mut state = up(now);
    state.probed(silent(), Probe::Alive, now, now);
    assert!(state.probed(slow(), Probe::Alive, now, now).eject);
}

#[test]
fn a_slow_list_does_not_take_a_server_down() {
    let (mut state, now) = (up(Instant::now()), Instant::now());
    let listed = Answer::Models(Vec::new());
    state.probed(Ok(listed), Probe::Models, now, now);
    for probe in [Probe::Loaded, Probe::Models, Probe::Version] {
        assert_eq!(state.probed(silent(), probe, now, now), Effects::default());
    }
    assert!(state.is_up());
}

#[test]
fn a_500_counts_against_that_model_only_and_is_tried_again_one_at_a_time() {
    let now = Instant::now();
    let (mut state, a, b) = (up(now), pool("a"), pool("b"));
    state.answered(&a, now);
    state.answered(&b, now);
    // A stream that runs already is no trial, and takes nothing from one.
    let _stream = a.take_any().unwrap();
    let effects = state.released(&a, failed(Fault::Status), false, now);
    assert!(effects.reconsider);
    let again = state.next_trial(now).unwrap();
    assert!(state.is_failing(a.model(), now) && !state.is_failing(b.model(), now));
    assert_eq!(acquire(&mut state, &b, now), WARM);
    assert_eq!(acquire(&mut state, &a, now), AVOIDED);

    assert_eq!(acquire(&mut state, &a, again), TRIAL);
    assert_eq!(acquire(&mut state, &a, again), Err(Refusal::Full));
    state.released(&a, Outcome::Left, true, again);
    assert_eq!(acquire(&mut state, &a, again), TRIAL);
    state.answered(&a, again);
    assert!(!state.is_failing(a.model(), again));
    assert_eq!(acquire(&mut state, &a, again), WARM);
}

#[test]
fn a_stream_that_delivers_makes_a_trial_unnecessary() {
    let now = Instant::now();
    let (mut state, a) = (up(now), pool("a"));
    state.answered(&a, now);
    state.released(&a, failed(Fault::Status), false, now);
    assert_eq!(state.delivered(&a, now), Effects::default(), "not yet");
    let again = state.next_trial(now).unwrap();
    assert!(state.is_half_open(a.model(), again));
    assert!(state.delivered(&a, again).changed);
    assert_eq!(acquire(&mut state, &a, again), WARM);
}

#[test]
fn a_load_that_takes_longer_than_usual_holds_the_server_until_it_is_done() {
    let now = Instant::now();
    let (mut state, busy, b) = (up(now), pool("busy"), pool("b"));
    state.answered(&busy, now);
    let usual = Some(Duration::from_secs(3));
    assert_eq!(state.acquire(&b, usual, now).0.unwrap().0, COLD.unwrap());
    assert_eq!(
        acquire(&mut state, &busy, now),
        WARM,
        "it may fit beside it"
    );
    let due = state.next_look(now).unwrap();
    assert_eq!(due - now, Duration::from_secs(3));
    assert!(state.look_at_load(true, due).changed);
    assert_eq!(acquire(&mut state, &busy, due), Err(Refusal::Loading));
    assert!(!state.is_direct(&busy));
    assert!(state.answered(&b, due).changed);
    assert_eq!(acquire(&mut state, &busy, due), WARM);
}

#[test]
fn a_load_that_may_never_end_holds_up_its_own_model_only() {
    let now = Instant::now();
    let (mut state, stuck, b) = (up(now), pool("stuck"), pool("b"));
    assert_eq!(grant(&mut state, &stuck), COLD);
    let _waits = stuck.take_any().unwrap();
    let hold = state.next_look(now).unwrap();
    state.look_at_load(false, hold);
    let overdue = state.next_look(hold).unwrap();
    assert_eq!(acquire(&mut state, &b, hold), Err(Refusal::Loading));
    assert!(state.look_at_load(false, overdue).changed);
    assert_eq!(state.next_look(overdue), None);
    assert_eq!(acquire(&mut state, &stuck, overdue), Err(Refusal::Loading));
    assert_eq!(acquire(&mut state, &b, overdue), COLD);
    // It ends after all.
    state.answered(&b, overdue);
    assert!(state.answered(&stuck, overdue).changed);
    assert_eq!(acquire(&mut state, &stuck, overdue), WARM);
}

#[test]
fn a_refusal_between_servers_is_said_until_the_server_works() {
    let now = Instant::now();
    let (mut state, a) = (up(now), pool("a"));
    state.released(&a, failed(Fault::Rejected(401)), false, now);
    let said = "refuses the router's requests: status 401";
    assert_eq!(state.report().trouble.as_deref(), Some(said));
    state.probed(Ok(Answer::Models(Vec::new())), Probe::Models, now, now);
    assert_eq!(
        state.report().trouble.as_deref(),
        Some(said),
        "a list is not an answer"
    );
    state.answered(&a, now);
    assert_eq!(state.report().trouble, None);
}

#[test]
fn what_was_learnt_after_the_probe_was_sent_is_kept() {
    let (mut state, a, asked) = (up(Instant::now()), pool("a"), Instant::now());
    let later = asked + Duration::from_millis(1);
    state.answered(&a, later);
    state.probed(Ok(Answer::Loaded(Vec::new())), Probe::Loaded, asked, later);
    assert_eq!(grant(&mut state, &a), WARM);
    state.probed(Ok(Answer::Loaded(Vec::new())), Probe::Loaded, later, later);
    assert_eq!(grant(&mut state, &a), COLD);
}

#[test]
fn a_restarted_actor_goes_on_from_the_last_report() {
    let (mut state, a, now) = (up(Instant::now()), pool("a"), Instant::now());
    state.answered(&a, now);
    let b = pool("b");
    assert_eq!(grant(&mut state, &b), COLD);
    let running = b.take_any().unwrap();
    let report = state.report().clone();
    let mut next = State::new(report.clone(), true, Some(Arc::clone(&b)), now);
    assert_eq!(grant(&mut next, &a), WARM);
    assert_eq!(next.loading(), b.serial());
    drop(running);
    assert_eq!(State::new(report, true, Some(b), now).loading(), 0);
}

#[test]
fn a_server_that_is_down_is_asked_soon_and_then_less_often() {
    let intervals = Intervals {
        alive: Duration::from_secs(2),
        loaded: Duration::from_secs(5),
        models: Duration::from_secs(60),
    };
    let (mut state, now) = (up(Instant::now()), Instant::now());
    let pauses: Vec<_> = (0..7)
        .map(|_| {
            state.probed(refused(), Probe::Alive, now, now);
            state.next(Probe::Alive, &intervals).unwrap().as_millis()
        })
        .collect();
    assert_eq!(pauses, [200, 400, 800, 1600, 2000, 2000, 2000]);
    assert_eq!(state.next(Probe::Models, &intervals), None);
}

#[test]
fn slots_are_taken_directly_while_nothing_is_to_be_decided() {
    let now = Instant::now();
    let (mut state, a) = (up(now), pool("a"));
    assert!(!state.is_direct(&a), "not loaded");
    assert_eq!(acquire(&mut state, &a, now), COLD);
    assert!(!state.is_direct(&a), "the request that loads it is watched");
    state.answered(&a, now);
    assert!(state.is_direct(&a));
    state.released(&a, failed(Fault::Status), false, now);
    assert!(!state.is_direct(&a), "on trial");
    state.answered(&a, now);
    assert!(state.is_direct(&a));
    state.released(&a, failed(Fault::Refused), false, now);
    assert!(!state.is_direct(&a), "suspended");
}

#[test]
fn a_failing_model_is_in_evidence_until_it_works() {
    let now = Instant::now();
    let (mut state, a) = (up(now), pool("a"));
    state.answered(&a, now);
    let busy = Fault::Busy(None);
    assert!(state.released(&a, failed(busy), false, now).changed);
    let evidence = state.report().evidence.clone();
    assert_eq!((evidence[0].fault, evidence[0].failures), (busy, 1));
    assert_eq!(evidence[0].until, state.next_trial(now).unwrap());
    let same = state.released(&a, failed(busy), false, now);
    assert!(!same.changed, "nothing new");
    state.answered(&a, now);
    assert!(state.report().evidence.is_empty());
}

#[test]
fn a_call_that_a_server_does_not_have_says_nothing_about_its_health() {
    let (mut state, a, now) = (up(Instant::now()), pool("a"), Instant::now());
    state.answered(&a, now);
    let effects = state.released(&a, failed(Fault::Unsupported), false, now);
    assert_eq!(effects, Effects::default());
    assert!(state.is_direct(&a));
}

#[test]
fn where_nothing_is_loaded_every_listed_model_counts_as_loaded() {
    let now = Instant::now();
    let mut state = State::new(Report::unknown(now), false, None, now);
    state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
    let listed = crate::protocol::listed_by_id("b")
        .into_iter()
        .chain(crate::protocol::listed_by_id("a"));
    let models = Answer::Models(listed.collect());
    assert!(state.probed(Ok(models), Probe::Models, now, now).changed);
    let warm: Vec<_> = state.report().warm.iter().map(ModelName::as_str).collect();
    assert_eq!(warm, ["a:latest", "b:latest"]);
    assert_eq!(grant(&mut state, &pool("a")), WARM);
    assert!(state.is_direct(&pool("b")));
}

#[test]
fn why_a_servers_models_are_not_known_is_said_until_they_are() {
    let (mut state, now) = (up(Instant::now()), Instant::now());
    let unusable = || Err(Failure::Unusable("status 404".to_owned()));
    assert!(state.probed(unusable(), Probe::Models, now, now).changed);
    assert_eq!(state.report().trouble.as_deref(), Some("status 404"));
    assert!(state.is_up() && state.report().is_settled());
    assert!(
        !state.probed(unusable(), Probe::Models, now, now).changed,
        "the same"
    );
    state.probed(Ok(Answer::Models(Vec::new())), Probe::Models, now, now);
    assert_eq!(state.report().trouble, None);
}

/// What a router says that asks this one in turn is nothing new: neither its life nor its lists count.
#[test]
fn a_server_whose_answers_come_from_this_router_is_down_until_they_do_not() {
    let now = Instant::now();
    for first in [true, false] {
        let mut state = up(now);
        let listed = crate::protocol::listed_by_id("m").into_iter().collect();
        state.probed(Ok(Answer::Models(listed)), Probe::Models, now, now);
        assert!(state.report().models.is_some());
        // By a probe, or by a request.
        let effects = match first {
            true => state.probed(Err(Failure::Loop), Probe::Models, now, now),
            false => state.released(&pool("m"), failed(Fault::Loop), false, now),
        };
        assert!(effects.changed && effects.eject && !state.is_up());
        assert!(state.report().models.is_none());
        let trouble = state.report().trouble.as_deref().unwrap_or_default();
        assert!(trouble.starts_with("loop: "), "{trouble}");
        let again = state.probed(Err(Failure::Loop), Probe::Alive, now, now);
        assert!(!again.changed, "nothing new");
        let effects = state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
        assert!(state.is_up() && effects.ask.contains(&Probe::Models));
    }
}

#[test]
fn a_request_that_has_been_at_a_server_before_says_nothing_about_it() {
    let (mut state, a) = (up(Instant::now()), pool("a"));
    let effects = state.released(&a, failed(Fault::Revisited), false, Instant::now());
    assert_eq!(effects, Effects::default());
    assert!(state.is_up() && state.report().evidence.is_empty());
}
