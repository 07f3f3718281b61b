//! Brokers inside a program: several in one process, which share nothing, and what keeps one from
//! starting.

use crate::support::process::Folder;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret::config::Config;
use leveret::node::{Node, StartError};
use leveret::store::StoreError;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a test may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings of a node that takes any port and keeps its data in `folder`.
fn config(folder: &Folder) -> Config {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Config { data_dir: folder.at("data"), amqp: vec![free], http: free, ..Config::default() }
}

async fn channel(node: &Node) -> Channel {
    let url = format!("amqp://guest:guest@{}/%2F", node.addresses().amqp[0]);
    let connection =
        Connection::connect(&url, ConnectionProperties::default()).await.expect("a client connects");
    let channel = connection.create_channel().await.expect("a channel opens");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are on");
    channel
}

/// Declares the queue `tasks`; how many messages it has.
async fn declare(channel: &Channel) -> u32 {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("tasks".into(), durable, FieldTable::default()).await;
    queue.expect("the queue is declared").message_count()
}

async fn publish(channel: &Channel) {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), "tasks".into(), options, b"hello", persistent).await;
    let confirm = sent.expect("it is sent").await.expect("it is answered");
    assert!(confirm.is_ack());
}

/// Runs what a test does, within its time.
#[track_caller]
fn check(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let outcome = runtime.block_on(async { timeout(PATIENCE, scenario).await });
    assert!(outcome.is_ok(), "not done within {PATIENCE:?}");
}

#[test]
fn two_nodes_in_one_process_share_nothing() {
    check(async {
        let folders = [Folder::new(), Folder::new()];
        let one = Node::start(config(&folders[0])).await.unwrap();
        let other = Node::start(config(&folders[1])).await.unwrap();
        assert_ne!(one.addresses(), other.addresses());
        let (at_one, at_other) = (channel(&one).await, channel(&other).await);
        assert_eq!((declare(&at_one).await, declare(&at_other).await), (0, 0));
        for _ in 0..3 {
            publish(&at_one).await;
        }
        publish(&at_other).await;
        assert_eq!((declare(&at_one).await, declare(&at_other).await), (3, 1));
        let closed = one.addresses().amqp[0];
        one.shutdown().await.unwrap();
        assert!(TcpStream::connect(closed).await.is_err(), "its port is free");
        publish(&at_other).await;
        assert_eq!(declare(&at_other).await, 2, "the other one goes on");
        other.shutdown().await.unwrap();
    });
}

#[test]
fn a_node_that_is_started_again_has_what_was_confirmed() {
    check(async {
        let folder = Folder::new();
        let node = Node::start(config(&folder)).await.unwrap();
        let clients = channel(&node).await;
        declare(&clients).await;
        publish(&clients).await;
        node.shutdown().await.unwrap();
        let node = Node::start(config(&folder)).await.unwrap();
        assert_eq!(declare(&channel(&node).await).await, 1);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_node_says_why_it_does_not_start() {
    check(async {
        let folders = [Folder::new(), Folder::new()];
        let node = Node::start(config(&folders[0])).await.unwrap();
        let taken = node.addresses().amqp[0];
        let start = Node::start(Config { amqp: vec![taken], ..config(&folders[1]) }).await;
        assert!(matches!(start, Err(StartError::Listen { address, .. }) if address == taken), "{start:?}");
        let start = Node::start(config(&folders[0])).await;
        assert!(matches!(start, Err(StartError::Store(StoreError::InUse { .. }))), "{start:?}");
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let start = Node::start(Config { amqp: vec![everywhere], ..config(&folders[1]) }).await;
        assert!(matches!(start, Err(StartError::Unguarded(address)) if address == everywhere), "{start:?}");
        let definitions = Some(folders[1].at("none.json"));
        let start = Node::start(Config { definitions, ..config(&folders[1]) }).await;
        assert!(matches!(start, Err(StartError::Definitions { .. })), "{start:?}");
        // What was refused has left nothing behind that would keep a good start from its data.
        Node::start(config(&folders[1])).await.unwrap().shutdown().await.unwrap();
        node.shutdown().await.unwrap();
    });
}
