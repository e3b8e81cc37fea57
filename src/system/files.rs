//! Files: how many may be open, which one a path leads to, and reading and writing at a place of one.

use std::fs::{File, Metadata};
use std::io;

/// Which file it is, whatever leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Elsewhere a file in use cannot be removed or replaced.
#[cfg(not(unix))]
impl From<&Metadata> for FileId {
    fn from(_: &Metadata) -> Self {
        Self {
            device: 0,
            inode: 0,
        }
    }
}

/// Room for open files: every stream is two sockets, and the limit a shell sets by default (1,024) is a few hundred
/// streams. The system's own limit, which an unprivileged process may go up to, is far higher. Where going there is not
/// allowed, what there is has to do.
#[cfg(unix)]
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = ?limit.current, "the limit of open files stays low");
    }
}

/// There is no such limit.
#[cfg(not(unix))]
pub fn raise_limit() {}

/// Fills the buffer from this place on.
///
/// # Errors
/// When it cannot be read, or ends before.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

/// Writes all of it from this place on.
///
/// # Errors
/// When it cannot be written.
#[cfg(unix)]
pub fn write_all_at(file: &File, data: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, at)
}

/// Fills the buffer from this place on.
///
/// # Errors
/// When it cannot be read, or ends before.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = buffer.split_at_mut(n).1;
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Writes all of it from this place on.
///
/// # Errors
/// When it cannot be written.
#[cfg(windows)]
pub fn write_all_at(file: &File, mut data: &[u8], mut at: u64) -> io::Result<()> {
    while !data.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, data, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => {
                data = &data[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_written_at_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abcdef").unwrap();
        let mut options = File::options();
        let file = options.read(true).write(true).open(&path).unwrap();
        write_all_at(&file, b"XY", 2).unwrap();
        let mut read = [0; 3];
        read_exact_at(&file, &mut read, 1).unwrap();
        assert_eq!(&read, b"bXY");
        let past = read_exact_at(&file, &mut read, 4).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        let id = |path| FileId::from(&std::fs::metadata(path).unwrap());
        assert_eq!(id(&path), FileId::from(&file.metadata().unwrap()));
    }
}
