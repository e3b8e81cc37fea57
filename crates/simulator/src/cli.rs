//! The simulator as a program: what `herdsman simulate` runs.

use super::{Config, Error, Simulator};

/// Serves until `shutdown` is done, then cuts what is open and returns. Prints nothing.
///
/// # Errors
/// An address cannot be had.
pub async fn serve_until_stopped(config: Config, shutdown: impl Future) -> Result<(), Error> {
    serve(config, |_| {}, shutdown).await
}

/// The same, for a caller that prints where it listens: `ready` is told the server once it does.
///
/// # Errors
/// An address cannot be had.
pub async fn serve(
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
