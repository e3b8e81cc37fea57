//! Keys, users, teams, organisations, end users, tags and budgets: one set of calls for all of them,
//! since they are one table.

use std::mem;

use axum::extract::State as Shared;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::account::{Draft, NewAccount, Shown};
use super::{Did, InPath, InQuery, Object, Outcome, Problem, Route, answer, patch};
use crate::access::{is_tag, key_id, new_key};
use crate::clock;
use crate::domain::{Account, AccountKind, ModelName, is_account_id};
use crate::http::State;
use crate::store::{Deleted, Precondition, Saved, Stored};

/// How many a page shows unless told otherwise, and at most.
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 1_000;
/// How often a change is tried again when another change of the same account came first.
pub(super) const ATTEMPTS: usize = 5;

/// A kind, and where it is found.
type Kind = (AccountKind, &'static str, &'static str, Tells);
/// What is told of one that is new, other or gone.
type Tells = [&'static str; 3];

const KINDS: [Kind; 7] = [
    (
        AccountKind::Key,
        "/admin/keys",
        "/admin/keys/{id}",
        ["create key", "change key", "delete key"],
    ),
    (
        AccountKind::User,
        "/admin/users",
        "/admin/users/{id}",
        ["create user", "change user", "delete user"],
    ),
    (
        AccountKind::Team,
        "/admin/teams",
        "/admin/teams/{id}",
        ["create team", "change team", "delete team"],
    ),
    (
        AccountKind::Org,
        "/admin/orgs",
        "/admin/orgs/{id}",
        ["create org", "change org", "delete org"],
    ),
    (
        AccountKind::EndUser,
        "/admin/end-users",
        "/admin/end-users/{id}",
        ["create end user", "change end user", "delete end user"],
    ),
    (
        AccountKind::Tag,
        "/admin/tags",
        "/admin/tags/{id}",
        ["create tag", "change tag", "delete tag"],
    ),
    (
        AccountKind::Budget,
        "/admin/budgets",
        "/admin/budgets/{id}",
        ["create budget", "change budget", "delete budget"],
    ),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<u32>,
    after: Option<String>,
}

/// A page of accounts.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AccountList")]
pub(super) struct Listed {
    items: Vec<Shown>,
    /// Where the next page begins: `after` of the next call. `null` on the last one.
    next: Option<String>,
}

pub(super) fn routes() -> Vec<Route> {
    KINDS.into_iter().flat_map(routes_of).collect()
}

fn routes_of((kind, all, one, [made, changed, gone]): Kind) -> [Route; 5] {
    type At = InPath<String>;
    type Here = Shared<State>;
    [
        Route::get(all, "Lists them by id, a page at a time", {
            move |here: Here, page: InQuery<Page>| list(here, kind, String::new(), page)
        })
        .query(&["limit", "after"])
        .gives::<Listed>(),
        Route::post(
            all,
            "Makes one; of a key, the answer has the key, this once",
            move |here: Here, object: Object| create(here, kind, object),
        )
        .takes::<NewAccount>()
        .gives::<Shown>()
        .tells(made),
        Route::get(one, "Shows one, with what is spent of its budget", {
            move |here: Here, InPath(id): At| show(here, kind, id)
        })
        .gives::<Shown>(),
        Route::patch(
            one,
            "Changes what is said, keeps the rest, takes away what is null",
            move |here: Here, InPath(id): At, object: Object| update(here, kind, id, object),
        )
        .takes::<Draft>()
        .gives::<Shown>()
        .tells(changed),
        Route::delete(one, "Deletes one; what it spent stays in the reports", {
            move |here: Here, InPath(id): At| delete(here, kind, id)
        })
        .tells(gone),
    ]
}

pub(super) async fn list(
    Shared(state): Shared<State>,
    kind: AccountKind,
    within: String,
    InQuery(page): InQuery<Page>,
) -> Outcome {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let after = page.after.map_or_else(
        || within.clone(),
        |after| {
            if after.starts_with(&within) {
                after
            } else {
                format!("{within}{after}")
            }
        },
    );
    let mut found = state.store.accounts(kind, &after, limit + 1).await?;
    found.retain(|stored| stored.account.id.starts_with(&within));
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| last.account.id.to_string());
    let items = found
        .iter()
        .map(|stored| Shown::new(&stored.account, stored.version))
        .collect();
    Ok(answer(StatusCode::OK, &Listed { items, next }))
}

pub(super) async fn show(Shared(state): Shared<State>, kind: AccountKind, id: String) -> Outcome {
    let Stored { account, version } = find(&state, kind, &id).await?;
    let mut shown = Shown::new(&account, version);
    if let Some(entity) = kind.entity() {
        let plan = match account.budget.as_str() {
            "" => None,
            plan => state.store.account(AccountKind::Budget, plan).await?,
        };
        let allowance = match plan {
            Some(plan) => account.allowance.or(&plan.account.allowance),
            None => account.allowance.clone(),
        };
        let start = allowance
            .budget
            .period
            .start(account.created_at, clock::unix_seconds());
        let key = (entity, account.id.clone(), start);
        let spent = state.store.spent_of(&[key]).await?;
        shown = shown.with_spent(start, spent.first().map_or(0, |(_, spent)| *spent));
    }
    Ok(answer(StatusCode::OK, &shown))
}

