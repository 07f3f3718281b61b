//! What is due later, and that a restart in between changes nothing: delays, expiry, priorities,
//! retries.

mod cut;

use super::fixtures::{ME, durable};
use super::power_cut::Bell;
use crate::broker::start_broker;
use crate::support::disk::SimDisk;
use leveret::arguments::Requeue;
use leveret::broker::vhost::{Bind, Destination, ExchangeDeclare};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::error::BrokerError;
use leveret::ids::{SeqRange, Ticket};
use leveret::message::properties::{self, Properties};
use leveret::message::table;
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Queue, Settled};
use leveret::store;
use leveret::store::change::Waiter;
use std::sync::Arc;

fn at(ms: u64) -> Now {
    Now { mono_ms: 1_000 + ms, unix_ms: 1_795_000_000_000 + ms }
}

struct TestBroker {
    disk: SimDisk,
    broker: Arc<Broker>,
}

impl TestBroker {
    fn new() -> Self {
        let disk = SimDisk::default();
        let broker = Self::open(&disk, at(0));
        Self { disk, broker }
    }

    fn open(disk: &SimDisk, now: Now) -> Arc<Broker> {
        // A journal that is full now and then.
        let options = store::Options { journal_bytes: 3000, ..store::Options::default() };
        let opened = store::open_backend(disk.clone(), options).expect("the store opens");
        start_broker(opened, BrokerSettings::default(), now).expect("the broker starts")
    }

    /// Stops cleanly and starts again.
    fn restart(&mut self, now: Now) {
        self.broker.shutdown().expect("the last changes are written");
        self.disk = SimDisk::holding(self.disk.image());
        self.broker = Self::open(&self.disk, now);
    }

    /// Is killed with what is on disk by now, and starts again.
    fn crash(&mut self, now: Now) {
        self.disk = SimDisk::holding(self.disk.image());
        self.broker = Self::open(&self.disk, now);
    }

    fn declare(&self, name: &str, arguments: &[(&str, FieldValue)]) -> Arc<Queue> {
        let declare = durable(name, fields(arguments), at(0));
        self.broker.vhost().declare_queue(declare).expect("it can be declared").0
    }

    fn delay_exchange(&self) -> Result<(), BrokerError> {
        let delayed_type = FieldValue::LongString("direct".into());
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
        let place = (exchange.as_bytes(), key.as_bytes());
        let block = Block::of(&Message::published(now.unix_ms, place, &raw, body.as_bytes()));
        let route =
            self.broker.vhost().route(exchange.as_bytes(), key.as_bytes(), &raw).expect("it is there");
        self.broker.enqueue(&route, block, now).ticket
    }

    fn publish_delayed(&self, key: &str, body: &str, delay_ms: i64, now: Now) {
        let mut headers = Vec::new();
        table::encode(&fields(&[("x-delay", FieldValue::LongLongInt(delay_ms))]), &mut headers);
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
        let mut bodies = self.drain_marked(name, now);
        bodies.iter_mut().for_each(|body| body.truncate(body.find('!').unwrap_or(body.len())));
        bodies
    }

    /// As [`Self::drain`]; behind each body an exclamation mark if it may have been delivered
    /// before, and how often that failed.
    fn drain_marked(&self, name: &str, now: Now) -> Vec<String> {
        let queue = self.queue(name);
        let mut bodies = Vec::new();
        for _patience in 0..10_000 {
            match self.broker.get(&queue, true, &Mailbox::new(), now) {
                Got::Message { block, index, redelivered, deliveries, .. } => {
                    let body = String::from_utf8_lossy(block.message(index).body).into_owned();
                    let failed = if deliveries > 0 { deliveries.to_string() } else { String::new() };
                    bodies.push(format!("{body}{}{failed}", if redelivered { "!" } else { "" }));
                }
                Got::Empty => return bodies,
                Got::Paging => std::thread::park_timeout(std::time::Duration::from_millis(1)),
            }
        }
        panic!("a page never comes");
    }

