//! What becomes of messages as rows: joined, partly settled, read back, gone.

use super::{
    ALL, block, bodies, commit, declare, open_sim, open_with, publish, settle, wait_for, wait_until,
};
use crate::support::disk::{Cut, SimDisk};
use leveret::ids::{QueueId, SeqRange, Ticket};
use leveret::store::Opened;
use leveret::store::change::{Change, RecoveredRequeue};
use redb::{Database, Key, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use std::collections::BTreeMap;

/// More bodies than are removed at a time, twice.
const MANY: u64 = 70;

/// How many rows a table has in the file, by its last commit.
fn rows(disk: &SimDisk, table: &str) -> u64 {
    rows_of(disk, TableDefinition::<(u64, u64), &[u8]>::new(table))
}

/// The same of the table of parts.
fn parts(disk: &SimDisk) -> u64 {
    rows_of(disk, TableDefinition::<(u64, u64, u32), &[u8]>::new("body_parts"))
}

fn rows_of<K: Key + 'static>(disk: &SimDisk, table: TableDefinition<'_, K, &'static [u8]>) -> u64 {
    // Behind the head of the file, which has the length of the journal, and that.
    let mut image = disk.image();
    let journal = usize::try_from(u64::from_be_bytes(image[24..32].try_into().unwrap())).unwrap();
    let database = image.split_off(4096 + journal);
    let database = Database::builder().create_with_backend(SimDisk::holding(database)).unwrap();
    let tx = database.begin_read().unwrap();
    tx.open_table(table).unwrap().len().unwrap()
}

#[test]
fn messages_published_one_at_a_time_cost_few_rows() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1)]);
    let body = |seq: u64| format!("message {seq}").into_bytes();
    for seq in 0..1000 {
        commit(&opened.log, [publish(1, seq, &[body(seq)])]);
    }
    commit(&opened.log, [settle(1, 0, 5), settle(1, 300, 301)]);
    let expected: BTreeMap<_, _> = (0..1000).map(|seq| (seq, body(seq))).collect();
    assert_eq!(bodies(&opened, 1, ALL), expected, "settled ones are still in their rows");
    opened.log.close().unwrap();
    assert!(rows(&disk, "segments") < 128 + 8, "{} rows", rows(&disk, "segments"));
    assert_eq!(rows(&disk, "bodies"), 7, "joined 128 at a time");

    let opened = open_sim(&SimDisk::holding(disk.image()));
    let queue = &opened.recovered.queues[0];
    let there = [(5, 300), (301, 1000)].map(|(first, end)| SeqRange { first, end });
    assert_eq!((queue.messages.as_slice(), queue.lanes[0].next), (there.as_slice(), 1000));
}

#[test]
fn settled_rows_leave_the_file() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1)]);
    let large = vec![b'x'; 1000];
    for first in (0..100).step_by(10) {
        commit(&opened.log, [publish(1, first, &[&large; 10])]);
    }
    let returned = |seq| Change::Requeue { queue: QueueId(1), seq, deliveries: 3, due_ms: 0 };
    commit(&opened.log, [returned(12), returned(95)]);
    // A row in part, rows as a whole, rows across the edges, numbers that never were.
    commit(&opened.log, [settle(1, 3, 5)]);
    commit(&opened.log, [settle(1, 10, 20), settle(1, 0, 3)]);
    commit(&opened.log, [settle(1, 5, 94), settle(1, 98, 200)]);
    let left: Vec<u64> = bodies(&opened, 1, ALL).into_keys().collect();
    assert_eq!(left, (90..100).collect::<Vec<_>>(), "one row is left");
    opened.log.close().unwrap();
    assert_eq!((rows(&disk, "segments"), rows(&disk, "bodies"), rows(&disk, "returns")), (1, 1, 1));

    let disk = SimDisk::holding(disk.image());
    let opened = open_sim(&disk);
    let queue = &opened.recovered.queues[0];
    assert_eq!(queue.messages, [SeqRange { first: 94, end: 98 }]);
    assert_eq!(queue.requeues, [RecoveredRequeue { seq: 95, deliveries: 3, due_ms: 0 }]);
    commit(&opened.log, [settle(1, 94, 98)]);
    opened.log.close().unwrap();
    assert_eq!((rows(&disk, "segments"), rows(&disk, "bodies"), rows(&disk, "returns")), (0, 0, 0));
}

