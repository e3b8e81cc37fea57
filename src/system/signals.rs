//! Signals to stop, or to read the configuration again. Windows has Ctrl-C, Ctrl-Break and the end of the session.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlShutdown, ctrl_break, ctrl_c, ctrl_shutdown};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM: from whoever runs the service, who sends clients elsewhere.
    Terminate,
    /// SIGINT: Ctrl-C, from a person who waits.
    Interrupt,
    /// SIGHUP.
    Reload,
}

/// From the moment it is made on, signals no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    hangup: Signal,
    #[cfg(windows)]
    interrupt: CtrlC,
    #[cfg(windows)]
    break_: CtrlBreak,
    #[cfg(windows)]
    shutdown: CtrlShutdown,
}

/// Ctrl-C alone.
#[derive(Debug)]
pub struct Interrupt {
    #[cfg(unix)]
    signal: Signal,
    #[cfg(windows)]
    signal: CtrlC,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    #[cfg(windows)]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            break_: ctrl_break()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// What comes next.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Interrupt,
            _ = self.hangup.recv() => Event::Reload,
        }
    }

    /// What comes next. Nothing asks for the configuration to be read again: it is when its file changes.
    #[cfg(windows)]
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.shutdown.recv() => Event::Terminate,
            _ = self.break_.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Interrupt,
        }
    }

    /// The next that asks for an end.
    pub async fn stop(&mut self) {
        while self.next().await == Event::Reload {}
    }
}

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: signal(SignalKind::interrupt())?,
            #[cfg(windows)]
            signal: ctrl_c()?,
        })
    }

    /// Returns when one has arrived.
    pub async fn arrived(&mut self) {
        self.signal.recv().await;
    }
}
