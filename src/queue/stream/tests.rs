//! Tests of one stream against a log that keeps what it is told as rows in memory.

mod model;

use super::*;
use crate::arguments::{QueueFlags, Requeue};
use crate::clock::Clock;
use crate::draw::{Draw, seeds};
use crate::error::Resource;
use crate::ids::VHostId;
use crate::message::table::{FieldTable, FieldValue};
use crate::message::{BlockBuilder, Message};
use crate::message::{properties, table};
use crate::queue::mailbox::Mailbox;
use crate::queue::memory::BUDGET;
use crate::queue::{ChannelLimit, Home, Queue};
use crate::store::change::{Log, QueueRecord, RecoveredLane, RecoveredStream};
use crate::store::fake::{FakeLog, Keep};

/// A log whose disk holds a stream.
type Disk = FakeLog<Rows>;

/// Rows as they were published, and what there is beside them.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<u64, Arc<Block>>,
    stream: RecoveredStream,
    /// How often pages were read.
    loads: u32,
}

impl Keep for Rows {
    fn keep(&mut self, changes: Vec<Change>) {
        let Self { rows, stream, .. } = self;
        for change in changes {
            match change {
                Change::Publish { first, block, .. } => assert!(rows.insert(first, block).is_none()),
                Change::Settle { range, .. } => {
                    rows.retain(|first, block| first + u64::from(block.len()) > range.end);
                }
                Change::Stream { note: StreamNote::Begins(first), .. } => {
                    stream.first = first;
                    stream.chunks.retain(|chunk| chunk.first >= first);
                }
                Change::Stream { note: StreamNote::Chunk(chunk), .. } => stream.chunks.push(chunk),
                Change::Stream { note: StreamNote::Offset { name, next }, .. } => {
                    stream.offsets.retain(|(other, _)| *other != name);
                    stream.offsets.push((name, next));
                }
                Change::Stream { note: StreamNote::Forget { name }, .. } => {
                    stream.offsets.retain(|(other, _)| *other != name);
                }
                other => panic!("a stream has no {other:?}"),
            }
        }
    }
}

impl Disk {
    fn pages(&self, wanted: SeqRange, bytes_max: usize) -> Vec<Page> {
        let mut kept = self.kept();
        kept.loads += 1;
        let rows = &kept.rows;
        let holds = |(first, block): &(&u64, &Arc<Block>)| *first + u64::from(block.len()) > wanted.first;
        let before = rows.range(..=wanted.first).next_back().filter(holds);
        let from = before.map_or(wanted.first, |(first, _)| *first);
        let (mut read, mut bytes) = (Vec::new(), 0);
        for (&first, block) in rows.range(from..wanted.end) {
            if bytes < bytes_max || read.is_empty() {
                bytes += block.bytes().len();
                read.push(Page { first, block: Block::clone(block) });
            }
        }
        read
    }

    fn recovered(&self) -> RecoveredQueue {
        let kept = self.kept();
        let (rows, stream) = (&kept.rows, kept.stream.clone());
        let record = QueueRecord {
            id: QueueId(1),
            vhost: "/".into(),
            name: "s".into(),
            auto_delete: false,
            arguments: Vec::new(),
        };
        let end = rows.iter().next_back().map_or(0, |(first, block)| first + u64::from(block.len()));
        let next = end.max(stream.first);
        let messages = vec![SeqRange { first: stream.first, end: next }];
        let bytes_of = |(first, block): (&u64, &Arc<Block>)| {
            let gone = u32::try_from(stream.first.saturating_sub(*first)).unwrap();
            block.bytes_of(gone..block.len()) as u64
        };
        let bytes = rows.iter().map(bytes_of).sum();
        let requeues = Vec::new();
        let stream = Some(stream);
        let lanes = vec![RecoveredLane { lane: 0, delivered_up_to: 0, next }];
        RecoveredQueue { record, messages, bytes, requeues, lanes, expires: false, stream }
    }
}

struct Bench {
    disk: Arc<Disk>,
    context: QueueContext,
    settings: Settings,
    queue: Arc<Queue>,
    mailbox: Arc<Mailbox>,
}

const NOW_MS: u64 = 1_000_000;
const NOW: Now = Now { mono_ms: 0, unix_ms: NOW_MS };

