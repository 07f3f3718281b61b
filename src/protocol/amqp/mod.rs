//! AMQP 0-9-1: what goes wrong with a client of this protocol, and what it is told.

pub mod error;
pub mod reply;
