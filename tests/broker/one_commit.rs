//! What touches two queues reaches the disk as one: its appends are made in one atomic batch of the
//! log.

use super::fixtures::{ME, durable, persistent};
use crate::broker::start_broker;
use crate::support::log::{MemoryLog, NoPages};
use leveret::arguments::Requeue;
use leveret::blocking;
use leveret::broker::vhost::{Bind, Destination};
use leveret::broker::{Broker, BrokerSettings, Rooms, Settlement};
use leveret::clock::Now;
use leveret::ids::SeqRange;
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, Message};
use leveret::policy::{ApplyTo, Policy, Rank, Value};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Queue, Settled};
use leveret::store::Opened;
use leveret::store::change::Recovered;
use std::sync::Arc;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };

struct TestBroker {
    broker: Arc<Broker>,
    log: Arc<MemoryLog>,
    work: Arc<Queue>,
}

impl TestBroker {
    /// `work`, whose dead letters go to `dead` after one failed delivery; both bound to
    /// `amq.fanout`.
    fn new() -> Self {
        let log = MemoryLog::new();
        let recovered = Recovered { clean: true, ..Recovered::default() };
        let opened = Opened { log: Arc::clone(&log) as _, pages: Arc::new(NoPages), recovered };
        let broker = start_broker(opened, BrokerSettings::default(), NOW).expect("an empty store");
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), FieldValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), FieldValue::LongString("dead".into()));
        arguments.insert("x-delivery-limit".into(), FieldValue::LongInt(0));
        for (name, arguments) in [("work", arguments), ("dead", FieldTable::default())] {
            declare(&broker, name, arguments);
            let bind = Bind {
                source: "amq.fanout".into(),
                destination: Destination::Queue(name.into()),
                routing_key: Vec::new(),
                arguments: FieldTable::default(),
            };
            broker.vhost().bind(bind, ME).expect("both ends exist");
        }
        let work = broker.vhost().queue("work", ME).expect("it was declared");
        Self { broker, log, work }
    }

    fn publish(&self, exchange: &[u8]) {
        let route = self.broker.vhost().route(exchange, b"work", &[0, 0]).expect("the exchange exists");
        self.broker.enqueue(&route, message(), NOW);
    }

    /// Takes one message from `work` and leaves it unsettled.
    fn take(&self) -> [Settled; 1] {
        match self.broker.get(&self.work, false, &Mailbox::new(), NOW) {
            Got::Message { first, .. } => [Settled { consumer: None, range: SeqRange::of(first, 1) }],
            other => panic!("{other:?}"),
        }
    }

    /// Publishes so many messages to `queue` and rejects them in one go.
    fn reject_many(&self, queue: &Arc<Queue>, count: usize, body: &[u8]) {
        let route =
            self.broker.vhost().route(b"", queue.name.as_bytes(), &[0, 0]).expect("the default exchange");
        for _message in 0..count {
            self.broker.enqueue(&route, Block::of(&Message { body, ..persistent() }), NOW);
        }
        let taken = (0..count).map(|_message| match self.broker.get(queue, false, &Mailbox::new(), NOW) {
            Got::Message { first, .. } => Settled { consumer: None, range: SeqRange::of(first, 1) },
            other => panic!("{other:?}"),
        });
        self.broker.reject(queue, &taken.collect::<Vec<_>>(), NOW);
    }

    /// Every append since the last call was made in an atomic batch, and there were `appends`.
    #[track_caller]
    fn together(&self, appends: usize) {
        assert_eq!(self.log.take_gated(), vec![true; appends]);
    }
}

fn declare(broker: &Broker, name: &str, arguments: FieldTable) -> Arc<Queue> {
    let declare = durable(name, arguments, NOW);
    broker.vhost().declare_queue(declare).expect("a plain queue").0
}

fn message() -> Block {
    Block::of(&Message { routing_key: b"work", body: b"body", ..persistent() })
}

#[test]
fn a_rejected_message_leaves_as_it_arrives() {
    let fixture = TestBroker::new();
    fixture.publish(b"");
    let taken = fixture.take();
    fixture.log.take_gated();
    fixture.broker.reject(&fixture.work, &taken, NOW);
    fixture.together(2);
}

#[test]
fn a_message_over_the_delivery_limit_leaves_as_it_arrives() {
    let fixture = TestBroker::new();
    fixture.publish(b"");
    let taken = fixture.take();
    fixture.log.take_gated();
    fixture.broker.put_back(&fixture.work, &taken, Requeue::Failed, NOW);
    fixture.together(2);
}

