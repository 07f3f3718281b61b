//! The `leveret` binary: nothing to start yet.

fn main() {}
