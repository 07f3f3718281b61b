//! One client, whatever protocol it speaks: who it is and what it may do, the routes it has used,
//! what it publishes and acknowledges on the way to the queues, and what comes for it.
//!
//! A protocol's session gathers what one read brings in a `ReadBatch` and hands it over with one
//! lock for each queue. How much it does before others have their turn is counted in a
//! `StepBudget`. No frame, no method and no reply code is known here.

mod access;
pub(crate) mod ack_batch;
pub(crate) mod budget;
pub(crate) mod confirms;
pub mod identity;
pub(crate) mod inbox;
pub(crate) mod publish_batch;
pub(crate) mod read_batch;
pub(crate) mod route_cache;
pub(crate) mod unacked;
pub(crate) mod write_timeout;
