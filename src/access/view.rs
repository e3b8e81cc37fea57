//! All accounts, as requests read them: immutable, replaced whole, and cheap to replace.
//!
//! A change copies the one shard it falls into, out of [`SHARDS`], and shares the rest with the view
//! before. So changing one key of 100,000 costs what changing one of four hundred does, and reading
//! costs one look-up however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::Refused;
use super::meter::{Cell, Owner, What};
use super::tag::tags_of;
use crate::domain::{
    Account, AccountKind, Allowance, Limits, MOST_NANO_USD, ModelName, Period, Price,
};

const SHARDS: usize = 256;

type Shard = HashMap<Arc<str>, Arc<Entry>>;

/// Everyone, and every price.
#[derive(Clone, Debug)]
pub struct View {
    kinds: Vec<Shards>,
    /// What tokens of a model cost.
    pub(super) prices: Arc<HashMap<ModelName, Price>>,
}

#[derive(Clone, Debug)]
struct Shards(Vec<Arc<Shard>>);

/// An account and its limits.
#[derive(Debug)]
pub struct Entry {
    /// Its settings.
    pub(super) account: Account,
    /// Tags that come with it: those of its metadata.
    pub(super) tags: Vec<Arc<str>>,
    /// Why its requests are refused, if they are.
    refusal: Option<Refused>,
    /// How what it spends is booked, whether or not it is limited: a limit that is set later counts from
    /// the beginning of its period.
    pub(super) period: Period,
    soft: Option<i64>,
    /// Limits over all models.
    pub(super) cells: Vec<Arc<Cell>>,
    /// Limits of single models, besides.
    pub(super) by_model: Vec<(ModelName, Vec<Arc<Cell>>)>,
}

/// An account that is new or has changed, or one that is gone.
#[derive(Clone, Debug)]
pub enum Change {
    /// As it is now.
    Put(Box<Account>),
    /// Gone.
    Gone(AccountKind, Arc<str>),
}

impl View {
    pub(super) fn empty() -> Self {
        Self {
            kinds: AccountKind::ALL
                .iter()
                .map(|_| Shards(vec![Arc::default(); SHARDS]))
                .collect(),
            prices: Arc::default(),
        }
    }

    /// The account, if there is one.
    pub(super) fn get(&self, kind: AccountKind, id: &str) -> Option<&Arc<Entry>> {
        self.kinds[kind as usize].0[shard_of(id)].get(id)
    }

    /// How many of a kind there are.
    pub(super) fn count(&self, kind: AccountKind) -> usize {
        self.kinds[kind as usize]
            .0
            .iter()
            .map(|shard| shard.len())
            .sum()
    }

    /// Everyone of every kind.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.kinds
            .iter()
            .flat_map(|kind| &kind.0)
            .flat_map(|shard| shard.values())
    }

    /// This view with the changes. The second is what it has of new or changed limits.
    pub(super) fn with(&self, changes: Vec<Change>) -> (Self, Vec<Arc<Cell>>) {
        let mut view = self.clone();
        let mut plans = Vec::new();
        let (mut puts, mut gone) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Put(account) => puts.push(*account),
                Change::Gone(kind, id) => gone.push((kind, id)),
            }
        }
        // Plans first: the others are made from them.
        puts.sort_by_key(|account| account.kind != AccountKind::Budget);
        let mut cells = Vec::new();
        for (kind, id) in gone {
            if kind == AccountKind::Budget {
                plans.push(Arc::clone(&id));
            }
            view.set(kind, &id, None);
        }
        for account in puts {
            if account.kind == AccountKind::Budget {
                plans.push(Arc::clone(&account.id));
            }
            view.put(account, &mut cells);
        }
        if !plans.is_empty() {
            let follows = |entry: &&Arc<Entry>| {
                let plan = entry.account.budget.as_str();
                !plan.is_empty() && plans.iter().any(|id| **id == *plan)
            };
            let followers: Vec<Account> = view
                .all()
                .filter(follows)
                .map(|entry| entry.account.clone())
                .collect();
            for account in followers {
                view.put(account, &mut cells);
            }
        }
        (view, cells)
    }

    fn put(&mut self, account: Account, cells: &mut Vec<Arc<Cell>>) {
        let plan = self.get(AccountKind::Budget, &account.budget);
        let allowance = match plan {
            Some(plan) => account.allowance.or(&plan.account.allowance),
            None => account.allowance.clone(),
        };
        // Without its plan nobody knows what it may.
        let refusal = own_refusal(&account).or_else(|| match plan {
            Some(plan) => plan.refusal.clone(),
            None if account.budget.is_empty() => None,
            None => Some(Refused::Missing(Owner {
                kind: AccountKind::Budget,
                id: account.budget.as_str().into(),
                model: None,
            })),
        });
        let former = self.get(account.kind, &account.id).cloned();
        let entry = Entry::new(account, &allowance, refusal, former.as_deref());
        cells.extend(entry.all_cells().cloned());
        let (kind, id) = (entry.account.kind, Arc::clone(&entry.account.id));
        self.set(kind, &id, Some(Arc::new(entry)));
    }

    fn set(&mut self, kind: AccountKind, id: &Arc<str>, entry: Option<Arc<Entry>>) {
        let shard = Arc::make_mut(&mut self.kinds[kind as usize].0[shard_of(id)]);
        match entry {
            Some(entry) => shard.insert(Arc::clone(id), entry),
            None => shard.remove(id),
        };
    }
}

