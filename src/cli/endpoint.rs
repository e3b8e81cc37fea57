//! `herdsman endpoint …`: the servers of a running router, through any healthy one.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::client::{Client, Target, escaped};
use super::output::Output;
use super::{Environment, Failure, table};

const ALL: &str = "/admin/endpoints";
/// How often a server is looked at that drains.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

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
    /// List them
    List,
    /// Add one; it is kept, and there again after a restart
    Add {
        /// Its root, such as http://gpu-3:11434, or the name of one that offers itself
        #[arg(value_name = "URL|NAME")]
        server: String,
        /// How it is called [default: host:port]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change what is given of one that was added, keep the rest
    Set {
        /// How it is called
        name: String,
        /// Its root
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Keep new requests from it; what runs there goes on to its end
    Drain {
        /// How it is called
        name: String,
        /// Of this model only
        #[arg(long)]
        model: Option<String>,
        /// Return when the last of what runs there has ended
        #[arg(long)]
        wait: bool,
    },
    /// Let it take requests again
    Resume {
        /// How it is called
        name: String,
        /// Of this model only
        #[arg(long)]
        model: Option<String>,
    },
    /// Take one out that was added, when what runs there has ended
    Remove {
        /// How it is called
        name: String,
        /// Do not wait for what runs there
        #[arg(long)]
        now: bool,
    },
}

/// How a server is used.
#[derive(Args, Debug, Default)]
struct Settings {
    /// What it speaks: ollama or openai
    #[arg(long)]
    kind: Option<String>,
    /// Concurrent requests per model, or auto
    #[arg(long, value_name = "N")]
    slots: Option<String>,
    /// Its share among servers of equal priority
    #[arg(long, value_name = "X")]
    weight: Option<f64>,
    /// Lower is used first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// File with the key that is sent to it
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<std::path::PathBuf>,
    /// Whether what is Ollama's cloud's goes to it
    #[arg(long, value_name = "true|false")]
    cloud: Option<bool>,
    /// A model it has, of a server that cannot list them; repeatable
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// What it is also called, together with others; repeatable
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
}

impl Settings {
    fn object(self) -> Result<Map<String, Value>, Failure> {
        let mut object = Map::new();
        let mut say = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        };
        let list = |list: Vec<String>| (!list.is_empty()).then(|| json!(list));
        // What is no number is said to be none by the router.
        let slots = self.slots.map(|slots| match slots.parse::<u32>() {
            Ok(count) => json!(count),
            Err(_) => json!(slots),
        });
        say("kind", self.kind.map(Value::from));
        say("slots", slots);
        say("weight", self.weight.map(Value::from));
        say("priority", self.priority.map(Value::from));
        say("cloud", self.cloud.map(Value::from));
        say("models", list(self.models));
        say("labels", list(self.labels));
        if let Some(file) = self.api_key_file {
            let read = std::fs::read_to_string(file).map_err(Failure::to("read the key"))?;
            say("api_key", Some(read.trim().into()));
        }
        Ok(object)
    }
}

impl Arguments {
    pub(super) async fn run(self, env: &Environment) -> Result<(), Failure> {
        let client = self.target.client(env)?;
        let output = self.output;
        match self.action {
            Action::List => {
                let all = client.get(ALL).await?;
                output.tell(&all, || Ok(listed(&all)))
            }
            Action::Add {
                server,
                name,
                settings,
            } => {
                let mut body = settings.object()?;
                let is_url = server.contains(':');
                let key = if is_url { "url" } else { "name" };
                body.insert(key.to_owned(), server.into());
                if let Some(name) = name {
                    body.insert("name".to_owned(), name.into());
                }
                tell(&client, output, Method::POST, ALL, body).await
            }
            Action::Set {
                name,
                url,
                settings,
            } => {
                let mut body = settings.object()?;
                if let Some(url) = url {
                    body.insert("url".to_owned(), url.into());
                }
                tell(&client, output, Method::PATCH, &one(&name), body).await
            }
            Action::Drain { name, model, wait } => {
                let path = format!("{}/drain", one(&name));
                let body = Value::Object(of(model.clone()));
                let mut shown = client.ask(Method::POST, &path, Some(&body)).await?;
                while wait && is_draining(&shown, model.is_some()) {
                    sleep(BETWEEN_LOOKS).await;
                    shown = client.get(&one(&name)).await?;
                }
                output.tell(&shown, || Ok(table::of(&HEAD, &[row(&shown)])))
            }
            Action::Resume { name, model } => {
                let path = format!("{}/resume", one(&name));
                tell(&client, output, Method::POST, &path, of(model)).await
            }
            Action::Remove { name, now } => {
                let now = if now { "?now=true" } else { "" };
                let path = format!("{}{now}", one(&name));
                let gone = client.ask(Method::DELETE, &path, None).await?;
                output.tell(&gone, || Ok(removed(&gone)))
            }
        }
    }
}

