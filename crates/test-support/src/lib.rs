//! What the tests of several crates share: real servers, proxies with network faults, certificates,
//! the official clients and Open WebUI.
//!
//! It does not depend on what is tested. Its own errors are panics that say what never happened, with
//! the server's log where there is one. Everything listens on loopback, on ports that no other of
//! these tests has, writes into temporary folders, and ends with the value that owns it, also when
//! the test panics.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod certificates;
mod chaos;
pub mod clients;
mod open_webui;
mod port;
pub mod redis;
pub mod sql;
mod waiting;

pub use certificates::Certificates;
pub use chaos::{Chaos, Network};
pub use open_webui::OpenWebui;
pub use port::Port;
pub use waiting::{TEST_TIMEOUT, eventually};
