//! One client, whatever protocol it speaks: what it may do, the routes it has used, and what it
//! publishes and acknowledges, on its way to the queues.
//!
//! A protocol's session gathers what one read brings in a `PublishBatch` and an
//! `AckBatch`, and hands both over with one lock for each queue. How much it does
//! before others have their turn is counted in a `StepBudget`. No frame, no method and
//! no reply code is known here.

pub(crate) mod access;
pub(crate) mod ack_batch;
pub(crate) mod budget;
pub(crate) mod confirms;
pub(crate) mod publish_batch;
pub(crate) mod route_cache;
pub(crate) mod unacked;
pub(crate) mod write_timeout;
