use super::*;

fn kept(model: &str, replicas: usize) -> Kept {
    Kept {
        model: ModelName::parse(model).unwrap(),
        replicas,
        within: None,
        keep_alive: None,
        num_ctx: None,
        priority: 0,
    }
}

const NONE: [u64; 0] = [];

const EMPTY: Spot = Spot {
    server: 0,
    is_up: true,
    is_loaded: false,
    is_loading: false,
    is_busy: false,
    is_idle: true,
    unloads: 0,
    left: None,
};

fn spots(n: u64) -> Vec<Spot> {
    (0..n).map(|server| Spot { server, ..EMPTY }).collect()
}

fn has(spots: &mut [Spot], server: usize) {
    spots[server].is_loaded = true;
}

/// What is done for one model, by server.
fn look(state: &mut State, kept: &Kept, spots: &[Spot], now: Instant) -> Vec<u64> {
    let loads = state.look(std::slice::from_ref(kept), &[spots.to_vec()], now);
    loads.iter().map(|load| spots[load.spot].server).collect()
}

fn done(state: &mut State, kept: &Kept, server: u64, now: Instant) {
    state.loaded(Copy::on(&kept.model, server), true, now);
}

#[test]
fn as_many_copies_are_loaded_as_are_wanted_and_no_more() {
    let (mut state, now, kept) = (State::default(), Instant::now(), kept("m", 2));
    let mut spots = spots(3);
    assert_eq!(look(&mut state, &kept, &spots, now), [0, 1]);
    assert_eq!(look(&mut state, &kept, &spots, now), NONE, "they run");
    for server in [0, 1] {
        done(&mut state, &kept, server, now);
        has(&mut spots, usize::try_from(server).unwrap());
    }
    assert_eq!(look(&mut state, &kept, &spots, now), NONE);
    has(&mut spots, 2);
    assert_eq!(
        look(&mut state, &kept, &spots, now),
        NONE,
        "one more does no harm"
    );
}

#[test]
fn a_copy_of_a_lost_server_is_loaded_on_another_at_once() {
    let (mut state, now, kept) = (State::default(), Instant::now(), kept("m", 1));
    let mut spots = spots(2);
    has(&mut spots, 0);
    assert_eq!(look(&mut state, &kept, &spots, now), NONE);
    spots[0] = Spot {
        is_up: false,
        is_loaded: false,
        ..spots[0]
    };
    assert_eq!(look(&mut state, &kept, &spots, now), [1]);
    // And when it was removed.
    let (mut state, mut spots) = (State::default(), self::spots(2));
    has(&mut spots, 0);
    look(&mut state, &kept, &spots, now);
    assert_eq!(look(&mut state, &kept, &spots[1..], now), [1]);
}

#[test]
fn what_somebody_unloaded_is_loaded_again_after_a_minute() {
    let (mut state, now, kept) = (State::default(), Instant::now(), kept("m", 2));
    let mut spots = spots(3);
    has(&mut spots, 0);
    has(&mut spots, 1);
    look(&mut state, &kept, &spots, now);
    spots[0].is_loaded = false;
    assert_eq!(look(&mut state, &kept, &spots, now), NONE, "nor elsewhere");
    let due = state.next_look(now).unwrap();
    assert_eq!(due - now, REST);
    // A server that is lost meanwhile is another matter.
    spots[1].is_up = false;
    assert_eq!(look(&mut state, &kept, &spots, now), [2]);
    spots[1].is_up = true;
    has(&mut spots, 2);
    done(&mut state, &kept, 2, now);
    spots[1].is_loaded = false;
    assert_eq!(look(&mut state, &kept, &spots, due), [0]);
}

#[test]
fn a_copy_more_than_is_wanted_may_go_and_is_not_waited_for() {
    let (mut state, now, kept) = (State::default(), Instant::now(), kept("m", 1));
    let mut spots = spots(2);
    has(&mut spots, 0);
    has(&mut spots, 1);
    look(&mut state, &kept, &spots, now);
    spots[1].is_loaded = false;
    assert_eq!(look(&mut state, &kept, &spots, now), NONE);
    spots[0].is_up = false;
    assert_eq!(look(&mut state, &kept, &spots, now), [1]);
}

#[test]
fn a_load_that_fails_is_done_elsewhere_at_once_and_there_after_a_pause_that_grows() {
    let (mut state, mut now, kept) = (State::default(), Instant::now(), kept("m", 1));
    let both = spots(2);
    assert_eq!(look(&mut state, &kept, &both, now), [0]);
    state.loaded(Copy::on(&kept.model, 0), false, now);
    assert_eq!(look(&mut state, &kept, &both, now), [1]);
    state.loaded(Copy::on(&kept.model, 1), false, now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert_eq!(look(&mut state, &kept, &both[..1], now), NONE);
        let due = state.next_look(now).unwrap();
        pauses.push(due - now);
        now = due;
        assert_eq!(look(&mut state, &kept, &both[..1], now), [0]);
        state.loaded(Copy::on(&kept.model, 0), false, now);
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[7] > pauses[0] * 10, "{pauses:?}");
}

#[test]
fn a_server_loads_one_model_at_a_time_the_most_important_first() {
    let (mut state, now) = (State::default(), Instant::now());
    let both = [kept("first", 1), kept("second", 1)];
    let one = spots(1);
    let loads = state.look(&both, &[one.clone(), one.clone()], now);
    assert_eq!(loads, [Load { model: 0, spot: 0 }]);
    done(&mut state, &both[0], 0, now);
    let mut loaded = one.clone();
    has(&mut loaded, 0);
    let loads = state.look(&both, &[loaded, one], now);
    assert_eq!(loads, [Load { model: 1, spot: 0 }]);
}