impl Bench {
    fn new(arguments: &[(&str, FieldValue)]) -> Self {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), FieldValue::LongString("stream".into()));
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let settings = Settings::declare(
            &Resource::queue(&"/".into(), "s"),
            QueueFlags { durable: true, ..QueueFlags::default() },
            table,
        )
        .unwrap();
        let disk = Arc::new(Disk::default());
        let context = QueueContext {
            log: Arc::clone(&disk) as Arc<dyn Log>,
            memory: Arc::default(),
            timers: Arc::default(),
            home: Home::new(VHostId(1), "/".into()),
        };
        let queue = Queue::new((QueueId(1), "s".into()), settings.clone(), None, &context);
        Self { disk, context, settings, queue, mailbox: Mailbox::new() }
    }

    fn restart(&mut self) {
        let recovered = self.disk.recovered();
        self.queue = Queue::recover(&recovered, self.settings.clone(), false, &self.context);
        self.mailbox = Mailbox::new();
    }

    /// Publishes messages of (when it arrived, filter value, body).
    fn publish(&self, messages: &[(u64, &str, &str)]) {
        let mut builder = BlockBuilder::default();
        for &(at, value, body) in messages {
            let raw = properties_with(value);
            builder.push(&message(at, &raw, body.as_bytes()));
        }
        self.serve(self.queue.enqueue(&Arc::new(builder.build()), NOW).1);
    }

    fn numbers(&self, range: std::ops::Range<u64>) {
        range.for_each(|number| self.publish(&[(NOW_MS, "", &number.to_string())]));
    }

    /// Publishes `count` blocks of 16 KiB.
    fn bulk(&self, count: usize) {
        let body = "b".repeat(1024);
        (0..count).for_each(|_| self.publish(&[(NOW_MS, "", body.as_str()); 16]));
    }

    fn subscribe(&self, id: u64, prefetch: u32, reading: Reading) {
        let consumer = Consumer {
            prefetch,
            reading: Some(Box::new(reading)),
            ..Consumer::new(ConsumerId(id), &self.mailbox, ChannelLimit::new())
        };
        self.serve(self.queue.subscribe(consumer, NOW).unwrap());
    }

    fn read(&self, id: u64, prefetch: u32, start: Start) {
        self.subscribe(id, prefetch, Reading { start, ..Reading::default() });
    }

    /// Plays the pager until nothing more is wanted.
    fn serve(&self, mut effects: Effects) {
        while let Some(wanted) = effects.page {
            let (lost, next) = self.queue.pages_loaded(wanted, self.disk.pages(wanted, 64 << 10), NOW);
            assert_eq!(lost, 0);
            effects = next;
        }
    }

    /// What was dealt since the last call: consumer, number and body of each.
    fn dealt(&self) -> Vec<(u64, u64, String)> {
        let mut mail = Vec::new();
        self.mailbox.take(&mut mail);
        let mut dealt = Vec::new();
        for mail in mail {
            let Mail::Deliver(run) = mail else { continue };
            assert!(!run.redelivered);
            for (number, index) in (run.first..).zip(run.range.clone()) {
                let body = String::from_utf8(run.block.message(index).body.to_vec()).unwrap();
                dealt.push((run.consumer.0, number, body));
            }
            let bytes = run.block.bytes_of(run.range.clone());
            self.serve(self.queue.credit(run.consumer, bytes, NOW));
        }
        dealt
    }

    /// The numbers that were dealt since the last call.
    fn offsets(&self) -> Vec<u64> {
        self.dealt().into_iter().map(|(_, number, _)| number).collect()
    }

    fn ack(&self, id: u64, range: std::ops::Range<u64>) {
        let range = SeqRange { first: range.start, end: range.end };
        self.serve(self.queue.settle(&[Settled { consumer: Some(ConsumerId(id)), range }], NOW));
    }
}

fn properties_with(value: &str) -> Vec<u8> {
    let headers = (!value.is_empty()).then(|| {
        let value = FieldValue::LongString(value.into());
        table::with(&[], "x-stream-filter-value", Some(&value))
    });
    let mut raw = Vec::new();
    let parts = properties::Properties { headers: headers.as_deref(), ..Default::default() };
    properties::encode(&parts, &mut raw);
    raw
}

fn message<'a>(arrived_at_ms: u64, properties: &'a [u8], body: &'a [u8]) -> Message<'a> {
    Message::published(arrived_at_ms, (b"", b"s"), properties, body)
}

fn parsed(arguments: &[(&str, FieldValue)]) -> Reading {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    let queue = (crate::arguments::QueueType::Stream, Resource::queue(&"/".into(), "s"));
    *Reading::parse(queue, "tag", &table, (NOW, &Clock::starting(0))).unwrap().unwrap()
}

