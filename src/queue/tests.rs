//! Tests of one queue against a log that keeps what it is told in memory.

mod browse;
mod letters;
mod limits;
mod naive;
mod order;
mod overdue;
mod reserve;
mod time;
mod turns;

use super::classic::core::paging::PIECES_MAX;
use super::mailbox::Mail;
use super::memory::{BUDGET, BUDGET_SHORT, MEMORY_SHORT};
use super::*;
use crate::arguments::{DeadLetterStrategy, LengthLimit, Overflow, Settings};
use crate::draw::{Draw, seeds};
use crate::message::{BlockBuilder, Message};
use crate::store::change::{Change, QueueRecord, RecoveredLane, RecoveredRequeue};
use crate::store::fake::{FakeLog, Keep};
use crate::store::mark::Mark;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

const NOW: Now = Now { mono_ms: 1_000, unix_ms: 1_795_000_000_000 };

/// Room for everything that is parked.
const PLENTY: ParkedMax = ParkedMax { messages: u64::MAX, bytes: u64::MAX };

/// A log whose disk is a map.
type Disk = FakeLog<Rows>;

/// The records on disk, each under its number, and everything that the log was told.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<u64, Vec<u8>>,
    told: Vec<Change>,
}

impl Keep for Rows {
    fn keep(&mut self, mut changes: Vec<Change>) {
        for change in &changes {
            match change {
                Change::Publish { first, block, range, .. } | Change::Spill { first, block, range, .. } => {
                    for (seq, index) in (*first..).zip(range.clone()) {
                        let previous = self.rows.insert(seq, block.slice(index..index + 1).to_vec());
                        assert!(previous.is_none(), "message {seq} was written twice");
                    }
                }
                Change::Settle { range, .. } => {
                    self.rows.retain(|seq, _| !(range.first..range.end).contains(seq));
                }
                _ => {}
            }
        }
        self.told.append(&mut changes);
    }
}

impl Disk {
    /// What a pager would read: whole pages of a few messages, the first of which may begin before
    /// what is wanted.
    fn pages(&self, wanted: SeqRange, pages: usize) -> Vec<Page> {
        let rows = &self.kept().rows;
        let mut read: Vec<Page> = Vec::new();
        for (&seq, bytes) in rows.range(wanted.first.saturating_sub(2)..wanted.end) {
            let full = read.len() == pages;
            match read.last_mut() {
                Some(page) if page.first + u64::from(page.block.len()) == seq && page.block.len() < 4 => {
                    let bytes = [page.block.bytes(), &bytes[..]].concat();
                    page.block = Block::from_bytes(bytes.into()).unwrap();
                }
                _ if full => break,
                _ => read.push(Page { first: seq, block: Block::from_bytes(bytes.clone().into()).unwrap() }),
            }
        }
        read
    }
}

fn context(disk: &Arc<Disk>, timers: &Arc<Timers>) -> QueueContext {
    let log = Arc::clone(disk) as Arc<dyn Log>;
    QueueContext {
        log,
        memory: Arc::default(),
        timers: Arc::clone(timers),
        home: Home::new(VHostId(1), "/".into()),
    }
}