    /// What the queue has once so many messages are there, by `at`.
    fn drain_all(&self, name: &str, count: u64, at: Now) -> Vec<String> {
        for _patience in 0..10_000 {
            self.broker.tick(at);
            if self.queue(name).stats().ready >= count {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        self.drain_marked(name, at)
    }

    /// Returns once all that was done is on disk.
    fn sync(&self) {
        let ticket = self.publish("", "sync", "x", &Properties::default(), at(0));
        let bell = Arc::new(Bell::default());
        let waiter: Arc<dyn Waiter> = Arc::clone(&bell) as Arc<dyn Waiter>;
        self.broker.log().notify(ticket, &waiter);
        bell.wait(ticket);
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
        self.broker.put_back(&self.queue(name), &[self.take_one(name, now)], Requeue::Failed, now);
    }

    /// Takes one message and rejects it.
    fn reject_one(&self, name: &str, now: Now) {
        self.broker.reject(&self.queue(name), &[self.take_one(name, now)], now);
    }

    fn take_one(&self, name: &str, now: Now) -> Settled {
        for _patience in 0..10_000 {
            match self.broker.get(&self.queue(name), false, &Mailbox::new(), now) {
                Got::Message { first, .. } => {
                    return Settled { consumer: None, range: SeqRange::of(first, 1) };
                }
                Got::Empty => panic!("there is no message"),
                Got::Paging => std::thread::park_timeout(std::time::Duration::from_millis(1)),
            }
        }
        panic!("a page never comes");
    }
}

fn fields(arguments: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> FieldValue {
    FieldValue::LongString(value.into())
}

fn number(value: i32) -> FieldValue {
    FieldValue::LongInt(value)
}

#[test]
fn delayed_messages_come_in_order_of_time_and_outlive_a_restart() {
    let mut fixture = TestBroker::new();
    fixture.declare("q", &[]);
    fixture.delay_exchange().expect("it can be declared");
    fixture.delay_exchange().expect("and again");
    fixture.bind("q", "k");
    for (body, delay_ms) in [("c", 300), ("a", 100), ("b", 200), ("now", 0), ("never", 1 << 50)] {
        fixture.publish_delayed("k", body, delay_ms, at(0));
    }
    fixture.publish_delayed("elsewhere", "lost", 100, at(0));
    assert_eq!(fixture.drain("q", at(0)), ["now"]);
    assert_eq!(fixture.queue("amq.delayed.later").stats().ready, 5);
    fixture.broker.tick(at(99));
    assert_eq!(fixture.drain("q", at(99)), [""; 0]);
    fixture.broker.tick(at(100));
    assert_eq!(fixture.drain("q", at(100)), ["a"]);
    fixture.restart(at(150));
    assert_eq!(fixture.queue("amq.delayed.later").stats().ready, 3);
    // The bytes are on disk now: the queue reads them, a page at a time.
    let mut bodies = Vec::new();
    for _patience in 0..10_000 {
        fixture.broker.tick(at(300));
        bodies.extend(fixture.drain("q", at(300)));
        if bodies.len() == 2 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    assert_eq!(bodies, ["b", "c"]);
    assert_eq!(fixture.queue("amq.delayed.later").stats().ready, 1);
}

#[test]
fn the_queue_of_delayed_messages_goes_with_its_exchange_and_is_nobody_elses() {
    let fixture = TestBroker::new();
    fixture.delay_exchange().expect("it can be declared");
    let vhost = fixture.broker.vhost();
    assert!(vhost.delete_queue("amq.delayed.later", ME, false, false).is_err());
    fixture.publish_delayed("k", "body", 1000, at(0));
    vhost.delete_exchange("later", false).expect("it can be deleted");
    assert!(vhost.queue("amq.delayed.later", ME).is_err());
    fixture.broker.tick(at(1000));
}

#[test]
fn what_may_have_been_sent_on_before_a_crash_comes_again_as_redelivered() {
    let mut fixture = TestBroker::new();
    fixture.delay_exchange().expect("it can be declared");
    let dead_letters = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("q"))];
    let mortal = |ttl_ms| [&[("x-message-ttl", number(ttl_ms))], &dead_letters[..]].concat();
    fixture.declare("q", &[]);
    fixture.declare("sync", &[]);
    fixture.declare("mortal", &mortal(100));
    fixture.declare("lasting", &mortal(2000));
    fixture.declare("judged", &dead_letters);
    fixture.bind("q", "k");
    fixture.publish_delayed("k", "due", 100, at(0));
    fixture.publish_delayed("k", "later", 5000, at(0));
    fixture.publish("", "mortal", "expired", &Properties::default(), at(0));
    fixture.publish("", "lasting", "expires later", &Properties::default(), at(0));
    fixture.publish("", "judged", "rejected", &Properties::default(), at(0));
    fixture.sync();
    // What happens from here on is lost: somebody was delivered it.
    fixture.crash(at(1000));
    fixture.reject_one("judged", at(1000));
    let mut found = fixture.drain_all("q", 3, at(1000));
    found.sort_unstable();
    assert_eq!(found, ["due!", "expired!", "rejected!"]);
    fixture.publish_delayed("k", "new", 100, at(1000));
    assert_eq!(fixture.drain_all("q", 1, at(1100)), ["new"]);
    assert_eq!(fixture.drain_all("q", 1, at(2000)), ["expires later"]);
    assert_eq!(fixture.drain_all("q", 1, at(5000)), ["later"]);
}

#[test]
fn what_came_as_redelivered_stays_so() {
    let mut fixture = TestBroker::new();
    fixture.delay_exchange().expect("it can be declared");
    fixture.declare("q", &[]);
    fixture.declare("sync", &[]);
    fixture.bind("q", "k");
    fixture.publish_delayed("k", "due", 100, at(0));
    fixture.sync();
    fixture.crash(at(1000));
    fixture.settle_down(at(1000));
    fixture.publish("", "q", "after", &Properties::default(), at(1000));
    fixture.restart(at(1100));
    assert_eq!(fixture.drain_marked("q", at(1100)), ["due!", "after"]);
}

#[test]
fn a_clean_stop_makes_nothing_redelivered() {
    let mut fixture = TestBroker::new();
    fixture.delay_exchange().expect("it can be declared");
    fixture.declare("q", &[]);
    fixture.bind("q", "k");
    fixture.publish_delayed("k", "due", 100, at(0));
    fixture.restart(at(1000));
    assert_eq!(fixture.drain_all("q", 1, at(1000)), ["due"]);
}

#[test]
fn how_often_a_delivery_failed_is_known_after_a_restart_and_a_crash() {
    let mut fixture = TestBroker::new();
    let classic: Vec<(&str, FieldValue)> = vec![];
    let quorum = vec![("x-queue-type", text("quorum")), ("x-delivery-limit", number(-1))];
    for (name, arguments) in [("classic", classic), ("quorum", quorum), ("sync", vec![])] {
        fixture.declare(name, &arguments);
        for body in ["a", "b", "c"] {
            fixture.publish("", name, body, &Properties::default(), at(0));
        }
    }
    for name in ["classic", "quorum"] {
        fixture.fail_once(name, at(0));
        fixture.fail_once(name, at(0));
    }
    fixture.restart(at(100));
    for name in ["classic", "quorum"] {
        fixture.fail_once(name, at(100));
    }
    fixture.sync();
    fixture.crash(at(200));
    for name in ["classic", "quorum"] {
        assert_eq!(fixture.drain_marked(name, at(200)), ["a!3", "b!", "c!"]);
    }
}

#[test]
fn time_to_live_priorities_and_retries_outlive_a_restart() {
    let mut fixture = TestBroker::new();
    fixture.declare("mortal", &[("x-message-ttl", number(500))]);
    fixture.declare("ranked", &[("x-max-priority", number(5))]);
    let delays = FieldValue::FieldArray(vec![number(400)]);
    fixture.declare("retried", &[("x-retry-delays", delays)]);
    fixture.publish("", "mortal", "old", &Properties::default(), at(0));
    let own = Properties { expiration: Some(b"250"), ..Properties::default() };
    fixture.publish("", "ranked", "mortal", &own, at(0));
    for (body, priority) in [("low", 1), ("high", 4), ("low too", 1)] {
        let own = Properties { priority: Some(priority), ..Properties::default() };
        fixture.publish("", "ranked", body, &own, at(0));
    }
    fixture.publish("", "retried", "again", &Properties::default(), at(0));
    fixture.fail_once("retried", at(0));
    fixture.restart(at(100));
    fixture.publish("", "mortal", "new", &Properties::default(), at(300));
    assert_eq!(fixture.drain("retried", at(399)), [""; 0]);
    fixture.broker.tick(at(400));
    assert_eq!(fixture.drain("retried", at(400)), ["again"]);
    assert_eq!(fixture.drain("ranked", at(450)), ["high", "low", "low too"]);
    assert_eq!(fixture.drain("mortal", at(500)), ["new"]);
    assert_eq!(fixture.drain("mortal", at(800)), [""; 0]);
}
