//! One topic as a table: rows by number, names of columns once; and what differs between two of them. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// A topic as it is at one moment.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) topic: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) rows: BTreeMap<u64, Vec<Value>>,
}

#[derive(Serialize)]
struct Snapshot<'a> {
    topic: &'a str,
    tick: u64,
    columns: &'a [&'a str],
    rows: &'a BTreeMap<u64, Vec<Value>>,
}

#[derive(Serialize)]
struct Delta<'a> {
    topic: &'a str,
    tick: u64,
    /// New rows, whole.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rows: BTreeMap<u64, &'a Vec<Value>>,
    /// Of rows that were there: which columns are other, and what they are now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    changed: BTreeMap<u64, Vec<(usize, &'a Value)>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<u64>,
}

impl Table {
    pub(super) fn snapshot(&self, tick: u64) -> Bytes {
        encoded(&Snapshot {
            topic: self.topic,
            tick,
            columns: self.columns,
            rows: &self.rows,
        })
    }

    /// What leads from `before` to this; nothing when that is nothing.
    pub(super) fn delta(&self, before: &Self, tick: u64) -> Option<Bytes> {
        let mut delta = Delta {
            topic: self.topic,
            tick,
            rows: BTreeMap::new(),
            changed: BTreeMap::new(),
            removed: Vec::new(),
        };
        for (id, row) in &self.rows {
            let Some(former) = before.rows.get(id) else {
                delta.rows.insert(*id, row);
                continue;
            };
            let pairs = row.iter().zip(former).enumerate();
            let changed: Vec<(usize, &Value)> = pairs
                .filter(|(_, (now, former))| now != former)
                .map(|(column, (now, _))| (column, now))
                .collect();
            if !changed.is_empty() {
                delta.changed.insert(*id, changed);
            }
        }
        let gone = before.rows.keys().filter(|id| !self.rows.contains_key(id));
        delta.removed.extend(gone);
        let is_empty =
            delta.rows.is_empty() && delta.changed.is_empty() && delta.removed.is_empty();
        (!is_empty).then(|| encoded(&delta))
    }
}

fn encoded(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(rows: &[(u64, [Value; 2])]) -> Table {
        Table {
            topic: "servers",
            columns: &["name", "phase"],
            rows: rows.iter().map(|(id, row)| (*id, row.to_vec())).collect(),
        }
    }

    #[test]
    fn a_delta_has_what_is_new_what_is_other_and_what_is_gone() {
        let before = table(&[
            (1, [json!("a"), json!("up")]),
            (2, [json!("b"), json!("up")]),
            (3, [json!("c"), json!("up")]),
        ]);
        let now = table(&[
            (1, [json!("a"), json!("up")]),
            (2, [json!("b"), json!("down")]),
            (4, [json!("d"), json!("up")]),
        ]);
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let told = [
            text(before.snapshot(7)),
            text(now.delta(&before, 8).unwrap()),
        ];
        insta::assert_snapshot!(told.join("\n"), @r#"
        {"topic":"servers","tick":7,"columns":["name","phase"],"rows":{"1":["a","up"],"2":["b","up"],"3":["c","up"]}}
        {"topic":"servers","tick":8,"rows":{"4":["d","up"]},"changed":{"2":[[1,"down"]]},"removed":[3]}
        "#);
        assert_eq!(now.delta(&now, 9), None);
    }
}
