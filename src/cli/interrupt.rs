//! Waiting for an interrupt.

use super::Failure;
use crate::system::signals::Signals;

/// Ctrl-C and `SIGTERM`, from now on: whoever is told that a program runs may stop it at once.
pub(super) struct Interrupt(Signals);

impl Interrupt {
    pub(super) fn listen() -> Result<Self, Failure> {
        let signals = Signals::listen().map_err(Failure::to("listen for signals"))?;
        Ok(Self(signals))
    }

    /// Returns when one has arrived.
    pub(super) async fn arrived(&mut self) {
        self.0.stop().await;
    }
}
