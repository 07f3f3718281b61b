//! Publish a message, wait for its confirm, consume it, acknowledge it:
//! `cargo run --example hello [AMQP-URL]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions};
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use std::env;
use tokio_stream::StreamExt;

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = env::args().nth(1).or_else(|| env::var("AMQP_URL").ok());
    let url = url.unwrap_or_else(|| "amqp://guest:guest@localhost:5672/%2F".to_owned());

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("hello".into(), durable, FieldTable::default()).await?;

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), "hello".into(), options, b"hello", persistent).await?;
    assert!(sent.await?.is_ack(), "the message is on disk");

    let options = BasicConsumeOptions::default();
    let mut messages =
        channel.basic_consume("hello".into(), "".into(), options, FieldTable::default()).await?;
    if let Some(delivery) = messages.next().await.transpose()? {
        println!("received {}", String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    connection.close(200, "done".into()).await
}
