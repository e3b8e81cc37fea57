//! herdsman as it is shipped: routing, accounting to the journal and metrics on, every model with
//! a price.
//!
//! Only two things differ from the defaults: slots are so many that nothing ever waits for one
//! (what is measured is the router, not its queue), and every file is in the run's own folder.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Command;

use super::Upstream;
use crate::error::{BenchError, Doing as _};
use crate::server::model_name;

/// The binary of the same build as this bench.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_herdsman");

const SLOTS: u32 = 4096;

/// Configured by a file alone: nothing of the caller's environment reaches it.
///
/// # Errors
/// When the configuration cannot be written.
pub fn command(
    listen: SocketAddr,
    upstream: &Upstream<'_>,
    folder: &Path,
) -> Result<Command, BenchError> {
    let path = folder.join("config.toml");
    fs::write(&path, config(listen, upstream, folder)).doing("writing herdsman's configuration")?;
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .current_dir(folder)
        .arg("serve")
        .arg("--config")
        .arg(path);
    Ok(command)
}

fn config(listen: SocketAddr, upstream: &Upstream<'_>, folder: &Path) -> String {
    let data = folder.join("herdsman-data");
    let mut text = format!(
        "[server]\nlisten = \"{listen}\"\ndata_dir = {data:?}\n\n[spend]\ndurability = \"journal\"\n"
    );
    for address in upstream.addresses {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[endpoint]]\nurl = \"http://{address}\"\nslots = {SLOTS}\n"
        );
    }
    for model in (0..upstream.models).map(model_name) {
        let _ = write!(
            text,
            "\n[[price]]\nmodel = \"{model}\"\ninput = 0.05\noutput = 0.20\n"
        );
    }
    text
}
