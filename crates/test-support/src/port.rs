//! Ports that no two tests use at once.
//!
//! A port found by binding to 0 is free only until the next program asks the same; a server that
//! is killed and started again needs it for longer. So a port is claimed by holding the UDP port
//! of the same number, which the kernel gives once and takes back when the process ends, however
//! it ends. And it lies below the range from which the kernel serves outgoing connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

const LOWEST: u16 = 10_000;
const HIGHEST: u16 = 32_000;

/// A TCP port of 127.0.0.1, reserved while this value exists.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Any port that is free and unclaimed.
    ///
    /// # Panics
    /// When there is none.
    pub fn free() -> Self {
        let first = fastrand::u16(LOWEST..HIGHEST);
        (first..HIGHEST)
            .chain(LOWEST..first)
            .find_map(Self::claim)
            .expect("a free port")
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    fn claim(number: u16) -> Option<Self> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // A program that does not use these claims may listen there.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self {
            number,
            _claim: claim,
        })
    }
}
