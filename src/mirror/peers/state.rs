//! Which host has which addresses, pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// What a name was resolved to counts for so long.
const FRESH: Duration = Duration::from_secs(60);
/// And for so long while the resolver fails: a pull outlives that.
const KEPT: Duration = Duration::from_secs(10 * 60);
/// A stranger makes names be resolved no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of names.
#[derive(Debug, Default)]
pub(super) struct State {
    known: HashMap<String, Addresses>,
    /// When the names were last resolved.
    resolved: Option<Instant>,
}

/// What a name was resolved to, and when.
#[derive(Debug)]
struct Addresses {
    all: Vec<IpAddr>,
    at: Instant,
}

/// What can be said of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is one of theirs, or none.
    Sure(bool),
    /// These names have to be resolved first.
    Ask(Vec<String>),
}

impl State {
    /// Whether one of these hosts has the address. `own`: it is one of this machine.
    pub(super) fn has(&self, address: IpAddr, hosts: &[String], own: bool, now: Instant) -> Known {
        let address = address.to_canonical();
        let age = self
            .resolved
            .map(|then| now.saturating_duration_since(then));
        let is_fresh = age.is_some_and(|age| age < FRESH);
        let mut names = Vec::new();
        for host in hosts {
            match literal(host) {
                Some(literal) if is_same(literal, address, own) => return Known::Sure(true),
                Some(_) => {}
                None => names.push(host.clone()),
            }
        }
        if is_fresh && self.is_known(address, &names, own) {
            return Known::Sure(true);
        }
        let is_asked_enough = age.is_some_and(|age| age < PAUSE);
        let all_known = names.iter().all(|name| self.known.contains_key(name));
        match names.is_empty() || (is_asked_enough && all_known) {
            true => Known::Sure(false),
            false => Known::Ask(names),
        }
    }

    /// The same once the names have been resolved.
    pub(super) fn has_now(&self, address: IpAddr, hosts: &[String], own: bool) -> bool {
        let address = address.to_canonical();
        let is_literal = |host: &String| literal(host).is_some_and(|it| is_same(it, address, own));
        hosts.iter().any(is_literal) || self.is_known(address, hosts, own)
    }

    /// What these names are now; others are forgotten. One for which the resolver has failed is for a while what it was.
    pub(super) fn resolved(&mut self, names: Vec<(String, Option<Vec<IpAddr>>)>, now: Instant) {
        let mut before = std::mem::take(&mut self.known);
        let is_kept = |it: &Addresses| now.saturating_duration_since(it.at) < KEPT;
        for (name, found) in names {
            let found = found.map(|all| Addresses { all, at: now });
            let found = found.or_else(|| before.remove(&name).filter(is_kept));
            let nothing = || Addresses {
                all: Vec::new(),
                at: now,
            };
            self.known.insert(name, found.unwrap_or_else(nothing));
        }
        self.resolved = Some(now);
    }

    fn is_known(&self, address: IpAddr, names: &[String], own: bool) -> bool {
        let mut known = names
            .iter()
            .filter_map(|name| self.known.get(name))
            .flat_map(|known| &known.all);
        known.any(|known| is_same(*known, address, own))
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

/// A server on this machine that asks for another of its addresses than loopback comes from that address. All of
/// 127.0.0.0/8 is this machine.
fn is_same(server: IpAddr, address: IpAddr, own: bool) -> bool {
    let server = server.to_canonical();
    let is_here = server.is_loopback() || server.is_unspecified();
    server == address || (is_here && own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_need_no_resolver() {
        let (state, now) = (State::default(), Instant::now());
        let has = |address, own| state.has(ip(address), &hosts("10.0.0.7 [::1]"), own, now);
        assert_eq!(has("10.0.0.7", false), Known::Sure(true));
        assert_eq!(has("::ffff:10.0.0.7", false), Known::Sure(true));
        assert_eq!(has("10.0.0.8", false), Known::Sure(false));
        // One is on this machine, and asks for another address of it.
        assert_eq!(has("192.168.1.4", true), Known::Sure(true));
        let remote = hosts("10.0.0.7");
        assert_eq!(
            state.has(ip("127.0.0.1"), &remote, true, now),
            Known::Sure(false)
        );
    }

    #[test]
    fn names_are_resolved_when_an_address_is_not_known_and_not_for_every_stranger() {
        let (mut state, start) = (State::default(), Instant::now());
        let all = hosts("gpu-1 gpu-2");
        let has = |state: &State, address, seconds| {
            let now = start + Duration::from_secs(seconds);
            state.has(ip(address), &all, false, now)
        };
        assert_eq!(has(&state, "10.0.0.1", 0), Known::Ask(all.clone()));
        let found = vec![
            (
                "gpu-1".to_owned(),
                Some(vec![ip("10.0.0.1"), ip("10.0.1.1")]),
            ),
            ("gpu-2".to_owned(), None),
        ];
        state.resolved(found, start);
        assert_eq!(has(&state, "10.0.1.1", 30), Known::Sure(true));
        assert!(state.has_now(ip("10.0.1.1"), &all, false));
        assert_eq!(has(&state, "6.6.6.6", 0), Known::Sure(false));
        assert_eq!(has(&state, "6.6.6.6", 2), Known::Ask(all.clone()));
        assert_eq!(
            has(&state, "10.0.0.1", 61),
            Known::Ask(all.clone()),
            "it may have moved"
        );
        let more = hosts("gpu-1 gpu-3");
        let asked = state.has(ip("6.6.6.6"), &more, false, start);
        assert_eq!(asked, Known::Ask(more), "a server that is new");
    }

    #[test]
    fn a_resolver_that_fails_takes_no_server_away_for_ten_minutes() {
        let (mut state, start) = (State::default(), Instant::now());
        let all = hosts("gpu-1");
        let mut resolve = |found: Option<&str>, seconds| {
            let found = found.map(|found| vec![ip(found)]);
            let names = vec![("gpu-1".to_owned(), found)];
            state.resolved(names, start + Duration::from_secs(seconds));
            let has = |address| state.has_now(ip(address), &all, false);
            (has("10.0.0.1"), has("10.0.0.2"))
        };
        assert_eq!(resolve(None, 0), (false, false));
        assert_eq!(resolve(Some("10.0.0.1"), 1), (true, false));
        assert_eq!(resolve(None, 100), (true, false));
        assert_eq!(resolve(None, 600), (true, false));
        assert_eq!(resolve(None, 601), (false, false), "it may be anybody's");
        assert_eq!(resolve(Some("10.0.0.1"), 700), (true, false));
        assert_eq!(
            resolve(Some("10.0.0.2"), 701),
            (false, true),
            "it has moved"
        );
    }
}
