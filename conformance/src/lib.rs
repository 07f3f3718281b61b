//! What the conformance suite and the benchmark share: a plain AMQP 0-9-1 client that shares no code with any broker.

pub mod client;