async fn create(
    Shared(state): Shared<State>,
    kind: AccountKind,
    Object(mut object): Object,
) -> Outcome {
    let given = object.remove("id");
    let (id, key) = match (kind, given) {
        (AccountKind::Key, None | Some(Value::Null)) => {
            let key = new_key(random()?);
            (key_id(&key), Some(key))
        }
        (AccountKind::Key, Some(_)) => {
            return Err(Problem::wrong("id: a key's id follows from the key"));
        }
        (_, Some(Value::String(id))) if is_id(kind, &id) => (id, None),
        (_, None | Some(Value::Null)) if is_named_by_us(kind) => {
            (uuid::Uuid::now_v7().to_string(), None)
        }
        _ => {
            let text = "id: must be 1 to 127 letters, digits or any of . _ @ : + -";
            return Err(Problem::wrong(text));
        }
    };
    let mut given = Map::new();
    merge(&mut given, object);
    let account = Draft::read(given)?.account(kind, &id, clock::unix_seconds())?;
    let saved = save(&state, account.clone(), Precondition::Absent).await?;
    let version = saved.ok_or_else(|| Problem::conflict(format!("{kind} '{id}' exists")))?;
    let shown = Shown::new(&account, version);
    let created = answer(
        StatusCode::CREATED,
        &match key {
            Some(key) => shown.with_key(key),
            None => shown,
        },
    );
    Ok(Did::to(id).answered(created))
}

async fn update(
    Shared(state): Shared<State>,
    kind: AccountKind,
    id: String,
    Object(object): Object,
) -> Outcome {
    for _ in 0..ATTEMPTS {
        let Stored { account, version } = find(&state, kind, &id).await?;
        let changed = changed(&account, object.clone())?;
        if let Some(version) = save(&state, changed.clone(), Precondition::Version(version)).await?
        {
            return Ok(answer(StatusCode::OK, &Shown::new(&changed, version)));
        }
    }
    Err(Problem::conflict(format!(
        "{kind} '{id}' is being changed by others"
    )))
}

pub(super) async fn delete(Shared(state): Shared<State>, kind: AccountKind, id: String) -> Outcome {
    let (store, gone) = (state.store.clone(), id.clone());
    let work = async move {
        store
            .delete_account(kind, &gone, clock::unix_seconds())
            .await
    };
    match state.in_background(work).await?? {
        Deleted::As(_) => {
            seen(&state).await;
            Ok(answer(
                StatusCode::OK,
                &serde_json::json!({ "deleted": id }),
            ))
        }
        Deleted::Missing => Err(missing(kind, &id)),
        Deleted::Named(1) => Err(Problem::conflict(format!(
            "{kind} '{id}' is named by another account: change or delete that one first"
        ))),
        Deleted::Named(many) => Err(Problem::conflict(format!(
            "{kind} '{id}' is named by {many} other accounts: change or delete those first"
        ))),
    }
}

/// The account with what a client says laid over it.
pub(super) fn changed(account: &Account, patch: Map<String, Value>) -> Result<Account, Problem> {
    if !account.understood {
        return Err(Problem::conflict(format!(
            "{} '{}' says something this version of the router does not understand, and would lose it: \
             change it through a newer one",
            account.kind, account.id
        )));
    }
    let Ok(Value::Object(mut now)) = serde_json::to_value(Draft::of(account)) else {
        return Err(Problem::wrong("the account cannot be written as JSON"));
    };
    merge(&mut now, patch);
    Draft::read(now)?.account(account.kind, &account.id, account.created_at)
}

/// A model's limits are kept under its canonical name, so that is where a change has to find them.
fn merge(target: &mut Map<String, Value>, mut patch: Map<String, Value>) {
    if let Some(Value::Object(limits)) = patch.get_mut("model_limits") {
        let canonical = |(written, limits): (String, Value)| match ModelName::parse_any(&written) {
            Ok(model) => (model.to_string(), limits),
            Err(_) => (written, limits),
        };
        *limits = mem::take(limits).into_iter().map(canonical).collect();
    }
    patch::merge(target, patch);
}

async fn find(state: &State, kind: AccountKind, id: &str) -> Result<Stored, Problem> {
    let found = state.store.account(kind, id).await?;
    found.ok_or_else(|| missing(kind, id))
}

/// A write goes on when its client leaves: a transaction is not left half done.
/// Nothing when its precondition does not hold any more.
pub(super) async fn save(
    state: &State,
    account: Account,
    precondition: Precondition,
) -> Result<Option<i64>, Problem> {
    let store = state.store.clone();
    let work = async move { store.save_account(&account, precondition).await };
    match state.in_background(work).await?? {
        Saved::As(version) => {
            seen(state).await;
            Ok(Some(version))
        }
        Saved::Stale => Ok(None),
        Saved::Lacks(kind, id) => Err(Problem::wrong(format!(
            "{kind}: there is no {kind} '{id}'; make it first"
        ))),
    }
}

/// Waits until this router's own requests see it; that they cannot yet is no failure of the change.
async fn seen(state: &State) {
    if let Err(error) = state.access.refresh().await {
        tracing::warn!(%error, "a change is saved and not seen yet");
    }
}

fn missing(kind: AccountKind, id: &str) -> Problem {
    Problem::missing(format!("{kind} '{id}' not found"))
}

/// End users and tags are named by whoever sends requests, with any text.
fn is_id(kind: AccountKind, id: &str) -> bool {
    match kind {
        AccountKind::EndUser => (1..=128).contains(&id.len()) && !id.contains('\0'),
        AccountKind::Tag => is_tag(id),
        _ => is_account_id(id),
    }
}

/// Accounts whose id no client sends may be made without one.
fn is_named_by_us(kind: AccountKind) -> bool {
    matches!(
        kind,
        AccountKind::User | AccountKind::Team | AccountKind::Org
    )
}

fn random() -> Result<[u8; 32], Problem> {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| {
        let text = "the system has no random numbers to make a key of";
        Problem(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
    })?;
    Ok(bytes)
}
