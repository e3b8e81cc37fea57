//! The topic of what goes on for longer than a request: pulls, by server.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::table::Table;
use super::topics::Topic;
use crate::models::{PartShown, PullShown};

const COLUMNS: &[&str] = &[
    "kind",
    "model",
    "phase",
    "since",
    "completed",
    "total",
    "error",
    "endpoints",
];

/// The pulls that run, and those that ended lately.
pub(super) fn table(pulls: Vec<PullShown>) -> Table {
    let rows = pulls.into_iter().map(|pull| {
        let row = [
            json!("pull"),
            json!(pull.model),
            json!(pull.phase),
            json!(pull.since),
            json!(pull.completed),
            json!(pull.total),
            json!(pull.error),
            pull.servers.iter().map(part).collect(),
        ];
        (pull.id, row.to_vec())
    });
    Table {
        topic: Topic::Jobs.as_str(),
        columns: COLUMNS,
        rows: rows.collect(),
    }
}

fn part(part: &PartShown) -> Value {
    json!({
        "endpoint": part.endpoint, "phase": part.phase, "status": part.status,
        "completed": part.completed, "total": part.total, "error": part.error,
    })
}

/// Each job that is new or has got on, whole, as an event's data.
pub(super) fn told(before: &Table, now: &Table) -> Vec<Bytes> {
    let has_changed = |(id, row): &(&u64, &Vec<Value>)| before.rows.get(id) != Some(row);
    let changed = now.rows.iter().filter(has_changed);
    changed.map(|(id, row)| data(*id, row)).collect()
}

fn data(id: u64, row: &[Value]) -> Bytes {
    let named = COLUMNS.iter().zip(row);
    let mut job: BTreeMap<&str, Value> =
        named.map(|(name, value)| (*name, value.clone())).collect();
    job.insert("id", id.into());
    serde_json::to_vec(&job).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(id: u64, completed: u64) -> PullShown {
        PullShown {
            id,
            model: "phi4".into(),
            phase: "running",
            error: None,
            since: 7,
            kept: true,
            readers: 0,
            completed,
            total: 10,
            servers: vec![PartShown {
                endpoint: "gpu-1".into(),
                phase: "running",
                status: "pulling manifest".into(),
                error: None,
                completed,
                total: 10,
            }],
        }
    }

    #[test]
    fn a_job_is_told_when_it_has_got_on() {
        let before = table(vec![pull(1, 3), pull(2, 5)]);
        let now = table(vec![pull(1, 4), pull(2, 5)]);
        let told: Vec<String> = told(&before, &now)
            .iter()
            .map(|data| String::from_utf8_lossy(data).into_owned())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"{"completed":4,"endpoints":[{"completed":4,"endpoint":"gpu-1","error":null,"phase":"running","status":"pulling manifest","total":10}],"error":null,"id":1,"kind":"pull","model":"phi4","phase":"running","since":7,"total":10}"#);
    }
}