/// Whether something still runs that is to end: on the whole server, or of a model that drains there.
fn is_draining(server: &Value, of_model: bool) -> bool {
    match of_model {
        false => server["phase"] == "draining",
        true => server["drained"] != server["draining"],
    }
}

fn one(name: &str) -> String {
    format!("{ALL}/{}", escaped(name))
}

fn of(model: Option<String>) -> Map<String, Value> {
    let model = model.map(|model| ("model".to_owned(), model.into()));
    model.into_iter().collect()
}

async fn tell(
    client: &Client,
    output: Output,
    method: Method,
    path: &str,
    body: Map<String, Value>,
) -> Result<(), Failure> {
    let shown = client.ask(method, path, Some(&Value::Object(body))).await?;
    output.tell(&shown, || Ok(table::of(&HEAD, &[row(&shown)])))
}

fn removed(gone: &Value) -> String {
    let name = gone["deleted"].as_str().unwrap_or_default();
    match gone["in_flight"].as_u64() {
        Some(running) if running > 0 => {
            format!("removed {name}; {running} requests finish there")
        }
        _ => format!("removed {name}"),
    }
}

const HEAD: [&str; 9] = [
    "NAME", "URL", "KIND", "SOURCE", "PHASE", "VERSION", "RUNNING", "MODELS", "LOADED",
];

fn listed(all: &Value) -> String {
    let listed = table::of_list(&HEAD, &all["endpoints"], row);
    let offered = all["offered"].as_array().into_iter().flatten();
    let lines = offered.filter_map(|offer| {
        let (name, url) = (offer["name"].as_str()?, offer["url"].as_str()?);
        Some(format!(
            "\noffered: {url}; to use it: herdsman endpoint add {name}"
        ))
    });
    listed + &lines.collect::<String>()
}

fn row(server: &Value) -> Vec<String> {
    let text = |key: &str| server[key].as_str().unwrap_or("-").to_owned();
    let count = |key: &str| server[key].as_array().map_or(0, Vec::len);
    let running = server["in_flight"].as_u64().unwrap_or_default();
    let why = server["why"].as_str();
    let phase = match why {
        Some(why) => format!("{} ({why})", text("phase")),
        None => text("phase"),
    };
    let draining = count("draining");
    let models = match draining {
        0 => count("models").to_string(),
        _ => format!("{} ({draining} draining)", count("models")),
    };
    vec![
        text("name"),
        text("url"),
        text("kind"),
        text("source"),
        phase,
        text("version"),
        running.to_string(),
        models,
        count("loaded").to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table() {
        let all = json!({"endpoints": [
            {"name": "gpu-1", "url": "http://gpu-1:11434", "kind": "ollama", "source": "config",
             "phase": "up", "version": "0.14.2", "in_flight": 3, "models": ["a", "b"],
             "loaded": [{"model": "a"}], "draining": ["b"]},
            {"name": "gpu-2", "url": "http://gpu-2:11434", "kind": "ollama", "source": "admin",
             "phase": "down", "why": "connection refused", "version": null, "in_flight": 0,
             "models": [], "loaded": [], "draining": []},
        ]});
        insta::assert_snapshot!(listed(&all), @r"
        NAME   URL                 KIND    SOURCE  PHASE                      VERSION  RUNNING  MODELS          LOADED
        gpu-1  http://gpu-1:11434  ollama  config  up                         0.14.2   3        2 (1 draining)  1
        gpu-2  http://gpu-2:11434  ollama  admin   down (connection refused)  -        0        0               0
        ");
    }
}