struct Bench {
    disk: Arc<Disk>,
    timers: Arc<Timers>,
    queue: Arc<Queue>,
    mailbox: Arc<Mailbox>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::on(Disk::default(), settings)
    }

    fn on(disk: Disk, settings: Settings) -> Self {
        let disk = Arc::new(disk);
        let timers = Arc::new(Timers::default());
        let queue = Queue::new((QueueId(1), "q".into()), settings, None, &context(&disk, &timers));
        Self { disk, timers, queue, mailbox: Mailbox::new() }
    }

    fn context(&self) -> QueueContext {
        context(&self.disk, &self.timers)
    }

    fn publish(&self, bodies: &[&str], persistent: bool) -> Effects {
        let mut builder = BlockBuilder::default();
        for body in bodies {
            builder.push(&message(body.as_bytes(), persistent));
        }
        self.queue.enqueue(&Arc::new(builder.build()), NOW).1
    }

    fn consumer(&self, id: u64, prefetch: u32) -> Consumer {
        Consumer { prefetch, ..Consumer::new(ConsumerId(id), &self.mailbox, ChannelLimit::new()) }
    }

    fn subscribe(&self, consumer: Consumer) {
        let effects = self.queue.subscribe(consumer, NOW).unwrap();
        self.serve(effects);
    }

    /// Plays the pager until nothing more is wanted.
    fn serve(&self, mut effects: Effects) {
        while let Some(wanted) = effects.page {
            let (lost, next) = self.queue.pages_loaded(wanted, self.disk.pages(wanted, 12), NOW);
            assert_eq!(lost, 0);
            effects = next;
        }
    }

    /// Does what a call brought, as the broker and the pager do: why each of those that were sent
    /// had died, and its body.
    fn letters(&self, effects: Effects, now: Now) -> Vec<(DeathReason, String)> {
        self.letters_with(effects, now, PLENTY, |_| Outcome::Gone)
    }

    /// As [`Self::letters`]; `send` says what becomes of the one with this body.
    fn letters_with(
        &self,
        effects: Effects,
        now: Now,
        most: ParkedMax,
        send: impl Fn(&str) -> Outcome,
    ) -> Vec<(DeathReason, String)> {
        let (mut sent, mut todo) = (Vec::new(), vec![effects]);
        while let Some(effects) = todo.pop() {
            if let Some(wanted) = effects.page {
                let (lost, next) = self.queue.pages_loaded(wanted, self.disk.pages(wanted, 3), now);
                assert_eq!(lost, 0);
                todo.push(next);
            }
            let Some(mut batch) = effects.letters.then(|| self.queue.next_letters()).flatten() else {
                continue;
            };
            for part in &mut batch.parts {
                for index in part.records.clone() {
                    let body = String::from_utf8(part.block.message(index).body.to_vec()).unwrap();
                    part.note(send(&body));
                    sent.push((part.reason(), body));
                }
            }
            todo.push(self.queue.letters_sent(batch, most, now).0);
        }
        sent
    }

    /// What was dealt since the last call: `consumer:body`, with `!` when redelivered.
    fn dealt(&self) -> Vec<String> {
        let mut mail = Vec::new();
        self.mailbox.take(&mut mail);
        let mut dealt = Vec::new();
        for mail in mail {
            let Mail::Deliver(run) = mail else { continue };
            for index in run.range.clone() {
                let body = String::from_utf8(run.block.message(index).body.to_vec()).unwrap();
                let mark = if run.redelivered { "!" } else { "" };
                dealt.push(format!("{}:{body}{mark}", run.consumer.0));
            }
        }
        dealt
    }

    fn counts(&self) -> (u64, u64) {
        let stats = self.queue.stats();
        (stats.ready, stats.unacked)
    }
}

fn message(body: &[u8], persistent: bool) -> Message<'_> {
    Message { persistent, ..Message::published(0, (b"", b"q"), &[0, 0], body) }
}

fn durable() -> Settings {
    Settings { durable: true, ..Settings::default() }
}

fn held(consumer: u64, first: u64, count: u64) -> [Settled; 1] {
    [Settled { consumer: Some(ConsumerId(consumer)), range: SeqRange::of(first, count) }]
}

#[test]
fn consumers_take_turns_within_their_windows() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 2));
    bench.subscribe(bench.consumer(2, 3));
    let _ = bench.publish(&["a", "b", "c", "d", "e", "f", "g"], true);
    assert_eq!(bench.dealt(), ["1:a", "2:b", "1:c", "2:d", "2:e"]);
    assert_eq!(bench.counts(), (2, 5));
    let _ = bench.queue.settle(&held(1, 0, 1), NOW);
    assert_eq!(bench.dealt(), ["1:f"], "only the freed place is filled");
}

#[test]
fn returned_messages_come_first_and_in_their_old_order() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 3));
    let _ = bench.publish(&["a", "b", "c", "d"], true);
    assert_eq!(bench.dealt(), ["1:a", "1:b", "1:c"]);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    let _ = bench.queue.put_back(&held(1, 2, 1), Requeue::Failed, NOW);
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
    bench.subscribe(bench.consumer(2, 0));
    assert_eq!(bench.dealt(), ["2:a!", "2:c!", "2:d"]);
    assert_eq!(bench.counts(), (0, 4), "b is with the first consumer still");
}

#[test]
fn what_was_dealt_but_never_sent_comes_back_unmarked() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 0));
    let _ = bench.publish(&["a"], true);
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Unsent, NOW);
    bench.dealt();
    bench.subscribe(bench.consumer(2, 0));
    assert_eq!(bench.dealt(), ["2:a"]);
}

