//! The list of wanted servers, and what a change does to it. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Refused;
use super::change::{Added, Change, Step};
use super::entry::{Entry, Source};
use super::found::{self, Found};
use super::hold::{drained, resumed};
use super::names::{self, Names};
use super::registered::{self, Server, Taken};
use super::spec::spec;
use crate::config::{Endpoint, Slots, endpoint_faults, is_itself};
use crate::fleet::{Desired, Drain, Spec};
use crate::registrar::Registered;
use crate::store::Precondition;

/// How many servers can be added.
const MOST: usize = 1_000;
/// The longest address, and the longest key, that can be kept.
const LONGEST_URL: usize = 500;
const LONGEST_KEY: usize = 8 << 10;

/// All that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    configured: Vec<Endpoint>,
    slots: Slots,
    /// What operators keep from those, from agents' servers and from those that were found.
    pub(super) held: BTreeMap<String, Drain>,
    /// What of that is not stored: whether it lasts, and what there is to be.
    pub(super) unkept: BTreeMap<String, (bool, Drain)>,
    /// Those that operators added.
    pub(super) added: Vec<Added>,
    /// Those that agents have registered.
    registered: Vec<Server>,
    /// Where hosts lead, as last looked up.
    pub(super) names: Arc<Names>,
    /// Those that were found.
    pub(super) found: Arc<[Found]>,
    /// Where this router listens.
    pub(super) listen: SocketAddr,
}