fn text(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

#[test]
fn everyone_reads_everything_from_where_they_like() {
    let bench = Bench::new(&[]);
    bench.numbers(0..5);
    let starts = [
        (Start::First, 0..5),
        (Start::Last, 4..5),
        (Start::Next, 5..5),
        (Start::Offset(3), 3..5),
        (Start::Offset(7), 7..7),
        (Start::FromEnd(2), 3..5),
        (Start::FromEnd(99), 0..5),
    ];
    for (id, (start, expected)) in (0..).zip(starts) {
        bench.read(id, 100, start);
        assert_eq!(bench.offsets(), expected.collect::<Vec<_>>(), "{start:?}");
    }
    bench.publish(&[(NOW_MS, "", "five"), (NOW_MS, "", "six"), (NOW_MS, "", "seven")]);
    let mut dealt = bench.dealt();
    dealt.retain(|(_, number, _)| *number == 7);
    let expected: Vec<_> = (0..7).map(|id| (id, 7, "seven".to_owned())).collect();
    assert_eq!(dealt, expected, "who waits for number 7 is not dealt 5 and 6");
    assert_eq!(bench.queue.stats().ready, 8);
}

#[test]
fn acknowledgements_give_room_and_nothing_comes_twice() {
    let bench = Bench::new(&[]);
    bench.numbers(0..10);
    bench.read(1, 2, Start::First);
    assert_eq!(bench.offsets(), [0, 1]);
    bench.ack(1, 0..1);
    assert_eq!(bench.offsets(), [2]);
    let held = Settled { consumer: Some(ConsumerId(1)), range: SeqRange { first: 1, end: 3 } };
    bench.serve(bench.queue.put_back(&[held], Requeue::Failed, NOW));
    assert_eq!(bench.offsets(), [3, 4]);
    let held = Settled { consumer: Some(ConsumerId(1)), range: SeqRange { first: 3, end: 5 } };
    bench.serve(bench.queue.reject(&[held], NOW));
    assert_eq!(bench.offsets(), [5, 6]);
    assert_eq!((bench.queue.stats().ready, bench.queue.stats().unacked), (10, 2));
}

#[test]
fn a_restart_keeps_everything_and_goes_on_counting() {
    let mut bench = Bench::new(&[]);
    bench.numbers(0..4);
    bench.restart();
    bench.read(1, 10, Start::First);
    bench.numbers(4..6);
    let expected: Vec<_> = (0..6).map(|number| (1, number, number.to_string())).collect();
    assert_eq!(bench.dealt(), expected);
}

#[test]
fn times_are_met_to_the_message() {
    let mut bench = Bench::new(&[]);
    let times = [10, 20, 20, 30, 25, 40];
    times.iter().for_each(|&at| bench.publish(&[(at, "", "x")]));
    for restart in [false, true] {
        if restart {
            bench.restart();
        }
        for (id, (ms, first)) in (10..).zip([(0, 0), (10, 0), (11, 1), (20, 1), (21, 3), (31, 5), (41, 6)]) {
            bench.read(id, 10, Start::Since(ms));
            assert_eq!(bench.offsets(), (first..6).collect::<Vec<_>>(), "since {ms}");
        }
    }
    // What comes later is delivered whatever the clock says.
    bench.publish(&[(5, "", "late")]);
    assert!(bench.dealt().iter().all(|(_, number, _)| *number == 6));
}

#[test]
fn a_filter_lets_through_what_it_names() {
    let bench = Bench::new(&[]);
    let array = |values: &[&str]| FieldValue::FieldArray(values.iter().map(|v| text(v)).collect());
    bench.publish(&["a", "b", "", "c", "a", ""].map(|value| (NOW_MS, value, "x")));
    let unfiltered = ("x-stream-match-unfiltered", FieldValue::Boolean(true));
    type Case<'a> = (&'a [(&'a str, FieldValue)], &'a [u64]);
    let cases: [Case<'_>; 6] = [
        (&[("x-stream-filter", text("a"))], &[0, 4]),
        (&[("x-stream-filter", array(&["a", "b"]))], &[0, 1, 4]),
        (&[("x-stream-filter", array(&["a", "c"])), unfiltered.clone()], &[0, 2, 3, 4, 5]),
        (&[("x-stream-filter", text("zz"))], &[]),
        (&[("x-stream-filter", text(""))], &[2, 5]),
        (&[unfiltered], &[0, 1, 2, 3, 4, 5]),
    ];
    for (id, (arguments, expected)) in (0..).zip(cases) {
        bench.subscribe(id, 100, Reading { start: Start::First, ..parsed(arguments) });
        assert_eq!(bench.offsets(), expected, "{arguments:?}");
    }
}

#[test]
fn the_oldest_go_when_there_is_too_much() {
    let mut bench = Bench::new(&[("x-max-length-bytes", FieldValue::LongInt(100_000))]);
    bench.read(1, 5, Start::First);
    bench.bulk(20);
    let stats = bench.queue.stats();
    assert!((60..120).contains(&stats.ready), "{} of 320 are left", stats.ready);
    bench.ack(1, 0..5);
    let first = 320 - stats.ready;
    assert_eq!(bench.offsets()[5..], (first..first + 5).collect::<Vec<_>>(), "what is gone is passed over");
    bench.restart();
    assert_eq!(bench.queue.stats().ready, stats.ready);
    bench.read(2, 1, Start::Offset(3));
    assert_eq!(bench.offsets(), [first]);
    bench.bulk(20);
    assert!((60..120).contains(&bench.queue.stats().ready));
}

#[test]
fn what_is_too_much_goes_at_the_start() {
    let mut bench = Bench::new(&[("x-stream-max-segment-size-bytes", FieldValue::LongInt(10_000))]);
    bench.bulk(20);
    bench.settings.retention.bytes = Some(100_000);
    bench.restart();
    assert_eq!(bench.queue.stats().ready, 320);
    bench.serve(bench.queue.start(NOW));
    assert!((60..120).contains(&bench.queue.stats().ready));
}

#[test]
fn the_old_go_when_something_new_comes_or_somebody_asks() {
    let bench = Bench::new(&[
        ("x-max-age", text("10s")),
        ("x-stream-max-segment-size-bytes", FieldValue::LongInt(1000)),
    ]);
    let body = "b".repeat(4096);
    for at in [1000, 2000, 8000, 12_000] {
        bench.publish(&[(at, "", body.as_str())]);
    }
    // The first came no later than the second began, 10 s before the newest: not older than that.
    assert_eq!(bench.queue.stats().ready, 4);
    bench.publish(&[(12_500, "", body.as_str())]);
    assert_eq!(bench.queue.stats().ready, 4);
    bench.subscribe(1, 10, Reading { start: Start::First, asked_at_ms: 1_000_000, ..Reading::default() });
    assert_eq!(bench.offsets(), [4], "the newest chunk stays, however old");
}

#[test]
fn a_named_consumer_goes_on_where_it_was() {
    let mut bench = Bench::new(&[]);
    let tracking = ("x-stream-automatic-offset-tracking", FieldValue::Boolean(true));
    let named = || parsed(std::slice::from_ref(&tracking));
    bench.numbers(0..10);
    bench.subscribe(1, 4, named());
    assert_eq!(bench.offsets(), [0, 1, 2, 3], "who was never here begins with the oldest");
    bench.ack(1, 1..3);
    assert_eq!(bench.offsets(), [4, 5]);
    assert!(bench.disk.kept().stream.offsets.is_empty(), "number 0 is not handled");
    bench.ack(1, 0..1);
    assert_eq!(bench.disk.kept().stream.offsets, [("tag".into(), 3)]);
    // It goes, and acknowledges the rest afterwards; what it gives back is not handled.
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    bench.ack(1, 3..5);
    assert_eq!(bench.disk.kept().stream.offsets, [("tag".into(), 5)]);
    let held = Settled { consumer: Some(ConsumerId(1)), range: SeqRange { first: 5, end: 7 } };
    bench.serve(bench.queue.put_back(&[held], Requeue::Failed, NOW));
    assert_eq!(bench.offsets(), [6], "it came before it went");
    for restart in [false, true] {
        if restart {
            bench.restart();
        }
        bench.subscribe(2, 2, Reading { start: Start::Next, ..named() });
        assert_eq!(bench.offsets(), [5, 6], "restart: {restart}");
        let _ = bench.queue.cancel(ConsumerId(2), NOW);
    }
    // A filter hides what it passes over: it counts as handled.
    bench.publish(&["a", "b", "b"].map(|value| (NOW_MS, value, "x")));
    bench.subscribe(3, 5, Reading { track: Some("f".into()), ..parsed(&[("x-stream-filter", text("a"))]) });
    bench.publish(&["b", "a", "b"].map(|value| (NOW_MS, value, "x")));
    assert_eq!(bench.offsets(), [14]);
    bench.ack(3, 14..15);
    assert_eq!(bench.disk.kept().stream.offsets, [("tag".into(), 5), ("f".into(), 16)]);
}

#[test]
fn the_names_that_are_remembered_are_limited() {
    let mut stream = Stream::new(Arc::default());
    for number in 0..NAMES_MAX as u64 + 10 {
        stream.remember(QueueId(1), number.to_string().into(), number);
    }
    let names = &stream.offsets;
    assert_eq!((names.len(), names.contains_key("9"), names.contains_key("10")), (NAMES_MAX, false, true));
}

#[test]
fn many_far_behind_cost_reads_not_memory() {
    let bench = Bench::new(&[]);
    bench.bulk(2000);
    let stats = bench.queue.stats();
    assert!(stats.resident <= BUDGET.bytes, "{} bytes", stats.resident);
    for id in 0..50 {
        bench.read(id, 10, Start::Offset(id * 300));
    }
    let stats = bench.queue.stats();
    assert!(stats.resident < MEMORY_SHORT + (4 << 20), "{} bytes", stats.resident);
    assert_eq!(bench.dealt().len(), 500);
    // Two who want the same are served by one read.
    let loads = bench.disk.kept().loads;
    bench.read(100, 10, Start::Offset(49 * 300));
    assert_eq!(bench.disk.kept().loads, loads);
    (0..50).chain([100]).for_each(|id| drop(bench.queue.cancel(ConsumerId(id), NOW)));
    bench.dealt();
    bench.bulk(1);
    let stats = bench.queue.stats();
    assert!(stats.resident <= BUDGET.bytes + (3 << 20), "{} bytes", stats.resident);
}

#[test]
fn a_page_is_found_though_its_rows_were_joined() {
    let bench = Bench::new(&[]);
    bench.numbers(0..10);
    let page = |first: u64, count: usize| {
        let mut builder = BlockBuilder::default();
        (0..count).for_each(|_| builder.push(&message(0, &[0, 0], b"x")));
        Page { first, block: builder.build() }
    };
    let mut log = StreamLog::new(Retention::default());
    let all = page(0, 10).block;
    log.push(&Arc::new(all), |_| ());
    log.mark(10, Ticket(1));
    log.forget(Ticket(1), 0);
    let mut pages = Pages::default();
    assert_eq!(pages.load(SeqRange { first: 4, end: 10 }, vec![page(4, 2)], &log), 0);
    assert!(pages.find(5).is_some() && pages.find(7).is_none());
    assert_eq!(pages.load(SeqRange { first: 7, end: 10 }, vec![page(0, 10)], &log), 0);
    assert!((0..10).all(|seq| pages.find(seq).is_some()));
}

#[test]
fn what_the_disk_has_lost_is_passed_over() {
    let mut bench = Bench::new(&[]);
    bench.numbers(0..20);
    bench.restart();
    bench.disk.kept().rows.retain(|first, _| !(5..9).contains(first));
    bench.mailbox = Mailbox::new();
    let mut lost = 0;
    let consumer = Consumer {
        prefetch: 100,
        reading: Some(Box::new(Reading { start: Start::First, ..Reading::default() })),
        ..Consumer::new(ConsumerId(1), &bench.mailbox, ChannelLimit::new())
    };
    let mut effects = bench.queue.subscribe(consumer, NOW).unwrap();
    for _ in 0..50 {
        let Some(wanted) = effects.page else { break };
        let (more, next) = bench.queue.pages_loaded(wanted, bench.disk.pages(wanted, 64 << 10), NOW);
        (lost, effects) = (lost + more, next);
    }
    assert_eq!(lost, 4);
    assert_eq!(bench.offsets(), (0..5).chain(9..20).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_is_deleted_tells_its_consumers() {
    let bench = Bench::new(&[]);
    bench.numbers(0..3);
    bench.read(7, 1, Start::First);
    bench.dealt();
    assert_eq!(bench.queue.close(true, true), Err(Busy::NotEmpty));
    assert_eq!(bench.queue.close(true, false), Err(Busy::InUse));
    assert_eq!(bench.queue.close(false, false), Ok(0));
    let mut mail = Vec::new();
    bench.mailbox.take(&mut mail);
    assert!(matches!(mail[..], [Mail::Cancelled(ConsumerId(7))]));
    assert_eq!(bench.context.memory.load(Ordering::Relaxed), 0);
    assert!(bench.queue.enqueue(&Arc::new(Block::of(&message(0, &[0, 0], b"x"))), NOW).1.is_empty());
}
