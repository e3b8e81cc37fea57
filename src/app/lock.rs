//! One process per data folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::Error;

/// Held as long as the process uses the folder; the system lets go of it with the process.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the folder if need be and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        let failed = |error| Error::DataDir(dir.to_owned(), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let file = File::create(dir.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
