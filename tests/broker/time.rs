//! What is due later, and that a restart in between changes nothing: delays, expiry, priorities, retries.

mod cut;

use super::given::{ME, durable};
use crate::support::disk::SimDisk;
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::mailbox::Mailbox;
use leveret::broker::queue::{Got, Queue, Return, Settled};
use leveret::broker::vhost::{Bind, Destination, ExchangeDeclare};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::error::AmqpError;
use leveret::ids::{SeqRange, Ticket};
use leveret::message::{Block, Copies, Message};
use leveret::store;
use leveret::wire::properties::{self, Properties};
use leveret::wire::table;
use std::sync::Arc;

fn at(ms: u64) -> Now {
    Now { mono_ms: 1_000 + ms, unix_ms: 1_795_000_000_000 + ms }
}

struct House {
    disk: SimDisk,
    broker: Arc<Broker>,
}

impl House {
    fn new() -> Self {
        let disk = SimDisk::default();
        let broker = Self::open(&disk, at(0));
        Self { disk, broker }
    }

    fn open(disk: &SimDisk, now: Now) -> Arc<Broker> {
        // A journal that is full now and then.
        let options = store::Options { journal_bytes: 3000, ..store::Options::default() };
        let opened = store::open_backend(disk.clone(), options).expect("the store opens");
        Broker::start(opened, BrokerSettings::default(), now).expect("the broker starts")
    }

    /// Stops cleanly and starts again.
    fn restart(&mut self, now: Now) {
        self.broker.shutdown().expect("the last changes are written");
        self.disk = SimDisk::holding(self.disk.image());
        self.broker = Self::open(&self.disk, now);
    }

    fn declare(&self, name: &str, arguments: &[(&str, AMQPValue)]) -> Arc<Queue> {
        let declare = durable(name, fields(arguments), at(0));
        self.broker.vhost().declare_queue(declare).expect("it can be declared").0
    }

    fn delay_exchange(&self) -> Result<(), AmqpError> {
        let delayed_type = AMQPValue::LongString("direct".into());
        self.broker
            .vhost()
            .declare_exchange(ExchangeDeclare {
                name: "later".into(),
                kind: "x-delayed-message".into(),
                passive: false,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: fields(&[("x-delayed-type", delayed_type)]),
            })
            .map(|_ticket| ())
    }

    fn bind(&self, queue: &str, key: &str) {
        let bind = Bind {
            source: "later".into(),
            destination: Destination::Queue(queue.into()),
            routing_key: key.into(),
            arguments: FieldTable::default(),
        };
        self.broker.vhost().bind(bind, ME).expect("both are there");
    }

    /// Publishes a persistent message.
    fn publish(&self, exchange: &str, key: &str, body: &str, own: &Properties<'_>, now: Now) -> Ticket {
        let mut raw = Vec::new();
        properties::encode(&Properties { delivery_mode: Some(2), ..*own }, &mut raw);
        let block = Block::of(&Message {
            persistent: true,
            died: false,
            copies: Copies::Open,
            expires: own.expiration.is_some(),
            priority: own.priority,
            arrived_at_ms: now.unix_ms,
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            properties: &raw,
            body: body.as_bytes(),
        });
        let route =
            self.broker.vhost().route(exchange.as_bytes(), key.as_bytes(), &raw).expect("it is there");
        self.broker.enqueue(&route, block, now).ticket
    }

    fn publish_delayed(&self, key: &str, body: &str, delay_ms: i64, now: Now) {
        let mut headers = Vec::new();
        table::encode(&fields(&[("x-delay", AMQPValue::LongLongInt(delay_ms))]), &mut headers);
        self.publish(
            "later",
            key,
            body,
            &Properties { headers: Some(&headers), ..Properties::default() },
            now,
        );
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        self.broker.vhost().queue(name, ME).expect("it is there")
    }

    /// What the queue gives without an acknowledgement, until it is empty.
    fn drain(&self, name: &str, now: Now) -> Vec<String> {
        let queue = self.queue(name);
        let mut bodies = Vec::new();
        for _patience in 0..10_000 {
            match self.broker.get(&queue, true, &Mailbox::new(), now) {
                Got::Message { block, index, .. } => {
                    bodies.push(String::from_utf8_lossy(block.message(index).body).into_owned());
                }
                Got::Empty => return bodies,
                Got::Paging => std::thread::park_timeout(std::time::Duration::from_millis(1)),
            }
        }
        panic!("a page never comes");
    }

