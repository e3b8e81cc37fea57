use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::state::{ABSENT, Answer, EMPTY, MOST, Place, Server, State};
use crate::config::Endpoint;
use crate::inventory::Source;
use crate::mdns::Said;

fn addresses(count: usize) -> Vec<SocketAddr> {
    let address = |i: usize| SocketAddr::from(([10, 0, (i / 250) as u8, (i % 250) as u8], 11434));
    (0..count).map(address).collect()
}

fn answer(of: impl IntoIterator<Item = SocketAddr>) -> Result<Answer, String> {
    let server = |address| Server {
        address,
        priority: 0,
        weight: 1.0,
    };
    Ok(Answer {
        servers: of.into_iter().map(server).collect(),
        ..Answer::default()
    })
}

/// One name, and nothing that is named otherwise.
fn one_name() -> State {
    let mut state = State::new(vec![Place::Host("gpus.example.org".into(), 11434)]);
    state.set_named(Vec::new());
    state
}

fn found(state: &State) -> BTreeSet<String> {
    let found = state.found().into_iter();
    found.map(|found| found.endpoint.name).collect()
}

fn names(of: &[SocketAddr]) -> BTreeSet<String> {
    of.iter().map(ToString::to_string).collect()
}

#[test]
fn each_address_of_a_name_is_a_server_that_has_the_name_as_a_label() {
    let (mut state, now, all) = (one_name(), Instant::now(), addresses(2));
    state.looked_up(0, answer(all.clone()), now);
    let found = state.found();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].endpoint.name, "10.0.0.0:11434");
    assert_eq!(found[0].endpoint.url.as_str(), "http://10.0.0.0:11434");
    assert_eq!(found[0].endpoint.labels, ["gpus.example.org"]);
    assert_eq!(found[0].source, Source::Found);
}

#[test]
fn no_name_counts_before_it_is_known_which_servers_are_named_otherwise() {
    let places = vec![
        Place::File("servers.toml".into()),
        Place::Host("gpus.example.org".into(), 11434),
    ];
    let mut state = State::new(places);
    let one = Endpoint::at("http://gpu-1:11434".parse().unwrap());
    state.was_read(0, Ok(vec![one]));
    state.looked_up(1, answer(addresses(2)), Instant::now());
    assert_eq!(found(&state), ["gpu-1:11434".to_owned()].into());
    assert!(!state.is_known());
    state.set_named(Vec::new());
    assert_eq!(found(&state).len(), 3);
    assert!(state.is_known());
}

#[test]
fn an_address_leaves_when_answers_have_lacked_it_for_a_while() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(3));
    state.looked_up(0, answer(all.clone()), start);
    // Another nameserver, which is not told yet.
    state.looked_up(0, answer(all[..2].to_vec()), start + ABSENT / 2);
    assert_eq!(found(&state), names(&all));
    state.looked_up(0, answer(all[1..].to_vec()), start + ABSENT);
    assert_eq!(found(&state), names(&all), "each was in an answer since");
    state.looked_up(0, answer(all[1..].to_vec()), start + 2 * ABSENT);
    assert_eq!(found(&state), names(&all[1..]));
}

#[test]
fn a_failure_takes_no_server_away_however_long_it_lasts() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(2));
    state.looked_up(0, answer(all.clone()), start);
    for minute in 1..100 {
        let later = start + Duration::from_secs(60 * minute);
        state.looked_up(0, Err("timed out".to_owned()), later);
    }
    assert_eq!(found(&state), names(&all));
    let report = &state.report()[0];
    assert_eq!(report.servers, 2);
    assert_eq!(report.trouble.as_deref(), Some("timed out"));
    let much_later = start + Duration::from_secs(6000);
    state.looked_up(0, answer(all), much_later);
    assert_eq!(state.report()[0].trouble, None);
}

#[test]
fn a_name_without_servers_keeps_those_it_had_for_a_bounded_time() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(2));
    state.looked_up(0, answer(all.clone()), start);
    state.looked_up(0, answer([]), start + EMPTY / 2);
    // It has them again, and its time begins anew.
    state.looked_up(0, answer(all.clone()), start + EMPTY / 2);
    state.looked_up(0, answer([]), start + EMPTY);
    assert_eq!(found(&state), names(&all));
    assert!(state.report()[0].trouble.is_some());
    state.looked_up(0, answer([]), start + 2 * EMPTY);
    assert!(found(&state).is_empty());
}

