//! A broker-neutral conformance suite for AMQP 0-9-1: the runner, the harness that hurts brokers,
//! and the plain client that the benchmark and the harness use.
//!
//! It shares no code with any broker. A script
//! (`conformance/scripts/<class>/<case>.amqp`, see `conformance/README.md`) goes this way:
//! [`script`] reads and checks it, [`run`] holds a broker against it,
//! [`suite`] does so for all of them and reports. `protocol` is AMQP itself as one table and a
//! codec over it.
//! [`faults`] starts a broker, hurts it and checks what it owed its clients; [`attacks`] starts one
//! and has clients try to take it down.

pub mod api;
pub mod attacks;
pub mod client;
mod clock;
pub mod faults;
mod protocol;
pub mod run;
pub mod script;
pub mod suite;
mod watch;
