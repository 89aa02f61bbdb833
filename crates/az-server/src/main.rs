//! az-server serves the HTTP API.

fn main() {}