/// Many large messages of queue 1, each in a row of its own, and one of queue 2.
fn many_bodies(opened: &Opened) {
    let large = vec![b'x'; 17_000];
    commit(&opened.log, [declare(1), declare(2)]);
    for seq in 0..MANY {
        commit(&opened.log, [publish(1, seq, &[&large])]);
    }
    commit(&opened.log, [publish(2, 0, &[&large])]);
}

#[test]
fn a_queue_of_many_bodies_is_emptied_and_deleted_a_few_bodies_at_a_time() {
    let removals = [settle(1, 0, MANY), Change::DeleteQueue(QueueId(1))];
    for removal in removals {
        let disk = SimDisk::default();
        let opened = open_sim(&disk);
        many_bodies(&opened);
        let case = format!("{removal:?}");
        commit(&opened.log, [removal]);
        opened.log.close().unwrap();
        assert_eq!(rows(&disk, "segments"), 1, "{case}: messages leave at once");
        assert!(rows(&disk, "bodies") > 1, "{case}: their records in the long run");
        assert!(rows(&disk, "removed_bodies") > 1, "{case}: which is on disk");

        let disk = SimDisk::holding(disk.image());
        let opened = open_sim(&disk);
        let there = |id: u64| opened.recovered.queues.iter().find(|queue| queue.record.id == QueueId(id));
        let mut left = 1;
        if let Some(queue) = there(1) {
            assert!(queue.messages.is_empty(), "{case}");
            // What is published next may not be taken for what is removed.
            let next = queue.lanes.first().map_or(0, |lane| lane.next);
            // No two fit into a row.
            let large = vec![b'y'; 140_000];
            commit(&opened.log, (next..next + MANY).map(|seq| publish(1, seq, &[&large])));
            left += MANY;
        }
        wait_until("removed", || rows(&disk, "removed_bodies") == 0);
        assert_eq!(bodies(&opened, 1, ALL).len() as u64 + 1, left, "{case}");
        assert_eq!(bodies(&opened, 2, ALL).len(), 1, "{case}");
        opened.log.close().unwrap();
        assert_eq!((rows(&disk, "segments"), rows(&disk, "bodies")), (left, left), "{case}");
    }
}

#[test]
fn spilled_bodies_are_removed_a_few_at_a_time_too() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    // No two fit into a row.
    let large = vec![b'x'; 140_000];
    let spill = |seq| {
        let block = block(&[(&large, false)]);
        Change::Spill { queue: QueueId(1), first: seq, range: 0..1, block }
    };
    let store = |changes: Vec<Change>| {
        let ticket = opened.log.append(&mut { changes });
        wait_for(&opened.log, ticket);
        wait_until("stored", || opened.log.stored() >= ticket);
    };
    store((0..MANY).map(spill).collect());
    assert_eq!(rows(&disk, "local_bodies"), MANY);
    store(vec![settle(1, 0, MANY), spill(MANY)]);
    wait_until("removed", || rows(&disk, "local_bodies") == 1);
    assert_eq!(bodies(&opened, 1, ALL).into_keys().collect::<Vec<_>>(), [MANY]);
    let long = vec![b'y'; LONG];
    let spill = Change::Spill { queue: QueueId(2), first: 0, range: 0..1, block: block(&[(&long, false)]) };
    store(vec![spill]);
    assert_eq!(bodies(&opened, 2, ALL).into_values().collect::<Vec<_>>(), [long]);
    store(vec![settle(2, 0, 1)]);
    assert!(bodies(&opened, 2, ALL).is_empty());
}