impl Entry {
    fn new(
        account: Account,
        allowance: &Allowance,
        refusal: Option<Refused>,
        former: Option<&Self>,
    ) -> Self {
        let former: Vec<&Arc<Cell>> = former.iter().flat_map(|entry| entry.all_cells()).collect();
        // A plan limits those who follow it, and nobody by itself.
        let counts = account.kind != AccountKind::Budget;
        let make = |model: Option<&ModelName>, limits: &[(What, Option<i64>)]| {
            limits
                .iter()
                .filter_map(|(what, limit)| Some((*what, (*limit)?)))
                .filter(|_| counts)
                .map(|(what, limit)| {
                    let owner = Owner {
                        kind: account.kind,
                        id: Arc::clone(&account.id),
                        model: model.cloned(),
                    };
                    let fresh = Cell::new(owner, what, limit);
                    // Who has a share of it keeps it.
                    match former.iter().find(|cell| cell.key() == fresh.key()) {
                        Some(cell) => {
                            cell.set_limit(limit);
                            Arc::clone(cell)
                        }
                        None => Arc::new(fresh),
                    }
                })
                .collect::<Vec<_>>()
        };
        let money = What::Money {
            created: account.created_at,
            period: allowance.budget.period,
        };
        let mut whole = request_limits(allowance.limits).to_vec();
        // A soft limit alone still has to be watched: it has a limit nobody reaches.
        let soft = allowance.budget.soft.map(|_| MOST_NANO_USD);
        whole.push((money, allowance.budget.limit.or(soft)));
        let cells = make(None, &whole);
        let by_model = allowance
            .by_model
            .iter()
            .filter_map(|(model, limits)| {
                let model = ModelName::parse_any(model).ok()?;
                let cells = make(Some(&model), &request_limits(*limits));
                Some((model, cells))
            })
            .collect();
        Self {
            tags: own_tags(&account.metadata),
            refusal,
            period: allowance.budget.period,
            soft: allowance.budget.soft,
            cells,
            by_model,
            account,
        }
    }

    /// The refusal of all its requests, if there is one.
    pub(super) fn is_open(&self) -> Result<(), Refused> {
        self.refusal.clone().map_or(Ok(()), Err)
    }

    /// The limits a request for this model meets.
    pub(super) fn cells_for(&self, model: &ModelName) -> impl Iterator<Item = &Arc<Cell>> {
        let own = self.by_model.iter().filter(move |(of, _)| of == model);
        self.cells.iter().chain(own.flat_map(|(_, cells)| cells))
    }

    /// From this spending on a warning is logged.
    pub(super) fn soft(&self) -> Option<i64> {
        self.soft
    }

    fn all_cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        let models = self.by_model.iter().flat_map(|(_, cells)| cells);
        self.cells.iter().chain(models)
    }
}

fn request_limits(limits: Limits) -> [(What, Option<i64>); 3] {
    [
        (What::Requests, limits.rpm),
        (What::Tokens, limits.tpm),
        (What::Parallel, limits.parallel),
    ]
}

fn own_refusal(account: &Account) -> Option<Refused> {
    let owner = || Owner {
        kind: account.kind,
        id: Arc::clone(&account.id),
        model: None,
    };
    match (account.blocked, account.understood) {
        (true, _) if account.kind == AccountKind::Key => Some(Refused::BlockedKey),
        (true, _) => Some(Refused::Blocked(owner())),
        (false, false) => Some(Refused::NotUnderstood(owner())),
        (false, true) => None,
    }
}

/// What is written by the admin calls has been checked; text written into the table
/// directly that is no list of tags is none.
fn own_tags(metadata: &str) -> Vec<Arc<str>> {
    serde_json::from_str(metadata)
        .ok()
        .and_then(|metadata| tags_of(&metadata).ok())
        .unwrap_or_default()
}

