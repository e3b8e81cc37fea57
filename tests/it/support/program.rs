//! A process of a test: this program, or another one.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// Lines of its log that are shown when a test fails.
const LAST_LINES: usize = 20;

/// Killed with the test.
pub struct Program {
    child: Child,
    log: Option<PathBuf>,
}

impl Program {
    /// Starts it; whatever it says on its error output is lost.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        Self {
            child: child.unwrap(),
            log: None,
        }
    }

    /// Starts it, with its error output at the end of this file, the last of which is shown when the test fails.
    pub fn logged(command: &mut Command, log: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(file.unwrap()).spawn();
        Self {
            child: child.unwrap(),
            log: Some(log.to_owned()),
        }
    }

    /// What it is to say on its output, if its command has that piped.
    pub fn output(&mut self) -> impl std::io::Read + use<> {
        self.child.stdout.take().unwrap()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; returns when it has ended.
    pub async fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut ended = None;
        eventually("the program ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        })
        .await;
        ended.unwrap()
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what a program said is shown with the test that failed"
)]
impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        let log = self.log.as_ref().filter(|_| std::thread::panicking());
        if let Some(log) = log {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("{}:\n{}", log.display(), last.join("\n"));
        }
    }
}
