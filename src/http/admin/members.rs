//! Users within teams. A member is an account like others whose name is made of two.

use axum::extract::State as Shared;
use http::StatusCode;

use super::account::{Draft, Shown};
use super::accounts::{ATTEMPTS, Listed, Page, changed, delete, list, save, show};
use super::{InPath, InQuery, Object, Outcome, Problem, Route, answer};
use crate::clock;
use crate::domain::{Account, AccountKind, is_account_id, member_id};
use crate::http::State;
use crate::store::Precondition;

const ALL: &str = "/admin/teams/{id}/members";
const ONE: &str = "/admin/teams/{id}/members/{user}";
const KIND: AccountKind = AccountKind::TeamMember;

type Here = Shared<State>;
type At = InPath<(String, String)>;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(ALL, "Lists the members of a team", {
            |here: Here, InPath(team): InPath<String>, page: InQuery<Page>| {
                list(here, KIND, member_id(&team, ""), page)
            }
        })
        .query(&["limit", "after"])
        .gives::<Listed>(),
        Route::get(ONE, "Shows a member", {
            |here: Here, InPath((team, user)): At| show(here, KIND, member_id(&team, &user))
        })
        .gives::<Shown>(),
        Route::put(
            ONE,
            "Adds a user to a team, or changes what the member may",
            join,
        )
        .takes::<Draft>()
        .gives::<Shown>()
        .tells("change member"),
        Route::delete(ONE, "Takes a user out of a team", {
            |here: Here, InPath((team, user)): At| delete(here, KIND, member_id(&team, &user))
        })
        .tells("remove member"),
    ]
}

async fn join(Shared(state): Here, InPath((team, user)): At, Object(object): Object) -> Outcome {
    if !is_account_id(&team) || !is_account_id(&user) {
        return Err(Problem::wrong("team and user: must be ids"));
    }
    let id = member_id(&team, &user);
    for _ in 0..ATTEMPTS {
        let (account, precondition) = match state.store.account(KIND, &id).await? {
            Some(stored) => (stored.account, Precondition::Version(stored.version)),
            None => (
                Account::new(KIND, id.as_str(), clock::unix_seconds()),
                Precondition::Absent,
            ),
        };
        let changed = changed(&account, object.clone())?;
        if let Some(version) = save(&state, changed.clone(), precondition).await? {
            return Ok(answer(StatusCode::OK, &Shown::new(&changed, version)));
        }
    }
    Err(Problem::conflict(format!(
        "{KIND} '{id}' is being changed by others"
    )))
}