/// FNV-1a: ids are not secret, and nobody gains by filling one shard.
fn shard_of(id: &str) -> usize {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(kind: AccountKind, id: &str) -> Account {
        Account::new(kind, id, 100)
    }

    fn with_rpm(kind: AccountKind, id: &str, rpm: i64) -> Account {
        let mut account = account(kind, id);
        account.allowance.limits.rpm = Some(rpm);
        account
    }

    fn put(account: Account) -> Change {
        Change::Put(Box::new(account))
    }

    #[test]
    fn a_changed_limit_keeps_what_has_been_counted() {
        let (view, _) = View::empty().with(vec![put(with_rpm(AccountKind::User, "u", 5))]);
        let before = Arc::clone(&view.get(AccountKind::User, "u").unwrap().cells[0]);
        let (view, changed) = view.with(vec![put(with_rpm(AccountKind::User, "u", 9))]);
        let after = &view.get(AccountKind::User, "u").unwrap().cells[0];
        assert!(Arc::ptr_eq(&before, after) && Arc::ptr_eq(&before, &changed[0]));
        assert_eq!(after.limit(), 9);
    }

    #[test]
    fn whoever_follows_a_plan_changes_with_it() {
        let mut follower = account(AccountKind::Key, "k");
        follower.budget = "free".to_owned();
        let plan = with_rpm(AccountKind::Budget, "free", 3);
        let (view, _) = View::empty().with(vec![put(follower), put(plan)]);
        let limit = |view: &View| {
            let entry = view.get(AccountKind::Key, "k").unwrap();
            entry.cells.first().map(|cell| cell.limit())
        };
        assert_eq!(limit(&view), Some(3));
        assert!(
            view.get(AccountKind::Budget, "free")
                .unwrap()
                .cells
                .is_empty()
        );
        let (view, _) = view.with(vec![put(with_rpm(AccountKind::Budget, "free", 4))]);
        assert_eq!(limit(&view), Some(4));
        // Without it nobody knows what its followers may: they may nothing, until there is one again.
        let open = |view: &View| view.get(AccountKind::Key, "k").unwrap().is_open();
        assert_eq!(open(&view), Ok(()));
        let plan = Owner {
            kind: AccountKind::Budget,
            id: "free".into(),
            model: None,
        };
        let (view, _) = view.with(vec![Change::Gone(AccountKind::Budget, "free".into())]);
        assert_eq!(limit(&view), None);
        assert_eq!(open(&view), Err(Refused::Missing(plan.clone())));
        let mut blocked = with_rpm(AccountKind::Budget, "free", 4);
        blocked.blocked = true;
        let (view, _) = view.with(vec![put(blocked)]);
        assert_eq!(open(&view), Err(Refused::Blocked(plan.clone())));
        let mut newer = with_rpm(AccountKind::Budget, "free", 4);
        newer.understood = false;
        let (view, _) = view.with(vec![put(newer)]);
        assert_eq!(open(&view), Err(Refused::NotUnderstood(plan)));
        let (view, _) = view.with(vec![put(with_rpm(AccountKind::Budget, "free", 5))]);
        assert_eq!((open(&view), limit(&view)), (Ok(()), Some(5)));
    }

    #[test]
    fn what_is_gone_is_gone_and_the_view_before_still_has_it() {
        let (one, _) = View::empty().with(vec![put(account(AccountKind::Tag, "t"))]);
        let (two, _) = one.with(vec![Change::Gone(AccountKind::Tag, "t".into())]);
        assert!(one.get(AccountKind::Tag, "t").is_some());
        assert!(two.get(AccountKind::Tag, "t").is_none());
        assert_eq!(
            (one.count(AccountKind::Tag), two.count(AccountKind::Tag)),
            (1, 0)
        );
    }

    #[test]
    fn one_change_among_a_hundred_thousand_copies_one_shard() {
        let id = |n: usize| format!("{n:064x}");
        let many = (0..100_000).map(|n| put(account(AccountKind::Key, &id(n))));
        let (before, _) = View::empty().with(many.collect());
        let (after, _) = before.with(vec![put(account(AccountKind::Key, &id(7)))]);
        let shards = |view: &View| view.kinds[AccountKind::Key as usize].0.clone();
        let pairs = shards(&before).into_iter().zip(shards(&after));
        let copied: Vec<usize> = pairs
            .filter(|(one, other)| !Arc::ptr_eq(one, other))
            .map(|(one, _)| one.len())
            .collect();
        // Ids are spread evenly: about four hundred in each.
        assert!(copied.len() == 1 && copied[0] < 600, "{copied:?}");
        assert_eq!(after.count(AccountKind::Key), 100_000);
        assert!(after.get(AccountKind::Key, &id(99_999)).is_some());
    }

    #[test]
    fn tags_come_from_the_metadata() {
        assert_eq!(
            own_tags(r#"{"tags":["a","b"],"x":1}"#),
            ["a", "b"].map(Arc::<str>::from)
        );
        // Whatever is written into the table directly, no record gets what no database keeps.
        let long = format!(r#"{{"tags":["{}"]}}"#, "x".repeat(300));
        for wrong in ["{}", "", r#"{"tags":1}"#, r#"{"tags":["\u0000"]}"#, &long] {
            assert!(own_tags(wrong).is_empty(), "{wrong}");
        }
    }
}
