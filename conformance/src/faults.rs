//! A real broker process, hurt in every way while clients use it, and a checker of what it owed
//! them.
//!
//! ```text
//! run          episodes: start, hurt step by step, drain, check
//!  inject      one fault after the other, drawn from the seed
//!  workers     clients that publish, consume, commit, declare and delete until they are told to stop
//!  drain       everything left is taken out; what was settled must not be there
//! history      every operation of every client, in the order in which it was seen
//! check        what is wrong with a history; needs no broker
//! ```
//!
//! A message is *tried* when a client begins to send it, then *confirmed*, *refused*, or *unknown*
//! for ever because the connection died before the answer. Invariant: an operation is recorded
//! before its first byte is sent, an answer after its last byte was read; so what the history calls
//! earlier was earlier.

pub mod body;
pub mod check;
pub(crate) mod dice;
mod disk;
mod drain;
pub mod history;
pub mod inject;
pub(crate) mod process;
pub mod report;
pub mod run;
mod skew;
mod topology;
mod workers;
mod world;
