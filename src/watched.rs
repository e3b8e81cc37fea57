//! Files that are read again when they change.
//!
//! A file that is being written may be whole and half of what was meant, so files that changed are read once
//! they have been the same for a while.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

/// How often they are checked. They are read when two checks in a row found the same.
pub const CHECK: Duration = Duration::from_secs(1);

/// By what a file is told from what it was: when it was changed, and its bytes.
type Print = (SystemTime, u64);

/// Some files, as they were when they were read and when they were last looked at.
#[derive(Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    read: Prints,
    seen: Prints,
    next_check: Instant,
}

/// Of each file; nothing of one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prints(Vec<Option<Print>>);

impl Watched {
    /// These, which are read now.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let prints = Prints::of(&files);
        Self {
            files,
            read: prints.clone(),
            seen: prints,
            next_check: Instant::now() + CHECK,
        }
    }

    /// Waits until they are others than were read, and are all there. Can be dropped at any moment.
    pub async fn changed(&mut self) {
        loop {
            sleep_until(self.next_check).await;
            self.next_check = Instant::now() + CHECK;
            let prints = self.now();
            let same = self.seen == prints;
            let is_new = prints.have_text() && prints != self.read;
            self.seen = prints;
            if same && is_new {
                return;
            }
        }
    }

    /// As they are now.
    pub fn now(&self) -> Prints {
        Prints::of(&self.files)
    }

    /// Whether all had something in them when they were read.
    pub fn had_text(&self) -> bool {
        self.read.have_text()
    }

    /// They have been read, and were so.
    pub fn set_read(&mut self, prints: Prints) {
        self.seen = prints.clone();
        self.read = prints;
    }
}

impl Prints {
    fn of(files: &[PathBuf]) -> Self {
        let print = |file: &PathBuf| {
            let about = fs::metadata(file).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        Self(files.iter().map(print).collect())
    }

    /// Whether each file is there, and not empty.
    pub fn have_text(&self) -> bool {
        let mut prints = self.0.iter();
        prints.all(|print| print.is_some_and(|(_, bytes)| bytes > 0))
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_are_read_when_they_have_stopped_changing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, "[server]").unwrap();
        let mut watched = Watched::new(vec![file.clone()]);
        let quiet = Duration::from_secs(60);
        let changed = tokio::time::timeout(quiet, watched.changed()).await;
        assert!(changed.is_err(), "nothing has happened");
        // It grows between any two checks.
        let start = Instant::now();
        let writer = async {
            for n in 1..=10 {
                tokio::time::sleep(CHECK / 2).await;
                fs::write(&file, "#".repeat(n)).unwrap();
                tokio::time::sleep(CHECK / 2).await;
            }
            future::pending::<()>().await;
        };
        tokio::select! {
            () = watched.changed() => {}
            () = writer => {}
        }
        assert!(start.elapsed() > 10 * CHECK, "{:?}", start.elapsed());
        assert_eq!(watched.seen.0[0].unwrap().1, 10, "bytes");
        // Neither is what anybody meant, however long it lasts.
        watched.set_read(watched.now());
        fs::write(&file, "").unwrap();
        let emptied = tokio::time::timeout(quiet, watched.changed()).await;
        fs::remove_file(&file).unwrap();
        let removed = tokio::time::timeout(quiet, watched.changed()).await;
        assert!(emptied.is_err() && removed.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn two_files_are_read_when_both_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> = ["a", "b"].map(|name| dir.path().join(name)).into();
        files.iter().for_each(|file| fs::write(file, "1").unwrap());
        let mut watched = Watched::new(files.clone());
        let quiet = Duration::from_secs(60);
        fs::remove_file(&files[0]).unwrap();
        fs::write(&files[1], "22").unwrap();
        assert!(
            tokio::time::timeout(quiet, watched.changed())
                .await
                .is_err()
        );
        fs::write(&files[0], "22").unwrap();
        assert!(tokio::time::timeout(quiet, watched.changed()).await.is_ok());
    }
}
