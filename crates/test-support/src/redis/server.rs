//! One `redis-server` process: started, broken in every way a process can be, started again.
//!
//! Faults take `&self`, so that a test can break a server while its users hold it. The process is
//! known by its id alone, which is swapped out before it is reaped: no signal goes to another
//! process with the same id.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::{Certificates, Port, TEST_TIMEOUT};

/// What a server shall be, before it starts.
#[derive(Debug)]
pub struct Plan {
    port: Port,
    settings: Vec<(String, String)>,
    password: Option<String>,
    tls: Option<(Port, Arc<Certificates>)>,
    sentinel: bool,
}

/// A running server, or a killed one that may be restarted. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// 0: none.
    pid: AtomicI32,
    plan: Plan,
    dir: TempDir,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// Everything in memory; a restart begins empty.
    pub fn new() -> Self {
        Self {
            port: Port::free(),
            settings: Vec::new(),
            password: None,
            tls: None,
            sentinel: false,
        }
    }

    /// Every acknowledged write survives `kill -9`: written before the answer is, though not
    /// synced, which only a crash of the machine would show.
    pub fn durable(self) -> Self {
        self.set("appendonly", "yes").set("appendfsync", "no")
    }

    /// A line of the server's configuration.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Clients and replicas must know this password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.set("requirepass", password)
            .set("masterauth", password)
    }

    /// Speaks TLS as well, on a second port.
    pub fn tls(mut self, certificates: &Arc<Certificates>, ask_clients: bool) -> Self {
        let port = Port::free();
        let file = |name| certificates.path(name).display().to_string();
        let number = port.number().to_string();
        self.tls = Some((port, certificates.clone()));
        self.set("tls-port", &number)
            .set("tls-cert-file", &file("server.pem"))
            .set("tls-key-file", &file("server.key"))
            .set("tls-ca-cert-file", &file("ca.pem"))
            .set("tls-auth-clients", if ask_clients { "yes" } else { "no" })
    }

    pub(super) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(self) -> Server {
        let server = self.launch();
        server.ready().await;
        server
    }

    fn launch(self) -> Server {
        let dir = TempDir::new().expect("a temporary folder");
        std::fs::write(
            dir.path().join("redis.conf"),
            self.configuration(dir.path()),
        )
        .expect("a written configuration");
        let server = Server {
            pid: AtomicI32::new(0),
            plan: self,
            dir,
        };
        server.launch();
        server
    }

    fn configuration(&self, dir: &Path) -> String {
        let mut lines = vec![
            format!("port {}", self.port.number()),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", dir.display()),
            "logfile redis.log".to_owned(),
        ];
        if !self.sentinel {
            lines.extend(
                [
                    "save \"\"",
                    "auto-aof-rewrite-percentage 0",
                    "enable-debug-command yes",
                    "repl-diskless-sync-delay 0",
                ]
                .map(str::to_owned),
            );
        }
        lines.extend(
            self.settings
                .iter()
                .map(|(key, value)| format!("{key} {value}")),
        );
        lines.join("\n") + "\n"
    }
}

impl Server {
    /// A server with nothing special, in memory only.
    pub async fn start() -> Self {
        Plan::new().start().await
    }

    /// The port without TLS.
    pub fn port(&self) -> u16 {
        self.plan.port.number()
    }

    /// `redis://127.0.0.1:6379`, with the password if there is one.
    pub fn url(&self) -> String {
        let password = self.plan.password.as_ref();
        let login = password.map_or(String::new(), |password| format!(":{password}@"));
        format!("redis://{login}127.0.0.1:{}", self.port())
    }

    /// `rediss://127.0.0.1:6380`, without a password.
    ///
    /// # Panics
    /// When the server was not planned with TLS.
    pub fn tls_url(&self) -> String {
        let (port, _) = self.plan.tls.as_ref().expect("a plan with TLS");
        format!("rediss://127.0.0.1:{}", port.number())
    }

    // === faults ===

