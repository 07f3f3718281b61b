//! Length limits on a disk that loses power: what was refused or dropped never comes back, and what
//! was driven out of a full queue is in one place, once.

use super::fixtures::{ME, durable, durable_before, persistent};
use crate::broker::start_broker;
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::ids::Ticket;
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::queue::Got;
use leveret::queue::mailbox::Mailbox;
use leveret::store;
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };
const STEPS: usize = 60;

/// Two full queues lead to `dead` one after the other, one drops what is oldest, one refuses what
/// is new.
const QUEUES: [(&str, &[(&str, &str)]); 5] = [
    (
        "first",
        &[("x-max-length", "5"), ("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "second")],
    ),
    (
        "second",
        &[("x-max-length", "3"), ("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")],
    ),
    ("dead", &[]),
    ("drops", &[("x-max-length", "4")]),
    ("refuses", &[("x-max-length-bytes", "32"), ("x-overflow", "reject-publish")]),
];

/// What is known of one message.
#[derive(Debug, Clone, Copy)]
struct Known {
    queue: &'static str,
    ticket: Ticket,
    refused: bool,
    /// It was taken out by a get without an acknowledgement.
    taken: bool,
}

fn open(disk: &SimDisk) -> Arc<Broker> {
    // A journal that is full now and then.
    let options = store::Options { journal_bytes: 3000, ..store::Options::default() };
    let opened = store::open_backend(disk.clone(), options).expect("the store opens");
    start_broker(opened, BrokerSettings::default(), NOW).expect("the broker starts")
}

fn declare(broker: &Broker) {
    for (name, pairs) in QUEUES {
        let mut arguments = FieldTable::default();
        for (key, value) in pairs {
            let value = match value.parse() {
                Ok(number) => FieldValue::LongInt(number),
                Err(_text) => FieldValue::LongString((*value).into()),
            };
            arguments.insert((*key).into(), value);
        }
        let declare = durable(name, arguments, NOW);
        broker.vhost().declare_queue(declare).expect("the same queue as before");
    }
}

/// Bodies of eight bytes.
fn block(queue: &str, ids: impl IntoIterator<Item = u64>) -> Block {
    let mut builder = BlockBuilder::default();
    for id in ids {
        builder.push(&Message {
            arrived_at_ms: NOW.unix_ms,
            routing_key: queue.as_bytes(),
            body: &id.to_be_bytes(),
            ..persistent()
        });
    }
    builder.build()
}

fn id_of(block: &Block, index: u32) -> u64 {
    u64::from_be_bytes(block.message(index).body.try_into().expect("eight bytes"))
}

/// Works until the power goes; what is known then, and what was durable for certain.
fn work(disk: &SimDisk, seed: u64, cut_at: u64) -> (BTreeMap<u64, Known>, Ticket) {
    let broker = open(disk);
    declare(&broker);
    let mut draw = Draw::new(seed);
    let (mut known, mut next, mut durable) = (BTreeMap::new(), 0, Ticket(0));
    for _step in 0..STEPS {
        let queue = *draw.pick(&["first", "drops", "refuses"]);
        if draw.one_in(4) {
            let queue = broker.vhost().queue(queue, ME).expect("it was declared");
            if let Got::Message { block, index, .. } = broker.get(&queue, true, &Mailbox::new(), NOW) {
                known.entry(id_of(&block, index)).and_modify(|known: &mut Known| known.taken = true);
            }
        } else {
            let ids: Vec<u64> = (next..next + 1 + draw.below(4)).collect();
            next += ids.len() as u64;
            for &id in &ids {
                known.insert(id, Known { queue, ticket: Ticket(u64::MAX), refused: false, taken: false });
            }
            let route = broker.vhost().route(b"", queue.as_bytes(), &[0, 0]).expect("the default exchange");
            let enqueued = broker.enqueue(&route, block(queue, ids.iter().copied()), NOW);
            let refused: Vec<u32> = enqueued.refused.into_iter().flatten().collect();
            for (index, id) in (0..).zip(ids) {
                let refused = refused.contains(&index);
                known.entry(id).and_modify(|known| {
                    (known.ticket, known.refused) = (enqueued.ticket, refused);
                });
            }
        }
        let Some(ticket) = durable_before(disk, cut_at, &broker) else { break };
        durable = ticket;
    }
    broker.shutdown().expect("the disk itself works");
    (known, durable)
}

fn check(disk: &SimDisk, known: &BTreeMap<u64, Known>, durable: Ticket, what: &str) {
    let broker = open(disk);
    for (name, most) in [("first", 5), ("second", 3), ("drops", 4)] {
        let Ok(queue) = broker.vhost().queue(name, ME) else { continue };
        let ready = queue.stats().ready;
        assert!(ready <= most, "{what}: {ready} messages are ready in '{name}', which has room for {most}");
    }
    // What the cut came before.
    declare(&broker);
    let mut found: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (name, _) in QUEUES {
        let queue = broker.vhost().queue(name, ME).expect("it was declared");
        let mailbox = Mailbox::new();
        loop {
            match broker.get(&queue, true, &mailbox, NOW) {
                Got::Message { block, index, .. } => {
                    found.entry(id_of(&block, index)).or_default().push(name);
                }
                Got::Empty => break,
                Got::Paging => super::power_cut::wait_for(&mailbox),
            }
        }
    }
    for (id, places) in &found {
        let message = known.get(id).unwrap_or_else(|| panic!("{what}: message {id} was never tried"));
        assert_eq!(places.len(), 1, "{what}: message {id} is in {places:?}");
        assert!(!message.refused, "{what}: message {id} was refused and is in {places:?}");
        let line: &[&str] =
            if message.queue == "first" { &["first", "second", "dead"] } else { &[message.queue] };
        assert!(line.contains(&places[0]), "{what}: message {id} is in {places:?}");
    }
    let mut newest_first = known.iter().rev().filter(|(_, known)| known.queue == "drops");
    let dropped_for_certain = newest_first.by_ref().filter(|(_, known)| known.ticket <= durable).skip(4);
    for (id, _) in dropped_for_certain {
        assert!(!found.contains_key(id), "{what}: message {id} was driven out and is back");
    }
    for (id, message) in known {
        let confirmed = message.ticket > Ticket(0) && message.ticket <= durable;
        if confirmed && !message.taken && !message.refused && message.queue != "drops" {
            assert!(found.contains_key(id), "{what}: message {id} was confirmed and is lost");
        }
    }
    broker.shutdown().expect("the disk works");
}

#[test]
fn each_message_is_where_its_limit_put_it_wherever_the_power_goes() {
    for (seed, step) in seeds(2).zip([2, 3, 2]) {
        let worked = |disk: &SimDisk, at| work(disk, seed, at);
        cut_everywhere((seed, step), worked, |disk, (known, durable), what| {
            check(&disk, &known, durable, what);
        });
    }
}