#[test]
fn where_two_do_not_fit_the_more_important_one_stays() {
    let (mut state, now) = (State::default(), Instant::now());
    let both = [kept("first", 1), kept("second", 1)];
    let (empty, mut loaded) = (spots(1), spots(1));
    has(&mut loaded, 0);
    state.look(&both, &[loaded.clone(), empty.clone()], now);
    done(&mut state, &both[1], 0, now);
    // The second has taken the place of the first, which is loaded again at once.
    let loads = state.look(&both, &[empty.clone(), loaded.clone()], now);
    assert_eq!(loads, [Load { model: 0, spot: 0 }]);
    done(&mut state, &both[0], 0, now);
    let much_later = now + DISPLACED_FOR / 2;
    for at in [now, much_later] {
        let loads = state.look(&both, &[loaded.clone(), empty.clone()], at);
        assert_eq!(loads, [], "the second has no place");
    }
    // Another server has room.
    let more = vec![empty[0], Spot { server: 1, ..EMPTY }];
    let loads = state.look(&both, &[loaded.clone(), more], much_later);
    assert_eq!(loads, [Load { model: 1, spot: 1 }]);
    // There may be room by now.
    let loads = state.look(
        &both,
        &[loaded.clone(), empty.clone()],
        now + DISPLACED_FOR + DISPLACED_WITHIN,
    );
    assert_eq!(loads, [Load { model: 1, spot: 0 }]);
    state.loaded(Copy::on(&both[1].model, 0), false, now);
    // Other terms, another try.
    state.begin_anew();
    done(&mut state, &both[1], 1, much_later);
    let loads = state.look(&both, &[loaded, empty], much_later);
    assert_eq!(loads, [Load { model: 1, spot: 0 }]);
}

#[test]
fn what_somebody_unloads_just_after_a_load_made_no_room_for_it() {
    let (mut state, now) = (State::default(), Instant::now());
    let both = [kept("first", 1), kept("second", 1)];
    let (mut first, mut second) = (spots(1), spots(1));
    has(&mut first, 0);
    state.look(&both, &[first.clone(), second.clone()], now);
    done(&mut state, &both[1], 0, now);
    has(&mut second, 0);
    state.look(&both, &[first.clone(), second.clone()], now);
    first[0].is_loaded = false;
    first[0].unloads += 1;
    let loads = state.look(&both, &[first.clone(), second.clone()], now);
    assert_eq!(loads, [], "it is left alone for a while");
    let loads = state.look(&both, &[first, second], now + REST);
    assert_eq!(loads, [Load { model: 0, spot: 0 }]);
}

#[test]
fn a_renewal_makes_no_other_model_leave() {
    let (mut state, now) = (State::default(), Instant::now());
    let both = [kept("first", 1), kept("second", 1)];
    let (mut first, mut second) = (spots(1), spots(1));
    has(&mut first, 0);
    has(&mut second, 0);
    second[0].left = Some(Duration::ZERO);
    let loads = state.look(&both, &[first.clone(), second.clone()], now);
    assert_eq!(loads, [Load { model: 1, spot: 0 }]);
    first[0].is_loaded = false;
    for _ in 0..2 {
        let loads = state.look(&both, &[first.clone(), second.clone()], now);
        assert_eq!(loads, [], "somebody has unloaded it, and it is left alone");
        done(&mut state, &both[1], 0, now);
    }
    assert!(state.displaces.is_empty());
}

#[test]
fn a_copy_is_renewed_before_its_server_lets_go_of_it_and_not_while_it_is_used() {
    let (mut state, now, kept) = (State::default(), Instant::now(), kept("m", 1));
    let mut spots = spots(2);
    has(&mut spots, 0);
    has(&mut spots, 1);
    spots[0].left = Some(RENEWED_BELOW * 3);
    spots[1].left = Some(Duration::ZERO);
    assert_eq!(look(&mut state, &kept, &spots, now), NONE, "one is enough");
    assert_eq!(state.next_look(now).unwrap() - now, RENEWED_BELOW * 2);
    spots[0].left = Some(RENEWED_BELOW / 2);
    spots[0].is_idle = false;
    assert_eq!(look(&mut state, &kept, &spots, now), NONE);
    spots[0].is_idle = true;
    assert_eq!(look(&mut state, &kept, &spots, now), [0]);
    done(&mut state, &kept, 0, now);
    assert_eq!(look(&mut state, &kept, &spots, now), NONE, "it was told");
    let later = now + BETWEEN_RENEWALS;
    assert_eq!(look(&mut state, &kept, &spots, later), [0]);
}

#[test]
fn of_servers_that_are_gone_nothing_is_remembered() {
    let (mut state, now, kept) = (State::default(), Instant::now(), kept("m", 1));
    for server in 0..100 {
        let mut one = [Spot { server, ..EMPTY }];
        look(&mut state, &kept, &one, now);
        state.loaded(Copy::on(&kept.model, server), server % 2 == 0, now);
        has(&mut one, 0);
        look(&mut state, &kept, &one, now);
        one[0].is_loaded = false;
        look(&mut state, &kept, &one, now);
    }
    look(&mut state, &kept, &[], now);
    let State {
        had,
        resting,
        failed,
        ended,
        displaces,
        renewed,
        running,
        next: _,
    } = state;
    let left = [had.len(), resting.len(), displaces.len(), running.len()];
    assert_eq!(left, [0; 4]);
    assert_eq!([failed.len(), ended.len(), renewed.len()], [0; 3]);
}
