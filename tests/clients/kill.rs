//! The real process is killed again and again while lapin publishes and consumes; nothing confirmed may be missing.
//!
//! In each round one message in three is left unacknowledged, so that every crash has deliveries in flight that it
//! must bring back. The last round settles everything, stops the broker cleanly, and looks at what is left.

mod oracle;

use self::oracle::{DEAD, Id, Oracle, WORK, is_refused};
use crate::clients::uri;
use crate::support::process::{Folder, Process};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// How often the process is killed.
const ROUNDS: usize = 8;

/// Confirms after which it is killed, at most.
const CONFIRMS_MAX: u64 = 1_000;

/// Messages that a publisher sends ahead of their confirms.
const AHEAD: usize = 50;

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(60);

const QUEUES: [&str; 5] = ["one", "two", "three", WORK, DEAD];

/// Where messages go: exchange, routing key, and the queues that they reach.
const TARGETS: [(&str, &str, &[&str]); 4] = [
    ("", "one", &["one"]),
    ("", WORK, &[WORK]),
    ("everyone", "", &["one", "two", "three"]),
    ("everyone", "again", &["one", "two", "three"]),
];

/// What all tasks of the test share.
#[derive(Default)]
struct Story {
    oracle: Mutex<Oracle>,
    /// The next number of each publisher.
    numbers: [Mutex<u64>; 2],
    /// Told with each confirm and each settled delivery.
    progress: Notify,
}

impl Story {
    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().expect("no task panics while it holds it")
    }
}

#[test]
fn what_is_confirmed_survives_kill_9() {
    let seed = RandomState::new().hash_one(0);
    let folder = Folder::new();
    let story = Arc::new(Story::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let mut confirmed = 0;
    for round in 0..ROUNDS {
        let dice = mix(seed, round as u64);
        confirmed = runtime.block_on(crash(&story, Process::start(&folder), confirmed + dice % CONFIRMS_MAX));
    }
    let broker = Process::start(&folder);
    let drained = runtime.block_on(async { timeout(PATIENCE, drain(&story, &uri(broker.amqp))).await });
    let (status, log) = broker.stop();
    let verdict = story.oracle().verdict();
    assert!(drained.is_ok() && verdict.is_ok(), "seed {seed:#x}: drained {drained:?}, {verdict:?}\n{log}");
    assert!(status.success(), "{status}\n{log}");
    runtime.block_on(look(&story, &uri(Process::start(&folder).amqp))).expect("the broker answers");
    assert_eq!(story.oracle().verdict(), Ok(()), "seed {seed:#x}");
}

/// Publishes and consumes until `target` messages are confirmed in all, then kills the broker; how many were.
async fn crash(story: &Arc<Story>, broker: Process, target: u64) -> u64 {
    let uri = uri(broker.amqp);
    let connection = connect(&uri).await.expect("a broker that is ready takes clients");
    declare(&connection).await.expect("what was declared before a crash is as it was");
    let mut tasks = JoinSet::new();
    for publisher in 0..story.numbers.len() {
        tasks.spawn(publish(Arc::clone(story), publisher, uri.clone()));
    }
    for queue in QUEUES {
        let channel = connection.create_channel().await.expect("a channel can be opened");
        tasks.spawn(consume(Arc::clone(story), queue, channel, false));
    }
    let reached = timeout(PATIENCE, wait_for(story, |oracle| oracle.confirmed_count() >= target)).await;
    assert!(reached.is_ok(), "{} confirms, not {target}, in {PATIENCE:?}", story.oracle().confirmed_count());
    tokio::task::spawn_blocking(|| broker.kill()).await.expect("the process can be killed");
    // What a client had not looked at by now is as if it had not come. (lapin may wait for ever for an ack that it
    // could not send, so its tasks do not all end by themselves.)
    tasks.shutdown().await;
    story.oracle().confirmed_count()
}

/// Returns once `is_so`.
async fn wait_for(story: &Story, is_so: impl Fn(&Oracle) -> bool) {
    loop {
        let progress = story.progress.notified();
        if is_so(&story.oracle()) {
            return;
        }
        progress.await;
    }
}

/// Settles everything there is.
async fn drain(story: &Arc<Story>, uri: &str) -> lapin::Result<()> {
    let connection = connect(uri).await?;
    declare(&connection).await?;
    let mut tasks = JoinSet::new();
    for queue in QUEUES {
        tasks.spawn(consume(Arc::clone(story), queue, connection.create_channel().await?, true));
    }
    wait_for(story, Oracle::owes_nothing).await;
    // Whatever was acknowledged before is settled once this is answered.
    connection.close(200, "done".into()).await?;
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Looks at what the queues hold after a clean stop.
async fn look(story: &Story, uri: &str) -> lapin::Result<()> {
    let connection = connect(uri).await?;
    let channel = connection.create_channel().await?;
    for queue in QUEUES {
        while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await? {
            story.oracle().left(queue, id_of(&got.delivery));
        }
    }
    connection.close(200, "done".into()).await
}

async fn connect(uri: &str) -> lapin::Result<Connection> {
    Connection::connect(uri, ConnectionProperties::default()).await
}

async fn declare(connection: &Connection) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    for queue in QUEUES {
        let mut arguments = FieldTable::default();
        if queue == WORK {
            arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
            arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(DEAD.into()));
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, arguments).await?;
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare("everyone".into(), ExchangeKind::Fanout, options, FieldTable::default()).await?;
    for queue in ["one", "two", "three"] {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), "everyone".into(), "".into(), options, FieldTable::default())
            .await?;
    }
    channel.close(200, "declared".into()).await
}