#[test]
fn what_is_still_to_be_removed_survives_a_power_cut_at_every_call() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    many_bodies(&opened);
    drop(opened);
    let disk = SimDisk::holding(disk.image()).cut_everywhere(7);
    let opened = open_sim(&disk);
    disk.set_progress(0, 1);
    commit(&opened.log, [settle(1, 0, MANY)]);
    disk.set_progress(1, 1);
    wait_until("removed", || rows(&disk, "removed_bodies") == 0);
    drop(opened);
    let cuts: Vec<Cut> = disk.take_cuts().into_iter().filter(|cut| cut.progress.1 > 0).collect();
    assert!(cuts.len() > 20, "only {} cuts", cuts.len());
    for Cut { call, image, progress: (durable, _) } in cuts {
        let disk = SimDisk::holding(image);
        let opened = open_sim(&disk);
        let left: u64 = opened.recovered.queues[0].messages.iter().map(|range| range.len()).sum();
        assert!(left == 0 || (durable == 0 && left == MANY), "cut at call {call}: {left} are left");
        assert_eq!(bodies(&opened, 1, ALL).len() as u64, left, "cut at call {call}");
        assert_eq!(bodies(&opened, 2, ALL).len(), 1, "cut at call {call}");
        wait_until("removed", || rows(&disk, "removed_bodies") == 0);
        opened.log.close().unwrap();
        assert_eq!(rows(&disk, "bodies"), left + 1, "cut at call {call}");
    }
}

/// Bytes of a message that is cut into parts of 254 KiB: into 13.
const LONG: usize = 13 * 254 * 1024 - 100;

/// Redb copies the neighbour of a new row, and makes pages of powers of two: in one row each, these
/// were written 2.8 times.
#[test]
fn a_long_message_is_written_twice_at_most() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    let long = vec![b'x'; LONG];
    commit(&opened.log, (1..=8).map(declare));
    let before = disk.written();
    for queue in 1..=8 {
        commit(&opened.log, [publish(queue, 0, &[&long])]);
    }
    let written = disk.written() - before;
    assert!(written < 2 * 8 * LONG as u64, "{written} bytes for {}", 8 * LONG);
    assert_eq!((rows(&disk, "bodies"), parts(&disk)), (0, 8 * 13));
}

/// So many parts that they are more than are removed at once, twice.
#[test]
fn long_messages_leave_a_few_parts_at_a_time() {
    for removal in [settle(1, 0, 12), Change::DeleteQueue(QueueId(1))] {
        let disk = SimDisk::default();
        let opened = open_sim(&disk);
        let (long, case) = (vec![b'x'; LONG], format!("{removal:?}"));
        commit(&opened.log, [declare(1), declare(2)]);
        commit(&opened.log, [publish(2, 0, &[&long])]);
        for seq in 0..12 {
            commit(&opened.log, [publish(1, seq, &[&long])]);
        }
        commit(&opened.log, [removal]);
        opened.log.close().unwrap();
        assert_eq!(rows(&disk, "segments"), 1, "{case}: messages leave at once");
        assert!(parts(&disk) > 13, "{case}: their records in the long run");

        let disk = SimDisk::holding(disk.image());
        let opened = open_sim(&disk);
        wait_until("all are removed", || parts(&disk) == 13);
        assert_eq!(bodies(&opened, 2, ALL).into_values().collect::<Vec<_>>(), [long], "{case}");
        opened.log.close().unwrap();
        assert_eq!(rows(&disk, "removed_bodies"), 0, "{case}");
    }
}

