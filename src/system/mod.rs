//! What differs between operating systems, one thing per file: signals, and files as the system has them.
//!
//! Owns every call that is not there on all of them, each with what stands for it elsewhere; a test holds that no other
//! file has one. Routers are run on Linux; what is here builds for macOS and Windows too, where agents run.

pub mod files;
pub mod signals;