#[test]
fn of_too_many_addresses_those_that_are_known_stay() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(10_000));
    let known = &all[5_000..5_010];
    state.looked_up(0, answer(known.to_vec()), start);
    state.looked_up(0, answer(all.clone()), start + ABSENT);
    let found = found(&state);
    assert_eq!(found.len(), MOST);
    assert!(names(known).is_subset(&found));
    let trouble = state.report()[0].trouble.clone().unwrap();
    assert!(trouble.starts_with("9744 further addresses"), "{trouble}");
}

#[test]
fn a_service_of_which_one_host_cannot_be_looked_up_loses_nothing() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(4));
    state.looked_up(0, answer(all[..3].to_vec()), start);
    let lacks = Answer {
        lacks: Some("gpu-2: timed out".to_owned()),
        ..answer(all[3..].to_vec()).unwrap()
    };
    state.looked_up(0, Ok(lacks), start + 10 * ABSENT);
    assert_eq!(found(&state), names(&all));
    assert_eq!(
        state.report()[0].trouble.as_deref(),
        Some("gpu-2: timed out")
    );
}

#[test]
fn a_server_that_is_named_by_its_host_is_not_found_once_more() {
    let (mut state, now, all) = (one_name(), Instant::now(), addresses(3));
    state.looked_up(0, answer(all.clone()), now);
    let gpu = |addresses| vec![("gpu-1:11434".to_owned(), addresses)];
    state.set_named(gpu(Some(vec![all[1]])));
    assert_eq!(found(&state), names(&[all[0], all[2]]));
    // It cannot be looked up: it is where it was.
    state.set_named(gpu(None));
    assert_eq!(found(&state), names(&[all[0], all[2]]));
    state.set_named(Vec::new());
    assert_eq!(found(&state), names(&all));
}

#[test]
fn a_file_that_cannot_be_read_keeps_what_was_in_it() {
    let mut state = State::new(vec![Place::File("servers.toml".into())]);
    assert!(!state.is_known());
    let one = Endpoint::at("http://gpu-1:11434".parse().unwrap());
    state.was_read(0, Ok(vec![one]));
    assert!(state.is_known());
    state.was_read(0, Err("half".to_owned()));
    let found = state.found();
    assert_eq!(found[0].endpoint.name, "gpu-1:11434");
    assert_eq!(found[0].source, Source::Configured);
    assert_eq!(state.report()[0].trouble.as_deref(), Some("half"));
    state.was_read(0, Ok(Vec::new()));
    assert!(state.found().is_empty());
}

#[test]
fn a_nameserver_that_was_away_has_its_first_word_doubted() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(2));
    state.looked_up(0, answer(all.clone()), start);
    let back = start + 2 * EMPTY;
    state.looked_up(0, answer([]), back);
    assert_eq!(found(&state), names(&all));
    state.looked_up(0, answer(all.clone()), back + ABSENT);
    assert_eq!(found(&state), names(&all));
}

#[test]
fn a_nameserver_that_says_some_of_its_addresses_in_turn_takes_none_away() {
    let (mut state, start, all) = (one_name(), Instant::now(), addresses(3));
    state.looked_up(0, answer(all.clone()), start);
    for turn in 1..20 {
        let without =
            |(at, address): (usize, &SocketAddr)| (at != turn as usize % 3).then_some(*address);
        let some: Vec<_> = all.iter().enumerate().filter_map(without).collect();
        state.looked_up(0, answer(some), start + turn * ABSENT);
        assert_eq!(found(&state), names(&all), "{turn}");
    }
}

#[test]
fn what_is_offered_is_shown_in_bounded_number_and_never_used() {
    let mut state = State::new(vec![Place::Network("_herdsman._tcp.local.".into())]);
    assert!(state.is_known(), "nobody waits for offers");
    let here = |id: usize, name: &str, port: u16| Said::Here {
        id: format!("gpu-{id}._herdsman._tcp.local."),
        name: name.to_owned(),
        address: ([10, 0, 0, 7], port).into(),
    };
    for id in 0..2 * MOST {
        state.heard(0, here(id, &format!("gpu-{id}"), 11_434));
    }
    assert_eq!(state.offers().len(), MOST);
    assert_eq!(state.report()[0].servers, MOST);
    // One that is known may move, and one that cannot be used any more is none.
    state.heard(0, here(0, "gpu-0", 1));
    let moved = Endpoint::at("http://10.0.0.7:1".parse().unwrap());
    assert!(state.offers().iter().any(|offer| offer.url == moved.url));
    state.heard(0, here(0, "a, b", 1));
    state.heard(0, Said::Gone("gpu-1._herdsman._tcp.local.".to_owned()));
    assert_eq!(state.offers().len(), MOST - 2);
    state.heard(0, Said::Nothing("no network".to_owned()));
    assert_eq!(state.report()[0].trouble.as_deref(), Some("no network"));
    assert!(state.found().is_empty());
}
