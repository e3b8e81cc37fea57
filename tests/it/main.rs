//! The router as its clients see it: real sockets, simulated servers, one process.

mod serving;
mod support;
