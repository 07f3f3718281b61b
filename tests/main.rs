//! The one test binary: what needs more than a module's own unit tests, a room each.

mod admin;
mod attacks;
mod broker;
mod clients;
mod cluster;
mod dependencies;
mod docs;
mod examples;
mod faults;
mod fuzz;
mod http;
mod node;
mod scripts;
mod server;
mod session;
mod store;
mod support;
mod tidy;
mod ui;

/// What the fuzz targets check, for `fuzz` to run a bounded number of times.
#[expect(unreachable_pub, reason = "they are public where cargo-fuzz builds them as a library")]
#[path = "../conformance/fuzz/src/targets/mod.rs"]
mod targets;
