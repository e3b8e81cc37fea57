//! What operators keep from servers that they have not added: what is stored, and what is not yet. Pure.

use std::collections::BTreeMap;

use super::Refused;
use super::change::Step;
use super::hold;
use super::state::Wanted;
use crate::fleet::Drain;
use crate::store::DrainChange;

impl Wanted {
    /// What operators keep from servers ends, where nothing is stored.
    pub(super) fn end_holds(&mut self) -> Vec<String> {
        self.unkept.clear();
        let held = std::mem::take(&mut self.held).into_iter();
        held.map(|(name, _)| name).collect()
    }

    pub(super) fn hold(&mut self, name: String, drain: Drain) {
        match drain {
            Drain::Nothing => drop(self.held.remove(&name)),
            drain => drop(self.held.insert(name, drain)),
        }
    }

    /// This is stored. What is not goes on all the same; returned is what has to be stored for that.
    pub(super) fn stored(&mut self, held: BTreeMap<String, Drain>) -> Vec<DrainChange> {
        self.held = held;
        let mut changes = Vec::new();
        for (name, (lasting, drain)) in self.unkept.clone() {
            let before = self.held.get(&name).cloned().unwrap_or_default();
            changes.push(hold::change(&name, lasting, &before, &drain));
            self.hold(name, drain);
        }
        changes
    }

    pub(super) fn may_hold(
        &self,
        name: &str,
        change: impl FnOnce(&Drain) -> Result<Drain, Refused>,
    ) -> Result<Step, Refused> {
        match self.added(name) {
            Ok(known) => {
                let drain = change(&known.drain)?;
                Ok(known.put(|added| added.drain = drain))
            }
            Err(Refused::Registered(name)) => self.held(name, true, change),
            Err(Refused::Configured(name) | Refused::Found(name)) => self.held(name, false, change),
            // It is gone, and comes back as it was unless it is resumed.
            Err(Refused::Missing(name)) if self.held.contains_key(&name) => {
                self.held(name, true, change)
            }
            Err(refused) => Err(refused),
        }
    }

    fn held(
        &self,
        name: String,
        lasting: bool,
        change: impl FnOnce(&Drain) -> Result<Drain, Refused>,
    ) -> Result<Step, Refused> {
        let before = self.held.get(&name).cloned().unwrap_or_default();
        let drain = change(&before)?;
        Ok(Step::Hold {
            name,
            lasting,
            before,
            drain,
            is_kept: false,
        })
    }
}
