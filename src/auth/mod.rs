//! Who may do what: passwords, users and permissions, as values and rules. No I/O, no lock, no log.
//!
//! A [`Directory`](directory::Directory) holds all users and what each may do; an
//! [`AuthChange`](directory::AuthChange) is how it becomes another one, while the broker runs and
//! when the store recovers it. What a connection asks again and again is in
//! [`Grants`](permission::Grants): the rules of one user in one vhost, compiled.
//!
//! Names and rules are RabbitMQ's (access-control.md).

pub mod directory;
pub mod password;
pub mod pattern;
pub mod permission;
pub mod user;
pub mod vhost;
