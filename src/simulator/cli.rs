//! The simulator as a program: what `herdsman simulate` runs.

use super::{Config, Error, Simulator};

/// Serves until `shutdown` is done, then cuts what is open and returns. `ready` is told the server
/// once it listens, so that the caller can print where. Nothing is printed here.
///
/// # Errors
/// An address cannot be had.
pub async fn serve_until_stopped(
    config: Config,
    ready: impl FnOnce(&Simulator),
    shutdown: impl Future,
) -> Result<(), Error> {
    let simulator = Simulator::start(config).await?;
    ready(&simulator);
    shutdown.await;
    simulator.stop().await;
    Ok(())
}
