//! The `herdsman` program.

fn main() {}
