//! The table: a row for each call, a column for each client.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

/// Where it is, between these lines.
const PAGE: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- written by `make compat` -->\n\n";
const END: &str = "\n<!-- end -->\n";

/// The calls, and what is true when a client can do one.
const ROWS: [(&str, &str, &str); 12] = [
    ("version", "version", "that of the oldest server"),
    ("list", "list", "each model of any server once"),
    ("show", "show", "what a server says of it"),
    (
        "pull",
        "pull with progress",
        "sums over three servers that never go back, one `success` at the end; all three have the model",
    ),
    (
        "create",
        "create from a file",
        "the file is sent once, as a blob; all three servers have the model",
    ),
    ("copy", "copy", "on every server that has the model"),
    ("chat", "chat", "an answer and its counts"),
    (
        "chat_streamed",
        "chat, streamed",
        "piece by piece, the counts in the last one",
    ),
    ("embed", "embed", "a vector of each text, by both calls"),
    (
        "unload",
        "unload",
        "loaded on two servers, and then on none; `ps` says so",
    ),
    (
        "abort",
        "abort a stream",
        "the server stops at once, and the next call is answered",
    ),
    (
        "delete",
        "delete",
        "on no server any more, and not in the list",
    ),
];

/// What became of one call.
#[derive(PartialEq, Eq)]
enum Cell {
    Done,
    /// The client has no such call.
    Absent,
    Failed(String),
}

/// What a script says of a call.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Done(bool),
    Failed(String),
}

/// What became of the calls of one client, by their names.
#[derive(Deserialize)]
pub struct Calls(BTreeMap<String, Option<Said>>);

/// One client.
pub struct Column {
    client: String,
    cells: BTreeMap<&'static str, Cell>,
}

impl Column {
    /// A call of which nothing was said has failed.
    pub fn new(client: &str, version: &str, calls: Calls) -> Self {
        let Calls(mut said) = calls;
        let cells = ROWS.map(|(name, ..)| {
            let cell = match said.remove(name) {
                Some(Some(Said::Done(true))) => Cell::Done,
                Some(None) => Cell::Absent,
                Some(Some(Said::Failed(why))) => Cell::Failed(why),
                Some(Some(Said::Done(false))) | None => Cell::Failed("not tried".to_owned()),
            };
            (name, cell)
        });
        assert!(said.is_empty(), "calls without a row: {:?}", said.keys());
        Self {
            client: format!("{client} {version}"),
            cells: cells.into(),
        }
    }

    /// Whether the client can do this.
    pub fn has(&self, name: &str) -> bool {
        self.cells.get(name) == Some(&Cell::Done)
    }

    /// What did not work, each with its reason.
    pub fn failed(&self) -> impl Iterator<Item = String> {
        self.cells.iter().filter_map(|(name, cell)| match cell {
            Cell::Failed(why) => Some(format!("{}: {name}: {why}", self.client)),
            Cell::Done | Cell::Absent => None,
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "yes",
            Self::Absent => "has no such call",
            Self::Failed(_) => "**no**",
        })
    }
}

/// Puts the table in its place. The same result leaves the page as it is.
pub fn write(columns: &[Column]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the line before the table");
    let (_, after) = rest.split_once(END).expect("the line after the table");
    let written = [before, BEGIN, &rendered(columns), END, after].concat();
    if written != page {
        std::fs::write(path, written).unwrap();
    }
}

fn rendered(columns: &[Column]) -> String {
    let clients = columns.iter().map(|column| column.client.clone());
    let mut lines = vec![row("call", "what is true then", clients)];
    lines.push(row("---", "---", columns.iter().map(|_| "---".to_owned())));
    for (name, call, meaning) in ROWS {
        let cells = columns.iter().map(|column| column.cells[name].to_string());
        lines.push(row(call, meaning, cells));
    }
    lines.concat()
}

fn row(call: &str, meaning: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {call} | {meaning} | {} |\n", cells.join(" | "))
}