    /// `kill -9`. Its sockets are closed by the kernel, and the port refuses.
    pub fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid.swap(0, Ordering::SeqCst)) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }

    /// `SIGSTOP`: the kernel goes on accepting connections and bytes, the server never answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// `SIGCONT`: what was sent meanwhile is executed now.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts a killed server on its old port with its old files.
    pub async fn restart(&self) {
        self.launch();
        self.ready().await;
    }

    /// Like [`restart`](Self::restart), but without waiting until it has loaded its data.
    pub async fn restart_loading(&self) {
        self.launch();
        self.until(|server| async { server.ask::<String>("INFO server").await.is_ok() })
            .await;
    }

    /// Follows a master that does not exist: reads go on, writes are answered with READONLY.
    pub async fn become_replica(&self) {
        self.run("REPLICAOF 127.0.0.1 1").await;
    }

    /// Follows no master, and takes writes.
    pub async fn become_master(&self) {
        self.run("REPLICAOF NO ONE").await;
    }

    /// `DEBUG SLEEP`: the server is there and does nothing for so long. Returns at once.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn sleep(&self, length: Duration) {
        let mut stream = TcpStream::connect(self.plan.port.addr())
            .await
            .expect("a reachable server");
        let login = self.plan.password.as_ref();
        let login = login.map_or(String::new(), |password| format!("AUTH {password}\r\n"));
        let line = format!("{login}DEBUG SLEEP {}\r\n", length.as_secs_f64());
        stream
            .write_all(line.as_bytes())
            .await
            .expect("a sent line");
    }

    // === questions ===

    /// Asks the server itself, without any proxy: `CONFIG SET maxmemory 1mb`.
    ///
    /// # Errors
    /// The server's error, or that of the connection.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TEST_TIMEOUT))
            .set_response_timeout(Some(TEST_TIMEOUT));
        let mut connection = Client::open(self.url())?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut words = command.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await
    }

    /// A command that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn run(&self, command: &str) {
        if let Err(error) = self.ask::<redis::Value>(command).await {
            panic!("{command}: {error}\n{}", self.log());
        }
    }

    /// A number, 0 when the key is not there.
    ///
    /// # Panics
    /// When the server cannot be asked or the value is no number.
    pub async fn number(&self, key: &str) -> i64 {
        let value: Option<i64> = self.ask(&format!("GET {key}")).await.expect("a number");
        value.unwrap_or(0)
    }

    /// One field of `INFO`; `None` when there is none, or no connection: sentinels disconnect all
    /// clients of a server whose role they change.
    pub async fn info(&self, field: &str) -> Option<String> {
        let info: String = self.ask("INFO everything").await.ok()?;
        let mut lines = info.lines();
        lines.find_map(|line| {
            let value = line.strip_prefix(field)?.strip_prefix(':')?;
            Some(value.to_owned())
        })
    }

    /// What the server wrote about itself.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("redis.log")).unwrap_or_default()
    }

    // === the process ===

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid.load(Ordering::SeqCst)).expect("a running server");
        kill_process(pid, signal).expect("a delivered signal");
    }

    #[expect(
        clippy::zombie_processes,
        reason = "reaped by its id, when it is killed"
    )]
    fn launch(&self) {
        let mut command = Command::new("redis-server");
        command
            .arg(self.dir.path().join("redis.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.plan.sentinel {
            command.arg("--sentinel");
        }
        let child = command.spawn().expect("redis-server is installed");
        let pid = i32::try_from(child.id()).expect("a process id");
        let before = self.pid.swap(pid, Ordering::SeqCst);
        assert_eq!(before, 0, "the server was running already");
    }

    /// Answers PING, and is the one we started.
    async fn ready(&self) {
        let pid = format!("process_id:{}", self.pid.load(Ordering::SeqCst));
        self.until(|server| {
            let pid = &pid;
            async move {
                let info = server.ask::<String>("INFO server").await;
                info.is_ok_and(|info| info.contains(pid))
                    && server.ask::<String>("PING").await.is_ok()
            }
        })
        .await;
    }

    async fn until<'a, F: Future<Output = bool>>(&'a self, holds: impl Fn(&'a Self) -> F) {
        let deadline = Instant::now() + TEST_TIMEOUT;
        while !holds(self).await {
            let pid = Pid::from_raw(self.pid.load(Ordering::SeqCst));
            let ended = waitpid(pid, WaitOptions::NOHANG);
            assert!(
                matches!(ended, Ok(None)) && Instant::now() < deadline,
                "redis-server does not answer: {ended:?}\n{}",
                self.log()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
