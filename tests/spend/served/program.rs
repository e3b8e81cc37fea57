//! One `herdsman serve`: its configuration, its process, and what is done to that.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Database, Plan, eventually};
use herdsman_test_support::Port;

/// Lines of its log that are shown when a test fails.
const LAST_LINES: usize = 40;

/// A program with a folder and a port of its own, running or not. Killed when dropped.
pub struct Program {
    port: Port,
    dir: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// What it shall be. `fleet`: the servers behind it, and the prices.
    pub fn new(plan: &Plan, database: &Database, fleet: &str) -> Self {
        let (port, dir) = (Port::free(), plan.dir.clone());
        let (store, store_dir) = database.place_of_routers();
        let data = dir.join("data");
        std::fs::create_dir_all(&data).unwrap();
        if store.is_empty() {
            // One file for all: a path in each folder that leads to it.
            let name = herdsman::store::SQLITE_FILE;
            std::os::unix::fs::symlink(store_dir.join(name), data.join(name)).unwrap();
        }
        let ms = |time: std::time::Duration| format!("{}ms", time.as_millis());
        let mut weight = 1.0;
        let redis = plan.redis.iter().map(|url| {
            weight /= 2.0;
            format!(
                "[[redis.database]]\nurl = \"{url}\"\nweight = {weight}\ngrace_period = \"1s\"\n"
            )
        });
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"{}\"\ngrace = \"1s\"\nlead_in = \"0s\"\n\
             [fleet]\nprobe_interval = \"500ms\"\n\
             [store]\nurl = \"{store}\"\n\
             [access]\nrequire_key = true\n\
             [spend]\nseal_interval = \"{}\"\nflush_interval = \"{}\"\nlease_ttl = \"{}\"\n\
             [redis]\nkey_prefix = \"test\"\nresponse_timeout = \"700ms\"\n\
             health_interval = \"200ms\"\nhealth_check_probes = 1\nhealth_check_delay = \"0s\"\n\
             auto_fallback_interval = \"3s\"\n{}{fleet}",
            port.number(),
            data.display(),
            ms(plan.seal_interval),
            ms(plan.flush_interval),
            ms(plan.lease_ttl),
            redis.collect::<String>(),
        );
        std::fs::write(dir.join("config.toml"), text).unwrap();
        Self {
            port,
            dir,
            child: None,
        }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Starts it, again on the same folder and port. It serves when it is ready.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(self.dir.join("log"));
        let child = Command::new(env!("CARGO_BIN_EXE_herdsman"))
            .args(["serve", "--config"])
            .arg(self.dir.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// As a service manager ends it, and waits.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let child = self.child.as_mut().unwrap();
        eventually("it stopped", async || child.try_wait().unwrap().is_some()).await;
        self.child = None;
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Nothing but us ends it.
    pub fn must_run(&mut self) {
        let ended = self.child.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            println!("{}:\n{}", self.dir.display(), last.join("\n"));
        }
    }
}
