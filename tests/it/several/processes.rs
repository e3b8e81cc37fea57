//! The programs of a herd: routers, servers, agents.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use herdsman_test_support::Port;
use serde_json::Value;

use super::http::Http;
use super::{ADMIN_KEY, JOIN_KEY, comes_true};
use crate::support::Program;

/// One router, with a folder and an address that it keeps.
pub struct Router {
    addr: SocketAddr,
    /// Nobody else has it meanwhile.
    _port: Option<Port>,
    dir: PathBuf,
    /// What runs: the program, and words before it.
    command: Vec<OsString>,
    program: Option<Program>,
}

impl Router {
    /// With this folder, and these lines in its configuration, the first of them in `[server]`.
    pub fn new(dir: &Path, lines: &str) -> Self {
        let port = Port::free();
        let router = Self::at(port.addr(), dir, lines);
        Self {
            _port: Some(port),
            ..router
        }
    }

    /// The same at this address, which may be one of another network namespace.
    pub fn at(addr: SocketAddr, dir: &Path, lines: &str) -> Self {
        std::fs::create_dir_all(dir.join("data")).unwrap();
        let data = dir.join("data");
        let text = format!(
            "[server]\nlisten = \"{addr}\"\ndata_dir = \"{}\"\n{lines}\
             [access]\nadmin_key = \"{ADMIN_KEY}\"\njoin_key = \"{JOIN_KEY}\"\n",
            data.display()
        );
        std::fs::write(dir.join("config.toml"), text).unwrap();
        Self {
            addr,
            _port: None,
            dir: dir.to_owned(),
            command: vec![env!("CARGO_BIN_EXE_herdsman").into()],
            program: None,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// From its next start on it is this program, after words that start it.
    pub fn is_run_by<W: Into<OsString>>(&mut self, words: impl IntoIterator<Item = W>) {
        self.command = words.into_iter().map(Into::into).collect();
    }

    pub fn start(&mut self) {
        assert!(self.program.is_none(), "it runs");
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
            .args(["serve", "--config"])
            .arg(self.dir.join("config.toml"));
        self.program = Some(Program::logged(&mut command, &self.dir.join("log")));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// As a service manager ends it.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut program = self.program.take().unwrap();
        program.stop().await
    }

    pub async fn is_ready(&self, http: &Http) {
        let url = format!("{}/health/ready", self.url());
        comes_true("a router is ready", async || {
            http.text(&url).await.is_some()
        })
        .await;
    }
}

/// A simulated server, which keeps its port.
pub struct Simulated {
    program: Program,
    port: u16,
    arguments: Vec<String>,
}

impl Simulated {
    pub fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let (program, port) = simulate(0, &arguments);
        Self {
            program,
            port,
            arguments,
        }
    }

    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// It listens on all addresses.
    pub fn url_at(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// After it was killed.
    pub fn restart(&mut self) {
        (self.program, self.port) = simulate(self.port, &self.arguments);
    }
}

fn simulate(port: u16, arguments: &Vec<String>) -> (Program, u16) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command
        .args(["simulate", "--json", "--host", "0.0.0.0", "--port"])
        .arg(port.to_string())
        .args(arguments)
        .stdout(Stdio::piped());
    let mut program = Program::spawn(&mut command);
    let mut line = String::new();
    BufReader::new(program.output())
        .read_line(&mut line)
        .unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let (_, port) = told["url"].as_str().unwrap().rsplit_once(':').unwrap();
    (program, port.parse().unwrap())
}

/// The agent of a server.
pub struct Agent {
    arguments: Vec<String>,
    log: PathBuf,
    program: Option<Program>,
}

impl Agent {
    pub fn start(name: &str, server: &Simulated, routers: &[String], dir: &Path) -> Self {
        Self::advertising(name, &server.url(), server, routers, dir)
    }

    /// The same, where routers reach the server under another address.
    pub fn advertising(
        name: &str,
        advertised: &str,
        server: &Simulated,
        routers: &[String],
        dir: &Path,
    ) -> Self {
        let url = server.url();
        let arguments = [
            "agent",
            "--name",
            name,
            "--server",
            &url,
            "--advertise",
            advertised,
            "--slots",
            "32",
            "--key",
            JOIN_KEY,
            "--join",
        ];
        let mut agent = Self {
            arguments: arguments.map(str::to_owned).to_vec(),
            log: dir.join(format!("{name}.log")),
            program: None,
        };
        agent.arguments.push(routers.join(","));
        agent.restart();
        agent
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// After it was killed.
    pub fn restart(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
        let program = Program::logged(command.args(&self.arguments), &self.log);
        self.program = Some(program);
    }
}
