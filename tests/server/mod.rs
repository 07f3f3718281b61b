//! The process from outside: how it starts, what it refuses, how its sockets behave, how it stops.

mod alarms;
mod backup;
mod control;
mod ctl;
mod damage;
mod dialogue;
mod folder;
mod http;
mod log;
mod metrics;
mod operate;
mod perf;
mod proxy;
mod refuse;
mod sockets;
mod start;
mod tls;
mod top;
