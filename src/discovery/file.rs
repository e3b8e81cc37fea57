//! A file that names servers, as a configuration does: `[[endpoint]]` and nothing else.

use std::env::vars_os;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tokio::time::timeout;

use crate::config::{Endpoint, Problem, load_endpoints};
use crate::watched::{CHECK, Watched};

/// The file, as it was last looked at.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    watched: Watched,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Never,
    /// It was gone or empty.
    Gone,
    There,
}

impl File {
    pub(super) fn new(path: &str) -> Self {
        let path = PathBuf::from(path);
        Self {
            watched: Watched::new(vec![path.clone()]),
            path,
            seen: Seen::Never,
        }
    }

    /// At once when it is looked at for the first time; then when it has changed, or after a moment. `None`:
    /// it is as it was.
    pub(super) async fn look(&mut self) -> Option<Result<Vec<Endpoint>, String>> {
        let is_first = self.seen == Seen::Never;
        let has_changed = is_first || timeout(2 * CHECK, self.watched.changed()).await.is_ok();
        let print = self.watched.now();
        if !print.have_text() {
            self.seen = Seen::Gone;
            return Some(Err("the file is gone or empty".to_owned()));
        }
        if !has_changed && self.seen == Seen::There {
            return None;
        }
        let listed = read(&self.path);
        if self.watched.now() != print {
            // It is read again when it has stopped changing.
            return Some(Err("the file changed while it was read".to_owned()));
        }
        self.watched.set_read(print);
        self.seen = Seen::There;
        Some(listed)
    }
}

fn read(path: &std::path::Path) -> Result<Vec<Endpoint>, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    // The inventory knows where this router listens; no server has this address.
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let said = |problems: Vec<Problem>| {
        let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
        problems.join("; ")
    };
    load_endpoints(path, vars_os().filter_map(text), nowhere).map_err(said)
}
