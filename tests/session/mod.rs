//! Sessions against a real broker, without sockets and without a disk: dialogues as text, see
//! [`script`].

mod alarms;
mod attacks;
mod basics;
mod ceilings;
mod confirms;
mod consumers;
mod content;
mod copies;
mod garbage;
mod global_limit;
mod handshake;
mod order;
mod overdue;
mod permissions;
mod refusals;
mod replies;
mod script;
mod streams;
mod topology;
mod transactions;
mod turns;
mod vhosts;
pub(crate) mod wire;
pub(crate) mod world;
