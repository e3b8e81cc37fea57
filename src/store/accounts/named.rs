//! Accounts that name others: what a key belongs to, the two halves of a member, the plan somebody
//! follows.
//!
//! What is named has to be there. Were it not, a misspelt plan would limit nobody, and deleting a
//! blocked team would let its keys in again. Both questions are asked behind the one row that every
//! change holds until it commits, so that of a router that makes a name and one that deletes what it
//! stands for, at the same moment, the second sees what the first did. What was written by other means (by an
//! operator in SQL, by an older version) is refused: see [`access`](crate::access).

use super::Error;
use crate::domain::{Account, AccountKind};
use crate::store::dialect::{Dialect, Value};

/// The first account this one names and that does not exist. What it `is` stored and named before, it may
/// go on naming: whoever wants to block it has to be able to.
pub(super) async fn lacking<C: Dialect>(
    connection: &mut C,
    account: &Account,
    is: bool,
) -> Result<Option<(AccountKind, String)>, Error> {
    let (team, user) = match account.kind {
        AccountKind::TeamMember => account.id.split_once('/').unwrap_or_default(),
        _ => (account.team.as_str(), account.user.as_str()),
    };
    for (kind, id, column) in [
        (AccountKind::User, user, "user_id"),
        (AccountKind::Team, team, "team_id"),
        (AccountKind::Org, &account.org, "org_id"),
        (AccountKind::Budget, &account.budget, "budget_id"),
    ] {
        if id.is_empty() || exists(connection, kind, id).await? {
            continue;
        }
        let which = format!("kind = ? AND id = ? AND {column} = ?");
        let values = [account.kind.as_str(), &account.id, id].map(Value::Text);
        // The halves of a member are in its id.
        let half = account.kind == AccountKind::TeamMember && [team, user].contains(&id);
        if is && (half || count(connection, &which, &values).await? > 0) {
            continue;
        }
        return Ok(Some((kind, id.to_owned())));
    }
    Ok(None)
}

pub(super) async fn exists<C: Dialect>(
    connection: &mut C,
    kind: AccountKind,
    id: &str,
) -> Result<bool, Error> {
    let values = [Value::Text(kind.as_str()), Value::Text(id)];
    Ok(count(connection, "kind = ? AND id = ?", &values).await? > 0)
}

/// How many name this one. A member is named by the keys of its user in its team, which it limits.
pub(super) async fn by<C: Dialect>(
    connection: &mut C,
    kind: AccountKind,
    id: &str,
) -> Result<i64, Error> {
    match kind {
        AccountKind::Key | AccountKind::EndUser | AccountKind::Tag => Ok(0),
        AccountKind::Budget => count(connection, "budget_id = ?", &[Value::Text(id)]).await,
        AccountKind::Org => count(connection, "org_id = ?", &[Value::Text(id)]).await,
        AccountKind::TeamMember => {
            let (team, user) = id.split_once('/').unwrap_or_default();
            let values = [Value::Text(team), Value::Text(user)];
            count(connection, "team_id = ? AND user_id = ?", &values).await
        }
        AccountKind::Team => {
            let members = format!("{id}/");
            // An id may have `_` in it, and SQLite's LIKE knows no capitals: no LIKE.
            let which = format!(
                "(team_id = ? OR (kind = 'team_member' AND SUBSTR(id, 1, {}) = ?))",
                members.len()
            );
            let values = [Value::Text(id), Value::Text(&members)];
            count(connection, &which, &values).await
        }
        AccountKind::User => {
            let member = format!("/{id}");
            let which = format!(
                "(user_id = ? OR (kind = 'team_member' AND SUBSTR(id, LENGTH(id) - {}) = ?))",
                id.len()
            );
            let values = [Value::Text(id), Value::Text(&member)];
            count(connection, &which, &values).await
        }
    }
}

async fn count<C: Dialect>(
    connection: &mut C,
    which: &str,
    values: &[Value<'_>],
) -> Result<i64, Error> {
    let ask =
        format!("SELECT COUNT(*) AS number FROM accounts WHERE deleted_at IS NULL AND {which}");
    let found = connection.numbers(&ask, values).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}
