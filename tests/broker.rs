//! The broker as a whole, without sockets.

mod dead_letters;
mod dedup;
mod definitions;
mod fixtures;
mod golden;
mod limits;
mod model;
mod moves;
mod one_commit;
mod paging;
mod policies;
mod power_cut;
mod streams;
mod threads;
mod time;
mod transactions;
mod users;
mod vhosts;