#[test]
fn a_message_dies_when_it_failed_more_often_than_the_limit() {
    let settings =
        Settings { delivery_limit: Some(2), dead_letter_exchange: Some("dlx".into()), ..durable() };
    let bench = Bench::new(settings);
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.publish(&["poison", "good"], true);
    for _failure in 0..2 {
        let effects = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
        assert!(!effects.letters);
    }
    let effects = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
    assert_eq!(bench.letters(effects, NOW), [(DeathReason::DeliveryLimit, "poison".to_owned())]);
    assert_eq!(bench.dealt(), ["1:poison", "1:poison!", "1:poison!", "1:good"]);
    assert_eq!(bench.disk.kept().rows.len(), 1, "it left the disk");
    let counted = |change: &Change| matches!(change, Change::Requeue { seq: 0, deliveries: 2, .. });
    assert!(bench.disk.kept().told.iter().any(counted), "the count is persisted");
}

#[test]
fn without_a_dead_letter_exchange_the_drop_is_counted() {
    let dead_letter_strategy = DeadLetterStrategy::AtMostOnce;
    let bench = Bench::new(Settings { delivery_limit: Some(0), dead_letter_strategy, ..durable() });
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.publish(&["poison"], true);
    let effects = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
    assert_eq!(effects.dropped, Dropped { delivery_limit: 1, ..Dropped::default() });
    assert!(!effects.letters);
    assert_eq!(bench.counts(), (0, 0));
}

#[test]
fn what_is_consumed_as_it_comes_never_reaches_the_log() {
    let bench = Bench::new(durable());
    bench.subscribe(Consumer { no_ack: true, ..bench.consumer(1, 0) });
    let _ = bench.publish(&["a", "b"], true);
    assert_eq!(bench.dealt(), ["1:a", "1:b"]);
    assert!(bench.disk.kept().told.is_empty());
    let _ = bench.publish(&["c"], false);
    assert!(bench.disk.kept().told.is_empty());
}

#[test]
fn what_one_consumer_holds_reaches_the_log_though_others_have_settled_the_rest() {
    let bench = Bench::new(durable());
    bench.subscribe(Consumer { no_ack: true, ..bench.consumer(1, 0) });
    bench.subscribe(bench.consumer(2, 0));
    let _ = bench.publish(&["a", "b", "c"], true);
    let mut dealt = bench.dealt();
    dealt.sort();
    assert_eq!(dealt, ["1:a", "1:c", "2:b"]);
    assert!(bench.disk.kept().rows.contains_key(&1), "a crash would lose what is not acknowledged");
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let bench = Bench::new(durable());
    bench.subscribe(Consumer { exclusive: true, ..bench.consumer(1, 0) });
    let refused = bench.queue.subscribe(bench.consumer(2, 0), NOW).unwrap_err();
    assert_eq!(refused.to_string(), "queue 'q' in vhost '/' in exclusive use");
    let _ = bench.queue.cancel(ConsumerId(1), NOW);
    bench.subscribe(bench.consumer(2, 0));
    assert!(bench.queue.subscribe(Consumer { exclusive: true, ..bench.consumer(3, 0) }, NOW).is_err());
}

#[test]
fn higher_priorities_are_served_while_their_windows_are_open() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 0));
    bench.subscribe(Consumer { priority: 5, ..bench.consumer(2, 2) });
    let _ = bench.publish(&["a", "b", "c"], true);
    assert_eq!(bench.dealt(), ["2:a", "2:b", "1:c"]);
}

#[test]
fn a_channel_limit_is_shared() {
    let bench = Bench::new(durable());
    let channel = ChannelLimit::new();
    channel.set(3);
    for id in [1, 2] {
        bench.subscribe(Consumer { channel: Arc::clone(&channel), ..bench.consumer(id, 0) });
    }
    let _ = bench.publish(&["a", "b", "c", "d"], true);
    assert_eq!(bench.dealt().len(), 3);
    let _ = bench.queue.settle(&held(1, 0, 1), NOW);
    let (queue, share) = channel.next().expect("it waits");
    let _ = queue.take_turn(&channel, share, NOW);
    assert_eq!(bench.dealt().len(), 1);
    assert!(channel.next().is_none());
}

