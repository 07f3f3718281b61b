//! What is particular to one protocol: so far all clients speak AMQP 0-9-1.

pub mod amqp;
