//! Transactions into full queues: all of each is there or nothing, whoever else publishes and
//! wherever the power goes, and no queue holds more than it may.

use super::fixtures::{ME, durable, durable_before, persistent};
use crate::broker::start_broker;
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::{Draw, seeds};
use leveret::broker::{Broker, BrokerSettings, Rooms, Settlement};
use leveret::clock::Now;
use leveret::ids::{SeqRange, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Queue, Settled};
use leveret::routing::route::Route;
use leveret::store;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };
const STEPS: u64 = 40;

/// Transactions that one client has rooms for at a time.
const OPEN_MAX: usize = 3;

/// The last one takes anything.
const NAMES: [&str; 4] = ["count", "bytes", "both", "any"];

/// Messages that each of them may hold, and bytes.
const LIMITS: [(Option<u32>, Option<u32>); 4] =
    [(Some(5), None), (None, Some(48)), (Some(7), Some(64)), (None, None)];

/// A body: an id, of a transaction or of nothing but itself.
const BODY_BYTES: u64 = 8;

fn open(disk: &SimDisk) -> Arc<Broker> {
    // A journal that is full now and then.
    let options = store::Options { journal_bytes: 3000, ..store::Options::default() };
    let opened = store::open_backend(disk.clone(), options).expect("the store opens");
    let broker = start_broker(opened, BrokerSettings::default(), NOW).expect("the broker starts");
    for (name, (messages, bytes)) in NAMES.into_iter().zip(LIMITS) {
        let mut arguments = FieldTable::default();
        for (key, limit) in [("x-max-length", messages), ("x-max-length-bytes", bytes)] {
            if let Some(limit) = limit {
                arguments.insert(key.into(), FieldValue::LongUInt(limit));
                arguments.insert("x-overflow".into(), FieldValue::LongString("reject-publish".into()));
            }
        }
        let declare = durable(name, arguments, NOW);
        broker.vhost().declare_queue(declare).expect("the same queue as before");
    }
    broker
}

fn queue(broker: &Broker, name: &str) -> Arc<Queue> {
    broker.vhost().queue(name, ME).expect("it was declared")
}

fn to(broker: &Broker, name: &str, id: u64, copies: u64) -> (Arc<Route>, Block) {
    let mut builder = BlockBuilder::default();
    for _copy in 0..copies {
        builder.push(&Message {
            arrived_at_ms: NOW.unix_ms,
            routing_key: name.as_bytes(),
            body: &id.to_be_bytes(),
            ..persistent()
        });
    }
    let route = broker.vhost().route(b"", name.as_bytes(), &[0, 0]).expect("the default exchange");
    (route, builder.build())
}

fn id_of(block: &Block, index: u32) -> u64 {
    u64::from_be_bytes(block.message(index).body.try_into().expect("eight bytes"))
}

/// One to three messages, by queue, perhaps several times to the same.
fn parts(draw: &mut Draw) -> BTreeMap<&'static str, u64> {
    let mut parts = BTreeMap::new();
    for _part in 0..=draw.below(3) {
        *parts.entry(*draw.pick(&NAMES)).or_insert(0) += 1 + draw.below(2);
    }
    parts
}

/// What is in all queues: of each id how often in which. Takes it out.
fn drain(broker: &Broker) -> BTreeMap<u64, BTreeMap<&'static str, u64>> {
    let mut found: BTreeMap<u64, BTreeMap<_, _>> = BTreeMap::new();
    for name in NAMES {
        let (queue, mailbox) = (queue(broker, name), Mailbox::new());
        loop {
            match broker.get(&queue, true, &mailbox, NOW) {
                Got::Message { block, index, .. } => {
                    *found.entry(id_of(&block, index)).or_default().entry(name).or_insert(0) += 1;
                }
                Got::Empty => break,
                Got::Paging => super::power_cut::wait_for(&mailbox),
            }
        }
    }
    found
}

#[track_caller]
fn check_limits(broker: &Broker, what: &str) {
    for (name, (messages, bytes)) in NAMES.into_iter().zip(LIMITS) {
        let ready = queue(broker, name).stats().ready;
        assert!(messages.is_none_or(|most| ready <= most.into()), "{what}: {ready} in {name}");
        assert!(bytes.is_none_or(|most| ready * BODY_BYTES <= most.into()), "{what}: {ready} in {name}");
    }
}

