//! Who pays: keys of users, of teams, of both and of neither, made by an operator.

use serde_json::{Value, json};

use super::http::Http;

/// One key, and everyone it makes pay beside itself.
pub struct Key {
    pub secret: String,
    pub id: String,
    /// Kind, name, and when the period of its budget began; 0 without one.
    payers: Vec<(String, String, i64)>,
}

pub struct Accounts(pub Vec<Key>);

/// More than any storm costs: what is asked of a budget is that it is counted.
const PLENTY: i64 = 1_000_000_000_000_000;

impl Accounts {
    /// Makes them through this router.
    pub async fn open(http: &Http, router: &str) -> Self {
        let make = async |what: &str, account: Value| {
            let made = http.post(&format!("{router}/admin/{what}"), &account).await;
            made.unwrap_or_else(|| panic!("{what}: {account} was not made"))
        };
        make("orgs", json!({"id": "farm"})).await;
        for user in ["ann", "bob", "cid"] {
            make("users", json!({"id": user})).await;
        }
        make("teams", json!({"id": "blue", "org": "farm"})).await;
        let red = json!({"id": "red", "limit_nano_usd": PLENTY, "period": "30d"});
        let red = make("teams", red).await;
        let since = red["created_at"].as_i64().unwrap();
        let mut keys = Vec::new();
        for (user, team) in [
            ("ann", "blue"),
            ("bob", "blue"),
            ("", "blue"),
            ("cid", ""),
            ("cid", "red"),
            ("", ""),
        ] {
            let made = make("keys", json!({"user": user, "team": team})).await;
            let text = |name: &str| made[name].as_str().unwrap().to_owned();
            let member = match (user, team) {
                ("", _) | (_, "") => String::new(),
                _ => format!("{team}/{user}"),
            };
            // A key of a team belongs where the team does.
            let org = if team == "blue" { "farm" } else { "" };
            let id = text("id");
            let payers = [
                ("key", id.as_str(), 0),
                ("user", user, 0),
                ("team", team, if team == "red" { since } else { 0 }),
                ("team_member", member.as_str(), 0),
                ("org", org, 0),
            ];
            let payers = payers.into_iter().filter(|(_, name, _)| !name.is_empty());
            keys.push(Key {
                secret: text("key"),
                payers: payers
                    .map(|(kind, name, since)| (kind.to_owned(), name.to_owned(), since))
                    .collect(),
                id,
            });
        }
        Self(keys)
    }
}

impl Key {
    /// Everyone who pays for a request with this key and these others.
    pub fn payers<'a>(
        &self,
        others: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Vec<(String, String, i64)> {
        let others = others.into_iter();
        let others = others.map(|(kind, name)| (kind.to_owned(), name, 0));
        self.payers.iter().cloned().chain(others).collect()
    }
}
