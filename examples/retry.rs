//! Retry a task that fails, each time later, and keep it where an operator finds it in the end:
//! `cargo run --example retry [AMQP-URL]`, then `leveret ctl list_parked`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use lapin::options::{BasicConsumeOptions, BasicNackOptions, BasicPublishOptions};
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use std::env;
use tokio_stream::StreamExt;

/// Milliseconds: after the first, second and third failure.
const DELAYS: [i32; 3] = [100, 200, 400];

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = env::args().nth(1).or_else(|| env::var("AMQP_URL").ok());
    let url = url.unwrap_or_else(|| "amqp://guest:guest@localhost:5672/%2F".to_owned());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;

    let mut arguments = FieldTable::default();
    let delays = FieldArray::from(DELAYS.map(AMQPValue::LongInt).to_vec());
    arguments.insert("x-retry-delays".into(), AMQPValue::FieldArray(delays));
    arguments.insert("x-retry-jitter".into(), AMQPValue::LongInt(20)); // each up to 20 % shorter or longer
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("invoices".into(), durable, arguments).await?;

    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), "invoices".into(), options, b"poison", persistent).await?;
    assert!(sent.await?.is_ack(), "the message is on disk");

    let options = BasicConsumeOptions::default();
    let mut invoices =
        channel.basic_consume("invoices".into(), "".into(), options, FieldTable::default()).await?;
    for attempt in 1..=DELAYS.len() + 1 {
        let Some(delivery) = invoices.next().await.transpose()? else { break };
        let headers = delivery.properties.headers().as_ref();
        let failures = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
        println!("attempt {attempt}, failures before: {failures:?}");
        delivery.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?;
    }

    // The queue names no dead-letter exchange: the message is parked in it, not dropped.
    connection.close(200, "done".into()).await
}