/// Works through transactions, several at a time: each waits with its rooms, and is committed or
/// given up.
fn transact(broker: &Broker, seed: u64) {
    let (mut draw, mut open) = (Draw::new(seed), VecDeque::new());
    for id in 0..STEPS * 10 {
        let parts = parts(&mut draw);
        let publishes: Vec<_> = parts.iter().map(|(name, &copies)| to(broker, name, id, copies)).collect();
        open.extend(Rooms::reserve(&publishes, NOW).map(|rooms| (publishes, rooms)));
        if (draw.one_in(2) || open.len() > OPEN_MAX)
            && let Some((publishes, rooms)) = open.pop_front()
            && !draw.one_in(8)
        {
            broker.commit_tx(publishes, rooms, &[], NOW);
        }
        check_limits(broker, &format!("seed {seed:#x}, transaction {id}"));
        if draw.one_in(9) {
            broker.purge(&queue(broker, draw.pick::<&str>(&NAMES)), NOW);
        }
    }
}

#[test]
fn publishers_and_transactions_never_fill_a_queue_beyond_its_limit() {
    for seed in seeds(2) {
        let broker = open(&SimDisk::default());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (broker, done) = (&broker, &done);
            scope.spawn(move || {
                let mut draw = Draw::new(seed ^ 99);
                while !done.load(Ordering::Relaxed) {
                    let (route, block) = to(broker, draw.pick::<&str>(&NAMES), u64::MAX, 1 + draw.below(3));
                    broker.enqueue(&route, block, NOW);
                    check_limits(broker, &format!("seed {seed:#x}, a publisher"));
                }
            });
            let workers: Vec<_> = (0..3).map(|n| scope.spawn(move || transact(broker, seed ^ n))).collect();
            let results: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok), "seed {seed:#x}: a client found a queue too full");
        });
        // Nothing is left reserved: each queue can be filled to the brim.
        drain(&broker);
        for (name, (messages, bytes)) in NAMES.into_iter().zip(LIMITS) {
            let bytes_room = bytes.map_or(u64::MAX, |most| u64::from(most) / BODY_BYTES);
            let most = messages.map_or(100, u64::from).min(bytes_room);
            let publishes = [to(&broker, name, 0, most)];
            assert!(Rooms::reserve(&publishes, NOW).is_some(), "seed {seed:#x}: {most} into {name}");
            let (limited, too_many) = (name != "any", [to(&broker, name, 0, most + 1)]);
            assert_eq!(Rooms::reserve(&too_many, NOW).is_none(), limited, "seed {seed:#x}: {name}");
        }
        broker.shutdown().expect("the disk works");
    }
}

#[test]
fn each_transaction_is_in_all_its_queues_or_in_none() {
    for seed in seeds(2) {
        let broker = open(&SimDisk::default());
        let mut taken: BTreeMap<u64, BTreeMap<&str, u64>> = BTreeMap::new();
        for round in 0..20 {
            let workers = |n: u64| {
                let (broker, mut draw) = (&broker, Draw::new(seed ^ n ^ (round << 8)));
                move || -> Vec<(u64, BTreeMap<&'static str, u64>)> {
                    let tries = (0..6).map(|step| (n << 32 | round << 16 | step, parts(&mut draw)));
                    tries
                        .filter(|(id, parts)| {
                            let publishes: Vec<_> =
                                parts.iter().map(|(name, &copies)| to(broker, name, *id, copies)).collect();
                            let rooms = Rooms::reserve(&publishes, NOW);
                            rooms.map(|rooms| broker.commit_tx(publishes, rooms, &[], NOW)).is_some()
                        })
                        .collect()
                }
            };
            thread::scope(|scope| {
                let workers: Vec<_> = (0..3).map(|n| scope.spawn(workers(n))).collect();
                taken.extend(workers.into_iter().flat_map(|worker| worker.join().expect("it works")));
            });
            check_limits(&broker, &format!("seed {seed:#x}"));
            let expected = std::mem::take(&mut taken);
            assert_eq!(drain(&broker), expected, "seed {seed:#x}, round {round}");
            assert!(!expected.is_empty(), "seed {seed:#x}: of three who want rooms one gets some");
        }
        broker.shutdown().expect("the disk works");
    }
}

/// What is known when the power goes: of each transaction what it is made of, which message of
/// `any` it acknowledges, and when it is durable, if it was taken.
struct Known {
    parts: BTreeMap<&'static str, u64>,
    acks: Option<u64>,
    ticket: Option<Ticket>,
}

