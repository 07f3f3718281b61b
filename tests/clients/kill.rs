//! The real process is killed again and again while lapin publishes and consumes; nothing confirmed
//! may be missing.
//!
//! In each round one message in three is left unacknowledged, so that every crash has deliveries in
//! flight that it must bring back. In the end everything is taken out, the broker is stopped
//! cleanly, and nothing may be left. The verdict is that of the fault harness
//! (`conformance/src/faults/check.rs`), whose own clients do much more; this is a client that
//! people use.

use crate::clients::uri;
use crate::support::draw::Draw;
use crate::support::process::{Folder, Process};
use conformance::faults::body;
use conformance::faults::check::check;
use conformance::faults::history::{Event, History, Id, Settlement};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// How often the process is killed.
const ROUNDS: u32 = 8;

/// Confirms after which it is killed, at most.
const CONFIRMS_MAX: u64 = 400;

/// Messages that a publisher sends ahead of their confirms.
const AHEAD: usize = 50;

/// Deliveries after which a consumer asks the broker whether it has taken everything.
const UNTIL_CAUGHT_UP: u64 = 50;

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The queue whose refused messages become dead letters, and the queue that they go to.
const WORK: &str = "work";
const DEAD: &str = "dead";

const QUEUES: [&str; 5] = ["one", "two", "three", WORK, DEAD];

/// Where messages go: exchange, routing key, and the queues that they reach.
const TARGETS: [(&str, &str, &[&str]); 4] = [
    ("", "one", &["one"]),
    ("", WORK, &[WORK]),
    ("everyone", "", &["one", "two", "three"]),
    ("everyone", "again", &["one", "two", "three"]),
];

/// What happened so far, shared by all tasks of the test.
#[derive(Default)]
struct Story {
    history: History,
    /// Processes that have ended.
    epoch: AtomicU32,
    /// Channels that were opened.
    channels: AtomicU32,
}

impl Story {
    /// The process is about to end.
    fn ending(&self, crash: bool) {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst);
        self.history.record(epoch, 0, Event::Ending { crash });
    }

    fn teller(self: &Arc<Self>) -> Teller {
        let channel = self.channels.fetch_add(1, Ordering::SeqCst) + 1;
        Teller { epoch: self.epoch.load(Ordering::SeqCst), channel, story: Arc::clone(self) }
    }
}

/// Records what happens on one channel.
struct Teller {
    story: Arc<Story>,
    epoch: u32,
    channel: u32,
}

impl Teller {
    fn tell(&self, event: Event) {
        self.story.history.record(self.epoch, self.channel, event);
    }

    /// Takes a delivery in; which message it is, unless its body is damaged.
    fn delivered(&self, queue: &'static str, delivery: &Delivery) -> Option<Id> {
        let id = body::decode(&delivery.data);
        self.tell(match id {
            Some(id) => Event::Delivered { id, queue, redelivered: delivery.redelivered },
            None => Event::Damaged { queue },
        });
        id
    }

    /// Waits until the broker has taken everything that was said on `channel`.
    async fn catch_up(&self, channel: &Channel) -> lapin::Result<()> {
        channel.basic_qos(0, BasicQosOptions::default()).await?;
        self.tell(Event::Answered);
        Ok(())
    }
}

#[test]
fn what_is_confirmed_survives_kill_9() {
    let seed = RandomState::new().hash_one(0);
    let mut draw = Draw::new(seed);
    let folder = Folder::new();
    let story = Arc::new(Story::default());
    let runtime = Runtime::new().expect("a runtime can be made");
    story.history.record(0, 0, Event::DeadLetters { queue: WORK, dead: DEAD });
    for _ in 0..ROUNDS {
        let confirms = 1 + draw.below(CONFIRMS_MAX);
        runtime.block_on(crash(&story, Process::start(&folder), confirms, draw.below(u64::MAX)));
    }
    for what in ["what is left", "what may not be left"] {
        let broker = Process::start(&folder);
        let drained = runtime.block_on(async { timeout(PATIENCE, drain(&story, &uri(broker.amqp))).await });
        story.ending(false);
        let (status, log) = broker.stop();
        assert!(
            matches!(drained, Ok(Ok(()))),
            "seed {seed:#x}: {what} cannot be taken out: {drained:?}\n{log}"
        );
        assert!(status.success(), "{status}\n{log}");
    }
    let violations = check(&story.history.take());
    let first = &violations[..violations.len().min(10)];
    assert!(violations.is_empty(), "seed {seed:#x}: {} violations: {first:#?} ...", violations.len());
}