#[test]
fn the_commit_thread_does_not_wait_for_the_matches_of_a_dead_letter() {
    let fixture = TestBroker::new();
    for number in 0..256_u32 {
        let words: Vec<&str> = (0..8).map(|at| if number >> at & 1 == 0 { "a" } else { "*" }).collect();
        let bind = Bind {
            source: "amq.topic".into(),
            destination: Destination::Queue("dead".into()),
            routing_key: format!("#.{}.#.end", words.join(".")).into(),
            arguments: FieldTable::default(),
        };
        fixture.broker.vhost().bind(bind, ME).expect("both ends exist");
    }
    let key = format!("{}end", "a.".repeat(120));
    // The first match tries without a copy of the trie.
    fixture.broker.vhost().route(b"amq.topic", key.as_bytes(), &[0, 0]).expect("the exchange exists");
    let mut arguments = FieldTable::default();
    for (name, value) in [("x-dead-letter-exchange", "amq.topic"), ("x-dead-letter-routing-key", &key)] {
        arguments.insert(name.into(), FieldValue::LongString(value.into()));
    }
    let source = declare(&fixture.broker, "source", arguments);
    let dead = fixture.broker.vhost().queue("dead", ME).expect("it was declared");
    for number in 1..=3 {
        let route = fixture.broker.vhost().route(b"", b"source", &[0, 0]).expect("a route");
        fixture.broker.enqueue(&route, message(), NOW);
        let Got::Message { first, .. } = fixture.broker.get(&source, false, &Mailbox::new(), NOW) else {
            panic!("it was put in");
        };
        let runs = blocking::runs();
        let taken = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
        fixture.broker.reject(&source, &taken, NOW);
        assert_eq!(dead.stats().ready, number);
        assert_eq!(blocking::runs(), runs + 1, "the match takes long, and is made once");
    }
    assert_eq!(fixture.log.long_batches(), 0);
}

#[test]
fn a_message_leaves_a_full_queue_as_another_arrives() {
    let fixture = TestBroker::new();
    let mut arguments = FieldTable::default();
    for (key, value) in [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")] {
        arguments.insert(key.into(), FieldValue::LongString(value.into()));
    }
    arguments.insert("x-max-length".into(), FieldValue::LongInt(1));
    declare(&fixture.broker, "small", arguments);
    let route = fixture.broker.vhost().route(b"", b"small", &[0, 0]).expect("the default exchange");
    fixture.broker.enqueue(&route, message(), NOW);
    fixture.log.take_gated();
    fixture.broker.enqueue(&route, message(), NOW);
    assert_eq!(fixture.log.take_gated(), [false, true, true], "it comes, and what it drives out moves as one")
}

/// Its publisher has found its route before, and knows of no dead-letter exchange.
#[test]
fn a_message_leaves_as_it_arrives_in_the_moment_of_a_policy() {
    let fixture = TestBroker::new();
    declare(&fixture.broker, "small", FieldTable::default());
    let route = fixture.broker.vhost().route(b"", b"small", &[0, 0]).expect("the default exchange");
    fixture.broker.enqueue(&route, message(), NOW);
    let text = |text: &str| Value::Text(text.to_owned());
    let definition = [
        ("max-length", Value::Integer(1)),
        ("dead-letter-exchange", text("")),
        ("dead-letter-routing-key", text("dead")),
    ];
    let policy = Policy {
        vhost: "/".to_owned(),
        name: "p".to_owned(),
        pattern: "^small$".to_owned(),
        apply_to: ApplyTo::All,
        priority: 0,
        definition: definition.map(|(key, value)| (key.to_owned(), value)).into(),
    };
    fixture.broker.policies().set(Rank::User, policy, NOW).expect("a policy");
    fixture.log.take_gated();
    fixture.broker.enqueue(&route, message(), NOW);
    assert_eq!(
        fixture.log.take_gated(),
        [false, true, true],
        "it comes, and what it drives out moves as one"
    );
    let dead = fixture.broker.vhost().queue("dead", ME).expect("it was declared");
    assert_eq!(dead.stats().ready, 1);
}

/// Each of six full queues dead-letters to all six: every message that comes drives out one in
/// each, and so on.
#[test]
fn full_queues_that_dead_letter_into_each_other_come_to_an_end() {
    let fixture = TestBroker::new();
    let names = ["f1", "f2", "f3", "f4", "f5", "f6"];
    for name in names {
        let mut arguments = FieldTable::default();
        arguments.insert("x-dead-letter-exchange".into(), FieldValue::LongString("amq.direct".into()));
        arguments.insert("x-max-length".into(), FieldValue::LongInt(1));
        let queue = declare(&fixture.broker, name, arguments);
        let bind = Bind {
            source: "amq.direct".into(),
            destination: Destination::Queue(name.into()),
            routing_key: b"work".to_vec(),
            arguments: FieldTable::default(),
        };
        fixture.broker.vhost().bind(bind, ME).expect("both ends exist");
        assert_eq!(queue.stats().ready, 0);
    }
    for name in names.iter().chain(&names) {
        let route =
            fixture.broker.vhost().route(b"", name.as_bytes(), &[0, 0]).expect("the default exchange");
        fixture.broker.enqueue(&route, message(), NOW);
        assert_eq!(fixture.broker.vhost().queue(name, ME).expect("it was declared").stats().ready, 1);
    }
    let died = fixture.broker.metrics().dead_lettered_maxlen.get();
    assert!(died > 6, "{died} died");
}