/// One that is alone goes at once.
#[test]
fn long_messages_survive_a_power_cut_at_every_call() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    let long = |seq: u64| vec![b'a' + u8::try_from(seq).unwrap(); LONG / 4];
    commit(&opened.log, [declare(1), publish(1, 0, &[long(0)])]);
    drop(opened);
    let disk = SimDisk::holding(disk.image()).cut_everywhere(7);
    let opened = open_sim(&disk);
    let steps = [vec![publish(1, 1, &[long(1)])], vec![settle(1, 0, 1)], vec![publish(1, 2, &[long(2)])]];
    let expected = [vec![0], vec![0, 1], vec![1], vec![1, 2]];
    for (step, changes) in steps.into_iter().enumerate() {
        disk.set_progress(step, step + 1);
        commit(&opened.log, changes);
        disk.set_progress(step + 1, step + 1);
    }
    drop(opened);
    for Cut { call, image, progress: (durable, tried) } in disk.take_cuts() {
        let disk = SimDisk::holding(image);
        let opened = open_sim(&disk);
        let there: Vec<u64> =
            opened.recovered.queues[0].messages.iter().flat_map(|range| range.first..range.end).collect();
        assert!(expected[durable..=tried].contains(&there), "cut at call {call}: {there:?}");
        let read = bodies(&opened, 1, ALL);
        assert!(read == there.iter().map(|&seq| (seq, long(seq))).collect(), "cut at call {call}");
        opened.log.close().unwrap();
        assert_eq!(parts(&disk), 4 * there.len() as u64, "cut at call {call}");
    }
}

#[test]
fn what_is_consumed_at_once_never_touches_the_disk() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1)]);
    // One unit, so that the group cannot be cut between them.
    let before = disk.calls();
    let ticket = opened.log.append(&mut vec![publish(1, 0, &["a", "b", "c"]), settle(1, 0, 3)]);
    wait_for(&opened.log, ticket);
    assert_eq!(disk.calls(), before);
    assert_eq!(opened.log.pending_bytes(), 0);
    let ticket = opened.log.append(&mut Vec::new());
    assert!(ticket <= opened.log.durable(), "nothing to wait for");
    wait_for(&opened.log, Ticket(0));
}

#[test]
fn transient_messages_can_be_read_until_the_end_and_not_after() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    let records = [("a", true), ("b", false), ("c", true), ("d", false)];
    let mixed = block(&records);
    let spill =
        |queue, range| Change::Publish { queue: QueueId(queue), first: 10, block: mixed.clone(), range };
    commit(&opened.log, [declare(1), spill(1, 0..4), declare(2), spill(2, 1..2), spill(3, 0..4)]);
    commit(&opened.log, [settle(1, 10, 11), settle(1, 12, 13)]);
    assert_eq!(bodies(&opened, 1, SeqRange { first: 11, end: 12 })[&11], b"b");
    assert_eq!(bodies(&opened, 2, ALL)[&10], b"b");
    assert_eq!(bodies(&opened, 3, ALL).len(), 4);
    commit(&opened.log, [publish(1, 14, &["e"]), spill(4, 0..4)]);
    opened.log.close().unwrap();
    let again = open_sim(&disk_of(&disk));
    assert_eq!(again.recovered.queues.len(), 2);
    assert_eq!(again.recovered.queues[0].messages, [SeqRange::of(14, 1)]);
    assert!(again.recovered.queues[1].messages.is_empty());
    assert_eq!(bodies(&again, 1, ALL).into_keys().collect::<Vec<_>>(), [14]);
    assert!(bodies(&again, 2, ALL).is_empty() && bodies(&again, 3, ALL).is_empty());
}

