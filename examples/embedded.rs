//! Run a broker inside a program, as a test would: `cargo run --example embedded`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use leveret::config::Config;
use leveret::node::Node;
use std::{env, error::Error, fs, net::SocketAddr, process};
use tokio_stream::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data_dir = env::temp_dir().join(format!("leveret-embedded-{}", process::id()));
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { data_dir: data_dir.clone(), amqp: vec![free], http: free, ..Config::default() };
    let node = Node::start(config).await?;

    let url = format!("amqp://guest:guest@{}/%2F", node.addresses().amqp[0]);
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_declare("tasks".into(), QueueDeclareOptions::default(), FieldTable::default()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), "tasks".into(), options, b"hello", properties).await?.await?;
    let options = BasicConsumeOptions::default();
    let mut tasks = channel.basic_consume("tasks".into(), "".into(), options, FieldTable::default()).await?;
    if let Some(delivery) = tasks.next().await.transpose()? {
        println!("received {}", String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    connection.close(200, "done".into()).await?;
    node.shutdown().await?;
    Ok(fs::remove_dir_all(data_dir)?)
}
