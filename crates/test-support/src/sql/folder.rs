//! A server's folder, which is removed with the test: dropped, panicked or killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Waits until the other end of its input is closed, which the kernel does when the test ends. A
/// server that is just being killed may still write something.
const CLEANUP: &str =
    r#"read _; for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$0" && break; sleep 0.1; done"#;

pub struct Folder {
    path: PathBuf,
    cleanup: Child,
}

impl Folder {
    /// On a disk, or else in memory where there is some.
    pub fn new(on_disk: bool) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if !on_disk && memory.is_dir() {
            TempDir::with_prefix_in("herdsman-", memory)
        } else {
            TempDir::with_prefix("herdsman-")
        };
        let path = dir.unwrap().keep();
        let cleanup = Command::new("sh")
            .args(["-c", CLEANUP])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { path, cleanup }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.cleanup.stdin.take());
        let _ = self.cleanup.wait();
    }
}
