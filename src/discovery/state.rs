//! What was found where, and what of it counts. Pure.
//!
//! An address leaves when no answer has had it for [`ABSENT`] while answers had others, and when answers have
//! had none at all for [`EMPTY`]. What is no answer (an error, a time-out, a file that cannot be read) changes
//! nothing but what is said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{self, Endpoint, endpoint_faults};
use crate::inventory::{Found, Source};
use crate::mdns::{SERVICE, Said};

/// A name's servers that are not in its answers any more count for so long. Nameservers that do not agree for a
/// moment drain nobody.
pub(super) const ABSENT: Duration = Duration::from_secs(3);
/// A name without any server keeps those it had for so long.
pub(super) const EMPTY: Duration = Duration::from_secs(30);
/// How many servers one name can have.
pub(super) const MOST: usize = 256;
/// The longest label a server can have.
const LONGEST_LABEL: usize = 100;

/// A place where servers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A host, each of whose addresses is a server on this port.
    Host(Arc<str>, u16),
    /// A service, of which SRV records say the hosts and ports.
    Service(Arc<str>),
    /// A file.
    File(Arc<str>),
    /// The local network, where servers offer themselves as this service.
    Network(Arc<str>),
}

/// A server that a name leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) priority: i32,
    pub(super) weight: f64,
}

/// What a look-up gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) servers: Vec<Server>,
    /// Of some hosts of a service the addresses are not known now: none of those that were leaves.
    pub(super) lacks: Option<String>,
    /// How soon another answer may be given.
    pub(super) ttl: Duration,
}

/// All places, and what was found there.
#[derive(Clone, Debug)]
pub(super) struct State {
    places: Vec<Spot>,
    /// Addresses of servers that have been named by host: they are not found once more. `None`: not looked up yet.
    named: Option<BTreeMap<String, Vec<SocketAddr>>>,
}

#[derive(Clone, Debug)]
struct Spot {
    place: Place,
    /// It has been looked at.
    is_known: bool,
    /// What a name leads to.
    servers: BTreeMap<SocketAddr, Seen>,
    /// Since when it leads to none.
    empty_since: Option<Instant>,
    /// What a file names.
    listed: Vec<Endpoint>,
    /// What is offered there, and not used: the names of the service, and its server.
    offers: BTreeMap<String, Endpoint>,
    trouble: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    server: Server,
    /// Since when answers lack it.
    missing_since: Option<Instant>,
}

/// A place as operators are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name or the file.
    pub place: Arc<str>,
    /// How many servers it leads to.
    pub servers: usize,
    /// What is wrong, while that is so.
    pub trouble: Option<String>,
}

impl State {
    pub(super) fn new(places: Vec<Place>) -> Self {
        let names_any = |place: &Place| matches!(place, Place::Host(..) | Place::Service(_));
        Self {
            // A file says itself what is in it twice.
            named: (!places.iter().any(names_any)).then(BTreeMap::new),
            places: places.into_iter().map(Spot::new).collect(),
        }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().map(|spot| &spot.place)
    }

    /// Everything has been looked at once.
    pub(super) fn is_known(&self) -> bool {
        self.named.is_some() && self.places.iter().all(|spot| spot.is_known)
    }

    /// A name was looked up.
    pub(super) fn looked_up(&mut self, at: usize, answer: Result<Answer, String>, now: Instant) {
        let Some(spot) = self.places.get_mut(at) else {
            return;
        };
        let trouble = match answer {
            Ok(answer) => spot.take(answer, now),
            Err(why) => Some(why),
        };
        spot.say(trouble);
    }

    /// A file was read.
    pub(super) fn was_read(&mut self, at: usize, listed: Result<Vec<Endpoint>, String>) {
        let Some(spot) = self.places.get_mut(at) else {
            return;
        };
        match listed {
            Ok(listed) => {
                spot.listed = listed;
                spot.say(None);
            }
            Err(why) => spot.say(Some(why)),
        }
    }

    /// Something was heard. Too many offers are no offers: anybody can make them.
    pub(super) fn heard(&mut self, at: usize, said: Said) {
        let Some(spot) = self.places.get_mut(at) else {
            return;
        };
        match said {
            Said::Here { id, name, address } => {
                let is_new = !spot.offers.contains_key(&id);
                match offered(name, address).filter(|_| !is_new || spot.offers.len() < MOST) {
                    Some(endpoint) => drop(spot.offers.insert(id, endpoint)),
                    None => drop(spot.offers.remove(&id)),
                }
                spot.say(None);
            }
            Said::Gone(id) => {
                spot.offers.remove(&id);
            }
            Said::Nothing(why) => spot.say(Some(why)),
        }
    }

    /// What is offered, whether or not it is used already.
    pub(super) fn offers(&self) -> Vec<Endpoint> {
        let offers = self.places.iter().flat_map(|spot| spot.offers.values());
        offers.cloned().collect()
    }

    /// The hosts by which servers are named were looked up; of one whose addresses are not known now, they are
    /// as they were.
    pub(super) fn set_named(&mut self, found: Vec<(String, Option<Vec<SocketAddr>>)>) {
        let mut before = self.named.take().unwrap_or_default();
        let known = |(host, addresses): (String, Option<Vec<SocketAddr>>)| {
            let addresses = addresses.or_else(|| before.remove(&host));
            (host, addresses.unwrap_or_default())
        };
        self.named = Some(found.into_iter().map(known).collect());
    }

