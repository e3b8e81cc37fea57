//! Waiting for an interrupt.

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// Returns at ctrl-c or `SIGTERM`.
pub(super) async fn interrupted() -> Result<(), Failure> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(Failure::to("listen for signals"))?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.map_err(Failure::to("listen for signals")),
        _ = terminate.recv() => Ok(()),
    }
}
