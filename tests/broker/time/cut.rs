//! Power cuts while messages expire, wait for their retry and are delayed: each is in one place,
//! once, wherever the power goes.

use super::{TestBroker, at, fields, number};
use crate::broker::fixtures::durable_before;
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use leveret::arguments::Requeue;
use leveret::broker::Broker;
use leveret::ids::{SeqRange, Ticket};
use leveret::message::properties::Properties;
use leveret::message::table;
use leveret::message::table::FieldValue;
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Settled};
use std::collections::BTreeMap;
use std::sync::Arc;

const STEPS: usize = 80;

/// Where messages are published, and where they may be found.
const LINES: [(&str, &str, [&str; 2]); 3] = [
    ("", "mortal", ["mortal", "dead"]),
    ("", "retried", ["retried", "dead"]),
    ("later", "k", ["arrived", "arrived"]),
];

/// What is known of one message.
struct Known {
    line: usize,
    ticket: Ticket,
    /// It was taken out for good.
    taken: bool,
}

fn declare(fixture: &TestBroker) {
    let dead = || {
        [
            ("x-dead-letter-exchange", FieldValue::LongString("".into())),
            ("x-dead-letter-routing-key", FieldValue::LongString("dead".into())),
        ]
    };
    let [exchange, key] = dead();
    fixture.declare("mortal", &[("x-message-ttl", number(40)), exchange, key]);
    let [exchange, key] = dead();
    let delays = FieldValue::FieldArray(vec![number(20), number(50)]);
    fixture.declare("retried", &[("x-retry-delays", delays), exchange, key]);
    fixture.declare("dead", &[]);
    fixture.declare("arrived", &[]);
    fixture.delay_exchange().expect("it can be declared");
    fixture.bind("arrived", "k");
}

/// Works until the power goes; what is known then, and what was durable for certain.
fn work(disk: &SimDisk, seed: u64, cut_at: u64) -> (BTreeMap<u64, Known>, Ticket) {
    let fixture = TestBroker { disk: disk.clone(), broker: TestBroker::open(disk, at(0)) };
    declare(&fixture);
    let mut draw = Draw::new(seed);
    let (mut known, mut clock, mut durable) = (BTreeMap::new(), 0, Ticket(0));
    for id in 0..STEPS as u64 {
        clock += draw.below(15);
        fixture.broker.tick(at(clock));
        let line = usize::try_from(draw.below(3)).expect("small");
        let (exchange, key, _) = LINES[line];
        let mut headers = Vec::new();
        let delay = FieldValue::LongInt(i32::try_from(draw.below(60)).expect("small"));
        table::encode(&fields(&[("x-delay", delay)]), &mut headers);
        let own = Properties { headers: Some(&headers), ..Properties::default() };
        known.insert(id, Known { line, ticket: Ticket(u64::MAX), taken: false });
        let ticket = fixture.publish(exchange, key, &id.to_string(), &own, at(clock));
        known.entry(id).and_modify(|known: &mut Known| known.ticket = ticket);
        if let Some(id) = serve(&fixture.broker, &mut draw, clock) {
            known.entry(id).and_modify(|known: &mut Known| known.taken = true);
        }
        let Some(ticket) = durable_before(disk, cut_at, &fixture.broker) else { break };
        durable = ticket;
    }
    fixture.broker.shutdown().expect("the disk itself works");
    (known, durable)
}

/// Takes a message that may be retried, and mostly puts it back; which one was taken for good.
fn serve(broker: &Arc<Broker>, draw: &mut Draw, clock: u64) -> Option<u64> {
    let queue = broker.vhost().queue("retried", super::ME).ok()?;
    let Got::Message { first, block, index, .. } = broker.get(&queue, false, &Mailbox::new(), at(clock))
    else {
        return None;
    };
    let settled = [Settled { consumer: None, range: SeqRange::of(first, 1) }];
    if draw.one_in(5) {
        broker.settle(&queue, &settled, at(clock));
        return String::from_utf8_lossy(block.message(index).body).parse().ok();
    }
    broker.put_back(&queue, &settled, Requeue::Failed, at(clock));
    None
}

fn check(disk: SimDisk, known: &BTreeMap<u64, Known>, durable: Ticket, what: &str) {
    const END: u64 = 1 << 20;
    let fixture = TestBroker { broker: TestBroker::open(&disk, at(END)), disk };
    // What the cut came before.
    declare(&fixture);
    fixture.settle_down(at(END));
    let mut found: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for name in ["mortal", "retried", "dead", "arrived"] {
        for body in fixture.drain(name, at(END)) {
            found.entry(body.parse().expect("a number")).or_default().push(name);
        }
    }
    for (id, places) in &found {
        let message = known.get(id).unwrap_or_else(|| panic!("{what}: message {id} was never tried"));
        assert_eq!(places.len(), 1, "{what}: message {id} is in {places:?}");
        let may_be = LINES[message.line].2;
        assert!(may_be.contains(&places[0]), "{what}: message {id} is in {places:?}");
        assert_ne!(places[0], "mortal", "{what}: message {id} has expired long ago");
    }
    for (id, message) in known {
        if message.ticket > Ticket(0) && message.ticket <= durable && !message.taken {
            assert!(found.contains_key(id), "{what}: message {id} was confirmed and is lost");
        }
    }
    fixture.broker.shutdown().expect("the disk works");
}

#[test]
fn each_message_is_in_one_place_whatever_it_waits_for_and_wherever_the_power_goes() {
    for (seed, step) in seeds(2).zip([2, 3, 2]) {
        let worked = |disk: &SimDisk, at| work(disk, seed, at);
        cut_everywhere((seed, step), worked, |disk, (known, durable), what| {
            check(disk, &known, durable, what);
        });
    }
}