impl Wanted {
    pub(super) fn new(configured: Vec<Endpoint>, slots: Slots, listen: SocketAddr) -> Self {
        Self {
            configured,
            slots,
            held: BTreeMap::new(),
            unkept: BTreeMap::new(),
            added: Vec::new(),
            registered: Vec::new(),
            names: Arc::default(),
            found: Arc::new([]),
            listen,
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        let held = |endpoint: &Endpoint| self.held.get(&endpoint.name).cloned().unwrap_or_default();
        let configured = self.configured.iter().map(|endpoint| Entry {
            endpoint: endpoint.clone(),
            source: Source::Configured,
            drain: held(endpoint),
            version: 0,
            memory: None,
        });
        let added = self.counted().map(|added| Entry {
            endpoint: added.endpoint.clone(),
            source: Source::Added,
            drain: added.drain.clone(),
            version: added.version,
            memory: None,
        });
        let mut entries: Vec<Entry> = configured.chain(added).collect();
        let mut taken = Taken::by(&entries, &self.names);
        // Of two that are the same server, what an operator says counts, and then the first.
        let registered = self.registered.iter().filter(|server| {
            server.is_known
                && taken.is_new(&server.endpoint, &self.names)
                && !is_itself(self.listen, &server.endpoint.url)
        });
        entries.extend(registered.map(|server| Entry {
            endpoint: server.endpoint.clone(),
            source: Source::Registered,
            drain: self.drain_of(server),
            version: 0,
            memory: server.memory,
        }));
        let found = self.found().into_iter().map(|found| Entry {
            endpoint: found.endpoint.clone(),
            source: found.source,
            drain: held(&found.endpoint),
            version: 0,
            memory: None,
        });
        entries.extend(found);
        entries
    }

    /// What an agent's server takes: as operators say, and nothing when it leaves.
    fn drain_of(&self, server: &Server) -> Drain {
        let held = self.held.get(&server.endpoint.name);
        let held = held.cloned().unwrap_or_default();
        match server.leaves {
            true => Drain::Everything(held.models().into()),
            false => held,
        }
    }

    /// Those that were found and are none of the others, nor this router.
    fn found(&self) -> Vec<&Found> {
        let added = self.added.iter().map(|added| &added.endpoint);
        let registered = self.registered.iter().map(|server| &server.endpoint);
        let named = self.configured.iter().chain(added).chain(registered);
        found::less(&self.found, named, self.listen)
    }

    /// Those that were added and are none of the configuration's.
    fn counted(&self) -> impl Iterator<Item = &Added> {
        let is_configured = |added: &&Added| {
            let address = added.endpoint.address();
            let same =
                |other: &Endpoint| other.name == added.endpoint.name || other.address() == address;
            !self.configured.iter().any(same)
        };
        self.added.iter().filter(is_configured)
    }

    /// The hosts that have to be looked up to know which of the registered servers are others'.
    pub(super) fn hosts(&self) -> BTreeSet<String> {
        let registered = self.registered.iter().map(|server| &server.endpoint);
        let added = self.added.iter().map(|added| &added.endpoint);
        names::hosts(registered, self.configured.iter().chain(added))
    }

    /// What the fleet should be.
    pub(super) fn desired(&self) -> Desired {
        let entries = self.entries();
        let spec = |entry: &Entry| spec(&entry.endpoint, self.slots, entry.drain.clone());
        let mut names = HashSet::new();
        // Each was tried when it came, and none of them may keep the others from being applied.
        let specs: Vec<Spec> = entries
            .iter()
            .filter(|entry| names.insert(&entry.endpoint.name))
            .filter_map(|entry| spec(entry).ok())
            .collect();
        Desired::new(specs).unwrap_or_default()
    }

    /// The servers that agents have registered are these now.
    pub(super) fn register(&mut self, registered: &[Registered]) {
        let known = std::mem::take(&mut self.registered).into_iter();
        let known = known.filter(|server| server.is_known);
        let known: HashSet<(String, String)> = known.map(|server| server.place()).collect();
        self.registered = registered.iter().filter_map(registered::read).collect();
        for server in &mut self.registered {
            server.is_known = known.contains(&server.place());
        }
        self.know();
    }

    /// Hosts lead there.
    pub(super) fn look_up(&mut self, names: Names) {
        self.names = Arc::new(names);
        self.know();
    }

    /// A registered server counts from when it is known whether it is another's. Names that come later take none away
    /// before they have been looked up.
    fn know(&mut self) {
        let added = self.added.iter().map(|added| &added.endpoint);
        let unknown = self.names.lack(self.configured.iter().chain(added));
        for server in &mut self.registered {
            let is_told = self.names.tell(&server.endpoint)
                && names::port(&server.endpoint).is_none_or(|port| !unknown.contains(&port));
            server.is_known |= is_told;
        }
    }

    /// Other servers in the configuration.
    pub(super) fn configure(&mut self, configured: Vec<Endpoint>, slots: Slots) {
        self.configured = configured;
        self.slots = slots;
        let counted = self.counted().count();
        if counted < self.added.len() {
            let left_out = self.added.len() - counted;
            tracing::warn!(
                left_out,
                "servers that were added are in the configuration too, under their name or address: that counts"
            );
        }
    }

    /// What the change does, or why it is refused. `now` is Unix seconds.
    pub(super) fn plan(&self, change: &Change, now: i64) -> Result<Step, Refused> {
        match change {
            Change::Add(endpoint) => {
                self.may_be(endpoint, None)?;
                if self.added.len() >= MOST {
                    return Err(Refused::TooMany(MOST));
                }
                Ok(Step::Put {
                    added: Box::new(Added {
                        endpoint: endpoint.clone(),
                        drain: Drain::Nothing,
                        created_at: now,
                        version: 1,
                    }),
                    before: Precondition::Absent,
                })
            }
            Change::Set {
                name,
                endpoint,
                version,
            } => {
                let known = self.added(name)?;
                if known.version != *version {
                    return Err(Refused::Contended);
                }
                self.may_be(endpoint, Some(name))?;
                let endpoint = endpoint.clone();
                Ok(known.put(|added| added.endpoint = endpoint))
            }
            Change::Drain(name, model) => {
                self.may_hold(name, |now| Ok(drained(now, model.as_ref())))
            }
            Change::Resume(name, model) => {
                self.may_hold(name, |now| resumed(name, now, model.as_ref()))
            }
            Change::Remove(name) => {
                let is_known = match self.added(name) {
                    Ok(_) => true,
                    Err(Refused::Missing(_)) => false,
                    Err(refused) => return Err(refused),
                };
                let name = name.clone();
                Ok(Step::Remove { name, is_known })
            }
        }
    }

    /// The added server of this name, for a change that needs it to be one.
    pub(super) fn added(&self, name: &str) -> Result<&Added, Refused> {
        if self.configured.iter().any(|endpoint| endpoint.name == name) {
            return Err(Refused::Configured(name.to_owned()));
        }
        let mut added = self.added.iter();
        if let Some(known) = added.find(|added| added.endpoint.name == name) {
            return Ok(known);
        }
        let mut registered = self.registered.iter();
        Err(
            match registered.any(|server| server.endpoint.name == name) {
                true => Refused::Registered(name.to_owned()),
                false => found::refused(self.found(), name),
            },
        )
    }

    /// Whether a server may be in the list, as a new one or in place of the one of this name.
    fn may_be(&self, endpoint: &Endpoint, instead: Option<&str>) -> Result<(), Refused> {
        if let Some(fault) = endpoint_faults(endpoint).into_iter().next() {
            return Err(Refused::Invalid(fault));
        }
        if endpoint.url.as_str().len() > LONGEST_URL || !endpoint.url.as_str().is_ascii() {
            let text = format!("url must be at most {LONGEST_URL} ASCII characters");
            return Err(Refused::Invalid(text));
        }
        if endpoint.api_key.expose().len() > LONGEST_KEY {
            return Err(Refused::Invalid("api_key is too long".to_owned()));
        }
        spec(endpoint, self.slots, Drain::Nothing)
            .map_err(|error| Refused::Invalid(error.to_string()))?;
        if is_itself(self.listen, &endpoint.url) {
            return Err(Refused::Itself);
        }
        let address = endpoint.address();
        for other in self.others(instead) {
            let name = || other.name.clone();
            if other.cloud && endpoint.cloud {
                let what = "cloud is one server's, and another has it";
                return Err(Refused::Taken { what, name: name() });
            }
            if other.name == endpoint.name {
                let what = "name is taken";
                return Err(Refused::Taken { what, name: name() });
            }
            if other.address() == address {
                let what = "url is known";
                return Err(Refused::Taken { what, name: name() });
            }
        }
        Ok(())
    }

    /// Every server but the one of this name, also those that do not count, unless they were found.
    pub(super) fn others(&self, but: Option<&str>) -> impl Iterator<Item = &Endpoint> {
        let added = self.added.iter().map(|added| &added.endpoint);
        let found = self.found().into_iter().map(|found| &found.endpoint);
        let all = self.configured.iter().chain(added).chain(found);
        all.filter(move |endpoint| but != Some(&*endpoint.name))
    }

    /// Makes the change.
    pub(super) fn make(&mut self, step: Step) {
        match step {
            Step::Hold {
                name,
                lasting,
                drain,
                is_kept,
                ..
            } => {
                match is_kept {
                    true => drop(self.unkept.remove(&name)),
                    false => drop(self.unkept.insert(name.clone(), (lasting, drain.clone()))),
                }
                self.hold(name, drain);
            }
            Step::Put { added, .. } => {
                let mut known = self.added.iter_mut();
                match known.find(|known| known.endpoint.name == added.endpoint.name) {
                    Some(known) => *known = *added,
                    None => self.added.push(*added),
                }
            }
            Step::Remove { name, .. } => self.added.retain(|added| added.endpoint.name != name),
        }
    }
}
