//! The management API: held against what a RabbitMQ answered, and over real sockets.

mod access;
mod attacks;
mod client;
mod like_rabbitmq;
mod objects;
mod sessions;
mod stream;
mod ui;
