//! From what is wanted and what is reported to a view: pure, and only as much work as has changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ModelName;
use crate::fleet::aliases::Aliases;
use crate::fleet::desired::{Applied, Desired, EndpointId, Spec};
use crate::fleet::endpoint::{Endpoint, Phase, Report};
use crate::fleet::precedence::Precedence;
use crate::fleet::shares;
use crate::fleet::view::{Catalogue, FleetView, Holder, ModelView, Models, Server};
use crate::protocol::ListedModel;
use crate::routing::Tier;
use crate::upstream::Client;

/// Ollama's cloud has fewer models than this.
const MOST_UNLISTED: usize = 256;

#[derive(Debug)]
pub(super) struct State {
    /// Those that are wanted, in their order; behind them those that drain.
    members: Vec<Member>,
    models: Models,
    catalogue: Arc<Catalogue>,
    aliases: Arc<Aliases>,
    /// Models that the server with an account at ollama.com can use though it does not list them, as they are spelt.
    unlisted: BTreeMap<ModelName, Box<str>>,
    stale_after: Duration,
    shares: shares::Handle,
    /// Models whose holders have changed since the last view.
    touched: HashSet<ModelName>,
    catalogue_changed: bool,
    /// A model has lost its last holder since [`State::take_dropped`].
    dropped: bool,
}

/// One server.
#[derive(Debug)]
struct Member {
    server: Server,
    /// What it is listed with, by name.
    listed: HashMap<ModelName, ListedModel>,
    /// Another server has taken over its name, and has not answered yet.
    superseded: bool,
    /// What it lists could stand for what others list when that was decided last.
    stands: bool,
}

/// What the actor does after applying a [`Desired`].
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Servers that need an actor.
    pub(super) started: Vec<EndpointId>,
    /// For the caller.
    pub(super) applied: Applied,
}

impl State {
    /// Continues with the servers and aliases of a former incarnation.
    pub(super) fn new(view: &FleetView, stale_after: Duration, shares: shares::Handle) -> Self {
        let mut members: Vec<_> = view.servers.iter().cloned().map(Member::new).collect();
        // Of those with one name that do not drain, the one that is wanted stands first.
        let mut names = HashSet::new();
        for member in &mut members {
            let name = Arc::clone(member.endpoint().name());
            member.superseded = !member.endpoint().is_draining() && !names.insert(name);
        }
        let listed = members.iter().flat_map(|member| member.listed.keys());
        Self {
            touched: listed.cloned().collect(),
            members,
            models: Models::default(),
            catalogue: Arc::default(),
            aliases: Arc::clone(view.aliases()),
            unlisted: BTreeMap::new(),
            stale_after,
            shares,
            catalogue_changed: true,
            dropped: false,
        }
    }

    /// Every server there is.
    pub(super) fn ids(&self) -> Vec<EndpointId> {
        let ids = self.members.iter().map(|member| member.endpoint().id());
        ids.cloned().collect()
    }

    pub(super) fn server(&self, id: &EndpointId) -> Option<&Server> {
        let member = self.members.iter().find(|member| member.is(id));
        member.map(|member| &member.server)
    }

    /// Whether any server that is wanted has, or lately had, the model.
    pub(super) fn knows(&self, model: &ModelName) -> bool {
        self.models.contains_key(model)
    }

    /// Makes these the servers of the fleet: new ones are made, others take over their settings, and
    /// what is not wanted drains, but for one whose name another takes over: that serves until the other
    /// has answered. One that drains and is wanted again goes on as it was.
    pub(super) fn apply(&mut self, desired: &Desired, client: &Client, now: Instant) -> Changes {
        let mut changes = Changes::default();
        let mut former = std::mem::take(&mut self.members);
        for spec in desired.specs() {
            let known = former.iter().position(|member| member.endpoint().is(spec));
            let member = match known.map(|at| former.remove(at)) {
                Some(member) => self.kept(member, spec, &mut changes.applied),
                None => {
                    let endpoint = Arc::new(Endpoint::new(spec, client, &self.shares, now));
                    changes.started.push(endpoint.id().clone());
                    changes.applied.added.push(Arc::clone(&spec.name));
                    let report = endpoint.report().as_ref().clone();
                    Member::new(Server { endpoint, report })
                }
            };
            self.members.push(member);
        }
        for mut member in former {
            let name = Arc::clone(member.endpoint().name());
            if member.endpoint().is_draining() {
                self.members.push(member);
                continue;
            }
            if !member.superseded {
                changes.applied.removed.push(Arc::clone(&name));
            }
            // Whoever takes over its name is not known to serve yet.
            member.superseded = self.members.iter().any(|other| {
                *other.endpoint().name() == name && !other.superseded && !other.is_known()
            });
            if !member.superseded {
                self.drain(&member);
            }
            self.members.push(member);
        }
        // Another server may have the account now.
        let listed = self.members.iter().flat_map(|member| member.listed.keys());
        let of_cloud = listed.filter(|name| name.is_cloud()).cloned();
        self.touched.extend(of_cloud);
        changes
    }

