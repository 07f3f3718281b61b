//! Messages moved by jobs, and looked at and deleted where they are on disk: each is in exactly one
//! place, whenever the power goes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::fixtures::{ME, durable_before, persistent};
use super::power_cut::{Bell, declare, open, wait_for};
use crate::support::disk::{SimDisk, cut_everywhere};
use crate::support::draw::seeds;
use leveret::broker::Broker;
use leveret::broker::browse::Direction;
use leveret::broker::jobs::{Destination, Job, JobState, NotBegun, Order, RUNNING_MAX};
use leveret::broker::vhost::{Bind, Destination as Bound};
use leveret::clock::Now;
use leveret::ids::{SeqRange, Ticket};
use leveret::message::table::{FieldTable, FieldValue};
use leveret::message::{Block, BlockBuilder, Message};
use leveret::queue::mailbox::Mailbox;
use leveret::queue::{Got, Queue, Settled};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const NOW: Now = Now { mono_ms: 0, unix_ms: 1_000 };

/// Messages of a run whose power is cut.
const COUNT: u64 = 30;

/// Messages that a job of such a run moves, so that it is several batches.
const PART: u64 = 7;

fn text(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

fn block(ids: impl IntoIterator<Item = u64>, padding: usize) -> Block {
    let mut builder = BlockBuilder::default();
    for id in ids {
        let body = [&id.to_be_bytes()[..], &vec![b'x'; padding]].concat();
        builder.push(&Message { arrived_at_ms: id, routing_key: b"work", body: &body, ..persistent() });
    }
    builder.build()
}

fn id_of(block: &Block, index: u32) -> u64 {
    u64::from_be_bytes(block.message(index).body[..8].try_into().unwrap())
}

fn publish(broker: &Broker, queue: &str, block: Block) -> Ticket {
    let route = broker.vhost().route(b"", queue.as_bytes(), &[0, 0]).unwrap();
    broker.enqueue(&route, block, NOW).ticket
}

fn wait_until_durable(broker: &Broker, ticket: Ticket) {
    let bell = Arc::new(Bell::default());
    broker.log().notify(ticket, &(Arc::clone(&bell) as _));
    bell.wait(ticket);
}

/// All messages of a queue, as fast as it goes.
pub(super) fn order(queue: &Arc<Queue>, destination: Destination) -> Order {
    Order {
        queue: Arc::clone(queue),
        destination,
        ids: None,
        wants: Box::new(|_any| true),
        fits: Box::new(|_any| true),
        limit: None,
        rate: None,
        may: Box::new(|_, _, _| Ok(())),
        by: "test".to_owned(),
    }
}

fn to_queue(name: &str) -> Destination {
    Destination::Exchange { exchange: String::new(), routing_key: name.to_owned() }
}

/// Does a job, and comes back when it has ended.
fn work(broker: &Broker, order: Order) -> (JobState, u64, u64, Option<String>) {
    let job = broker.begin_job(order).unwrap();
    ended(&job)
}

fn ended(job: &Job) -> (JobState, u64, u64, Option<String>) {
    loop {
        let progress = job.progress();
        if progress.state != JobState::Running {
            return (progress.state, progress.moved, progress.left, progress.reason);
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Takes all that is ready in a queue: the number of each message.
fn drain(broker: &Arc<Broker>, queue: &str) -> Vec<u64> {
    let Ok(queue) = broker.vhost().queue(queue, ME) else { return Vec::new() };
    let (mut ids, mailbox) = (Vec::new(), Mailbox::new());
    loop {
        match broker.get(&queue, true, &mailbox, NOW) {
            Got::Message { block, index, .. } => ids.push(id_of(&block, index)),
            Got::Empty => return ids,
            Got::Paging => wait_for(&mailbox),
        }
    }
}

/// How often each message is in which queue.
fn read_back(broker: &Arc<Broker>, queues: &[&'static str]) -> BTreeMap<u64, Vec<&'static str>> {
    let mut found: BTreeMap<u64, Vec<&'static str>> = BTreeMap::new();
    for queue in queues {
        drain(broker, queue).into_iter().for_each(|id| found.entry(id).or_default().push(queue));
    }
    found
}

/// Moves everything from `work` to where `amq.fanout` sends it, a part at a time; whether the
/// messages were on disk before the cut.
fn move_in_parts(disk: &SimDisk, cut_at: u64) -> bool {
    let broker = open(disk);
    let (queue, _) = declare(&broker, "work", FieldTable::default());
    for name in ["a", "b"] {
        declare(&broker, name, FieldTable::default());
        let (source, destination) = ("amq.fanout".into(), Bound::Queue(name.into()));
        let bind = Bind { source, destination, routing_key: Vec::new(), arguments: FieldTable::default() };
        broker.vhost().bind(bind, ME).unwrap();
    }
    let ticket = publish(&broker, "work", block(0..COUNT, 0));
    wait_until_durable(&broker, ticket);
    let is_durable = durable_before(disk, cut_at, &broker).is_some();
    let fanout = || Destination::Exchange { exchange: "amq.fanout".into(), routing_key: String::new() };
    while work(&broker, Order { limit: Some(PART), ..order(&queue, fanout()) }).1 > 0 {}
    assert_eq!(queue.stats().ready, 0);
    broker.shutdown().unwrap();
    is_durable
}

#[test]
fn a_moved_message_is_in_one_place_wherever_the_power_goes() {
    for (seed, step) in seeds(0x00C0_FFEE).zip([1, 2]) {
        cut_everywhere((seed, step), move_in_parts, |disk, was_durable, what| {
            let broker = open(&disk);
            let found = read_back(&broker, &["work", "a", "b"]);
            for (id, places) in &found {
                assert!(
                    places == &["work"] || places == &["a", "b"],
                    "{what}: message {id} is in {places:?}"
                );
            }
            assert!(
                !was_durable || found.len() as u64 == COUNT,
                "{what}: {} are lost",
                COUNT - found.len() as u64
            );
            broker.shutdown().unwrap();
        });
    }
}

/// All messages of `work` die, into `dead`, and are redriven a part at a time.
fn redrive_in_parts(disk: &SimDisk, cut_at: u64) -> bool {
    let broker = open(disk);
    let (dead, _) = declare(&broker, "dead", FieldTable::default());
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text("dead"));
    let (queue, _) = declare(&broker, "work", arguments);
    publish(&broker, "work", block(0..COUNT, 0));
    let mailbox = Mailbox::new();
    for _message in 0..COUNT {
        let Got::Message { first, .. } = broker.get(&queue, false, &mailbox, NOW) else {
            panic!("it is there")
        };
        broker.reject(&queue, &[Settled { consumer: None, range: SeqRange::of(first, 1) }], NOW);
    }
    let ticket = broker.log().append(&mut Vec::new());
    wait_until_durable(&broker, ticket);
    let is_durable = durable_before(disk, cut_at, &broker).is_some();
    while work(&broker, Order { limit: Some(PART), ..order(&dead, Destination::QueueOfDeath) }).1 > 0 {}
    assert_eq!((queue.stats().ready, dead.stats().ready), (COUNT, 0));
    broker.shutdown().unwrap();
    is_durable
}

#[test]
fn a_redriven_message_is_in_one_place_wherever_the_power_goes() {
    for (seed, step) in seeds(0x0BAD_F00D).zip([2, 3]) {
        cut_everywhere((seed, step), redrive_in_parts, |disk, was_durable, what| {
            let broker = open(&disk);
            let found = read_back(&broker, &["work", "dead"]);
            for (id, places) in &found {
                assert_eq!(places.len(), 1, "{what}: message {id} is in {places:?}");
            }
            assert!(
                !was_durable || found.len() as u64 == COUNT,
                "{what}: {} are lost",
                COUNT - found.len() as u64
            );
            broker.shutdown().unwrap();
        });
    }
}

#[test]
fn a_job_ends_though_its_queue_is_its_target() {
    let broker = open(&SimDisk::default());
    let (queue, _) = declare(&broker, "work", FieldTable::default());
    publish(&broker, "work", block(0..600, 0));
    assert_eq!(work(&broker, order(&queue, to_queue("work"))), (JobState::Done, 600, 0, None));
    assert_eq!(drain(&broker, "work"), (0..600).collect::<Vec<_>>());
}

#[test]
fn a_job_stops_at_a_full_queue_and_says_so() {
    let broker = open(&SimDisk::default());
    let (queue, _) = declare(&broker, "work", FieldTable::default());
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), FieldValue::LongInt(300));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    declare(&broker, "small", arguments);
    publish(&broker, "work", block(0..1000, 0));
    let (state, moved, left, reason) = work(&broker, order(&queue, to_queue("small")));
    assert_eq!((state, moved, left), (JobState::Failed, 300, 700));
    assert_eq!(reason.as_deref(), Some("message 300 is refused: a queue is full"));
    assert_eq!(drain(&broker, "work"), (300..1000).collect::<Vec<_>>(), "in their places");
    assert_eq!(drain(&broker, "small"), (0..300).collect::<Vec<_>>());
}

#[test]
fn a_slow_job_is_stopped_and_others_are_bounded_in_number() {
    let broker = open(&SimDisk::default());
    let (queue, _) = declare(&broker, "work", FieldTable::default());
    declare(&broker, "other", FieldTable::default());
    publish(&broker, "work", block(0..1000, 0));
    let slow = || Order { rate: Some(1), ..order(&queue, to_queue("other")) };
    let jobs: Vec<_> = (0..RUNNING_MAX).map(|_| broker.begin_job(slow()).unwrap()).collect();
    assert!(matches!(broker.begin_job(slow()), Err(NotBegun::TooMany)));
    for job in &jobs {
        job.stop();
        assert_eq!(ended(job).0, JobState::Stopped);
    }
    let moved: u64 = jobs.iter().map(|job| job.progress().moved).sum();
    let stats = broker.vhost().queue("other", ME).unwrap().stats();
    assert_eq!((stats.ready, queue.stats().ready), (moved, 1000 - moved));
    assert_eq!(work(&broker, order(&queue, to_queue("other"))).0, JobState::Done, "there is room again");
}

/// A queue after a restart, when all of it is on disk alone; each message arrived a millisecond
/// after the one before.
fn large() -> (Arc<Broker>, Arc<Queue>, u64) {
    let disk = SimDisk::default();
    let broker = open(&disk);
    let (_, _) = declare(&broker, "work", FieldTable::default());
    let (count, mut last) = (2000, Ticket(0));
    for first in (0..count).step_by(20) {
        last = last.max(publish(&broker, "work", block(first..first + 20, 2000)));
    }
    wait_until_durable(&broker, last);
    broker.shutdown().unwrap();
    drop(broker);
    let broker = open(&SimDisk::holding(disk.image()));
    let queue = broker.vhost().queue("work", ME).unwrap();
    assert_eq!((queue.stats().ready, queue.stats().resident), (count, 0), "all of it is on disk alone");
    (broker, queue, count)
}

#[test]
fn what_is_on_disk_alone_is_looked_at_without_coming_to_memory() {
    let (broker, queue, count) = large();
    for back in [false, true] {
        let (mut from, mut seen) = (if back { u64::MAX } else { 0 }, Vec::new());
        loop {
            let mut page = 0;
            let looked = broker.browser().each(
                &queue,
                Direction { from, back },
                |_any| true,
                |found| {
                    page += 1;
                    if page > 300 {
                        return false;
                    }
                    seen.push(id_of(&found.block, found.index));
                    true
                },
            );
            match looked.unwrap().next {
                Some(next) => from = next,
                None => break,
            }
        }
        if back {
            seen.reverse();
        }
        assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
    assert_eq!((queue.stats().ready, queue.stats().resident), (count, 0));
    let since = |ms| broker.browser().since(&queue, ms).unwrap();
    assert_eq!((since(0), since(1), since(1234), since(1999), since(2000)), (0, 1, 1234, 1999, count));
}

#[test]
fn what_is_on_disk_alone_is_deleted_and_moved() {
    let (broker, queue, count) = large();
    declare(&broker, "other", FieldTable::default());
    let ticket = broker.transfers().delete(&queue, 1234, NOW).unwrap();
    assert!(ticket > Ticket(0));
    wait_until_durable(&broker, ticket);
    let wanted = Order { ids: Some(vec![7, 1999, 1234]), ..order(&queue, to_queue("other")) };
    let (state, moved, left, reason) = work(&broker, wanted);
    assert_eq!((state, moved, left), (JobState::Failed, 2, 1));
    assert_eq!(reason.as_deref(), Some("message 1234 is no longer in the queue"));
    assert_eq!(drain(&broker, "other"), [7, 1999]);
    let left: Vec<u64> = (0..count).filter(|id| ![7, 1234, 1999].contains(id)).collect();
    assert_eq!(drain(&broker, "work"), left);
}
