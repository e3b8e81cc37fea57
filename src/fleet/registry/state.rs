//! From reports to a view: pure, and only as much work as has changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ModelName;
use crate::fleet::endpoint::{Phase, Report};
use crate::fleet::view::{Catalogue, FleetView, Holder, ModelView, Models, Server};
use crate::protocol::{ListedModel, unix_seconds};
use crate::routing::Tier;

#[derive(Debug)]
pub(super) struct State {
    servers: Box<[Server]>,
    /// Per server: what it lists, by name.
    listed: Box<[HashMap<ModelName, ListedModel>]>,
    models: Models,
    catalogue: Arc<Catalogue>,
    stale_after: Duration,
    /// Models whose holders have changed since the last view.
    touched: HashSet<ModelName>,
    catalogue_changed: bool,
}

impl State {
    pub(super) fn new(servers: Box<[Server]>, stale_after: Duration) -> Self {
        let listed = servers
            .iter()
            .map(|server| by_name(&server.report))
            .collect::<Box<[_]>>();
        let touched = listed.iter().flat_map(HashMap::keys).cloned().collect();
        Self {
            servers,
            listed,
            models: Models::default(),
            catalogue: Arc::default(),
            stale_after,
            touched,
            catalogue_changed: true,
        }
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Takes a report; nothing is rebuilt before [`State::view`].
    pub(super) fn reported(&mut self, id: usize, report: Report) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut server.report, report);
        let report = &server.report;
        if old.models.as_ref().map(Arc::as_ptr) != report.models.as_ref().map(Arc::as_ptr) {
            let listed = by_name(report);
            let before = std::mem::replace(&mut self.listed[id], listed);
            self.touched.extend(before.into_keys());
            self.touched.extend(self.listed[id].keys().cloned());
            self.catalogue_changed = true;
        }
        if old.warm != report.warm {
            self.touched
                .extend(old.warm.iter().chain(&*report.warm).cloned());
        }
    }

    /// Servers that have been away for too long lose their models; says when to look again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (id, server) in self.servers.iter().enumerate() {
            let Phase::Down(since) = server.report.phase else {
                continue;
            };
            if server.is_listed(now, self.stale_after) {
                let at = since + self.stale_after;
                next = Some(next.map_or(at, |next| next.min(at)));
            } else if !self.listed[id].is_empty() {
                let gone = std::mem::take(&mut self.listed[id]);
                self.touched.extend(gone.into_keys());
                self.catalogue_changed = true;
            }
        }
        next
    }

    /// The picture as it is now.
    pub(super) fn view(&mut self) -> FleetView {
        for name in std::mem::take(&mut self.touched) {
            let tiers = self.tiers(&name);
            if tiers.is_empty() {
                self.models.remove(&name);
            } else {
                self.models.insert(name, Arc::new(ModelView { tiers }));
            }
        }
        if std::mem::take(&mut self.catalogue_changed) {
            self.catalogue = Arc::new(Catalogue::new(self.union()));
        }
        FleetView::new(
            self.servers.clone(),
            self.models.clone(),
            Arc::clone(&self.catalogue),
        )
    }

    fn tiers(&self, name: &ModelName) -> Box<[Tier<Holder>]> {
        let mut tiers: BTreeMap<i32, (Vec<Holder>, Vec<Holder>)> = BTreeMap::new();
        for (server, listed) in self.servers.iter().zip(&self.listed) {
            if !listed.contains_key(name) {
                continue;
            }
            let endpoint = Arc::clone(&server.endpoint);
            let seat = endpoint.seat(name);
            let (warm, cold) = tiers.entry(endpoint.priority()).or_default();
            let is_warm = server.report.warm.binary_search(name).is_ok();
            let side = if is_warm { warm } else { cold };
            side.push(Holder { endpoint, seat });
        }
        tiers
            .into_values()
            .map(|(warm, cold)| Tier {
                warm: warm.into(),
                cold: cold.into(),
            })
            .collect()
    }

    /// One entry per model, the newest of the servers' words, newest first as Ollama lists.
    fn union(&self) -> Box<[ListedModel]> {
        let mut newest: HashMap<&ModelName, (Option<i64>, &ListedModel)> = HashMap::new();
        for entry in self.listed.iter().flat_map(HashMap::values) {
            let word = (unix_seconds(&entry.modified_at), entry);
            newest
                .entry(&entry.name)
                .and_modify(|known| {
                    if word.0 > known.0 {
                        *known = word;
                    }
                })
                .or_insert(word);
        }
        let mut entries: Vec<_> = newest.into_values().collect();
        entries.sort_by(|(a_at, a), (b_at, b)| b_at.cmp(a_at).then_with(|| a.name.cmp(&b.name)));
        entries
            .into_iter()
            .map(|(_, entry)| entry.clone())
            .collect()
    }
}

fn by_name(report: &Report) -> HashMap<ModelName, ListedModel> {
    let models = report.models.iter().flat_map(|models| models.iter());
    models
        .map(|listed| (listed.name.clone(), listed.clone()))
        .collect()
}
