//! `herdsman spend verify`: whether everything adds up. It fails when it does not.
//!
//! Every router of `--address` answers for its own records, the first that answers also for the
//! database. One that cannot be reached is a problem like any other: it is unknown what its journal
//! still holds, and what is unknown does not add up. Without
//! any router the database alone can be asked, on demand only: the configuration at hand may be
//! about another database than that of the routers one meant.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Client, Failure, Output, table};
use crate::config::Config;
use crate::spend;
use crate::store::SQLITE_FILE;

const PATH: &str = "/admin/spend/verify";

/// What is on its way arrives within seconds, or does not.
const PENDING_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let (mut routers, mut problems, mut database) = (Vec::new(), Vec::<String>::new(), Value::Null);
    for (address, answer) in client.ask_all(Method::GET, PATH).await? {
        let verified = match answer {
            Ok(verified) => verified,
            Err(why) => {
                problems.push(format!("{address} was not asked: {why}"));
                routers.push(json!({ "address": address, "error": why }));
                continue;
            }
        };
        for problem in verified["problems"].as_array().into_iter().flatten() {
            let problem = problem.as_str().unwrap_or_default();
            let said = if problem.starts_with("this router") {
                format!("{address}: {problem}")
            } else {
                problem.to_owned()
            };
            if !problems.contains(&said) {
                problems.push(said);
            }
        }
        routers.push(json!({ "address": address, "records": verified["router"] }));
        if database.is_null() {
            database = verified["database"].clone();
        }
    }
    tell(output, &routers, &problems, &database)
}

/// What the database alone can say.
pub(super) async fn offline(config: &Config, output: Output) -> Result<(), Failure> {
    let file = config.server.data_dir.join(SQLITE_FILE);
    // Opening it would make one, in which nothing is wrong.
    if config.store.url.expose().is_empty() && !file.is_file() {
        let text = format!("{}: there is no such file", file.display());
        return Err(Failure::to("verify the database")(text));
    }
    let store = super::database(config).await?;
    let audit = spend::verify(&store, None, PENDING_TIMEOUT)
        .await
        .map_err(Failure::to("verify the database"))?;
    let problems: Vec<String> = audit.problems.iter().map(ToString::to_string).collect();
    let database = serde_json::to_value(Shown::from(&audit));
    let database = database.map_err(Failure::to("write JSON"))?;
    tell(output, &[], &problems, &database)
}

/// The audit without sums, which may be larger than a [`Value`] can hold.
#[derive(serde::Serialize)]
struct Shown<'a> {
    producers: &'a [spend::Producer],
    dead_letters: u64,
}

impl<'a> From<&'a spend::Audit> for Shown<'a> {
    fn from(audit: &'a spend::Audit) -> Self {
        Self {
            producers: &audit.producers,
            dead_letters: audit.dead_letters,
        }
    }
}

fn tell(
    output: Output,
    routers: &[Value],
    problems: &[String],
    database: &Value,
) -> Result<(), Failure> {
    let value = json!({
        "holds": problems.is_empty(), "problems": problems, "routers": routers,
        "database": { "producers": database["producers"], "dead_letters": database["dead_letters"] },
    });
    output.tell(&value, || Ok(told(routers, database)))?;
    match problems.len() {
        0 => Ok(()),
        many => {
            let noun = if many == 1 { "thing does" } else { "things do" };
            let text = format!("{many} {noun} not hold\n  {}", problems.join("\n  "));
            Err(Failure::to("account for everything")(text))
        }
    }
}

fn told(routers: &[Value], database: &Value) -> String {
    let mut text = String::new();
    let (mut rows, mut away) = (Vec::new(), String::new());
    for router in routers {
        let address = router["address"].as_str().unwrap_or_default();
        if let Some(why) = router["error"].as_str() {
            away += &format!("not asked: {address}: {why}\n");
            continue;
        }
        let number = |name: &str| router["records"][name].to_string();
        let numbers = ["recorded", "committed", "pending", "dead_lettered"].map(number);
        rows.push([vec![address.to_owned()], numbers.to_vec()].concat());
    }
    if !rows.is_empty() {
        let head = ["ROUTER", "RECORDED", "COMMITTED", "PENDING", "DEAD"];
        text += &table::of(&head, &rows);
    }
    text += &away;
    let producers = database["producers"].as_array().into_iter().flatten();
    let (mut all, mut whole) = (0, 0);
    for producer in producers {
        all += 1;
        if producer["missing"].as_array().is_none_or(Vec::is_empty) {
            whole += 1;
        }
    }
    let letters = &database["dead_letters"];
    text + &format!(
        "database: {whole} of {all} producers without a gap, {letters} dead letters waiting\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_router_answers_for_its_own_and_the_database_for_all() {
        let routers = [
            json!({"address": "http://a:1", "records":
                {"recorded": 10, "committed": 8, "pending": 1, "dead_lettered": 1}}),
            json!({"address": "http://b:1", "error": "connection refused"}),
        ];
        let database =
            json!({"producers": [{"missing": []}, {"missing": [[2, 3]]}], "dead_letters": 1});
        insta::assert_snapshot!(told(&routers, &database), @r#"
        ROUTER      RECORDED  COMMITTED  PENDING  DEAD
        http://a:1  10        8          1        1
        not asked: http://b:1: connection refused
        database: 1 of 2 producers without a gap, 1 dead letters waiting
        "#);
    }
}