#[test]
fn only_fresh_messages_and_returned_ones_are_purged() {
    let bench = Bench::new(durable());
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.publish(&["a", "b", "c"], true);
    let (purged, _) = bench.queue.purge_part(u64::MAX, NOW);
    assert_eq!((purged, bench.counts()), (2, (0, 1)));
    let _ = bench.publish(&["d"], true);
    let _ = bench.queue.settle(&held(1, 0, 1), NOW);
    assert_eq!(bench.dealt(), ["1:a", "1:d"]);
}

/// Others wait for the lock no longer than a part takes.
#[test]
fn a_purge_goes_in_parts() {
    let bench = Bench::new(durable());
    for _message in 0..5000 {
        let _ = bench.publish(&["a"], false);
    }
    let (purged, _) = bench.queue.purge_part(10, NOW);
    assert_eq!(purged, 10, "no more than was asked for");
    let (purged, _) = bench.queue.purge_part(u64::MAX, NOW);
    assert!((1000..4990).contains(&purged), "{purged} in one part");
    let rest = 4990 - purged;
    assert_eq!(bench.queue.purgeable(), rest);
    assert_eq!(bench.queue.purge_part(u64::MAX, NOW).0, rest);
    assert_eq!((bench.counts(), bench.queue.stats().resident), ((0, 0), 0));
}

/// Many queues with a small backlog each are as much as one with a large one.
#[test]
fn a_queue_without_consumers_keeps_next_to_nothing_when_memory_is_short() {
    for persistent in [true, false] {
        let bench = Bench::new(durable());
        let body = "x".repeat(100);
        let publish = || (0..100).for_each(|_| drop(bench.publish(&[&body], persistent)));
        publish();
        assert!(bench.queue.stats().resident > 20_000);
        // Somebody else's.
        bench.queue.context.memory.fetch_add(MEMORY_SHORT, Ordering::Relaxed);
        publish();
        let resident = bench.queue.stats().resident;
        assert!(resident < 2 * BUDGET_SHORT.bytes, "{resident} bytes in memory, persistent {persistent}");
        bench.subscribe(Consumer { no_ack: true, ..bench.consumer(1, 0) });
        let mut delivered = bench.dealt().len();
        while delivered < 200 {
            let effects = bench.queue.credit(ConsumerId(1), 10_000, NOW);
            bench.serve(effects);
            let dealt = bench.dealt().len();
            assert!(dealt > 0, "after {delivered} of 200, persistent {persistent}");
            delivered += dealt;
        }
        assert_eq!((delivered, bench.counts()), (200, (0, 0)));
    }
}

#[test]
fn portions_have_each_settled_message_once_and_no_more_than_the_most() {
    let settled = [held(1, 0, 5), held(2, 10, 1), held(1, 20, 4)].concat();
    let mut portions: Vec<Vec<(u64, u64)>> = Vec::new();
    let of = |part: &Settled| (part.range.first, part.range.end);
    in_portions(&settled, 4, |portion| portions.push(portion.iter().map(of).collect()));
    assert_eq!(portions, [vec![(0, 4)], vec![(4, 5), (10, 11), (20, 22)], vec![(22, 24)]]);
    let mut whole = 0;
    in_portions(&settled, 10, |portion| whole += usize::from(portion == settled));
    assert_eq!((whole, count_of(&settled)), (1, 10));
}

#[test]
fn nothing_younger_is_dispatched_while_messages_come_back_in_portions() {
    let bench = Bench::new(durable());
    let _ = bench.publish(&["0", "1", "2", "3"], true);
    bench.subscribe(bench.consumer(1, 0));
    assert_eq!(bench.dealt().len(), 4);
    let _ = bench.queue.leave(ConsumerId(1), NOW);
    bench.subscribe(bench.consumer(2, 0));
    let (other, mut mail) = (Mailbox::new(), Vec::new());
    {
        let _paused = bench.queue.pause();
        let _ = bench.queue.put_back(&held(1, 2, 2), Requeue::Failed, NOW);
        let _ = bench.publish(&["4"], true);
        let (got, _) = bench.queue.get(true, &other, NOW);
        assert!(matches!(got, Got::Paging), "{got:?}");
        let _ = bench.queue.put_back(&held(1, 0, 2), Requeue::Failed, NOW);
        assert_eq!((bench.dealt().len(), bench.counts().0), (0, 5));
        other.take(&mut mail);
        assert!(mail.is_empty(), "{mail:?}");
    }
    other.take(&mut mail);
    assert!(matches!(mail[..], [Mail::Retry]), "{mail:?}");
    let effects = bench.queue.dispatch_again(NOW);
    bench.serve(effects);
    assert_eq!(bench.dealt(), ["2:0!", "2:1!", "2:2!", "2:3!", "2:4"]);
}

