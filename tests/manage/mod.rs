//! What an operator does, performed on a broker with sessions, without sockets and without a disk.

mod clients;
mod house;
mod objects;
mod parked;
mod policies;
mod users;
mod vhosts;
mod wire;
