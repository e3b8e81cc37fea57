//! One process per data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::Error;

/// An id is shorter.
const LONGEST: u64 = 64;

/// Held as long as the process uses the folder; the system lets go of it with the process.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
    id: String,
}

impl DirLock {
    /// Makes the folder if need be and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        let failed = |error| Error::DataDir(dir.to_owned(), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(dir.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                let id = identified(&mut file).map_err(failed)?;
                Ok(Self { _file: file, id })
            }
            Err(TryLockError::WouldBlock) => Err(Error::Locked(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// What tells the folder from all others, as long as it exists.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// The id that stands in the file, or a new one that does from now on.
fn identified(file: &mut File) -> std::io::Result<String> {
    let mut written = String::new();
    // What is no text is no id.
    let _ = file.take(LONGEST).read_to_string(&mut written);
    if let Ok(id) = written.trim().parse::<uuid::Uuid>() {
        return Ok(id.to_string());
    }
    let id = uuid::Uuid::now_v7().to_string();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(id.as_bytes())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_process_and_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        let id = lock.id().to_owned();
        assert!(matches!(DirLock::take(dir.path()), Err(Error::Locked(_))));
        drop(lock);
        assert_eq!(DirLock::take(dir.path()).unwrap().id(), id);
        std::fs::write(dir.path().join("lock"), [0xff; 40]).unwrap();
        let other = DirLock::take(dir.path()).unwrap().id().to_owned();
        assert_ne!(other, id);
        assert_eq!(DirLock::take(dir.path()).unwrap().id(), other);
    }
}
