//! Who calls, and on whose behalf.

use std::sync::Arc;

use super::names::{Names, is_customer};
use super::view::{Entry, View};
use super::{Owner, Refused};
use crate::domain::{AccountKind, EntityKind, ModelName, UNATTRIBUTED, member_id};

/// How many tags of requests are told apart: as many as there are end users by default.
const MOST_TAGS: usize = 10_000;

/// The names that clients have made up so far.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) end_users: Names,
    pub(super) tags: Names,
}

impl Known {
    pub(super) fn new(end_users: usize) -> Self {
        Self {
            end_users: Names::new(end_users),
            tags: Names::new(MOST_TAGS),
        }
    }
}

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub struct Caller {
    key: Option<Arc<Entry>>,
}

/// What a request asks for, as far as access control is concerned.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// Tokens to read, estimated.
    pub input: u64,
    /// The most tokens the client wants written, if it said so.
    pub max_output: Option<u64>,
    /// Whether the model computes for it: what only looks something up is not limited.
    pub computes: bool,
    /// Who the caller says it asks for.
    pub user: Option<&'a str>,
    /// The words the caller put on it.
    pub tags: &'a [Arc<str>],
}

/// One account a request concerns, whether or not it exists in the database.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub(super) kind: EntityKind,
    account: AccountKind,
    pub(super) id: Arc<str>,
    pub(super) entry: Option<Arc<Entry>>,
}

impl Caller {
    /// A caller without a key.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { key: None }
    }

    /// Whoever has this key, if it is still one.
    pub(super) fn with(key: Arc<Entry>, unix: i64) -> Result<Self, Refused> {
        key.is_open()?;
        if key.account.expires_at.is_some_and(|at| at <= unix) {
            return Err(Refused::ExpiredKey);
        }
        Ok(Self { key: Some(key) })
    }

    /// SHA-256 of the key; empty without one.
    #[must_use]
    pub fn key_id(&self) -> Arc<str> {
        self.key().unwrap_or_else(|| "".into())
    }

    /// SHA-256 of the key, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<Arc<str>> {
        self.key.as_ref().map(|key| Arc::clone(&key.account.id))
    }

    /// Whether it has a key that may change which models the servers have.
    #[must_use]
    pub fn may_manage(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.account.manage)
    }

    /// Everyone the request concerns, each once.
    pub(super) fn parties(
        &self,
        view: &View,
        known: &Known,
        user: Option<&str>,
        tags: &[Arc<str>],
    ) -> Vec<Party> {
        let mut parties: Vec<Party> = Vec::with_capacity(4);
        let mut join = |kind: AccountKind, id: &str| {
            let entity = kind.entity().filter(|_| !id.is_empty())?;
            if parties.iter().any(|p| p.kind == entity && *p.id == *id) {
                return None;
            }
            let entry = view.get(kind, id).cloned();
            let id = entry
                .as_ref()
                .map_or_else(|| Arc::from(id), |entry| Arc::clone(&entry.account.id));
            parties.push(Party {
                kind: entity,
                account: kind,
                id,
                entry: entry.clone(),
            });
            entry
        };
        if let Some(key) = &self.key {
            let account = &key.account;
            join(AccountKind::Key, &account.id);
            let user = join(AccountKind::User, &account.user);
            let team = join(AccountKind::Team, &account.team);
            let member = (!account.user.is_empty() && !account.team.is_empty())
                .then(|| member_id(&account.team, &account.user))
                .and_then(|member| join(AccountKind::TeamMember, &member));
            // The nearest one: a key of a team belongs where the team does.
            let orgs = [Some(key), team.as_ref(), user.as_ref()];
            let org = orgs
                .into_iter()
                .flatten()
                .map(|entry| entry.account.org.as_str())
                .find(|org| !org.is_empty())
                .and_then(|org| join(AccountKind::Org, org));
            let tagged = [Some(Arc::clone(key)), user, team, member, org];
            for entry in tagged.iter().flatten() {
                for tag in &entry.tags {
                    join(AccountKind::Tag, tag);
                }
            }
        } else {
            // So that all keys together have paid for everything.
            join(AccountKind::Key, UNATTRIBUTED);
        }
        let user = user
            .filter(|user| is_customer(user))
            .map(|user| booked(view, AccountKind::EndUser, &known.end_users, user))
            .and_then(|user| join(AccountKind::EndUser, user));
        for tag in user.iter().flat_map(|user| &user.tags) {
            join(AccountKind::Tag, tag);
        }
        for tag in tags {
            let tag = booked(view, AccountKind::Tag, &known.tags, tag);
            join(AccountKind::Tag, tag);
        }
        parties
    }
}

