//! Bytes to frames and methods, and back: AMQP 0-9-1 on the wire, without sockets or state.
//! Properties and tables, which messages keep as they came, are read by [`crate::message`].
//!
//! Decoding borrows from its input and allocates for the rare methods only; encoding appends to a
//! `Vec`. The methods that every message needs (publish, deliver, acknowledgements) are written by
//! hand, the others go through `amq-protocol`.
//!
//! | file | holds |
//! |---|---|
//! | [`frame`] | where a frame begins and ends, the protocol header |
//! | [`method`] | the payload of a method frame |
//! | [`header`] | the payload of a content header frame |
//! | [`encode`] | values to frames |
//! | [`output`] | what waits to be written to a socket |
//! | [`fields`] | tables of methods as the rest of the broker has them |
//! | [`error`] | what can be wrong with what is decoded |
//!
//! Invariant: no bytes of a peer make anything here panic, recurse deeper than
//! [`crate::message::table::DEPTH_MAX`], or allocate more than some 64 times their length (a table
//! of empty values is the worst).

pub mod encode;
pub mod error;
pub mod fields;
pub mod frame;
pub mod header;
pub mod method;
pub mod output;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