    /// The servers there should be. Those that names lead to are none before it is known which servers are named
    /// otherwise.
    pub(super) fn found(&self) -> Vec<Found> {
        let named = self.named.as_ref().map(|named| {
            let addresses = named.values().flatten().copied();
            addresses.collect::<BTreeSet<SocketAddr>>()
        });
        let is_new = |server: &Server| {
            let named = named.as_ref();
            named.is_some_and(|named| !named.contains(&server.address))
        };
        let of = |spot: &Spot| {
            let listed = spot.listed.iter().map(|endpoint| Found {
                endpoint: endpoint.clone(),
                source: Source::Configured,
            });
            let servers = spot.servers.values().map(|seen| seen.server);
            let found = servers
                .filter(&is_new)
                .filter_map(|server| spot.place.found(server));
            listed.chain(found).collect::<Vec<_>>()
        };
        self.places.iter().flat_map(of).collect()
    }

    /// As operators are shown it.
    pub(super) fn report(&self) -> Vec<Report> {
        let report = |spot: &Spot| Report {
            place: spot.place.shown(),
            servers: spot.listed.len() + spot.servers.len() + spot.offers.len(),
            trouble: spot.trouble.clone(),
        };
        self.places.iter().map(report).collect()
    }
}

impl Place {
    /// Those of a configuration.
    pub(super) fn all(options: &config::Discovery) -> Vec<Self> {
        let file = options.has_file().then(|| options.file.to_string_lossy());
        let file = file.map(|path| Self::File(path.into()));
        let hosts = options.dns.iter().filter_map(|url| {
            let (host, port) = url.host_to_look_up()?;
            Some(Self::Host(host.into(), port))
        });
        let services = options.srv.iter();
        let services = services.map(|name| Self::Service(name.as_str().into()));
        let network = options.mdns.then(|| Self::Network(SERVICE.into()));
        let named = file.into_iter().chain(hosts).chain(services);
        named.chain(network).collect()
    }

    pub(super) fn shown(&self) -> Arc<str> {
        match self {
            Self::Host(host, port) => format!("{host}:{port}").into(),
            Self::Service(name) | Self::File(name) | Self::Network(name) => Arc::clone(name),
        }
    }

    /// Named for its address, which stays what it is; the name by which it was found is a label.
    fn found(&self, server: Server) -> Option<Found> {
        let url = format!("http://{}", server.address).parse().ok()?;
        let label = match self {
            Self::Host(name, _) | Self::Service(name) | Self::File(name) | Self::Network(name) => {
                name
            }
        };
        let labels = [label.to_string()].into_iter();
        Some(Found {
            endpoint: Endpoint {
                priority: server.priority,
                weight: server.weight,
                labels: labels.filter(|one| one.len() <= LONGEST_LABEL).collect(),
                ..Endpoint::at(url)
            },
            source: Source::Found,
        })
    }
}

/// The server of an offer, called as it calls itself; nothing if it could not be used under that name.
fn offered(name: String, address: SocketAddr) -> Option<Endpoint> {
    let url = format!("http://{address}").parse().ok()?;
    let endpoint = Endpoint {
        name,
        ..Endpoint::at(url)
    };
    endpoint_faults(&endpoint).is_empty().then_some(endpoint)
}

impl Spot {
    fn new(place: Place) -> Self {
        Self {
            // Nobody knows when all have spoken.
            is_known: matches!(place, Place::Network(_)),
            place,
            offers: BTreeMap::new(),
            servers: BTreeMap::new(),
            empty_since: None,
            listed: Vec::new(),
            trouble: None,
        }
    }

    /// Returns what is wrong.
    fn take(&mut self, answer: Answer, now: Instant) -> Option<String> {
        if answer.servers.is_empty() && answer.lacks.is_none() {
            let since = *self.empty_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= EMPTY {
                self.servers.clear();
            }
            return Some("leads to no server".to_owned());
        }
        self.empty_since = None;
        if answer.lacks.is_none() {
            for seen in self.servers.values_mut() {
                seen.missing_since.get_or_insert(now);
            }
        }
        let mut left_out = 0_usize;
        for server in answer.servers {
            let seen = Seen {
                server,
                missing_since: None,
            };
            if self.servers.len() < MOST || self.servers.contains_key(&server.address) {
                self.servers.insert(server.address, seen);
            } else {
                left_out += 1;
            }
        }
        self.servers.retain(|_, seen| {
            let since = seen.missing_since;
            since.is_none_or(|since| now.saturating_duration_since(since) < ABSENT)
        });
        let too_many = || {
            let text = format!("{left_out} further addresses are not used: {MOST} are the most");
            (left_out > 0).then_some(text)
        };
        answer.lacks.or_else(too_many)
    }

    fn say(&mut self, trouble: Option<String>) {
        let place = self.place.shown();
        match (&self.trouble, &trouble) {
            (None, Some(why)) => {
                tracing::warn!(%place, why, "looking for servers: those that were found stay");
            }
            (Some(_), None) => tracing::info!(%place, "looking for servers: all is well again"),
            _ => {}
        }
        self.trouble = trouble;
        self.is_known = true;
    }
}
