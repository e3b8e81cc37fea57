//! `herdsman spend queue`: where every record is, on each router.

use http::Method;
use serde_json::{Value, json};

use super::{Client, Failure, Output, table};

const PATH: &str = "/admin/spend/queue";

pub(super) async fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let answers = client.ask_all(Method::GET, PATH).await?;
    let shown: Vec<Value> = answers
        .iter()
        .map(|(address, answer)| match answer {
            Ok(queue) => json!({ "address": address, "queue": queue }),
            Err(why) => json!({ "address": address, "error": why }),
        })
        .collect();
    output.tell(&json!({ "routers": shown }), || Ok(told(&answers)))
}

fn told(answers: &[(String, Result<Value, String>)]) -> String {
    let head = [
        "ROUTER",
        "LEADS",
        "EPOCH",
        "RECORDED",
        "COMMITTED",
        "DEAD",
        "PENDING",
        "JOURNAL",
        "TO REDIS",
        "IN REDIS",
        "TO SQL",
        "OLDEST",
    ];
    let (mut rows, mut away, mut shared) = (Vec::new(), String::new(), String::new());
    for (address, answer) in answers {
        let queue = match answer {
            Ok(queue) => queue,
            Err(why) => {
                away += &format!("{address}: {why}\n");
                continue;
            }
        };
        rows.push(row(address, queue));
        if shared.is_empty() {
            shared = common(queue);
        }
    }
    format!("{}{away}{shared}", table::of(&head, &rows))
}

fn row(address: &str, queue: &Value) -> Vec<String> {
    let leads = match &queue["lease"] {
        Value::Null => "for itself",
        lease if lease["leads"] == true => "yes",
        _ => "no",
    };
    let epoch = queue["lease"]["epoch"].as_u64();
    let records = |name: &str| queue["records"][name].to_string();
    let place = |name: &str| queue["places"][name]["records"].to_string();
    vec![
        address.to_owned(),
        leads.to_owned(),
        epoch.map_or("-".to_owned(), |epoch| epoch.to_string()),
        records("recorded"),
        records("committed"),
        records("dead_lettered"),
        records("pending"),
        place("journal"),
        place("to_redis"),
        place("in_redis"),
        place("to_database"),
        format!("{} s", queue["journal"]["oldest_unflushed_seconds"]),
    ]
}

/// What all routers share, as the first one sees it.
fn common(queue: &Value) -> String {
    let mut text = String::new();
    let redis = &queue["redis"];
    if redis.is_object() {
        let known = if redis["up"] == true {
            ""
        } else {
            "; it is away, and this is what was last known"
        };
        let full = if redis["full"] == true { ", full" } else { "" };
        text += &format!(
            "Redis: {} batches of all routers, {} bytes{full}{known}\n",
            redis["batches"], redis["bytes"]
        );
    }
    let database = &queue["database"];
    if database["up"] == true {
        let leader = database["last_leader"].as_str().unwrap_or_default();
        if !leader.is_empty() {
            let epoch = &database["last_epoch"];
            text += &format!("last leader that wrote: {leader}, epoch {epoch}\n");
        }
        text += &format!("dead letters waiting: {}\n", database["dead_letters"]);
    } else {
        let why = database["error"].as_str().unwrap_or_default();
        text += &format!("the database is away: {why}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_router_has_a_row_and_what_they_share_is_told_once() {
        let none = json!({ "batches": 0, "records": 0 });
        let queue = json!({
            "records": {"recorded": 10, "committed": 4, "dead_lettered": 1, "pending": 5},
            "journal": {"oldest_unflushed_seconds": 7},
            "places": {"journal": {"batches": 1, "records": 2}, "to_redis": none,
                       "in_redis": {"batches": 1, "records": 3}, "to_database": none},
            "redis": {"up": false, "full": true, "batches": 12, "bytes": 3400},
            "lease": {"leads": true, "epoch": 9, "left_seconds": 8},
            "database": {"up": true, "last_leader": "b", "last_epoch": 8, "dead_letters": 1},
        });
        let answers = [
            ("http://a:1".to_owned(), Ok(queue)),
            (
                "http://b:1".to_owned(),
                Err("connection refused".to_owned()),
            ),
        ];
        insta::assert_snapshot!(told(&answers), @r#"
        ROUTER      LEADS  EPOCH  RECORDED  COMMITTED  DEAD  PENDING  JOURNAL  TO REDIS  IN REDIS  TO SQL  OLDEST
        http://a:1  yes    9      10        4          1     5        2        0         3         0       7 s
        http://b:1: connection refused
        Redis: 12 batches of all routers, 3400 bytes, full; it is away, and this is what was last known
        last leader that wrote: b, epoch 8
        dead letters waiting: 1
        "#);
    }
}