#[test]
fn spilled_messages_are_read_back_in_their_order_and_only_until_the_next_start() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, 100_000);
    let spill = |queue, first, body: &str| {
        let block = block(&[(body, false), (body, false)]);
        Change::Spill { queue: QueueId(queue), first, range: 0..2, block }
    };
    let read = |queue| bodies(&opened, queue, ALL).into_keys().collect::<Vec<_>>();
    commit(
        &opened.log,
        [declare(1), publish(1, 0, &["a"]), spill(1, 1, "spilled one"), publish(1, 3, &["b"])],
    );
    commit(&opened.log, [spill(1, 4, "spilled two"), spill(2, 7, "spilled three"), settle(2, 8, 9)]);
    let ticket = opened.log.append(&mut vec![spill(3, 0, "spilled four")]);
    wait_for(&opened.log, ticket);
    let is_on_disk = |what: &[u8]| disk.image().windows(what.len()).any(|bytes| bytes == what);
    assert!(!is_on_disk(b"spilled"), "the journal has none of it");
    wait_until("stored", || opened.log.stored() >= ticket);
    assert!(is_on_disk(b"spilled one") && is_on_disk(b"spilled four"));
    assert_eq!((read(1), read(2), read(3)), (vec![0, 1, 2, 3, 4, 5], vec![7], vec![0, 1]));
    assert_eq!(opened.pages.load(QueueId(1), SeqRange { first: 2, end: 4 }, 1).unwrap()[0].first, 1);
    let delete = Change::DeleteQueue(QueueId(3));
    let ticket = opened.log.append(&mut vec![settle(1, 0, 2), settle(1, 5, 6), settle(2, 7, 9), delete]);
    wait_for(&opened.log, ticket);
    wait_until("stored", || opened.log.stored() >= ticket);
    // A row is there as long as one of its messages is.
    assert_eq!((read(1), read(2), read(3)), (vec![1, 2, 3, 4, 5], vec![], vec![]));
    assert_eq!(opened.log.pending_bytes(), 0);
    opened.log.close().unwrap();
    let disk = disk_of(&disk);
    let again = open_with(&disk, 100_000);
    assert_eq!(again.recovered.queues[0].messages, [SeqRange::of(3, 1)]);
    assert_eq!(bodies(&again, 1, ALL).into_keys().collect::<Vec<_>>(), [3]);
    drop(again);
    assert_eq!((rows(&disk, "segments"), rows(&disk, "local_segments")), (1, 0));
}

fn disk_of(disk: &SimDisk) -> SimDisk {
    SimDisk::holding(disk.image())
}

#[test]
fn a_row_of_persistent_and_transient_messages_goes_with_the_last_persistent_one() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    let mixed = block(&[("a", true), ("b", false), ("c", true)]);
    commit(
        &opened.log,
        [declare(1), Change::Publish { queue: QueueId(1), first: 0, block: mixed, range: 0..3 }],
    );
    drop(opened);
    let disk = disk_of(&disk);
    let opened = open_sim(&disk);
    commit(&opened.log, [settle(1, 0, 1), settle(1, 2, 3)]);
    opened.log.close().unwrap();
    assert_eq!(rows(&disk, "segments"), 0);
}

#[test]
fn records_of_every_size_come_back() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    let sizes = [0, 1, 2000, 2048, 5000, 70_000, 100_000, 200_000, 254 * 1024, 600_000, 3];
    let body = |seq: usize, len: usize| vec![u8::try_from(seq).unwrap(); len];
    let numbered = || (0u64..).zip(sizes.iter().enumerate().map(|(seq, &len)| body(seq, len)));
    // All in one group: they are packed into rows, and none is split.
    commit(&opened.log, numbered().map(|(seq, body)| publish(1, seq, &[body])));
    let all: BTreeMap<u64, Vec<u8>> = numbered().collect();
    assert_eq!(bodies(&opened, 1, ALL), all);
    let pages = opened.pages.load(QueueId(1), SeqRange { first: 8, end: 10 }, 1).unwrap();
    assert_eq!(pages.iter().map(|page| page.first).collect::<Vec<_>>(), [8]);
    assert!(opened.pages.load(QueueId(1), SeqRange { first: 11, end: 50 }, 1).unwrap().is_empty());
    assert!(opened.pages.load(QueueId(9), ALL, 1).unwrap().is_empty());
}

#[test]
fn the_marks_of_a_clean_stop_hold_for_one_start() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(7), publish(7, 0, &["a", "b"])]);
    opened.log.append(&mut vec![Change::Delivered { queue: QueueId(7), up_to: 1 }]);
    opened.log.close().unwrap();
    let disk = disk_of(&disk);
    let opened = open_sim(&disk);
    let queue = &opened.recovered.queues[0];
    assert_eq!(
        (opened.recovered.clean, queue.lanes[0].delivered_up_to, opened.recovered.next_queue),
        (true, 1, 8)
    );
    commit(&opened.log, [Change::DeleteQueue(QueueId(7))]);
    drop(opened);
    let opened = open_sim(&disk_of(&disk));
    assert!(!opened.recovered.clean && opened.recovered.queues.is_empty());
    assert_eq!(opened.recovered.next_queue, 8, "the id of a queue that is gone is not used again");
}
