//! Share tasks between workers and lose none when a worker dies:
//! `cargo run --example work_queue [AMQP-URL]`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use std::env;
use tokio_stream::StreamExt;

const TASKS: usize = 5;

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = env::args().nth(1).or_else(|| env::var("AMQP_URL").ok());
    let url = url.unwrap_or_else(|| "amqp://guest:guest@localhost:5672/%2F".to_owned());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;

    publish(&connection.create_channel().await?).await?;

    // A worker that dies holding two tasks: both go back to their places in the queue.
    let doomed = connection.create_channel().await?;
    let mut tasks = worker(&doomed, 2).await?;
    for _ in 0..2 {
        if let Some(delivery) = tasks.next().await.transpose()? {
            println!("started {}", String::from_utf8_lossy(&delivery.data));
        }
    }
    doomed.close(200, "the worker dies".into()).await?;

    // Another worker does all of them. With a prefetch of 1 it holds one task at a time.
    let channel = connection.create_channel().await?;
    let mut tasks = worker(&channel, 1).await?;
    for _ in 0..TASKS {
        if let Some(delivery) = tasks.next().await.transpose()? {
            let again = if delivery.redelivered { " (redelivered)" } else { "" };
            println!("done {}{again}", String::from_utf8_lossy(&delivery.data));
            delivery.ack(BasicAckOptions::default()).await?;
        }
    }
    connection.close(200, "done".into()).await
}

/// Publishes all tasks before it waits for the confirms, which is many times faster than one by
/// one.
async fn publish(channel: &Channel) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("tasks".into(), durable, FieldTable::default()).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut sent = Vec::new();
    for number in 0..TASKS {
        let options = BasicPublishOptions::default();
        let body = format!("task {number}");
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let publish = channel.basic_publish("".into(), "tasks".into(), options, body.as_bytes(), persistent);
        sent.push(publish.await?);
    }
    for confirm in sent {
        assert!(confirm.await?.is_ack(), "the message is on disk");
    }
    Ok(())
}

/// Consumes with at most `prefetch` tasks at a time that are not acknowledged.
async fn worker(channel: &Channel, prefetch: u16) -> lapin::Result<Consumer> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    channel.basic_consume("tasks".into(), "".into(), options, FieldTable::default()).await
}