    /// Does all that is due, until no delayed message waits.
    fn settle_down(&self, now: Now) {
        for _patience in 0..10_000 {
            self.broker.tick(now);
            if self.queue("amq.delayed.later").stats().ready == 0 {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        panic!("a page never comes");
    }

    /// Takes one message and puts it back.
    fn fail_once(&self, name: &str, now: Now) {
        let queue = self.queue(name);
        let Got::Message { first, .. } = self.broker.get(&queue, false, &Mailbox::new(), now) else {
            panic!("there is a message");
        };
        let settled = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
        self.broker.put_back(&queue, &settled, Return::Failed, now);
    }
}

fn fields(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn number(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

#[test]
fn delayed_messages_come_in_order_of_time_and_outlive_a_restart() {
    let mut house = House::new();
    house.declare("q", &[]);
    house.delay_exchange().expect("it can be declared");
    house.delay_exchange().expect("and again");
    house.bind("q", "k");
    for (body, delay_ms) in [("c", 300), ("a", 100), ("b", 200), ("now", 0), ("never", 1 << 50)] {
        house.publish_delayed("k", body, delay_ms, at(0));
    }
    house.publish_delayed("elsewhere", "lost", 100, at(0));
    assert_eq!(house.drain("q", at(0)), ["now"]);
    assert_eq!(house.queue("amq.delayed.later").stats().ready, 5);
    house.broker.tick(at(99));
    assert_eq!(house.drain("q", at(99)), [""; 0]);
    house.broker.tick(at(100));
    assert_eq!(house.drain("q", at(100)), ["a"]);
    house.restart(at(150));
    assert_eq!(house.queue("amq.delayed.later").stats().ready, 3);
    // The bytes are on disk now: the queue reads them, a page at a time.
    let mut bodies = Vec::new();
    for _patience in 0..10_000 {
        house.broker.tick(at(300));
        bodies.extend(house.drain("q", at(300)));
        if bodies.len() == 2 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    assert_eq!(bodies, ["b", "c"]);
    assert_eq!(house.queue("amq.delayed.later").stats().ready, 1);
}

#[test]
fn the_queue_of_delayed_messages_goes_with_its_exchange_and_is_nobody_elses() {
    let house = House::new();
    house.delay_exchange().expect("it can be declared");
    let vhost = house.broker.vhost();
    assert!(vhost.delete_queue("amq.delayed.later", ME, false, false).is_err());
    house.publish_delayed("k", "body", 1000, at(0));
    vhost.delete_exchange("later", false).expect("it can be deleted");
    assert!(vhost.queue("amq.delayed.later", ME).is_err());
    house.broker.tick(at(1000));
}

#[test]
fn time_to_live_priorities_and_retries_outlive_a_restart() {
    let mut house = House::new();
    house.declare("mortal", &[("x-message-ttl", number(500))]);
    house.declare("ranked", &[("x-max-priority", number(5))]);
    let delays = AMQPValue::FieldArray(vec![number(400)].into());
    house.declare("retried", &[("x-retry-delays", delays)]);
    house.publish("", "mortal", "old", &Properties::default(), at(0));
    let own = Properties { expiration: Some(b"250"), ..Properties::default() };
    house.publish("", "ranked", "mortal", &own, at(0));
    for (body, priority) in [("low", 1), ("high", 4), ("low too", 1)] {
        let own = Properties { priority: Some(priority), ..Properties::default() };
        house.publish("", "ranked", body, &own, at(0));
    }
    house.publish("", "retried", "again", &Properties::default(), at(0));
    house.fail_once("retried", at(0));
    house.restart(at(100));
    house.publish("", "mortal", "new", &Properties::default(), at(300));
    assert_eq!(house.drain("retried", at(399)), [""; 0]);
    house.broker.tick(at(400));
    assert_eq!(house.drain("retried", at(400)), ["again"]);
    assert_eq!(house.drain("ranked", at(450)), ["high", "low", "low too"]);
    assert_eq!(house.drain("mortal", at(500)), ["new"]);
    assert_eq!(house.drain("mortal", at(800)), [""; 0]);
}
