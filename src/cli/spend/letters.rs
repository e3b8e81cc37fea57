//! `herdsman spend dead-letters`: what could not be counted.

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::escaped;
use super::{Client, Failure, Output, table};

const ALL: &str = "/admin/spend/dead-letters";
/// Characters of a reason in the list.
const REASON: usize = 80;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Those that have been replayed, too
    #[arg(long)]
    all: bool,
    /// How many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Begin behind this one
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show one, with all that is in it
    Show {
        /// Its id
        id: String,
    },
    /// Try to count them again; doing that twice counts them once
    Replay {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

impl Arguments {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self.action {
            None => {
                let after = self.after.map(|id| format!("&after={}", escaped(&id)));
                let (all, limit) = (self.all, self.limit);
                let path = format!("{ALL}?all={all}&limit={limit}{}", after.unwrap_or_default());
                let page = client.get(&path).await?;
                output.tell(&page, || Ok(listed(&page)))
            }
            Some(Action::Show { id }) => {
                let letter = client.get(&format!("{ALL}/{}", escaped(&id))).await?;
                output.tell(&letter, || Ok(shown(&letter)))
            }
            Some(Action::Replay { ids }) => replay(client, output, &ids).await,
        }
    }
}

/// Each by itself: one that is still refused does not stand in the way of the others.
async fn replay(client: &Client, output: Output, ids: &[String]) -> Result<(), Failure> {
    let (mut replayed, mut failed) = (Vec::new(), None);
    for id in ids {
        let path = format!("{ALL}/{}/replay", escaped(id));
        match client.ask(Method::POST, &path, None).await {
            Ok(_) => replayed.push(id.as_str()),
            Err(failure) => {
                if let Some(before) = failed.replace(failure) {
                    before.report();
                }
            }
        }
    }
    let told = json!({ "replayed": replayed });
    output.tell(&told, || {
        Ok(replayed
            .iter()
            .map(|id| format!("replayed {id}\n"))
            .collect())
    })?;
    failed.map_or(Ok(()), Err)
}

fn listed(page: &Value) -> String {
    let items = page["items"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<_> = items
        .map(|letter| {
            let records = letter["records"].as_u64();
            let reason = text(&letter["reason"]).replace(['\r', '\n'], " ");
            let replayed = letter["replayed_at"].as_i64();
            vec![
                text(&letter["id"]),
                records.map_or("-".to_owned(), |records| records.to_string()),
                moment(&letter["created_at"]),
                replayed.map_or(String::new(), |_| moment(&letter["replayed_at"])),
                reason.chars().take(REASON).collect(),
            ]
        })
        .collect();
    let mut told = table::of(&["ID", "RECORDS", "WRITTEN", "REPLAYED", "REASON"], &rows);
    if let Some(next) = page["next"].as_str() {
        told += &format!("more: --after {next}\n");
    }
    told
}

fn shown(letter: &Value) -> String {
    let mut text = String::new();
    for name in ["id", "producer", "seq", "records", "reason"] {
        let value = match &letter[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        text += &format!("{name:<10} {value}\n");
    }
    for (name, at) in [("written", "created_at"), ("replayed", "replayed_at")] {
        if letter[at].is_i64() {
            text += &format!("{name:<10} {}\n", moment(&letter[at]));
        }
    }
    let payload = serde_json::to_string_pretty(&letter["payload"]).unwrap_or_default();
    text + &payload + "\n"
}

/// Unix seconds as people write them.
fn moment(value: &Value) -> String {
    let at = Timestamp::from_second(value.as_i64().unwrap_or_default());
    at.map_or_else(|_| String::new(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_line_and_a_whole_one_has_what_is_in_it() {
        let letter = json!({
            "id": "0f", "producer": "p", "seq": 3, "records": 2, "reason": "too\nlarge",
            "created_at": 1_773_532_680, "replayed_at": null, "payload": {"v": 1},
        });
        let page = json!({ "items": [letter], "next": "0f" });
        insta::assert_snapshot!(listed(&page), @r#"
        ID  RECORDS  WRITTEN               REPLAYED  REASON
        0f  2        2026-03-14T23:58:00Z            too large
        more: --after 0f
        "#);
        insta::assert_snapshot!(shown(&letter), @r#"
        id         0f
        producer   p
        seq        3
        records    2
        reason     too
        large
        written    2026-03-14T23:58:00Z
        {
          "v": 1
        }
        "#);
    }
}
