//! The management API: held against what a RabbitMQ answered, and over real sockets.

mod like_rabbitmq;
