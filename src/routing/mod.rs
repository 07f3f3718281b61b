//! Routing: exchanges, bindings, and which queues a message reaches.

pub mod exchange;
pub mod explain;
pub mod route;
pub mod topology;
