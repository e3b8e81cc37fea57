//! An account: whoever can be admitted, limited, or charged.
//!
//! Keys, users, teams, members of teams, organisations, end users and tags differ in where they
//! come from and not in what can be said of them, so they are one type. A *budget* is an account
//! that nobody is charged to: a plan that others name, and whose allowance fills in what they do
//! not say.

use std::fmt;
use std::sync::Arc;

use super::{Allowance, EntityKind, ModelName};

/// The kinds of account. All but [`AccountKind::Budget`] can be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountKind {
    /// An API key; its id is the SHA-256 of it.
    Key,
    /// A person or program that owns keys.
    User,
    /// Several users.
    Team,
    /// One user within one team; its id is `team/user`.
    TeamMember,
    /// Several teams.
    Org,
    /// Who a caller says it asks for.
    EndUser,
    /// A word that callers put on requests.
    Tag,
    /// A plan that other accounts name.
    Budget,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What it stands for.
    pub kind: AccountKind,
    /// Unique among those of its kind.
    pub id: Arc<str>,
    /// For people.
    pub name: String,
    /// The user a key belongs to; empty for none.
    pub user: String,
    /// The team a key belongs to; empty for none.
    pub team: String,
    /// The organisation a key, user or team belongs to; empty for none.
    pub org: String,
    /// The plan that fills in what [`Account::allowance`] does not say; empty for none.
    pub budget: String,
    /// What it may use.
    pub allowance: Allowance,
    /// Which models it may use; empty for all.
    pub models: Vec<ModelRule>,
    /// Which servers its requests may go to, by name or label; empty for all.
    pub servers: Arc<[String]>,
    /// The operator's own, a JSON object.
    pub metadata: String,
    /// Whether a key may change which models the servers have.
    pub manage: bool,
    /// Its requests are refused.
    pub blocked: bool,
    /// Whether this version of the program knows all that is said of it. Who says something else may be
    /// limited by it: its requests are refused, and it cannot be changed by a version that would lose it.
    pub understood: bool,
    /// From when on a key is none, in Unix seconds.
    pub expires_at: Option<i64>,
    /// When it was made, in Unix seconds: periods count from here.
    pub created_at: i64,
}

/// A model, or all whose canonical names begin alike (`llama3.2:*`, `*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRule {
    /// This one.
    One(ModelName),
    /// Those that begin so.
    Prefix(String),
}

impl AccountKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Key,
        Self::User,
        Self::Team,
        Self::TeamMember,
        Self::Org,
        Self::EndUser,
        Self::Tag,
        Self::Budget,
    ];

    /// As it stands in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.entity() {
            Some(entity) => entity.as_str(),
            None => "budget",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of entity that is charged.
    #[must_use]
    pub const fn entity(self) -> Option<EntityKind> {
        Some(match self {
            Self::Key => EntityKind::Key,
            Self::User => EntityKind::User,
            Self::Team => EntityKind::Team,
            Self::TeamMember => EntityKind::TeamMember,
            Self::Org => EntityKind::Org,
            Self::EndUser => EntityKind::EndUser,
            Self::Tag => EntityKind::Tag,
            Self::Budget => return None,
        })
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Account {
    /// An account with default settings.
    #[must_use]
    pub fn new(kind: AccountKind, id: impl Into<Arc<str>>, created_at: i64) -> Self {
        Self {
            kind,
            id: id.into(),
            name: String::new(),
            user: String::new(),
            team: String::new(),
            org: String::new(),
            budget: String::new(),
            allowance: Allowance::default(),
            models: Vec::new(),
            servers: Arc::default(),
            metadata: "{}".to_owned(),
            manage: false,
            blocked: false,
            understood: true,
            expires_at: None,
            created_at,
        }
    }

    /// Whether it may use this model.
    #[must_use]
    pub fn allows(&self, model: &ModelName) -> bool {
        self.models.is_empty() || self.models.iter().any(|rule| rule.matches(model))
    }
}

impl ModelRule {
    /// Reads any spelling of a model's name, or a beginning followed by `*`.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        match written.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => {
                Some(Self::Prefix(prefix.trim().to_ascii_lowercase()))
            }
            Some(_) => None,
            None => ModelName::parse_any(written).ok().map(Self::One),
        }
    }

    fn matches(&self, model: &ModelName) -> bool {
        match self {
            Self::One(one) => one == model,
            Self::Prefix(prefix) => model.as_str().starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for ModelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(model) => model.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// The longest id of an account: it is part of the keys of tables, and travels in paths. Two of them and
/// what joins them are a member's, which is no longer than
/// [`MAX_ENTITY_CHARS`](super::MAX_ENTITY_CHARS).
const LONGEST_ID: usize = 127;

/// Whether this can be the id of an account an operator makes. No `/`, which joins the two halves
/// of a member's, and nothing that would have to be escaped in a path or a header.
#[must_use]
pub fn is_account_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._@:+-".contains(&byte))
}

/// The id of a user within a team.
#[must_use]
pub fn member_id(team: &str, user: &str) -> String {
    format!("{team}/{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_under_its_own_name() {
        for kind in AccountKind::ALL {
            assert_eq!(AccountKind::parse(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn models_are_allowed_by_any_spelling_and_by_beginnings() {
        let mut account = Account::new(AccountKind::Key, "k", 0);
        let model = |name: &str| ModelName::parse(name).unwrap();
        assert!(account.allows(&model("anything")));
        account.models = ["LLAMA3.2", "qwen3:*"]
            .map(|rule| ModelRule::parse(rule).unwrap())
            .to_vec();
        assert!(account.allows(&model("library/llama3.2:latest")));
        assert!(account.allows(&model("qwen3:8b")));
        assert!(!account.allows(&model("llama3.2:1b")));
        assert!(ModelRule::parse("a*b*").is_none() && ModelRule::parse("a b").is_none());
    }

    #[test]
    fn two_members_never_share_an_id() {
        assert!(!is_account_id("a/b") && !is_account_id("") && !is_account_id(&"x".repeat(129)));
        assert!(is_account_id("ann@example.com"));
        assert_ne!(member_id("a", "b.c"), member_id("a.b", "c"));
    }
}