/// Transactions that each take a message from `any`, if there is one, and put some into other
/// queues; one in four puts none.
fn work(disk: &SimDisk, seed: u64, cut_at: u64) -> (BTreeMap<u64, Known>, Ticket) {
    let broker = open(disk);
    let any = queue(&broker, "any");
    let (mut draw, mut known, mut durable) = (Draw::new(seed), BTreeMap::new(), Ticket(0));
    for id in 1..=STEPS {
        let parts = if draw.below(4) == 0 { BTreeMap::new() } else { parts(&mut draw) };
        let publishes: Vec<_> = parts.iter().map(|(name, &copies)| to(&broker, name, id, copies)).collect();
        let (mut acks, mut acked) = (Vec::new(), None);
        if let Got::Message { first, block, index, .. } = broker.get(&any, false, &Mailbox::new(), NOW) {
            acked = Some(id_of(&block, index));
            let settled = vec![Settled { consumer: None, range: SeqRange::of(first, 1) }];
            acks.push((Arc::clone(&any), Settlement::Ack, settled));
        }
        let ticket =
            Rooms::reserve(&publishes, NOW).map(|rooms| broker.commit_tx(publishes, rooms, &acks, NOW));
        assert!(
            acked.is_none() || ticket != Some(Ticket(0)),
            "{id}: a commit does not wait for its acknowledgements"
        );
        known.insert(id, Known { parts, acks: acked, ticket });
        check_limits(&broker, &format!("seed {seed:#x}, transaction {id}"));
        let Some(ticket) = durable_before(disk, cut_at, &broker) else { break };
        durable = ticket;
    }
    broker.shutdown().expect("the disk itself works");
    (known, durable)
}

fn check(disk: &SimDisk, known: &BTreeMap<u64, Known>, durable: Ticket, what: &str) {
    let broker = open(disk);
    let found = drain(&broker);
    let refused: BTreeSet<u64> =
        known.iter().filter(|(_, known)| known.ticket.is_none()).map(|(&id, _)| id).collect();
    assert!(found.keys().all(|id| !refused.contains(id)), "{what}: of {refused:?} there is {found:?}");
    for (id, Known { parts, ticket, .. }) in known {
        let is = found.get(id).cloned().unwrap_or_default();
        // What others acknowledged of it in `any`, and whether they took effect, is seen at them.
        let others = |parts: &BTreeMap<&'static str, u64>| -> BTreeMap<&'static str, u64> {
            parts.iter().filter(|(name, _)| **name != "any").map(|(&name, &count)| (name, count)).collect()
        };
        let whole = others(&is) == others(parts);
        assert!(whole || is.is_empty(), "{what}: of transaction {id}, {parts:?}, there is {is:?}");
        let confirmed = ticket.is_some_and(|ticket| ticket > Ticket(0) && ticket <= durable);
        assert!(whole || !confirmed, "{what}: transaction {id} was confirmed and is lost");
    }
    check_acks(known, &found, durable, what);
    broker.shutdown().expect("the disk works");
}

/// An acknowledged message is gone exactly when the transaction that acknowledged it is there.
fn check_acks(
    known: &BTreeMap<u64, Known>,
    found: &BTreeMap<u64, BTreeMap<&'static str, u64>>,
    durable: Ticket,
    what: &str,
) {
    let in_any = |id: u64| found.get(&id).and_then(|parts| parts.get("any")).copied().unwrap_or(0);
    let is_there = |id: u64| {
        let limited = known[&id].parts.keys().find(|name| **name != "any");
        limited.map(|name| found.get(&id).is_some_and(|parts| parts.contains_key(name)))
    };
    for (&id, Known { parts, .. }) in known {
        let Some(&put) = parts.get("any") else { continue };
        if is_there(id) != Some(true) {
            continue;
        }
        let ackers = known.iter().filter(|(_, other)| other.acks == Some(id) && other.ticket.is_some());
        // One that put nothing anywhere is there if it was confirmed.
        let is_confirmed =
            |known: &Known| known.ticket.is_some_and(|ticket| ticket <= durable).then_some(true);
        let fates: Vec<Option<bool>> =
            ackers.map(|(&acker, known)| is_there(acker).or_else(|| is_confirmed(known))).collect();
        let (most, least) = (
            fates.iter().filter(|fate| **fate != Some(false)).count() as u64,
            fates.iter().filter(|fate| **fate == Some(true)).count() as u64,
        );
        let gone = put - in_any(id);
        assert!((least..=most).contains(&gone), "{what}: {gone} of {id} are gone, not {least} to {most}");
    }
}

#[test]
fn a_power_cut_leaves_each_transaction_whole_or_not_at_all() {
    for (seed, step) in seeds(2).zip([2, 3, 2]) {
        let worked = |disk: &SimDisk, at| work(disk, seed, at);
        cut_everywhere((seed, step), worked, |disk, (known, durable), what| {
            check(&disk, &known, durable, what);
        });
    }
}
