//! Open WebUI, as `make compat` installs it: one process without its pages' browser, with everything it keeps in a
//! temporary folder.

use std::fs::File;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::Port;
use crate::clients::{run, tool};

/// Whoever makes the first account is its administrator. Killed when dropped, and with the thread that started it.
#[derive(Debug)]
pub struct OpenWebui {
    _child: Child,
    port: Port,
    dir: TempDir,
}

impl OpenWebui {
    /// Starts it before the Ollama at this address, from which it gets its vectors as well. It may be asked some
    /// seconds later.
    ///
    /// # Panics
    /// When it is not installed.
    pub fn start(ollama: &str, embedder: &str) -> Self {
        let (port, dir) = (Port::free(), TempDir::new().expect("a temporary folder"));
        let log = File::create(dir.path().join("log")).expect("a log");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program("open-webui"))
            .args(["serve", "--host", "127.0.0.1", "--port"])
            .arg(port.number().to_string());
        for (name, folder) in [("HOME", ""), ("DATA_DIR", "data"), ("STATIC_DIR", "static")] {
            command.env(name, dir.path().join(folder));
        }
        for (name, value) in [
            ("OLLAMA_BASE_URL", ollama),
            ("RAG_OLLAMA_BASE_URL", ollama),
            ("RAG_EMBEDDING_ENGINE", "ollama"),
            ("RAG_EMBEDDING_MODEL", embedder),
            ("WEBUI_SECRET_KEY", "secret"),
            ("ENABLE_OPENAI_API", "false"),
            // Nothing is fetched, and nobody is told.
            ("OFFLINE_MODE", "true"),
            ("ANONYMIZED_TELEMETRY", "false"),
        ] {
            command.env(name, value);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("a program that runs");
        Self {
            _child: child,
            port,
            dir,
        }
    }

    /// A script that asks it, by its own Python. Still needs its arguments.
    pub fn script(&self, name: &str) -> Command {
        let mut command = run(program("python"), name);
        command.env("OPEN_WEBUI", format!("http://{}", self.port.addr()));
        command
    }

    /// The end of what it has written.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        let start = log.len().saturating_sub(4096);
        String::from_utf8_lossy(&log[start..]).into_owned()
    }
}

fn program(name: &str) -> std::path::PathBuf {
    tool("open-webui", "OPEN_WEBUI", &format!("bin/{name}"))
}
