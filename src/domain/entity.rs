//! Who can owe: the kinds of account that usage is charged to.

use std::fmt;

/// What an account stands for. The names are those of the database's `kind` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityKind {
    /// An API key.
    Key,
    /// A person or program that owns keys.
    User,
    /// Several users.
    Team,
    /// One user within one team.
    TeamMember,
    /// Several teams.
    Org,
    /// Who a caller says it asks for (`user` in the request).
    EndUser,
    /// A word the caller puts on a request.
    Tag,
}

impl EntityKind {
    /// Every kind, in the order in which rows are sorted.
    pub const ALL: [Self; 7] = [
        Self::Key,
        Self::User,
        Self::Team,
        Self::TeamMember,
        Self::Org,
        Self::EndUser,
        Self::Tag,
    ];

    /// As it stands in the database.
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

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_under_its_own_name() {
        for kind in EntityKind::ALL {
            assert_eq!(EntityKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EntityKind::parse("Key"), None);
    }
}
