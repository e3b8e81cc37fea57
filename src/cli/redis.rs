//! `herdsman redis …`: the Redis databases of a router, and which one it uses.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::{Client, Target};
use super::output::Output;
use super::{Environment, Failure, table};

const ALL: &str = "/admin/redis";

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
    /// Show every database and which one is used
    Status,
    /// Use this database from now on
    Failover {
        /// Its name or number
        database: String,
        /// Also if it is not healthy
        #[arg(long)]
        force: bool,
    },
    /// Change the weight of a database
    Weight {
        /// Its name or number
        database: String,
        /// From 0 on; the heaviest healthy one is used
        weight: f64,
    },
}

impl Arguments {
    pub(super) async fn run(self, env: &Environment) -> Result<(), Failure> {
        let client = self.target.client(env)?;
        let shown = match self.action {
            Action::Status => client.get(ALL).await?,
            Action::Failover { database, force } => {
                let id = find(&client, &database).await?;
                let body = json!({ "force": force });
                let path = format!("{ALL}/{id}/active");
                client.ask(Method::POST, &path, Some(&body)).await?
            }
            Action::Weight { database, weight } => {
                let id = find(&client, &database).await?;
                let body = json!({ "weight": weight });
                let path = format!("{ALL}/{id}/weight");
                client.ask(Method::PUT, &path, Some(&body)).await?
            }
        };
        self.output.tell(&shown, || Ok(text(&shown)))
    }
}

/// Names need not be unique; numbers are.
async fn find(client: &Client, wanted: &str) -> Result<u64, Failure> {
    let shown = client.get(ALL).await?;
    let number = wanted.parse::<u64>().ok();
    let found: Vec<u64> = databases(&shown)
        .filter(|database| {
            database["name"] == *wanted || number.is_some_and(|id| database["id"] == id)
        })
        .filter_map(|database| database["id"].as_u64())
        .collect();
    match found[..] {
        [id] => Ok(id),
        [] => Err(Failure::to("do it")(format!(
            "there is no database \"{wanted}\""
        ))),
        _ => Err(Failure::to("do it")(format!(
            "several databases are called \"{wanted}\": use the number"
        ))),
    }
}

fn databases(shown: &Value) -> impl Iterator<Item = &Value> {
    shown["databases"].as_array().into_iter().flatten()
}

fn text(shown: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<_> = databases(shown)
        .map(|database| {
            let health = &database["health"];
            let told = match (health["healthy"].as_bool(), health["why"].as_str()) {
                (Some(true), _) => "healthy".to_owned(),
                (_, Some(why)) => why.to_owned(),
                _ => "not asked yet".to_owned(),
            };
            let active = if database["active"] == true { "*" } else { "" };
            vec![
                active.to_owned(),
                database["id"].to_string(),
                word(&database["name"]),
                database["weight"].to_string(),
                word(&database["circuit"]),
                database["failures"].to_string(),
                told,
            ]
        })
        .collect();
    let head = [
        "", "ID", "DATABASE", "WEIGHT", "CIRCUIT", "FAILURES", "HEALTH",
    ];
    table::of(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_marks_the_one_in_use() {
        let shown = json!({"databases": [
            {"id": 1, "name": "east", "weight": 2.0, "active": false, "circuit": "open", "failures": 7,
             "health": {"healthy": false, "why": "PING: timed out"}},
            {"id": 2, "name": "west", "weight": 1.0, "active": true, "circuit": "closed", "failures": 0,
             "health": {"healthy": true}},
        ]});
        insta::assert_snapshot!(text(&shown), @r"
           ID  DATABASE  WEIGHT  CIRCUIT  FAILURES  HEALTH
           1   east      2.0     open     7         PING: timed out
        *  2   west      1.0     closed   0         healthy
        ");
    }
}
