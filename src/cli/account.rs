//! `herdsman key|user|team|org|budget …`: accounts, through any healthy router.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::account_options::AccountOptions;
use super::client::{Client, Target, escaped};
use super::output::Output;
use super::{Environment, Failure, table};
use crate::access::key_id;
use crate::domain::format_usd;

/// Which accounts a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    User,
    Team,
    Org,
    Budget,
}

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make one; a key is shown this once
    Create {
        /// Its id; keys have none of their own, and without one it is made up
        id: Option<String>,
        #[command(flatten)]
        options: AccountOptions,
    },
    /// List them, a page at a time
    List {
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Begin behind this one
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Show one, with what is spent of its budget
    Show {
        /// Its id; of a key also the key itself
        id: String,
    },
    /// Change what is given, keep the rest
    Update {
        /// Its id; of a key also the key itself
        id: String,
        #[command(flatten)]
        options: AccountOptions,
    },
    /// Block it
    Block {
        /// Its id; of a key also the key itself
        id: String,
    },
    /// Unblock it
    Unblock {
        /// Its id; of a key also the key itself
        id: String,
    },
    /// Delete it; what it spent stays in the reports
    Delete {
        /// Its id; of a key also the key itself
        id: String,
    },
    /// List the members of a team
    Members {
        /// The team
        #[arg(value_name = "TEAM")]
        of: String,
    },
    /// Add a user to a team, or change what the member may
    Join {
        /// The team
        #[arg(value_name = "TEAM")]
        of: String,
        /// The user
        #[arg(value_name = "USER")]
        who: String,
        #[command(flatten)]
        options: AccountOptions,
    },
    /// Take a user out of a team
    Leave {
        /// The team
        #[arg(value_name = "TEAM")]
        of: String,
        /// The user
        #[arg(value_name = "USER")]
        who: String,
    },
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Key => "/admin/keys",
            Self::User => "/admin/users",
            Self::Team => "/admin/teams",
            Self::Org => "/admin/orgs",
            Self::Budget => "/admin/budgets",
        }
    }

    /// A key may be named by itself: it does not leave this machine.
    fn one(self, id: &str) -> String {
        let id = if self == Self::Key && id.starts_with("sk-") {
            key_id(id)
        } else {
            escaped(id)
        };
        format!("{}/{id}", self.path())
    }
}

impl Arguments {
    pub(super) async fn run(self, kind: Kind, env: &Environment) -> Result<(), Failure> {
        self.action.belongs_to(kind)?;
        let client = self.target.client(env)?;
        let output = self.output;
        match self.action {
            Action::Create { id, options } => {
                let mut body = options.object();
                if let Some(id) = id {
                    body.insert("id".to_owned(), id.into());
                }
                let body = Value::Object(body);
                let made = client.ask(Method::POST, kind.path(), Some(&body)).await?;
                output.tell(&made, || Ok(shown(&made)))
            }
            Action::List { limit, after } => {
                let after = after.map(|after| format!("&after={}", escaped(&after)));
                let path = format!("{}?limit={limit}{}", kind.path(), after.unwrap_or_default());
                list(&client, output, &path).await
            }
            Action::Show { id } => {
                let found = client.get(&kind.one(&id)).await?;
                output.tell(&found, || Ok(shown(&found)))
            }
            Action::Update { id, options } => {
                let body = Value::Object(options.object());
                change(&client, output, &kind.one(&id), &body).await
            }
            Action::Block { id } => {
                change(&client, output, &kind.one(&id), &json!({ "blocked": true })).await
            }
            Action::Unblock { id } => {
                change(
                    &client,
                    output,
                    &kind.one(&id),
                    &json!({ "blocked": false }),
                )
                .await
            }
            Action::Delete { id } => delete(&client, output, &kind.one(&id)).await,
            Action::Members { of } => list(&client, output, &members(&of)).await,
            Action::Join { of, who, options } => {
                let path = format!("{}/{}", members(&of), escaped(&who));
                let body = Value::Object(options.object());
                let joined = client.ask(Method::PUT, &path, Some(&body)).await?;
                output.tell(&joined, || Ok(shown(&joined)))
            }
            Action::Leave { of, who } => {
                let path = format!("{}/{}", members(&of), escaped(&who));
                delete(&client, output, &path).await
            }
        }
    }
}

impl Action {
    fn belongs_to(&self, kind: Kind) -> Result<(), Failure> {
        let of_teams = matches!(
            self,
            Self::Members { .. } | Self::Join { .. } | Self::Leave { .. }
        );
        if of_teams && kind != Kind::Team {
            return Err(Failure::Usage("only teams have members".to_owned()));
        }
        Ok(())
    }
}

async fn change(client: &Client, output: Output, path: &str, body: &Value) -> Result<(), Failure> {
    let changed = client.ask(Method::PATCH, path, Some(body)).await?;
    output.tell(&changed, || Ok(shown(&changed)))
}

async fn delete(client: &Client, output: Output, path: &str) -> Result<(), Failure> {
    let gone = client.ask(Method::DELETE, path, None).await?;
    let id = gone["deleted"].as_str().unwrap_or_default().to_owned();
    output.tell(&gone, || Ok(format!("deleted {id}")))
}

async fn list(client: &Client, output: Output, path: &str) -> Result<(), Failure> {
    let page = client.get(path).await?;
    output.tell(&page, || {
        let rows: Vec<Vec<String>> = page["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(row)
            .collect();
        let head = [
            "ID",
            "NAME",
            "BELONGS TO",
            "BUDGET",
            "RPM",
            "TPM",
            "PARALLEL",
            "STATE",
        ];
        let mut text = table::of(&head, &rows);
        if let Some(next) = page["next"].as_str() {
            text += &format!("more: --after {next}\n");
        }
        Ok(text)
    })
}

fn row(account: &Value) -> Vec<String> {
    let text = |key: &str| account[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| {
        account[key]
            .as_i64()
            .map_or("-".to_owned(), |n| n.to_string())
    };
    let belongs = ["user", "team", "org"].map(text);
    let belongs: Vec<_> = belongs.into_iter().filter(|id| !id.is_empty()).collect();
    let budget = match (account["limit_nano_usd"].as_i64(), text("budget")) {
        (Some(limit), _) => format!("{} USD / {}", format_usd(limit), text("period")),
        (None, plan) if !plan.is_empty() => plan,
        _ => "-".to_owned(),
    };
    let state = match account["blocked"].as_bool() {
        Some(true) => "blocked",
        _ => "",
    };
    vec![
        text("id"),
        text("name"),
        belongs.join(" "),
        budget,
        number("rpm"),
        number("tpm"),
        number("parallel"),
        state.to_owned(),
    ]
}

/// Every field that says something, money in dollars.
fn shown(account: &Value) -> String {
    let mut text = String::new();
    for (key, value) in account.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::Array(list) if list.is_empty() => continue,
            Value::Object(object) if object.is_empty() => continue,
            Value::Bool(false) => continue,
            Value::String(text) => text.clone(),
            Value::Number(number) if key.ends_with("_nano_usd") => {
                format!("{} USD", format_usd(number.as_i64().unwrap_or_default()))
            }
            other => other.to_string(),
        };
        let key = key.trim_end_matches("_nano_usd").replace('_', " ");
        text += &format!("{key:<14} {value}\n");
    }
    if account["key"].is_string() {
        text += "The key is shown this once: keep it.\n";
    }
    text
}

fn members(team: &str) -> String {
    format!("/admin/teams/{}/members", escaped(team))
}