#[test]
fn a_publish_to_two_queues_is_one() {
    let fixture = TestBroker::new();
    fixture.log.take_gated();
    fixture.publish(b"amq.fanout");
    fixture.together(2);
}

#[test]
fn a_transaction_is_one() {
    let fixture = TestBroker::new();
    fixture.publish(b"");
    let taken = fixture.take();
    fixture.log.take_gated();
    let route = fixture.broker.vhost().route(b"", b"dead", &[0, 0]).unwrap();
    let acks = [(Arc::clone(&fixture.work), Settlement::Ack, taken.to_vec())];
    let publishes = vec![(route, message())];
    let rooms = Rooms::reserve(&publishes, NOW).expect("no queue has a limit");
    fixture.broker.commit_tx(publishes, rooms, &acks, NOW);
    fixture.together(2);
}

/// The commit thread waits for an atomic batch.
#[test]
fn letters_whose_routes_take_long_to_find_go_a_few_at_a_time() {
    let fixture = TestBroker::new();
    let dead = fixture.broker.vhost().queue("dead", ME).expect("it was declared");
    let bind = |number: u32, mode: &str| {
        let mut arguments = FieldTable::default();
        arguments.insert("x-match".into(), FieldValue::LongString(mode.into()));
        arguments.insert("k".into(), FieldValue::LongUInt(number));
        let destination = Destination::Queue("dead".into());
        Bind { source: "amq.headers".into(), destination, routing_key: Vec::new(), arguments }
    };
    for number in 0..3000 {
        fixture.broker.vhost().bind(bind(number, "any"), ME).expect("both ends exist");
    }
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), FieldValue::LongString("amq.headers".into()));
    let from = declare(&fixture.broker, "from", arguments);
    let before = fixture.log.batches();
    fixture.reject_many(&from, 100, b"");
    // What is left to the thread that sends letters takes its time.
    while from.stats().parked < 100 {
        std::thread::yield_now();
    }
    let batches = fixture.log.batches() - before;
    assert!(batches >= 10, "{batches} batches for 100 letters");
    assert_eq!(dead.stats().ready, 0, "no header fits");
}

/// All of a batch is written at a time, while everybody waits.
#[test]
fn large_letters_to_many_queues_go_a_few_at_a_time() {
    let fixture = TestBroker::new();
    let bind = |name: String| {
        let destination = Destination::Queue(name);
        Bind {
            source: "amq.direct".into(),
            destination,
            routing_key: Vec::new(),
            arguments: FieldTable::default(),
        }
    };
    for number in 0..20 {
        let name = format!("q{number}");
        declare(&fixture.broker, &name, FieldTable::default());
        fixture.broker.vhost().bind(bind(name), ME).expect("both ends exist");
    }
    let mut arguments = FieldTable::default();
    for (argument, value) in [("x-dead-letter-exchange", "amq.direct"), ("x-dead-letter-routing-key", "")] {
        arguments.insert(argument.into(), FieldValue::LongString(value.into()));
    }
    let from = declare(&fixture.broker, "from", arguments);
    let last = fixture.broker.vhost().queue("q19", ME).expect("it was declared");
    let before = fixture.log.batches();
    fixture.reject_many(&from, 16, &[b'x'; 60 * 1024]);
    while last.stats().ready < 16 {
        std::thread::yield_now();
    }
    let batches = fixture.log.batches() - before;
    assert!(batches >= 3, "{batches} batches for 320 copies of 60 KiB");
}

/// The commit thread waits for an atomic batch.
#[test]
fn a_transaction_of_more_than_a_batch_lets_the_commit_thread_in_between() {
    let fixture = TestBroker::new();
    for number in 0..1000 {
        let name = format!("q{number}");
        declare(&fixture.broker, &name, FieldTable::default());
        let (source, destination) = ("amq.direct".into(), Destination::Queue(name));
        let bind =
            Bind { source, destination, routing_key: b"work".to_vec(), arguments: FieldTable::default() };
        fixture.broker.vhost().bind(bind, ME).expect("both ends exist");
    }
    let route = fixture.broker.vhost().route(b"amq.direct", b"work", &[0, 0]).expect("the exchange exists");
    fixture.publish(b"");
    let acks = [(Arc::clone(&fixture.work), Settlement::Ack, fixture.take().to_vec())];
    for (messages, batches) in [(4, 1), (10, 3)] {
        fixture.log.take_gated();
        let before = fixture.log.batches();
        let publishes: Vec<_> = (0..messages).map(|_| (Arc::clone(&route), message())).collect();
        let rooms = Rooms::reserve(&publishes, NOW).expect("there is room");
        fixture.broker.commit_tx(publishes, rooms, &acks, NOW);
        assert_eq!(fixture.log.batches() - before, batches, "{messages} messages for 1000 queues");
        assert!(fixture.log.take_gated().iter().all(|gated| *gated), "none by itself");
    }
}
