//! Whom spend is charged to.

use std::fmt;
use std::str::FromStr;

/// The key that requests without one are charged to, so that what all keys have spent is what has been
/// spent. No real key is called so: theirs are hashes. Whoever has a name, an account or not, is charged
/// by it, for that says more: a key or a team that was deleted while a request ran still has its row.
pub const UNATTRIBUTED: &str = "unattributed";

/// The longest name of an entity that every database keeps whole, in characters. Names that come
/// from clients (tags, end users) are cut to it where they come in.
pub const MAX_ENTITY_CHARS: usize = 255;

/// What kind of thing an entity is. One request is charged to several at once, each the full price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityKind {
    /// An API key, by the SHA-256 it is stored as.
    Key,
    /// A user of this router.
    User,
    /// A team.
    Team,
    /// One user in one team.
    TeamMember,
    /// An organisation.
    Org,
    /// Whom the request says it is made for (`user`).
    EndUser,
    /// A tag of the request.
    Tag,
}

/// The text names no kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of key, user, team, team_member, org, end_user, tag")]
pub struct InvalidEntityKind;

impl EntityKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Key,
        Self::User,
        Self::Team,
        Self::TeamMember,
        Self::Org,
        Self::EndUser,
        Self::Tag,
    ];

    /// As it is written in tables, journals and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Team => "team",
            Self::TeamMember => "team_member",
            Self::Org => "org",
            Self::EndUser => "end_user",
            Self::Tag => "tag",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EntityKind {
    type Err = InvalidEntityKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(InvalidEntityKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for kind in EntityKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("Key".parse::<EntityKind>(), Err(InvalidEntityKind));
    }
}
