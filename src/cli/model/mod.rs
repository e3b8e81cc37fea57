//! `herdsman model …`: the models of the servers behind a router, and a conversation with one.

mod chat;
mod progress;
mod tables;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::{Client, Target, escaped};
use super::output::Output;
use super::{Environment, Failure};

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
    /// Every model that a server has
    List,
    /// Models that are loaded, by server
    Ps,
    /// What a model is
    Show {
        /// Its name
        model: String,
    },
    /// Fetch a model from its registry
    Pull {
        /// Its name
        model: String,
        #[command(flatten)]
        servers: Servers,
    },
    /// Upload a model to its registry
    Push {
        /// Its name
        model: String,
    },
    /// Give a model another name, on every server that has it
    Copy {
        /// Its name
        model: String,
        /// The other name
        to: String,
    },
    /// Delete models from every server that has them
    Rm {
        /// Their names
        #[arg(required = true)]
        models: Vec<String>,
        #[command(flatten)]
        servers: Servers,
    },
    /// Load a model into memory
    Load {
        /// Its name
        model: String,
        /// How long it stays loaded when nobody uses it, such as 30m; -1: for ever
        #[arg(long, value_name = "DURATION")]
        keep_alive: Option<String>,
        /// On so many servers [default: one]
        #[arg(long)]
        replicas: Option<u32>,
        #[command(flatten)]
        servers: Servers,
    },
    /// Unload a model, from every server that has it in memory
    Stop {
        /// Its name
        model: String,
        #[command(flatten)]
        servers: Servers,
    },
    /// Talk to a model; what is not typed is read from stdin
    Chat {
        /// Its name
        model: String,
        /// One question, and no conversation
        prompt: Vec<String>,
    },
}

/// Which servers a command is about.
#[derive(Args, Debug)]
struct Servers {
    /// Only on these servers, by name
    #[arg(long = "on", value_name = "SERVER,SERVER", value_delimiter = ',', value_parser = server)]
    endpoints: Vec<String>,
}

impl Arguments {
    pub(super) async fn run(self, env: &Environment) -> Result<(), Failure> {
        let client = self.target.client_of_models(env)?;
        let output = self.output;
        match self.action {
            Action::List => {
                let shown = client.get("/api/tags").await?;
                output.tell(&shown, || Ok(tables::models(&shown)))
            }
            Action::Ps => {
                let shown = client.get("/api/ps_details").await?;
                output.tell(&shown, || Ok(tables::running(&shown)))
            }
            Action::Show { model } => {
                let body = json!({ "model": model });
                let shown = client.ask(Method::POST, "/api/show", Some(&body)).await?;
                output.tell(&shown, || Ok(tables::description(&shown)))
            }
            Action::Pull { model, servers } => {
                let path = format!("/api/pull{}", servers.query());
                progress::follow(&client, &path, &json!({ "model": model }), output).await
            }
            Action::Push { model } => {
                progress::follow(&client, "/api/push", &json!({ "model": model }), output).await
            }
            Action::Copy { model, to } => {
                let body = json!({ "source": model, "destination": to });
                let done = client
                    .ask_long(Method::POST, "/api/copy", Some(&body))
                    .await?;
                output.tell(&done, || Ok(format!("copied {model} to {to}")))
            }
            Action::Rm { models, servers } => remove(&client, &models, &servers, output).await,
            Action::Load {
                model,
                keep_alive,
                replicas,
                servers,
            } => {
                let mut body = servers.body();
                set(&mut body, "keep_alive", keep_alive);
                set(&mut body, "replicas", replicas);
                change(&client, &model, "load", &body, output).await
            }
            Action::Stop { model, servers } => {
                change(&client, &model, "unload", &servers.body(), output).await
            }
            Action::Chat { model, prompt } => {
                chat::run(&client, model, &prompt.join(" "), output).await
            }
        }
    }
}

/// Says of each whether it was deleted, and fails when one was not.
async fn remove(
    client: &Client,
    models: &[String],
    servers: &Servers,
    output: Output,
) -> Result<(), Failure> {
    let path = format!("/api/delete{}", servers.query());
    let mut failed = 0;
    for model in models {
        let body = json!({ "model": model });
        match client.ask_long(Method::DELETE, &path, Some(&body)).await {
            Ok(done) => output.tell(&done, || Ok(format!("deleted {model}")))?,
            Err(failure) => {
                failed += 1;
                failure.report();
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::to("delete them all")(format!(
            "{failed} of {} failed",
            models.len()
        ))),
    }
}

/// Loads or unloads, and shows what has happened on each server. Fails when it failed on one.
async fn change(
    client: &Client,
    model: &str,
    how: &str,
    body: &Value,
    output: Output,
) -> Result<(), Failure> {
    let path = format!("/admin/models/{}/{how}", escaped(model));
    let body = body.as_object().filter(|body| !body.is_empty());
    let body = body
        .map(|body| Value::Object(body.clone()))
        .unwrap_or_else(|| json!({}));
    let done = client.ask_long(Method::POST, &path, Some(&body)).await?;
    output.tell(&done, || Ok(tables::changes(&done)))?;
    match tables::failed(&done) {
        0 => Ok(()),
        servers => Err(Failure::to("do it everywhere")(format!(
            "{servers} servers failed"
        ))),
    }
}

/// An empty one is a variable that is not set, and would mean all of them.
fn server(name: &str) -> Result<String, String> {
    match name.trim() {
        "" => Err("names no server".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn set(body: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[key] = value.into();
    }
}

impl Servers {
    fn query(&self) -> String {
        if self.endpoints.is_empty() {
            return String::new();
        }
        format!("?endpoints={}", escaped(&self.endpoints.join(",")))
    }

    fn body(&self) -> Value {
        if self.endpoints.is_empty() {
            return json!({});
        }
        json!({ "endpoints": self.endpoints })
    }
}
