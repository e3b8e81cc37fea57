//! `herdsman spend report`: sums, as a table, JSON or CSV.

use clap::Args;
use serde_json::Value;

use super::client::escaped;
use super::{Client, Failure, Output, output, table};
use crate::access::key_id;

/// The question.
#[derive(Args, Debug)]
pub(super) struct Query {
    /// kind, entity, date, api_key, model, endpoint: one, or several with commas [default: entity]
    #[arg(long, value_name = "WORD,WORD")]
    by: Option<String>,
    /// From this day on (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<String>,
    /// Until this day, it included
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<String>,
    /// Accounts of this kind: key, user, team, team_member, org, end_user, tag [default: key, unless
    /// the report is by kind or entity]
    #[arg(long)]
    kind: Option<String>,
    /// The account of this name; of a key also the key itself
    #[arg(long)]
    entity: Option<String>,
    /// What was asked with this key, by its id or itself
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// This model
    #[arg(long)]
    model: Option<String>,
    /// This endpoint
    #[arg(long)]
    endpoint: Option<String>,
    /// A column of the report, behind a `-` with the largest first; several with commas
    #[arg(long, value_name = "WORD,WORD", allow_hyphen_values = true)]
    order: Option<String>,
    /// How many rows at most
    #[arg(long)]
    limit: Option<u32>,
    /// Print CSV (RFC 4180)
    #[arg(long)]
    csv: bool,
}

impl Query {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let csv = self.csv;
        if csv && output.is_json() {
            let text = "--csv and --json are two ways to say it: take one";
            return Err(Failure::Usage(text.to_owned()));
        }
        let report = client.get(&self.path()).await?;
        match (&report, csv) {
            (Value::String(text), true) => output::write(text),
            _ => output.tell(&report, || Ok(told(&report))),
        }
    }

    fn path(self) -> String {
        // A key does not leave this machine.
        let hidden = |name: String| {
            if name.starts_with("sk-") {
                key_id(&name)
            } else {
                name
            }
        };
        let asked = [
            ("group_by", self.by),
            ("from", self.from),
            ("to", self.to),
            ("kind", self.kind),
            ("entity", self.entity.map(hidden)),
            ("api_key", self.api_key.map(hidden)),
            ("model", self.model),
            ("endpoint", self.endpoint),
            ("order", self.order),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("format", self.csv.then(|| "csv".to_owned())),
        ];
        let asked = asked
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", escaped(&value?))));
        let asked: Vec<String> = asked.collect();
        format!("/admin/spend?{}", asked.join("&"))
    }
}

fn told(report: &Value) -> String {
    let groups = report["group_by"].as_array().into_iter().flatten();
    let groups: Vec<&str> = groups.filter_map(Value::as_str).collect();
    let sums = [
        "spend_usd",
        "input_tokens",
        "output_tokens",
        "requests",
        "failed_requests",
    ];
    let named = groups
        .iter()
        .map(|name| name.replace('_', " ").to_uppercase());
    let titles = ["USD", "INPUT", "OUTPUT", "REQUESTS", "FAILED"].map(str::to_owned);
    let head: Vec<String> = named.chain(titles).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let items = report["items"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = items
        .map(|item| {
            let cells = groups.iter().chain(&sums);
            cells.map(|name| cell(&item[*name])).collect()
        })
        .collect();
    let mut text = table::of(&head, &rows);
    if report["more"] == true {
        text += &format!("only the first {}: see --limit\n", rows.len());
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_column_for_each_group_and_each_sum() {
        let report = json!({
            "group_by": ["kind", "api_key"], "more": true,
            "items": [
                {"kind": "team", "api_key": "abc", "spend_nano_usd": 1_500_000_000, "spend_usd": "1.5",
                 "input_tokens": 10, "output_tokens": 2, "requests": 1, "failed_requests": null},
            ],
        });
        insta::assert_snapshot!(told(&report), @r#"
        KIND  API KEY  USD  INPUT  OUTPUT  REQUESTS  FAILED
        team  abc      1.5  10     2       1         -
        only the first 1: see --limit
        "#);
    }
}
