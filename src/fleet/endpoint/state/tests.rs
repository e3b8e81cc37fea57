use super::*;

fn pool(model: &str) -> Arc<SlotPool> {
    Arc::new(SlotPool::new(ModelName::parse(model).unwrap(), model, 2))
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
    state.acquire(pool, now).0.map(|(grant, _)| grant)
}

const COLD: Result<Grant, Refusal> = Ok(Grant {
    cold: true,
    watched: true,
});
const JOINED: Result<Grant, Refusal> = Ok(Grant {
    cold: false,
    watched: true,
});
const WARM: Result<Grant, Refusal> = Ok(Grant {
    cold: false,
    watched: false,
});

#[test]
fn a_server_that_has_never_answered_gives_no_slot() {
    let mut state = State::new(Report::unknown(Instant::now()), true, None, Instant::now());
    assert_eq!(grant(&mut state, &pool("a")), Err(Refusal::Down));
}

#[test]
fn one_model_loads_at_a_time_and_others_may_join_it() {
    let (mut state, a, b) = (up(Instant::now()), pool("a"), pool("b"));
    assert_eq!(grant(&mut state, &a), COLD);
    let _running = a.take(u32::MAX).unwrap();
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
    let effects = state.released(&a, Outcome::Left, Instant::now());
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
    let _running = a.take(u32::MAX).unwrap();
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
    let (first, second) = (a.take(u32::MAX).unwrap(), a.take(u32::MAX).unwrap());
    assert_eq!(grant(&mut state, &a), Err(Refusal::Full));
    drop(first);
    assert_eq!(grant(&mut state, &a), WARM);
    drop(second);
}

#[test]
fn a_refused_connection_ejects_at_once_and_an_answer_brings_back_a_cold_server() {
    let (mut state, a, now) = (up(Instant::now()), pool("a"), Instant::now());
    state.answered(&a, now);
    let effects = state.released(&a, Outcome::Failed(Fault::Unreachable), now);
    assert!(effects.changed && effects.ask.contains(&Probe::Alive));
    assert_eq!(
        (state.report().phase, state.report().since),
        (Phase::Down, now)
    );
    assert_eq!(grant(&mut state, &a), Err(Refusal::Down));
    state.probed(Ok(Answer::Alive), Probe::Alive, now, now);
    assert_eq!(grant(&mut state, &a), COLD);
}

#[test]
fn a_server_is_down_after_the_second_probe_without_an_answer() {
    let (mut state, now) = (up(Instant::now()), Instant::now());
    let silent = || Err(crate::upstream::Failure::Silent);
    let effects = state.probed(silent(), Probe::Alive, now, now);
    assert!(state.is_up() && effects.ask == [Probe::Alive]);
    state.probed(silent(), Probe::Alive, now, now);
    assert!(!state.is_up());
}

#[test]
fn a_slow_list_does_not_take_a_server_down() {
    let (mut state, now) = (up(Instant::now()), Instant::now());
    let listed = Answer::Models(Vec::new());
    state.probed(Ok(listed), Probe::Models, now, now);
    for probe in [Probe::Loaded, Probe::Models, Probe::Version] {
        let silent = Err(crate::upstream::Failure::Silent);
        assert_eq!(state.probed(silent, probe, now, now), Effects::default());
    }
    assert!(state.is_up());
}

#[test]
fn a_500_counts_against_that_model_only_and_is_tried_again_one_at_a_time() {
    let now = Instant::now();
    let (mut state, a, b) = (up(now), pool("a"), pool("b"));
    state.answered(&a, now);
    state.answered(&b, now);
    let effects = state.released(&a, Outcome::Failed(Fault::Status), now);
    assert!(effects.reconsider);
    let again = state.next_trial(now).unwrap();
    assert!(a.is_failing() && !b.is_failing() && state.is_up());
    assert_eq!(acquire(&mut state, &b, now), WARM);

    let trial = acquire(&mut state, &a, again);
    assert_eq!(trial, JOINED, "watched, so that its success is reported");
    let running = a.take(u32::MAX).unwrap();
    assert_eq!(acquire(&mut state, &a, again), Err(Refusal::Full));
    state.answered(&a, again);
    assert!(!a.is_failing());
    assert_eq!(acquire(&mut state, &a, again), WARM);
    drop(running);
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
    let running = b.take(u32::MAX).unwrap();
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
            let refused = Err(crate::upstream::Failure::Refused(String::new()));
            state.probed(refused, Probe::Alive, now, now);
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
    state.released(&a, Outcome::Failed(Fault::Status), now);
    assert!(!state.is_direct(&a), "on trial");
    state.answered(&a, now);
    assert!(state.is_direct(&a));
    state.released(&a, Outcome::Failed(Fault::Unreachable), now);
    assert!(!state.is_direct(&a), "down");
}

#[test]
fn a_failing_model_is_in_evidence_until_it_works() {
    let now = Instant::now();
    let (mut state, a) = (up(now), pool("a"));
    state.answered(&a, now);
    assert!(
        state
            .released(&a, Outcome::Failed(Fault::Busy), now)
            .changed
    );
    let evidence = state.report().evidence.clone();
    assert_eq!((evidence[0].fault, evidence[0].failures), (Fault::Busy, 1));
    assert_eq!(evidence[0].until, state.next_trial(now).unwrap());
    let same = state.released(&a, Outcome::Failed(Fault::Busy), now);
    assert!(!same.changed, "nothing new");
    state.answered(&a, now);
    assert!(state.report().evidence.is_empty());
}

#[test]
fn a_call_that_a_server_does_not_have_says_nothing_about_its_health() {
    let (mut state, a, now) = (up(Instant::now()), pool("a"), Instant::now());
    state.answered(&a, now);
    let effects = state.released(&a, Outcome::Failed(Fault::Unsupported), now);
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
    let refused = || Err(crate::upstream::Failure::Unusable("status 404".to_owned()));
    assert!(state.probed(refused(), Probe::Models, now, now).changed);
    assert_eq!(state.report().trouble.as_deref(), Some("status 404"));
    assert!(state.is_up() && state.report().is_settled());
    assert!(
        !state.probed(refused(), Probe::Models, now, now).changed,
        "the same"
    );
    state.probed(Ok(Answer::Models(Vec::new())), Probe::Models, now, now);
    assert_eq!(state.report().trouble, None);
}