impl Party {
    /// Refuses what the account itself does not allow.
    pub(super) fn permits(&self, model: &ModelName) -> Result<(), Refused> {
        self.is_open()?;
        match &self.entry {
            Some(entry) if !entry.account.allows(model) => {
                Err(Refused::Model(self.owner(), model.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses whom it keeps from everything.
    pub(super) fn is_open(&self) -> Result<(), Refused> {
        if let Some(entry) = &self.entry {
            return entry.is_open();
        }
        // To whom an operator said that somebody belongs has to be there; whom the request alone
        // names may be anybody.
        match self.account {
            AccountKind::User | AccountKind::Team | AccountKind::Org => {
                Err(Refused::Missing(self.owner()))
            }
            AccountKind::Key if *self.id != *UNATTRIBUTED => Err(Refused::UnknownKey),
            _ => Ok(()),
        }
    }

    /// Whether it is for some models, or some servers, only.
    pub(super) fn is_limited(&self) -> bool {
        let entry = self.entry.as_ref();
        entry.is_some_and(|entry| {
            !(entry.account.models.is_empty() && entry.account.servers.is_empty())
        })
    }

    /// The servers it is limited to, if it is.
    pub(super) fn servers(&self) -> Option<Arc<[String]>> {
        let servers = &self.entry.as_ref()?.account.servers;
        (!servers.is_empty()).then(|| Arc::clone(servers))
    }

    fn owner(&self) -> Owner {
        Owner {
            kind: self.account,
            id: Arc::clone(&self.id),
            model: None,
        }
    }
}

/// The name under which a request that names somebody is booked: its own if there is such an account.
fn booked<'a>(view: &View, kind: AccountKind, names: &Names, name: &'a str) -> &'a str {
    match view.get(kind, name) {
        Some(_) => name,
        None => names.booked(name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::Change;
    use super::*;
    use crate::domain::{Account, ModelRule};

    fn view(accounts: impl IntoIterator<Item = Account>) -> View {
        let changes = accounts
            .into_iter()
            .map(|account| Change::Put(Box::new(account)))
            .collect();
        View::empty().with(changes).0
    }

    fn key() -> Account {
        let mut key = Account::new(AccountKind::Key, "k", 0);
        (key.user, key.team) = ("ann".to_owned(), "blue".to_owned());
        key.metadata = r#"{"tags":["batch"]}"#.to_owned();
        key
    }

    fn caller(view: &View) -> Caller {
        Caller::with(Arc::clone(view.get(AccountKind::Key, "k").unwrap()), 0).unwrap()
    }

    #[test]
    fn a_request_concerns_everyone_its_key_and_itself_name_each_once() {
        let tagged = |kind, id, tags: &str| {
            let mut account = Account::new(kind, id, 0);
            account.metadata = format!(r#"{{"tags":[{tags}]}}"#);
            account
        };
        let mut team = tagged(AccountKind::Team, "blue", r#""sales""#);
        team.org = "acme".to_owned();
        let view = view([
            key(),
            team,
            tagged(AccountKind::Org, "acme", r#""batch","eu""#),
            tagged(AccountKind::TeamMember, "blue/ann", r#""new""#),
            tagged(AccountKind::EndUser, "customer 7", r#""paying""#),
        ]);
        let tags = [Arc::from("batch"), Arc::from("night")];
        let told: Vec<String> = caller(&view)
            .parties(&view, &Known::new(9), Some("customer 7"), &tags)
            .iter()
            .map(|party| format!("{} {} {}", party.kind, party.id, party.entry.is_some()))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        key k true
        user ann false
        team blue true
        team_member blue/ann true
        org acme true
        tag batch false
        tag sales false
        tag new false
        tag eu false
        end_user customer 7 true
        tag paying false
        tag night false
        ");
    }

    #[test]
    fn a_request_without_a_key_is_charged_to_nobody_in_particular() {
        let (view, known) = (view([key()]), Known::new(9));
        let parties = Caller::anonymous().parties(&view, &known, Some("customer 7"), &[]);
        let told: Vec<_> = parties.iter().map(|p| (p.kind, &*p.id)).collect();
        assert_eq!(
            told,
            [
                (EntityKind::Key, UNATTRIBUTED),
                (EntityKind::EndUser, "customer 7")
            ]
        );
    }

    #[test]
    fn a_key_that_is_blocked_or_over_is_none() {
        let mut blocked = key();
        blocked.blocked = true;
        let mut over = key();
        over.expires_at = Some(50);
        let entry = |account| Arc::clone(view([account]).get(AccountKind::Key, "k").unwrap());
        assert_eq!(
            Caller::with(entry(blocked), 0).unwrap_err(),
            Refused::BlockedKey
        );
        let mut newer = key();
        newer.understood = false;
        assert!(matches!(
            Caller::with(entry(newer), 0),
            Err(Refused::NotUnderstood(_))
        ));
        assert!(Caller::with(entry(over.clone()), 49).is_ok());
        assert_eq!(
            Caller::with(entry(over), 50).unwrap_err(),
            Refused::ExpiredKey
        );
    }

    /// A request admitted by a view that lacks a named account would not have the limits of that
    /// account.
    #[test]
    fn a_key_that_names_a_missing_account_is_refused() {
        let model = ModelName::parse("m").unwrap();
        let refused = |view: &View| {
            let (known, tags) = (Known::new(9), [Arc::from("night")]);
            let parties = caller(view).parties(view, &known, Some("customer 7"), &tags);
            let told = parties
                .iter()
                .filter_map(|party| party.permits(&model).err());
            told.map(|refused| refused.to_string()).collect::<Vec<_>>()
        };
        let user = Account::new(AccountKind::User, "ann", 0);
        let mut team = Account::new(AccountKind::Team, "blue", 0);
        let all = view([key(), user.clone(), team.clone()]);
        assert!(refused(&all).is_empty());
        team.org = "acme".to_owned();
        let told = refused(&view([key(), user, team]));
        assert_eq!(
            told,
            ["org 'acme' does not exist, and whoever names it is not let in"]
        );
        assert_eq!(refused(&view([key()])).len(), 2, "neither user nor team");
    }

    #[test]
    fn whoever_has_an_account_is_known_by_name_and_of_others_only_so_many() {
        let view = view([Account::new(AccountKind::EndUser, "ann", 0)]);
        let known = Known::new(1);
        let booked = |user: &str| {
            let parties = Caller::anonymous().parties(&view, &known, Some(user), &[]);
            let user = parties.iter().find(|p| p.kind == EntityKind::EndUser);
            user.map(|party| party.id.to_string())
        };
        let asked = ["bob", "ann", "cleo", "bob", r#"{"session":1}"#];
        let told = asked.map(|user| booked(user).unwrap_or_default());
        assert_eq!(told, ["bob", "ann", "other", "bob", ""]);
    }

    #[test]
    fn a_key_shows_the_models_that_everyone_it_belongs_to_may_use() {
        let allowed = |kind, id: &str, rules: &[&str]| {
            let mut account = Account::new(kind, id, 0);
            let rules = rules.iter().map(|rule| ModelRule::parse(rule).unwrap());
            account.models = rules.collect();
            account
        };
        let mut key = key();
        key.models = vec![ModelRule::parse("llama*").unwrap()];
        let team = allowed(AccountKind::Team, "blue", &["llama3.2", "qwen3"]);
        let view = view([key, team, Account::new(AccountKind::User, "ann", 0)]);
        let parties = caller(&view).parties(&view, &Known::new(0), None, &[]);
        let may = |model: &str| {
            let model = ModelName::parse(model).unwrap();
            parties.iter().all(|party| party.permits(&model).is_ok())
        };
        assert_eq!(
            ["llama3.2", "llama3.1", "qwen3"].map(may),
            [true, false, false]
        );
        let limited = parties.iter().filter(|party| party.is_limited());
        assert_eq!(limited.count(), 2);
    }
}
