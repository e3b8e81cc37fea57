//! Ollama's official Python and JavaScript clients, as `make tools` installs them.
//!
//! The scripts in `clients/` use every call and print what the client understood.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// `conformance.py` by the Python client. Lacks the address of a server, a model, and options.
///
/// # Panics
/// When the client is not installed.
pub fn python() -> Command {
    let mut command = Command::new(tool("py/bin/python"));
    command.arg(script("conformance.py"));
    command
}

/// `conformance.mjs` by the JavaScript client. Lacks the address of a server, a model, and options.
///
/// # Panics
/// When the client is not installed.
pub fn javascript() -> Command {
    tool("node/node_modules/ollama");
    let mut command = Command::new("node");
    command
        .arg(script("conformance.mjs"))
        .env("OLLAMA_JS", tool("node"));
    command
}

/// What the client understood, or its complaint.
///
/// # Errors
/// What the script said when it failed.
///
/// # Panics
/// When it cannot be run, or prints no report.
pub async fn report(mut command: Command, arguments: &[&str]) -> Result<serde_json::Value, String> {
    let run = command.args(arguments).kill_on_drop(true);
    let output = run.output().await.expect("a program that runs");
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        Ok(serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}")))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name)
}

fn tool(path: &str) -> PathBuf {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.tools")
        .join(path);
    assert!(found.exists(), "{path} is missing: run `make tools`");
    found
}