/// Publishes and consumes until so many messages are confirmed, then kills the broker.
async fn crash(story: &Arc<Story>, broker: Process, confirms: u64, seed: u64) {
    let uri = uri(broker.amqp);
    let connection = connect(&uri).await.expect("a broker that is ready takes clients");
    declare(&connection).await.expect("what was declared before a crash is as it was");
    let mut tasks = JoinSet::new();
    for publisher in 0..2 {
        tasks.spawn(publish(story.teller(), Draw::new(seed + publisher), uri.clone()));
    }
    for queue in QUEUES {
        let channel = connection.create_channel().await.expect("a channel can be opened");
        tasks.spawn(consume(story.teller(), queue, channel));
    }
    let watched = Arc::clone(story);
    let reached = spawn_blocking(move || watched.history.wait_for_progress(confirms, PATIENCE)).await;
    assert!(reached.expect("it does not panic"), "no {confirms} confirms in {PATIENCE:?}");
    story.ending(true);
    spawn_blocking(|| broker.kill()).await.expect("the process can be killed");
    // What a client had not looked at by now is as if it had not come. (lapin may wait for ever for
    // an ack that it could not send, so its tasks do not all end by themselves.)
    tasks.shutdown().await;
}

/// Takes out everything there is, on a broker that has no other clients.
async fn drain(story: &Arc<Story>, uri: &str) -> lapin::Result<()> {
    let connection = connect(uri).await?;
    // lapin closes what is dropped by itself, which may cross the connection's own end.
    let mut open = Vec::new();
    for queue in QUEUES {
        let (teller, channel) = (story.teller(), connection.create_channel().await?);
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let count =
            channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count();
        let mut consumer = start_consuming(&teller, queue, &channel).await?;
        for _ in 0..count {
            let Some(delivery) = consumer.next().await else { break };
            let delivery = delivery?;
            let Some(id) = teller.delivered(queue, &delivery) else { continue };
            teller.tell(Event::Settled { id, queue, settlement: Settlement::Ack });
            delivery.ack(BasicAckOptions::default()).await?;
        }
        teller.catch_up(&channel).await?;
        open.push((channel, consumer));
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
async fn publish(teller: Teller, mut draw: Draw, uri: String) -> lapin::Result<()> {
    let channel = connect(&uri).await?.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut unconfirmed = VecDeque::new();
    for number in 1.. {
        let id = Id { channel: teller.channel, number };
        let &(exchange, key, queues) = draw.pick(&TARGETS);
        teller.tell(Event::Published { id, queues });
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let body = body::encode(id);
        let confirm = channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await?;
        unconfirmed.push_back((id, confirm));
        if unconfirmed.len() >= AHEAD
            && let Some((id, confirm)) = unconfirmed.pop_front()
        {
            let is_ack = confirm.await?.is_ack();
            teller.tell(if is_ack { Event::Confirmed { id } } else { Event::Refused { id } });
        }
    }
    Ok(())
}

async fn start_consuming(teller: &Teller, queue: &'static str, channel: &Channel) -> lapin::Result<Consumer> {
    teller.tell(Event::Consumes { queue });
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

/// Takes what `queue` delivers until the connection breaks, and settles most of it.
async fn consume(teller: Teller, queue: &'static str, channel: Channel) -> lapin::Result<()> {
    let mut consumer = start_consuming(&teller, queue, &channel).await?;
    let mut count = 0_u64;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let Some(id) = teller.delivered(queue, &delivery) else { continue };
        count += 1;
        if count.is_multiple_of(UNTIL_CAUGHT_UP) {
            teller.catch_up(&channel).await?;
        }
        let settlement = match id.number {
            left if left.is_multiple_of(3) => continue,
            returned if returned.is_multiple_of(7) && !delivery.redelivered => Settlement::Requeue,
            refused if refused.is_multiple_of(5) && queue == WORK => Settlement::Reject,
            _ => Settlement::Ack,
        };
        teller.tell(Event::Settled { id, queue, settlement });
        match settlement {
            Settlement::Ack => delivery.ack(BasicAckOptions::default()).await?,
            Settlement::Requeue => delivery.nack(BasicNackOptions { multiple: false, requeue: true }).await?,
            Settlement::Reject => delivery.nack(BasicNackOptions { multiple: false, requeue: false }).await?,
        };
    }
    Ok(())
}
