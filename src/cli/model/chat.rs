//! A conversation. Ctrl-C ends the answer that is being given, and nothing else; on an empty line it ends the
//! conversation, as the end of stdin does.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::output::{self, Output};
use crate::system::signals::Interrupt;

const PROMPT: &str = ">>> ";

struct Conversation<'a> {
    client: &'a Client,
    model: String,
    messages: Vec<Value>,
    interrupt: Interrupt,
    output: Output,
}

pub(super) async fn run(
    client: &Client,
    model: String,
    prompt: &str,
    output: Output,
) -> Result<(), Failure> {
    let interrupt = Interrupt::listen().map_err(Failure::to("listen for signals"))?;
    let mut conversation = Conversation {
        client,
        model,
        messages: Vec::new(),
        interrupt,
        output,
    };
    if !prompt.is_empty() {
        return conversation.ask(prompt).await;
    }
    if !io::stdin().is_terminal() {
        let mut piped = String::new();
        let read = io::stdin().lock().read_to_string(&mut piped);
        read.map_err(Failure::to("read stdin"))?;
        return conversation.ask(piped.trim()).await;
    }
    conversation.talk().await
}

impl Conversation<'_> {
    async fn talk(&mut self) -> Result<(), Failure> {
        let mut typed = typed();
        loop {
            output::write(PROMPT)?;
            let line = tokio::select! {
                line = typed.recv() => line,
                _ = self.interrupt.arrived() => None,
            };
            match line.as_deref().map(str::trim) {
                None | Some("/bye") => return output::write("\n"),
                Some("") => {}
                Some(question) => {
                    if let Err(failure) = self.ask(question).await {
                        // The conversation goes on: the question may be asked again.
                        failure.report();
                    }
                }
            }
        }
    }

    /// One question and its answer, as it comes. Both are remembered, so far as the answer came.
    async fn ask(&mut self, question: &str) -> Result<(), Failure> {
        self.messages
            .push(json!({ "role": "user", "content": question }));
        let mut answer = String::new();
        let ended = tokio::select! {
            ended = stream(self.client, &self.model, &self.messages, self.output, &mut answer) => ended,
            _ = self.interrupt.arrived() => Ok(()),
        };
        output::write("\n")?;
        if ended.is_err() && answer.is_empty() {
            self.messages.pop();
        } else {
            self.messages
                .push(json!({ "role": "assistant", "content": answer }));
        }
        ended
    }
}

async fn stream(
    client: &Client,
    model: &str,
    messages: &[Value],
    output: Output,
    answer: &mut String,
) -> Result<(), Failure> {
    let body = json!({ "model": model, "messages": messages, "stream": true });
    let mut lines = client.lines("/api/chat", &body).await?;
    while let Some(line) = lines.next().await? {
        let piece = line["message"]["content"].as_str().unwrap_or_default();
        answer.push_str(piece);
        if output.is_json() {
            output::print(&line.to_string())?;
        } else {
            output::write(piece)?;
        }
        if line["done"] == true {
            return Ok(());
        }
    }
    Err(Failure::to("read the answer")("it ended in the middle"))
}

/// What is typed, line by line. The thread that reads it does not keep the program from ending.
fn typed() -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    typed
}