    /// Makes these the names that stand for other models.
    pub(super) fn name(&mut self, aliases: Aliases) {
        self.aliases = Arc::new(aliases);
        self.catalogue_changed = true;
    }

    /// The server with an account has this model, though it does not list it.
    pub(super) fn found(&mut self, model: ModelName, spelling: Box<str>) {
        if self.unlisted.len() < MOST_UNLISTED {
            self.touched.insert(model.clone());
            self.unlisted.insert(model, spelling);
        }
    }

    fn drain(&mut self, member: &Member) {
        if member.endpoint().set_draining(true) {
            self.touch(member);
        }
    }

    /// Drains the servers whose name another has taken over that is known by now.
    fn drain_superseded(&mut self, name: &Arc<str>) {
        let mut members = std::mem::take(&mut self.members);
        for member in &mut members {
            if member.superseded && member.endpoint().name() == name {
                member.superseded = false;
                self.drain(member);
            }
        }
        self.members = members;
    }

    fn kept(&mut self, mut member: Member, spec: &Spec, applied: &mut Applied) -> Member {
        let name = &spec.name;
        let superseded = std::mem::take(&mut member.superseded);
        let configured = member.endpoint().configure(&spec.settings);
        if member.endpoint().set_draining(false) || superseded {
            applied.added.push(Arc::clone(name));
        } else if configured {
            applied.changed.push(Arc::clone(name));
        } else {
            return member;
        }
        self.touch(&member);
        member
    }

    /// The models of a server have to be looked at again.
    fn touch(&mut self, member: &Member) {
        self.touched.extend(member.listed.keys().cloned());
        self.touched.extend(self.unlisted.keys().cloned());
        self.catalogue_changed = true;
    }

    /// Forgets a server, if it drains and no lease of it is out; says whether it did.
    pub(super) fn remove_drained(&mut self, id: &EndpointId) -> bool {
        let before = self.members.len();
        self.members.retain(|member| {
            let endpoint = member.endpoint();
            !member.is(id) || !endpoint.is_draining() || endpoint.total_in_flight() > 0
        });
        self.members.len() < before
    }

    /// Takes a report; nothing is rebuilt before [`State::view`].
    pub(super) fn reported(&mut self, id: &EndpointId, report: Report) {
        let Some(member) = self.members.iter_mut().find(|member| member.is(id)) else {
            return;
        };
        let old = std::mem::replace(&mut member.server.report, report);
        let report = &member.server.report;
        if old.models.as_ref().map(Arc::as_ptr) != report.models.as_ref().map(Arc::as_ptr) {
            let listed = by_name(report);
            let before = std::mem::replace(&mut member.listed, listed);
            self.touched.extend(before.into_keys());
            self.touched.extend(member.listed.keys().cloned());
            self.catalogue_changed = true;
        }
        let stands = member.server.endpoint.stands();
        self.catalogue_changed |= std::mem::replace(&mut member.stands, stands) != stands;
        if old.warm != report.warm {
            self.touched
                .extend(old.warm.iter().chain(&*report.warm).cloned());
        }
        if member.is_known() && !member.superseded && !member.endpoint().is_draining() {
            let name = Arc::clone(member.endpoint().name());
            self.drain_superseded(&name);
        }
    }

    /// Whether a model has lost its last holder since this was asked.
    pub(super) fn take_dropped(&mut self) -> bool {
        std::mem::take(&mut self.dropped)
    }