/// Others wait for the lock meanwhile.
#[test]
fn a_call_writes_and_forgets_a_part_of_what_is_too_much() {
    const BLOCKS: usize = 10_000;
    let bench = Bench::new(durable());
    let publish = || drop(bench.publish(&["x"], false));
    (0..BLOCKS).for_each(|_| publish());
    bench.queue.context.memory.fetch_add(MEMORY_SHORT, Ordering::Relaxed);
    let (mut written, mut calls) = (0, 0);
    while bench.queue.stats().resident > 2 * BUDGET_SHORT.bytes {
        publish();
        let rows = bench.disk.kept().rows.len();
        assert!(rows - written <= PIECES_MAX, "{} in one call", rows - written);
        (written, calls) = (rows, calls + 1);
    }
    assert!((BLOCKS / PIECES_MAX..4 * BLOCKS / PIECES_MAX).contains(&calls), "{calls} calls");
}

#[test]
fn a_backlog_costs_disk_and_not_memory() {
    for persistent in [true, false] {
        let bench = Bench::new(durable());
        let body = "x".repeat(100_000);
        let mut most = 0;
        for _message in 0..400 {
            let _ = bench.publish(&[&body], persistent);
            most = most.max(bench.queue.stats().resident);
        }
        let budget = if persistent { BUDGET.bytes } else { BUDGET.transient_bytes };
        assert!(most < budget + 1024 * 1024, "{most} bytes in memory, persistent {persistent}");
        bench.subscribe(Consumer { no_ack: true, ..bench.consumer(1, 0) });
        let mut delivered = 0;
        while delivered < 400 {
            let dealt = bench.dealt().len();
            assert!(dealt > 0, "after {delivered} of 400, persistent {persistent}");
            delivered += dealt;
            let effects = bench.queue.credit(ConsumerId(1), dealt * 200_000, NOW);
            bench.serve(effects);
        }
        assert_eq!(bench.counts(), (0, 0));
        assert!(bench.disk.kept().rows.is_empty(), "everything left the disk too");
        assert_eq!(bench.queue.context.memory.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn nothing_is_forgotten_before_it_is_on_disk() {
    let bench = Bench::new(durable());
    bench.disk.lag(u64::MAX);
    let body = "x".repeat(100_000);
    for _message in 0..200 {
        let _ = bench.publish(&[&body], true);
    }
    assert!(bench.queue.stats().resident > 20_000_000);
}

pub(super) fn recovered(messages: Vec<SeqRange>, delivered_up_to: u64) -> RecoveredQueue {
    let record = QueueRecord {
        id: QueueId(1),
        vhost: "/".into(),
        name: "q".into(),
        auto_delete: false,
        arguments: Vec::new(),
    };
    let next = messages.last().map_or(0, |range| range.end);
    let lanes = vec![RecoveredLane { lane: 0, delivered_up_to, next }];
    let (requeues, stream) = (Vec::new(), None);
    RecoveredQueue { record, messages, bytes: 0, requeues, lanes, expires: false, stream }
}

#[test]
fn a_number_that_is_given_again_is_not_taken_for_delivered() {
    let disk = Arc::new(Disk::default());
    let queue = Queue::recover(&recovered(Vec::new(), 5), durable(), true, &context(&disk, &Arc::default()));
    let bench = Bench { disk, timers: Arc::default(), queue, mailbox: Mailbox::new() };
    bench.subscribe(bench.consumer(1, 0));
    let _ = bench.publish(&["a"], true);
    assert_eq!(bench.dealt(), ["1:a"]);
}

#[test]
fn a_recovered_queue_goes_on_where_it_was() {
    let row = |seq: u64| {
        let block = Block::of(&message(seq.to_string().as_bytes(), true));
        (seq, block.bytes().to_vec())
    };
    let rows: BTreeMap<u64, Vec<u8>> = [0, 1, 2, 5, 6, 7].map(row).into();
    let messages = vec![SeqRange { first: 0, end: 3 }, SeqRange { first: 5, end: 8 }];
    let recovered = RecoveredQueue {
        requeues: vec![RecoveredRequeue { seq: 1, deliveries: 4, due_ms: 0 }],
        ..recovered(messages, 6)
    };
    for (clean, expected) in [
        (true, ["1:0!", "1:1!", "1:2!", "1:5!", "1:6", "1:7"]),
        (false, ["1:0!", "1:1!", "1:2!", "1:5!", "1:6!", "1:7!"]),
    ] {
        let disk = Arc::new(Disk::holding(Rows { rows: rows.clone(), told: Vec::new() }));
        let queue = Queue::recover(&recovered, durable(), clean, &context(&disk, &Arc::default()));
        let bench = Bench { disk, timers: Arc::default(), queue, mailbox: Mailbox::new() };
        assert_eq!(bench.counts(), (6, 0));
        bench.subscribe(bench.consumer(1, 0));
        assert_eq!(bench.dealt(), expected, "clean {clean}");
    }
}

/// Moves what was dealt from `ready` to `out`, which the list expects to be the same.
fn take_dealt(bench: &Bench, ready: &mut BTreeMap<u64, u32>, out: &mut BTreeMap<u64, (u64, u32)>, at: &str) {
    let mut mail = Vec::new();
    bench.mailbox.take(&mut mail);
    for mail in mail {
        let Mail::Deliver(run) = mail else { continue };
        for (seq, index) in (run.first..).zip(run.range.clone()) {
            assert_eq!(run.block.message(index).body, seq.to_string().as_bytes(), "{at}");
            let failed = ready.remove(&seq).unwrap_or_else(|| panic!("{at}: {seq} is not ready"));
            assert_eq!(run.deliveries, failed, "{at}");
            out.insert(seq, (run.consumer.0, failed));
            let effects = bench.queue.credit(run.consumer, 1 << 20, NOW);
            bench.serve(effects);
        }
    }
}

/// One queue against a list: what is delivered, to whom, in which order, and what is left.
fn check_against_a_list(seed: u64) {
    let mut draw = Draw::new(seed);
    let mut next = |below: u64| draw.below(below);
    let bench = Bench::new(Settings { delivery_limit: Some(3), ..durable() });
    bench.subscribe(bench.consumer(1, 5));
    bench.subscribe(bench.consumer(2, 0));
    let mut ready: BTreeMap<u64, u32> = BTreeMap::new();
    let mut out: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
    let mut tail = 0;
    for step in 0..4_000 {
        match next(8) {
            0..=2 => {
                let bodies: Vec<String> = (0..=next(6)).map(|n| (tail + n).to_string()).collect();
                let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
                let effects = bench.publish(&bodies, next(2) == 0);
                bench.serve(effects);
                for _ in &bodies {
                    ready.insert(tail, 0);
                    tail += 1;
                }
            }
            3..=5 => {
                let Some((&seq, &(consumer, _))) =
                    out.iter().nth(usize::try_from(next(out.len().max(1) as u64)).unwrap())
                else {
                    continue;
                };
                out.remove(&seq);
                let effects = bench.queue.settle(&held(consumer, seq, 1), NOW);
                bench.serve(effects);
            }
            6 => {
                let Some((&seq, &(consumer, failed))) = out.iter().next() else { continue };
                out.remove(&seq);
                let effects = bench.queue.put_back(&held(consumer, seq, 1), Requeue::Failed, NOW);
                bench.serve(effects);
                if failed < 3 {
                    ready.insert(seq, failed + 1);
                }
            }
            _ => {
                let (ready_in_queue, _) = bench.counts();
                let (purged, effects) = bench.queue.purge_part(u64::MAX, NOW);
                bench.serve(effects);
                assert_eq!(purged, ready_in_queue);
            }
        }
        take_dealt(&bench, &mut ready, &mut out, &format!("seed {seed} step {step}"));
        // Consumer 2 has no limit: whatever was not purged has been dealt.
        ready.clear();
        assert_eq!(bench.counts(), (0, out.len() as u64), "seed {seed} step {step}");
    }
}

#[test]
fn agrees_with_a_list() {
    seeds(1).for_each(check_against_a_list);
}