/// Publishes until the connection breaks.
async fn publish(story: Arc<Story>, publisher: usize, uri: String) -> lapin::Result<()> {
    let channel = connect(&uri).await?.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut unconfirmed = VecDeque::new();
    loop {
        let id = story.next(publisher);
        let dice = mix(id.1, publisher as u64);
        let (exchange, key, queues) = TARGETS[usize::from(dice.to_be_bytes()[0]) % TARGETS.len()];
        story.oracle().tried(id, queues);
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let body = body_of(id, dice);
        let confirm = channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await?;
        unconfirmed.push_back((id, confirm));
        if unconfirmed.len() >= AHEAD
            && let Some((id, confirm)) = unconfirmed.pop_front()
        {
            assert!(confirm.await?.is_ack(), "{id:?} was refused");
            story.oracle().confirmed(id);
            story.progress.notify_waiters();
        }
    }
}

impl Story {
    fn next(&self, publisher: usize) -> Id {
        let mut number = self.numbers[publisher].lock().expect("no task panics while it holds it");
        *number += 1;
        (u16::try_from(publisher).expect("there are two"), *number)
    }
}

/// Takes what `queue` delivers until the connection breaks or is closed; settles all of it, or only some.
async fn consume(story: Arc<Story>, queue: &'static str, channel: Channel, all: bool) -> lapin::Result<()> {
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let id = id_of(&delivery);
        story.oracle().delivered(queue, id, delivery.redelivered);
        if !all && id.1.is_multiple_of(3) {
            continue;
        }
        if !delivery.redelivered && id.1.is_multiple_of(7) {
            delivery.nack(BasicNackOptions { multiple: false, requeue: true }).await?;
            continue;
        }
        if is_refused(queue, id) {
            delivery.nack(BasicNackOptions { multiple: false, requeue: false }).await?;
        } else {
            delivery.ack(BasicAckOptions::default()).await?;
        }
        story.oracle().settled(queue, id);
        story.progress.notify_waiters();
    }
    Ok(())
}

/// The id, and behind it something that shows damage; some bodies are large enough for a block of their own.
fn body_of((publisher, number): Id, dice: u64) -> Vec<u8> {
    let len = if dice.is_multiple_of(40) { 100_000 } else { 10 + dice % 2_000 };
    let head = [publisher.to_be_bytes().as_slice(), &number.to_be_bytes()].concat();
    head.into_iter().cycle().take(usize::try_from(len).expect("small")).collect()
}

fn id_of(delivery: &Delivery) -> Id {
    let (publisher, rest) = delivery.data.split_first_chunk().expect("every body is longer");
    let (number, _) = rest.split_first_chunk().expect("every body is longer");
    let id = (u16::from_be_bytes(*publisher), u64::from_be_bytes(*number));
    let whole = body_of(id, mix(id.1, u64::from(id.0)));
    assert!(delivery.data == whole, "the body of {id:?} was damaged");
    id
}

/// A number that looks random and follows from two others.
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
