//! AMQP 0-9-1, as RabbitMQ speaks it: bytes to frames and methods, what a client may send when,
//! what can go wrong with it, and what it is told.

pub mod fault;
pub mod reply;
pub mod session;
pub mod wire;
