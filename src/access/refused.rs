//! Why a request is refused.

use http::StatusCode;
use thiserror::Error;

use super::meter::{Owner, What};
use crate::domain::{AccountKind, format_usd};

/// Why a request is refused. Its text never contains a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Keys are required, and there was none.
    #[error("no API key was given: send it as `Authorization: Bearer` or as `x-api-key`")]
    NoKey,
    /// This key does not exist.
    #[error("the API key is not valid")]
    UnknownKey,
    /// It has expired.
    #[error("the API key has expired")]
    ExpiredKey,
    /// An operator switched it off.
    #[error("the API key is blocked")]
    BlockedKey,
    /// An operator switched off somebody else that it belongs to, or that the request names.
    #[error("{} is blocked", name(.0))]
    Blocked(Owner),
    /// It says something that may be a limit, and that this version does not know.
    #[error("{} says something this version of the router does not understand", name(.0))]
    NotUnderstood(Owner),
    /// Somebody it belongs to, or whose limits it follows, is not there: nobody knows what it may.
    #[error("{} does not exist, and whoever names it is not let in", name(.0))]
    Missing(Owner),
    /// Not for this model.
    #[error("{} may not use model '{}'", name(.0), .1)]
    Model(Owner, String),
    /// More tags, or longer ones, than are taken.
    #[error("at most {0} tags of at most {1} visible characters are taken")]
    Tags(usize, usize),
    /// Too fast, or too many at once.
    #[error("{}", limited(.owner, *.what, *.limit))]
    Limited {
        /// Whose limit it is.
        owner: Owner,
        /// Which of its limits.
        what: What,
        /// How much that is.
        limit: i64,
        /// When trying again makes sense, in seconds.
        retry_after: u32,
    },
    /// No money left for a request like this.
    #[error("{} has spent its budget of {} USD", name(.owner), format_usd(*.limit))]
    Budget {
        /// Whose budget it is.
        owner: Owner,
        /// How much it is, in nano-USD.
        limit: i64,
        /// When it begins anew, in seconds.
        retry_after: Option<u32>,
    },
    /// It cannot be found out who this is.
    #[error("API keys cannot be checked at the moment, please try again")]
    KeysAway,
    /// It cannot be found out what is left.
    #[error("limits cannot be checked at the moment, please try again")]
    LimitsAway,
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::UnknownKey | Self::ExpiredKey | Self::BlockedKey => {
                StatusCode::UNAUTHORIZED
            }
            Self::Blocked(_) | Self::NotUnderstood(_) | Self::Missing(_) | Self::Model(..) => {
                StatusCode::FORBIDDEN
            }
            Self::Tags(..) => StatusCode::BAD_REQUEST,
            Self::Limited { .. } | Self::Budget { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::KeysAway | Self::LimitsAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to try again, in seconds, where that can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Limited { retry_after, .. } => Some(*retry_after),
            Self::Budget { retry_after, .. } => *retry_after,
            Self::KeysAway | Self::LimitsAway => Some(1),
            _ => None,
        }
    }

    /// True when trying again soon is of no use, although the status is one that clients try again
    /// on by themselves.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Budget { .. })
    }

    /// A short word for a label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::ExpiredKey => "expired_key",
            Self::BlockedKey => "blocked_key",
            Self::Blocked(_) => "blocked",
            Self::NotUnderstood(_) => "not_understood",
            Self::Missing(_) => "missing",
            Self::Model(..) => "model",
            Self::Tags(..) => "tags",
            Self::Limited { what, .. } => match what {
                What::Requests => "rpm",
                What::Tokens => "tpm",
                What::Parallel | What::Money { .. } => "parallel",
            },
            Self::Budget { .. } => "budget",
            Self::KeysAway => "keys_away",
            Self::LimitsAway => "limits_away",
        }
    }
}

/// A key is called by its kind: its id is nobody's business but the operator's.
fn name(owner: &Owner) -> String {
    let who = match owner.kind {
        AccountKind::Key => "the API key".to_owned(),
        AccountKind::TeamMember => format!("team member '{}'", owner.id),
        AccountKind::EndUser => format!("end user '{}'", owner.id),
        kind => format!("{kind} '{}'", owner.id),
    };
    match &owner.model {
        Some(model) => format!("{who} with model '{model}'"),
        None => who,
    }
}

fn limited(owner: &Owner, what: What, limit: i64) -> String {
    let of = match what {
        What::Requests => "requests per minute",
        What::Tokens => "tokens per minute",
        What::Parallel | What::Money { .. } => "requests at once",
    };
    format!("{} is limited to {limit} {of}", name(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: AccountKind, id: &str) -> Owner {
        Owner {
            kind,
            id: id.into(),
            model: None,
        }
    }

    #[test]
    fn every_refusal_says_who_and_never_which_key() {
        let refusals = [
            Refused::Blocked(owner(AccountKind::Team, "blue")),
            Refused::Missing(owner(AccountKind::Budget, "small")),
            Refused::NotUnderstood(owner(AccountKind::Key, "0123abcd")),
            Refused::Model(owner(AccountKind::Key, "0123abcd"), "llama3.2".to_owned()),
            Refused::Limited {
                owner: owner(AccountKind::EndUser, "ann"),
                what: What::Tokens,
                limit: 1000,
                retry_after: 3,
            },
            Refused::Budget {
                owner: owner(AccountKind::Key, "0123abcd"),
                limit: 2_500_000_000,
                retry_after: None,
            },
        ];
        let told = refusals.map(|refused| format!("{} {refused}", refused.status().as_u16()));
        insta::assert_snapshot!(told.join("\n"), @r"
        403 team 'blue' is blocked
        403 budget 'small' does not exist, and whoever names it is not let in
        403 the API key says something this version of the router does not understand
        403 the API key may not use model 'llama3.2'
        429 end user 'ann' is limited to 1000 tokens per minute
        429 the API key has spent its budget of 2.5 USD
        ");
    }
}
