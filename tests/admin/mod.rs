//! What an operator does, performed on a broker with sessions, without sockets and without a disk.

mod access;
mod browse;
mod clients;
mod durable;
mod objects;
mod parked;
mod policies;
mod statistics;
mod test_broker;
mod users;
mod vhosts;
mod wire;
