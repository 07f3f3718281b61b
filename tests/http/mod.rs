//! The management API: held against what a RabbitMQ answered, and over real sockets.

mod access;
mod attacks;
mod client;
mod go_clients;
mod like_rabbitmq;
mod log;
mod metrics;
mod objects;
mod preview;
mod rabbitmqadmin;
mod sessions;
mod statistics;
mod stream;
mod ui;
