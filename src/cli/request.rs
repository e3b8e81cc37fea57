//! `herdsman request …`: what a running router is doing, through any healthy one.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::{Target, escaped};
use super::output::Output;
use super::{Environment, Failure, table};

const ALL: &str = "/admin/requests";

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
    /// List those that are not over
    List {
        /// Those that are: the last thousand, the last one first
        #[arg(long)]
        ended: bool,
        /// Of this model, by its whole name
        #[arg(long)]
        model: Option<String>,
        /// Of this server
        #[arg(long)]
        endpoint: Option<String>,
        /// Of those that have ended, with this status
        #[arg(long, requires = "ended")]
        status: Option<u16>,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one, and why it went to its server
    Show {
        /// Its id, as in `x-request-id`
        id: String,
    },
    /// End one: its client gets an error, and its server stops
    Cancel {
        /// Its id, as in `x-request-id`
        id: String,
    },
}

impl Arguments {
    /// Each router knows its own requests, so all of them are asked.
    pub(super) async fn run(self, env: &Environment) -> Result<(), Failure> {
        let client = self.target.client(env)?;
        let output = self.output;
        match self.action {
            Action::List {
                ended,
                model,
                endpoint,
                status,
                limit,
            } => {
                let mut path = format!("{ALL}?ended={ended}&limit={limit}");
                let status = status.map(|status| status.to_string());
                for (key, value) in [("model", model), ("endpoint", endpoint), ("status", status)] {
                    if let Some(value) = value {
                        path += &format!("&{key}={}", escaped(&value));
                    }
                }
                let answers = client.ask_all(Method::GET, &path).await?;
                let (all, away) = together(answers);
                output.tell(&all, || Ok(format!("{}{away}", listed(&all))))
            }
            Action::Show { id } => {
                let one = client.ask_all(Method::GET, &one(&id)).await?;
                let one = first(one);
                output.tell(&one, || Ok(shown(&one)))
            }
            Action::Cancel { id } => {
                let done = first(client.ask_all(Method::DELETE, &one(&id)).await?);
                output.tell(&done, || Ok(format!("cancelled {id}")))
            }
        }
    }
}

type Answers = Vec<(String, Result<Value, String>)>;

fn one(id: &str) -> String {
    format!("{ALL}/{}", escaped(id))
}

/// The requests of all routers, each with the address of its own; and who did not answer.
fn together(answers: Answers) -> (Value, String) {
    let (mut all, mut away) = (Vec::new(), String::new());
    for (address, answer) in answers {
        match answer {
            Ok(mut listed) => {
                let requests = listed["requests"].as_array_mut().map(std::mem::take);
                for mut request in requests.unwrap_or_default() {
                    request["router"] = address.as_str().into();
                    all.push(request);
                }
            }
            Err(why) => away += &format!("{address}: {why}\n"),
        }
    }
    (json!({ "requests": all }), away)
}

/// What the router said that has it.
fn first(answers: Answers) -> Value {
    let mut said = answers.into_iter().filter_map(|(_, answer)| answer.ok());
    said.next().unwrap_or_default()
}

const HEAD: [&str; 9] = [
    "ID", "PATH", "MODEL", "ENDPOINT", "PHASE", "SINCE", "TOTAL", "TOKENS", "STATUS",
];

fn listed(all: &Value) -> String {
    table::of_list(&HEAD, &all["requests"], row)
}

fn row(request: &Value) -> Vec<String> {
    let text = |key: &str| request[key].as_str().unwrap_or("-").to_owned();
    let number = |key: &str| request[key].as_u64();
    let time = |key: &str| format!("{} ms", number(key).unwrap_or_default());
    let status = match number("status") {
        Some(status) if request["cancelled"] == true => format!("{status} (cancelled)"),
        Some(status) => status.to_string(),
        None => "-".to_owned(),
    };
    vec![
        text("id"),
        text("path"),
        text("model"),
        text("endpoint"),
        text("phase"),
        time("since_ms"),
        time("total_ms"),
        number("tokens").unwrap_or_default().to_string(),
        status,
    ]
}

fn shown(one: &Value) -> String {
    let list = |key: &str| one[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("-").to_owned();
    let mut told = table::of(&HEAD, &[row(one)]);
    let tries: Vec<Vec<String>> = list("tries")
        .iter()
        .map(|tried| {
            ["endpoint", "route", "failure"]
                .map(|key| text(tried, key))
                .to_vec()
        })
        .collect();
    told += "\n";
    told += &table::of(&["TRIED", "ROUTE", "FAILED"], &tries);
    let why: Vec<Vec<String>> = list("why")
        .iter()
        .map(|why| {
            let mut cells = ["endpoint", "verdict", "reason"]
                .map(|key| text(why, key))
                .to_vec();
            cells.push(format!("{} of {}", why["in_flight"], why["slots"]));
            cells
        })
        .collect();
    told += "\n";
    told += &table::of(&["SERVER", "VERDICT", "WHY", "SLOTS"], &why);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_of_all_routers_are_one_list() {
        let answers = vec![
            (
                "http://a".to_owned(),
                Ok(json!({"requests": [{"id": "1"}]})),
            ),
            ("http://b".to_owned(), Err("refused".to_owned())),
            (
                "http://c".to_owned(),
                Ok(json!({"requests": [{"id": "2"}]})),
            ),
        ];
        let (all, away) = together(answers);
        let routers = json!([{"id": "1", "router": "http://a"}, {"id": "2", "router": "http://c"}]);
        assert_eq!(all["requests"], routers);
        assert_eq!(away, "http://b: refused\n");
    }

    #[test]
    fn one_request_is_shown_with_why_it_went_where_it_went() {
        let one = json!({
            "id": "a1", "path": "/api/chat", "model": "phi4:latest", "endpoint": "gpu-2",
            "phase": "streaming", "since_ms": 120, "total_ms": 450, "tokens": 17, "status": null,
            "cancelled": false,
            "tries": [
                {"endpoint": "gpu-1", "route": "loaded", "failure": "status"},
                {"endpoint": "gpu-2", "route": "cold", "failure": null},
            ],
            "why": [
                {"endpoint": "gpu-1", "verdict": "excluded", "reason": "has failed this request already",
                 "in_flight": 0, "slots": 4},
                {"endpoint": "gpu-2", "verdict": "chosen", "reason": "the best of those that had room",
                 "in_flight": 1, "slots": 4},
            ],
        });
        insta::assert_snapshot!(shown(&one), @r"
        ID  PATH       MODEL        ENDPOINT  PHASE      SINCE   TOTAL   TOKENS  STATUS
        a1  /api/chat  phi4:latest  gpu-2     streaming  120 ms  450 ms  17      -

        TRIED  ROUTE   FAILED
        gpu-1  loaded  status
        gpu-2  cold    -

        SERVER  VERDICT   WHY                              SLOTS
        gpu-1   excluded  has failed this request already  0 of 4
        gpu-2   chosen    the best of those that had room  1 of 4
        ");
    }
}
