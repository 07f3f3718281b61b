//! Groups that are in the journal and not yet in the tables.

use super::{ALL, block, bodies, commit, declare, nobody, open_with, publish, settle, wait_until};
use crate::support::disk::SimDisk;
use leveret::ids::{QueueId, SeqRange};
use leveret::store::change::{Change, Health, RecoveredRequeue};
use leveret::store::{Opened, Options, open_backend};
use std::collections::BTreeMap;
use std::sync::Arc;

/// With the two pages of its slots.
const JOURNAL: u64 = 28_192;

/// What the next process finds when this one is gone without a word.
fn killed(disk: &SimDisk) -> Opened {
    open_with(&SimDisk::holding(disk.image()), 0)
}

fn numbers(opened: &Opened) -> Vec<u64> {
    bodies(opened, 1, ALL).into_keys().collect()
}

#[test]
fn a_small_group_costs_one_write_and_one_sync() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, JOURNAL);
    commit(&opened.log, [declare(1)]);
    let before = disk.calls();
    commit(&opened.log, [publish(1, 0, &["a"]), publish(1, 1, &["b"])]);
    assert_eq!(disk.calls(), before + 2);
    assert!(numbers(&opened).is_empty(), "not in the tables");
    assert!(opened.log.stored() < opened.log.durable());
    let found = killed(&disk);
    assert_eq!(found.recovered.queues[0].messages, [SeqRange::of(0, 2)]);
    assert_eq!(numbers(&found), [0, 1]);
}

#[test]
fn what_is_durable_can_be_read_once_it_is_stored() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, JOURNAL);
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    // Nothing more happens, so the journal is emptied.
    wait_until("stored", || opened.log.stored() == opened.log.durable());
    assert_eq!(numbers(&opened), [0]);
    commit(&opened.log, [publish(1, 1, &["b"])]);
    // A large group does not go through the journal, and comes after what is there.
    commit(&opened.log, [publish(1, 2, &[vec![b'x'; 200_000]])]);
    wait_until("stored", || opened.log.stored() == opened.log.durable());
    assert_eq!(numbers(&opened), [0, 1, 2]);
    assert_eq!(numbers(&killed(&disk)), [0, 1, 2]);
}

/// The journal is written from the front again and again, and what it said before is not believed.
#[test]
fn a_full_journal_goes_into_the_tables() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, JOURNAL);
    commit(&opened.log, [declare(1)]);
    let mut expected = BTreeMap::new();
    for seq in 0..300 {
        let body = vec![b'x'; 300 + usize::try_from(seq).unwrap() % 7];
        commit(&opened.log, [publish(1, seq, &[&body])]);
        expected.insert(seq, body);
        if seq % 3 == 2 {
            commit(&opened.log, [settle(1, seq - 1, seq)]);
            expected.remove(&(seq - 1));
        }
        if seq % 50 == 0 {
            let found = killed(&disk);
            let mut there = bodies(&found, 1, ALL);
            there.retain(|&seq, _| {
                found.recovered.queues[0].messages.iter().any(|range| range.first <= seq && seq < range.end)
            });
            assert!(there == expected, "after {seq}: {:?}", there.keys());
        }
    }
    assert!(opened.log.stored().0 > 200, "most are in the tables");
}

#[test]
fn what_is_consumed_before_it_is_stored_stays_gone() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, JOURNAL);
    commit(&opened.log, [declare(1), declare(2)]);
    commit(&opened.log, [publish(1, 0, &["a", "b", "c"]), publish(2, 0, &["d"])]);
    commit(&opened.log, [Change::Requeue { queue: QueueId(1), seq: 0, deliveries: 2, due_ms: 7 }]);
    commit(
        &opened.log,
        [settle(1, 1, 2), Change::Requeue { queue: QueueId(1), seq: 2, deliveries: 1, due_ms: 0 }],
    );
    commit(&opened.log, [settle(1, 2, 3), Change::DeleteQueue(QueueId(2))]);
    let check = |found: &Opened| {
        let [queue] = found.recovered.queues.as_slice() else { panic!("one queue is left") };
        assert_eq!(
            (queue.messages.as_slice(), queue.requeues.as_slice()),
            (&[SeqRange::of(0, 1)][..], &[RecoveredRequeue { seq: 0, deliveries: 2, due_ms: 7 }][..])
        );
        assert_eq!(found.recovered.next_queue, 3);
    };
    check(&killed(&disk));
    opened.log.close().unwrap();
    check(&killed(&disk));
}

/// The journal has its room already: a full disk does not keep small groups from being confirmed,
/// until it is full too.
#[test]
fn a_full_disk_fills_the_journal_first() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, JOURNAL);
    commit(&opened.log, [declare(1)]);
    wait_until("stored", || opened.log.stored() == opened.log.durable());
    disk.set_capacity(Some(disk.bytes()));
    let body = [b'x'; 1000];
    for seq in 0..15 {
        commit(&opened.log, [publish(1, seq, &[body])]);
    }
    assert_eq!(numbers(&killed(&disk)).len(), 15);
    // Redb has some room of its own; some day it is used up.
    let mut last = opened.log.durable();
    for seq in 15..20_000 {
        last = opened.log.append(&mut vec![publish(1, seq, &[body])]);
        if opened.log.health() == Health::Full {
            break;
        }
    }
    wait_until("full", || opened.log.health() == Health::Full);
    disk.set_capacity(None);
    wait_until("good", || opened.log.health() == Health::Good && opened.log.durable() >= last);
    assert!(numbers(&killed(&disk)).len() > 15);
}

#[test]
fn little_room_is_noticed_although_the_journal_has_its_own() {
    let options = Options { free_bytes: Some(Arc::new(|| 2_000_000)), ..Options::default() };
    let opened = open_backend(SimDisk::default(), options).unwrap();
    commit(&opened.log, [declare(1)]);
    let ticket = opened.log.append(&mut vec![publish(1, 0, &["a"])]);
    opened.log.notify(ticket, &nobody());
    wait_until("full", || opened.log.health() == Health::Full);
    assert!(opened.log.durable() < ticket);
}

/// Consumers that keep pace leave a few records of each block. The blocks are not kept for the sake
/// of these until the journal is put into the tables.
#[test]
fn what_waits_in_the_journal_does_not_keep_what_was_consumed() {
    let disk = SimDisk::default();
    let opened = open_with(&disk, 1 << 20);
    commit(&opened.log, [declare(1)]);
    let bodies: Vec<_> = (0..100).map(|number| (format!("body {number}"), true)).collect();
    let block = block(&bodies);
    let whole = Arc::downgrade(&block);
    let publish = Change::Publish { queue: QueueId(1), first: 0, range: 0..block.len(), block };
    commit(&opened.log, [publish, settle(1, 0, 60), settle(1, 61, 99)]);
    assert!(whole.upgrade().is_none(), "two records keep a hundred");
    assert_eq!(numbers(&killed(&disk)), [60, 99]);
    opened.log.close().unwrap();
    drop(opened);
    let found = super::bodies(&open_with(&disk, 0), 1, ALL);
    assert_eq!(found.into_values().collect::<Vec<_>>(), [b"body 60".to_vec(), b"body 99".to_vec()]);
}
