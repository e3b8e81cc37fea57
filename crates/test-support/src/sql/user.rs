//! Database servers refuse to be root, and tests in a container often are.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

/// `program`, as `account` if we are root and as ourselves otherwise. When the thread that starts it
/// ends, however it ends, the program gets `signal`.
pub fn command(program: impl AsRef<OsStr>, account: &str, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    // First the identity: changing it would clear the death signal.
    if let Some((user, group)) = ids(account) {
        command.args([
            "--reuid".to_owned(),
            user.to_string(),
            "--regid".to_owned(),
            group.to_string(),
            "--clear-groups".to_owned(),
        ]);
    }
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// Makes `account` the owner of `path`, if we are root.
pub fn give(path: &Path, account: &str) {
    if let Some((user, group)) = ids(account) {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

fn ids(account: &str) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts
        .lines()
        .find(|line| line.split(':').next() == Some(account))
        .unwrap_or_else(|| panic!("there is no user {account}: install the server's package"));
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next().unwrap(), fields.next().unwrap()))
}