    /// Servers that have been away for too long lose their models; says when to look again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for member in &mut self.members {
            let report = &member.server.report;
            if report.phase != Phase::Down {
                continue;
            }
            let at = report.since + self.stale_after;
            if now < at {
                next = Some(next.map_or(at, |next| next.min(at)));
            } else if !member.listed.is_empty() {
                let gone = std::mem::take(&mut member.listed);
                self.touched.extend(gone.into_keys());
                self.catalogue_changed = true;
            }
        }
        next
    }

    /// The view as it is now.
    pub(super) fn view(&mut self) -> FleetView {
        for name in std::mem::take(&mut self.touched) {
            let tiers = self.tiers(&name);
            if tiers.is_empty() {
                self.dropped |= self.models.remove(&name).is_some();
            } else {
                self.models.insert(name, Arc::new(ModelView::new(tiers)));
            }
        }
        if std::mem::take(&mut self.catalogue_changed) {
            self.catalogue = Arc::new(Catalogue::new(self.union()));
        }
        let servers = self.members.iter().map(|member| member.server.clone());
        FleetView::new(
            servers.collect(),
            self.models.clone(),
            Arc::clone(&self.catalogue),
            Arc::clone(&self.aliases),
        )
    }

    /// The servers that are wanted.
    fn wanted(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| !member.endpoint().is_draining())
    }

    fn tiers(&self, name: &ModelName) -> Box<[Tier<Holder>]> {
        let mut tiers: BTreeMap<i32, (Vec<Holder>, Vec<Holder>)> = BTreeMap::new();
        let has_account = |member: &Member| member.endpoint().settings().cloud;
        // Others that list a model of Ollama's cloud have no account to use it with.
        let of_account = name.is_cloud() && self.wanted().any(has_account);
        for member in self.wanted() {
            if of_account && !has_account(member) {
                continue;
            }
            let endpoint = Arc::clone(member.endpoint());
            let settings = endpoint.settings();
            let unlisted = || self.unlisted.get(name).filter(|_| settings.cloud);
            let (spelling, precedence) = match (member.listed.get(name), unlisted()) {
                (Some(listed), _) => (&listed.spelling, Precedence::of(listed, endpoint.name())),
                (None, Some(spelling)) => (spelling, Precedence::unlisted(endpoint.name())),
                (None, None) => continue,
            };
            let (warm, cold) = tiers.entry(settings.priority).or_default();
            let warm_ones = &member.server.report.warm;
            let is_warm = name.is_cloud() || warm_ones.binary_search(name).is_ok();
            let side = if is_warm { warm } else { cold };
            side.push(Holder {
                pool: endpoint.pool(name, spelling),
                weight: settings.weight,
                kind: settings.backend.kind(),
                precedence,
                endpoint,
            });
        }
        tiers
            .into_values()
            .map(|(warm, cold)| Tier {
                warm: warm.into(),
                cold: cold.into(),
            })
            .collect()
    }

    /// One entry per model: of servers that take requests for it before others, that of highest precedence, newest
    /// first as Ollama lists. An alias is listed as the first of its models that is, and hides the model of its name.
    fn union(&self) -> Box<[ListedModel]> {
        let mut newest: HashMap<&ModelName, ((bool, Precedence), &ListedModel)> = HashMap::new();
        for member in self.wanted() {
            let settings = member.endpoint().settings();
            for entry in member.listed.values() {
                let stands = member.endpoint().stands() && !settings.drain.is_of(&entry.name);
                let precedence = Precedence::of(entry, member.endpoint().name());
                let ranked = ((stands, precedence), entry);
                newest
                    .entry(&entry.name)
                    .and_modify(|known| {
                        if ranked.0 > known.0 {
                            *known = ranked.clone();
                        }
                    })
                    .or_insert(ranked);
            }
        }
        let aliased = self.aliases.iter().filter_map(|(name, alias)| {
            let mut targets = alias.targets.iter();
            let (first, entry) = targets.find_map(|target| newest.get(&target.name))?;
            Some((first.clone(), entry.renamed(name, &alias.spelling)))
        });
        let mut entries: Vec<_> = aliased.collect();
        let listed = newest.into_values();
        let listed = listed.filter(|(_, entry)| self.aliases.get(&entry.name).is_none());
        entries.extend(listed.map(|(first, entry)| (first, entry.clone())));
        entries.sort_by(|(a_first, a), (b_first, b)| {
            let newer = b_first.1.modified().cmp(&a_first.1.modified());
            newer.then_with(|| a.name.cmp(&b.name))
        });
        entries.into_iter().map(|(_, entry)| entry).collect()
    }
}

// === impl Member ===

impl Member {
    fn new(server: Server) -> Self {
        Self {
            listed: by_name(&server.report),
            stands: server.endpoint.stands(),
            server,
            superseded: false,
        }
    }

    /// It has said which models it has, or was found missing.
    fn is_known(&self) -> bool {
        let report = &self.server.report;
        report.phase == Phase::Down || (report.phase == Phase::Up && report.models.is_some())
    }

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.server.endpoint
    }

    fn is(&self, id: &EndpointId) -> bool {
        self.endpoint().id().generation == id.generation
    }
}

fn by_name(report: &Report) -> HashMap<ModelName, ListedModel> {
    let models = report.models.iter().flat_map(|models| models.iter());
    models
        .map(|listed| (listed.name.clone(), listed.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
