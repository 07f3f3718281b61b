//! The broker as a whole, without sockets.

mod one_commit;
mod power_cut;
