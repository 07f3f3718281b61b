//! The one test binary: what needs more than a module's own unit tests, a room each.

mod broker;
mod clients;
mod scripts;
mod server;
mod session;
mod store;
mod support;
mod tidy;
