//! Ollama's official Python and JavaScript clients, and other programs, as the Makefile installs them.
//!
//! The scripts in `clients/` print what became of the calls: `conformance` what the client understood of a server,
//! `compat` whether it can do everything through a router.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// One of the scripts, by the program that runs it. Still needs its arguments.
///
/// # Panics
/// When the client is not installed.
pub fn python(name: &str) -> Command {
    run(tool("ollama-python", "OLLAMA_PYTHON", "bin/python"), name)
}

/// The same by the JavaScript client.
///
/// # Panics
/// When the client is not installed.
pub fn javascript(name: &str) -> Command {
    let client = tool("ollama-js", "OLLAMA_NODE", "node_modules/ollama");
    let mut command = run("node", name);
    command.env("OLLAMA_JS", client);
    command
}

/// What the client understood, or its error output.
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

/// Where llama.cpp's server is installed: `bin/llama-server`, and a `bin/python` that can write
/// models for it.
///
/// # Panics
/// When it is not installed.
pub fn llama_cpp(path: &str) -> PathBuf {
    tool("llama-cpp", "LLAMA_CPP", path)
}

/// The program as it was at this commit, which `tests/last-release` names.
///
/// # Panics
/// When it is not built.
pub fn last_release(commit: &str) -> PathBuf {
    there(&format!("herdsman-{commit}"), "herdsman")
}

pub(crate) fn run(program: impl AsRef<OsStr>, name: &str) -> Command {
    let mut command = Command::new(program);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    // Modules beside a script are compiled for it alone.
    command
        .arg(scripts.join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// What was fetched, by the name of its folder.
pub(crate) fn tool(name: &str, version: &str, path: &str) -> PathBuf {
    there(&format!("{name}-{}", version_of(version)), path)
}

fn there(folder: &str, path: &str) -> PathBuf {
    let found = tools().join(folder).join(path);
    assert!(
        found.exists(),
        "{} is missing: the Makefile makes it before it runs these tests",
        found.display()
    );
    found
}

/// Where the Makefile puts it: the default is said in both.
fn tools() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = || match set("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(set("HOME").expect("a home")).join(".cache"),
    };
    set("HERDSMAN_TOOLS").map_or_else(|| cache().join("herdsman-tools"), PathBuf::from)
}

/// `OLLAMA_NODE := 0.6.4`
fn version_of(variable: &str) -> &'static str {
    let mut lines = include_str!("../tools.mk").lines();
    lines
        .find_map(|line| line.strip_prefix(variable)?.strip_prefix(" := "))
        .expect("a version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_makefile() {
        for variable in [
            "OLLAMA_PYTHON",
            "OLLAMA_NODE",
            "CARGO_DENY",
            "LLAMA_CPP",
            "GGUF",
            "NUMPY",
            "OPEN_WEBUI",
        ] {
            let version = version_of(variable);
            let numbers = version
                .split('.')
                .filter(|part| part.parse::<u32>().is_ok());
            assert_eq!(numbers.count(), 3, "{variable} is {version}");
        }
    }
}
