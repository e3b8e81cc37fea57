//! The resources of the process that a test uses.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::TEST_TIMEOUT;

/// The test's own task and little else; the runtime's files and the test runner's.
#[derive(Debug, PartialEq, Eq)]
pub struct Footprint {
    tasks: usize,
    files: usize,
}

/// What each open file is, for a failing test.
fn open_files() -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    files
        .filter_map(|file| file.ok()?.path().read_link().ok())
        .collect()
}

impl Footprint {
    pub fn now() -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self {
            tasks: runtime.metrics().num_alive_tasks(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }

    /// Waits until there is no more than there was then.
    pub async fn is_restored(&self) {
        let mut now = Self::now();
        let deadline = Instant::now() + TEST_TIMEOUT;
        while now.tasks > self.tasks || now.files > self.files {
            let late = Instant::now() >= deadline;
            assert!(!late, "{now:?} is more than {self:?}: {:?}", open_files());
            sleep(Duration::from_millis(5)).await;
            now = Self::now();
        }
    }
}
