//! A disk that fails, and a disk that is full.

use super::model::{Model, Workload, found};
use super::{
    ALL, Told, block, bodies, comes_true, commit, declare, nobody, open_sim, open_with, publish, settle,
    wait_for, wait_until,
};
use crate::support::disk::SimDisk;
use crate::support::draw::seeds;
use leveret::ids::{QueueId, Ticket};
use leveret::policy::{PolicyChange, Rank};
use leveret::store::change::{Change, Health, Waiter};
use leveret::store::{Blocks, Opened, Options, StoreError, open_backend};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Every call fails once; what was durable is there for the next process, and nothing is confirmed
/// after the fault.
#[test]
fn nothing_is_confirmed_after_a_fault_at_any_call() {
    for (seed, journal_bytes) in seeds(1).flat_map(|seed| [(seed, 0), (seed, 10_192)]) {
        let options = Options { journal_bytes, ..Options::default() };
        let mut faults = 0;
        for call in 1.. {
            let disk = SimDisk::default().fail_at(call, io::ErrorKind::Other);
            let Ok(opened) = open_backend(disk.clone(), options.clone()) else { continue };
            let mut workload = Workload::new(seed);
            let mut states = vec![Model::default()];
            let mut durable = 0;
            for tried in 1..=12 {
                let (unit, state) = workload.step();
                states.push(state);
                let mut ticket = Ticket(0);
                let batch = opened.log.atomic_batch();
                for mut changes in unit {
                    ticket = opened.log.append(&mut changes);
                }
                drop(batch);
                let told: Arc<dyn Waiter> = Arc::new(Told::default());
                opened.log.notify(ticket, &told);
                wait_until("durable or failed", || {
                    opened.log.durable() >= ticket || opened.log.health() == Health::Failed
                });
                if opened.log.durable() < ticket {
                    break;
                }
                durable = tried;
            }
            if opened.log.health() != Health::Failed {
                break;
            }
            faults += 1;
            let case =
                format!("seed {seed}, journal {journal_bytes}, fault at call {call}, {durable} durable");
            let after = opened.log.append(&mut vec![declare(99)]);
            assert!(opened.log.durable() < after, "{case}");
            assert!(opened.log.close().is_err(), "{case}");
            drop(opened);
            let found = found(&open_sim(&SimDisk::holding(disk.image())));
            assert!(states[durable..].contains(&found), "{case}: {found:#?}");
        }
        // In the journal some units are a call or two, and others none.
        let least = if journal_bytes == 0 { 20 } else { 5 };
        assert!(faults > least, "seed {seed}, journal {journal_bytes}: only {faults} faults");
    }
}

#[test]
fn a_full_disk_keeps_what_is_pending_until_there_is_room() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1), publish(1, 0, &["first"])]);
    disk.set_capacity(Some(disk.bytes() + 100_000));
    let large = vec![b'x'; 100_000];
    let mut ticket = Ticket(0);
    for seq in 1..=10 {
        ticket = opened.log.append(&mut vec![publish(1, seq, &[&large])]);
    }
    let told: Arc<dyn Waiter> = Arc::new(Told::default());
    opened.log.notify(ticket, &told);
    wait_until("full", || opened.log.health() == Health::Full);
    assert!(opened.log.durable() < ticket && opened.log.pending_bytes() > 1_000_000);
    // What is consumed meanwhile need not be written any more.
    opened.log.append(&mut vec![settle(1, 2, 11)]);
    disk.set_capacity(None);
    wait_for(&opened.log, ticket);
    wait_until("good", || opened.log.health() == Health::Good);
    commit(&opened.log, [publish(1, 11, &["last"])]);
    assert_eq!(opened.log.pending_bytes(), 0);
    drop(opened);
    let opened = open_sim(&SimDisk::holding(disk.image()));
    let there: Vec<u64> = bodies(&opened, 1, ALL).into_keys().collect();
    assert_eq!(there.first_chunk(), Some(&[0, 1]));
    assert_eq!(there.last(), Some(&11));
    let lasting: u64 = opened.recovered.queues[0].messages.iter().map(|range| range.len()).sum();
    assert_eq!(lasting, 3);
}

/// The database has to be opened anew after a commit that failed, which a full disk may prevent as
/// well: what comes meanwhile waits like all the rest.
#[test]
fn what_comes_while_a_full_disk_cannot_be_opened_is_kept() {
    for journal_bytes in [0, 10_192] {
        let disk = SimDisk::default();
        let opened = open_with(&disk, journal_bytes);
        commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
        disk.set_failing(Some(io::ErrorKind::StorageFull));
        opened.log.append(&mut vec![publish(1, 1, &[vec![b'x'; 200_000]])]);
        wait_until("full", || opened.log.health() == Health::Full);
        let meanwhile = opened.log.append(&mut vec![publish(1, 2, &["c"])]);
        // Two groups later it was tried again, and failed again.
        let later = || opened.log.append(&mut vec![settle(1, 90, 91)]);
        wait_until("tried again", || later().0 >= meanwhile.0 + 2);
        assert!(opened.log.durable() < meanwhile);
        disk.set_failing(None);
        wait_for(&opened.log, later());
        let found = open_sim(&SimDisk::holding(disk.image()));
        let there: Vec<u64> = bodies(&found, 1, ALL).into_keys().collect();
        assert_eq!(there, [0, 1, 2], "journal {journal_bytes}");
    }
}

/// Whether a commit that failed is on disk is told by the number of its group, and one of spilled
/// records alone has none: it is written again, to the same effect.
#[test]
fn spilled_records_are_there_once_whichever_call_finds_the_disk_full() {
    let check = |journal_bytes, call| {
        let case = format!("journal {journal_bytes}, full at call {call}");
        let disk = SimDisk::default();
        let opened = open_with(&disk, journal_bytes);
        commit(&opened.log, [declare(1)]);
        let _same_disk = disk.clone().fail_at(disk.calls() + call, io::ErrorKind::StorageFull);
        let bodies_of = |len| [(vec![b'a'; len], false), (vec![b'b'; len], false), (vec![b'c'; len], false)];
        for (first, len) in [(0, 10), (3, 100_000), (6, 3000)] {
            let block = block(&bodies_of(len));
            let spill = Change::Spill { queue: QueueId(1), first, range: 0..3, block };
            let ticket = opened.log.append(&mut vec![spill]);
            opened.log.notify(ticket, &nobody());
            wait_until("tried", || opened.log.durable() >= ticket || opened.log.health() == Health::Full);
            let ticket = opened.log.append(&mut vec![settle(1, first, first + 1)]);
            wait_for(&opened.log, ticket);
        }
        let ticket = opened.log.append(&mut vec![settle(1, 4, 5), settle(1, 7, 9)]);
        wait_for(&opened.log, ticket);
        wait_until("stored", || opened.log.stored() >= ticket);
        let pages = opened.pages.load(QueueId(1), ALL, usize::MAX).unwrap();
        let ends = pages.iter().map(|page| (page.first, page.first + u64::from(page.block.len())));
        let ends: Vec<_> = ends.collect();
        assert!(ends.windows(2).all(|pages| pages[0].1 <= pages[1].0), "{case}: {ends:?}");
        let there: Vec<u64> =
            bodies(&opened, 1, ALL).into_keys().filter(|seq| [1, 2, 5].contains(seq)).collect();
        assert_eq!(there, [1, 2, 5], "{case}");
        assert_eq!(opened.log.pending_bytes(), 0, "{case}");
        commit(&opened.log, [settle(1, 0, 9)]);
        wait_until("gone", || opened.pages.load(QueueId(1), ALL, 1).unwrap().is_empty());
    };
    thread::scope(|scope| {
        for call in (0..40).step_by(2) {
            scope.spawn(move || check(0, call));
            scope.spawn(move || check(10_192, call + 1));
        }
    });
}

#[test]
fn a_store_that_stops_on_a_full_disk_says_so() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    disk.set_capacity(Some(disk.bytes()));
    opened.log.append(&mut vec![declare(1), publish(1, 0, &[vec![b'x'; 1_000_000]])]);
    let error = opened.log.close().unwrap_err();
    assert!(error.is_full(), "{error}");
    drop(opened);
    let opened = open_sim(&SimDisk::holding(disk.image()));
    assert!(!opened.recovered.clean && opened.recovered.queues.is_empty());
}

/// What is known of deliveries may be lost by a crash, too.
#[test]
fn a_stop_on_a_full_disk_by_which_nothing_is_lost_is_no_fault() {
    let stopped = |last: &[Change]| {
        let disk = SimDisk::default();
        let opened = open_sim(&disk);
        commit(&opened.log, [declare(1), publish(1, 0, &["a", "b"])]);
        disk.set_failing(Some(io::ErrorKind::StorageFull));
        opened.log.append(&mut last.to_vec());
        let closed = opened.log.close();
        drop(opened);
        let opened = open_sim(&SimDisk::holding(disk.image()));
        assert!(!opened.recovered.clean && opened.recovered.queues.len() == 1, "{last:?}");
        assert_eq!(bodies(&opened, 1, ALL).len(), 2, "{last:?}");
        closed.map_err(|error| error.is_full())
    };
    let (queue, seq) = (QueueId(1), 0);
    let delivered = Change::Delivered { queue, up_to: 1 };
    let requeued = Change::Requeue { queue, seq, deliveries: 1, due_ms: 0 };
    assert_eq!(stopped(&[]), Ok(()));
    assert_eq!(stopped(&[delivered.clone(), requeued]), Ok(()));
    for done in [settle(1, 0, 1), publish(1, 2, &["c"]), declare(2)] {
        assert_eq!(stopped(&[delivered.clone(), done]), Err(true));
    }
}

/// How full a disk may get is for the operator to say; the store itself waits only when it would
/// hardly be able to write.
#[test]
fn records_wait_for_room_and_what_is_consumed_does_not() {
    let free = Arc::new(AtomicU64::new(1_000_000_000));
    let asked = Arc::clone(&free);
    let options = Options {
        free_bytes: Some(Arc::new(move || asked.load(Ordering::Relaxed))),
        journal_bytes: 0,
        ..Options::default()
    };
    let opened = open_backend(SimDisk::default(), options).unwrap();
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    free.store(20_000_000, Ordering::Relaxed);
    commit(&opened.log, [publish(1, 1, &["b"])]);
    assert_eq!(opened.log.health(), Health::Good);
    // Full but for what a commit itself needs: records wait, but what is settled is still taken off
    // the disk.
    free.store(1_000_000, Ordering::Relaxed);
    commit(&opened.log, [settle(1, 0, 1)]);
    assert_eq!(opened.log.health(), Health::Full);
    let ticket = opened.log.append(&mut vec![publish(1, 2, &["c"])]);
    opened.log.notify(ticket, &nobody());
    wait_until("full", || opened.log.health() == Health::Full);
    assert!(opened.log.durable() < ticket && opened.log.pending_bytes() > 0);
    // Consumed, it needs no disk.
    let ticket = opened.log.append(&mut vec![settle(1, 2, 3)]);
    wait_for(&opened.log, ticket);
    assert_eq!((opened.log.health(), opened.log.pending_bytes()), (Health::Full, 0));
    free.store(1_000_000_000, Ordering::Relaxed);
    wait_until("good", || opened.log.health() == Health::Good);
    assert!(matches!(opened.log.close(), Ok(())), "and it stops in order");
    assert!(matches!(opened.pages.load(QueueId(1), ALL, 1), Err(StoreError::Stopped)));
}

/// Redb keeps what is consumed inside its file: it has to be given back, or publishers would wait
/// for ever.
#[test]
fn a_disk_that_was_full_has_room_once_its_messages_are_consumed() {
    const DISK: u64 = 24 << 20;
    let disk = SimDisk::default();
    let seen = disk.clone();
    let free = move || DISK.saturating_sub(seen.bytes() as u64);
    let options = Options { free_bytes: Some(Arc::new(free)), journal_bytes: 0, ..Options::default() };
    let opened = open_backend(disk.clone(), options).unwrap();
    commit(&opened.log, [declare(1)]);
    let published = (0..400).take_while(|&seq| {
        let ticket = opened.log.append(&mut vec![publish(1, seq, &[vec![7; 60_000]])]);
        opened.log.notify(ticket, &nobody());
        wait_until("durable or full", || {
            opened.log.durable() >= ticket || opened.log.health() == Health::Full
        });
        opened.log.health() == Health::Good
    });
    let published = published.count() as u64;
    assert_eq!(opened.log.health(), Health::Full, "{published} were taken");
    commit(&opened.log, [settle(1, 0, published + 1)]);
    wait_until("room", || opened.log.health() == Health::Good);
    assert!((disk.bytes() as u64) < 3 << 20, "{} bytes are left", disk.bytes());
}

/// What leaves keeps pace with what comes, however it is scattered: a file must not grow without an
/// end because nobody ever rests.
#[test]
fn a_file_does_not_grow_while_as_much_leaves_as_comes() {
    const RUNS: u64 = 100;
    let disk = SimDisk::default();
    let opened = open_with(&disk, 0);
    commit(&opened.log, [declare(1)]);
    let bodies = [[7; 20_000]; 3];
    // Each run has a row of its own: between two of them are numbers that were never there.
    let begins = |round: u64| (0..RUNS).map(move |run| (round * RUNS + run) * 10);
    for round in 0..40 {
        let come = begins(round).map(|first| publish(1, first, &bodies));
        let before = round.checked_sub(1).into_iter().flat_map(begins);
        let leave = before.map(|first| settle(1, first, first + 3));
        commit(&opened.log, come.chain(leave));
    }
    let (used, a_round) = (disk.bytes(), 100 * bodies.as_flattened().len());
    assert!(used < 6 * a_round, "{used} bytes of the disk, where no more than {} are used", 2 * a_round);
}

/// How much is kept in a file on a [`SimDisk`].
const RESERVE: usize = 8 << 20;

/// Options for a file on `disk` that keeps room for when that is full.
fn reserving(disk: &SimDisk) -> Options {
    let (reserve_bytes, blocks) = (Some(RESERVE as u64), Arc::new(disk.clone()));
    Options { reserve_bytes, blocks: Some(blocks), journal_bytes: JOURNAL, ..Options::default() }
}

/// A journal that takes some entries.
const JOURNAL: u64 = 1 << 20;

/// A disk of so many bytes with a reserve, which tells what of it is free; beside the store
/// somebody else may have some.
struct Shared {
    disk: SimDisk,
    opened: Opened,
    others: Arc<AtomicU64>,
}

impl Shared {
    const BYTES: u64 = 48 << 20;

    fn new() -> Self {
        let (disk, others) = (SimDisk::default(), Arc::<AtomicU64>::default());
        let (seen, taken) = (disk.clone(), Arc::clone(&others));
        let free = move || Self::BYTES.saturating_sub(seen.bytes() as u64 + taken.load(Ordering::Relaxed));
        let options = Options { free_bytes: Some(Arc::new(free)), journal_bytes: 0, ..reserving(&disk) };
        let opened = open_backend(disk.clone(), options).unwrap();
        let shared = Self { disk, opened, others };
        shared.others_have(0);
        commit(&shared.opened.log, [declare(1), declare(2)]);
        shared
    }

    /// Others have so many bytes, which nobody else can have.
    fn others_have(&self, bytes: u64) {
        self.others.store(bytes, Ordering::Relaxed);
        let ours = Self::BYTES - bytes;
        self.disk.set_capacity(Some(usize::try_from(ours).unwrap()));
    }

    /// Publishes to queue 1 until the disk is full, or so many; how many.
    fn publish(&self, most: u64) -> u64 {
        let published = (0..most).take_while(|&seq| {
            let ticket = self.opened.log.append(&mut vec![publish(1, seq, &[vec![7; 60_000]])]);
            self.opened.log.notify(ticket, &nobody());
            wait_until("durable or full", || {
                self.opened.log.durable() >= ticket || self.opened.log.health() == Health::Full
            });
            self.opened.log.health() == Health::Good
        });
        published.count() as u64
    }

    /// Publishes to queue 1 until the disk is full, and one to queue 2, which waits for room; how
    /// many, and for what it waits.
    fn publish_until_one_waits(&self) -> (u64, Ticket) {
        let (log, published) = (&self.opened.log, self.publish(u64::MAX));
        let waiting = log.append(&mut vec![publish(2, 0, &[vec![7; 60_000]])]);
        log.notify(waiting, &nobody());
        wait_until("held", || log.pending_bytes() >= 60_000);
        assert!(log.durable() < waiting, "{published} were taken");
        (published, waiting)
    }
}

/// A publisher that was told to wait has sent something by then: it must not keep what others
/// consume on the disk.
#[test]
fn what_is_consumed_makes_room_although_a_record_waits_for_it() {
    let shared = Shared::new();
    let log = &shared.opened.log;
    let (published, waiting) = shared.publish_until_one_waits();
    log.append(&mut vec![settle(1, 0, published + 1)]);
    wait_for(log, waiting);
    wait_until("room", || log.health() == Health::Good);
}

/// Whoever would consume what fills the disk declares its queues first, and waits for that: a
/// record that cannot be written must not keep it out.
#[test]
fn what_is_declared_does_not_wait_for_room_although_a_record_does() {
    let change = |metadata: bool| {
        let gone =
            PolicyChange::Delete { rank: Rank::User, vhost: "/".to_owned(), name: "limits".to_owned() };
        if metadata { Change::Policy(gone) } else { declare(3) }
    };
    for metadata in [false, true] {
        let shared = Shared::new();
        let log = &shared.opened.log;
        shared.publish_until_one_waits();
        let declared = log.append(&mut vec![change(metadata)]);
        wait_for(log, declared);
        assert_eq!(log.health(), Health::Full, "publishers still wait");
    }
}

/// What does not fit into all that is left of the disk must not keep from it what makes room: as if
/// copies of a dead letter had been made for many queues before the disk was found full.
#[test]
fn what_is_consumed_goes_ahead_of_what_does_not_fit() {
    let shared = Shared::new();
    let log = &shared.opened.log;
    commit(log, [declare(4), publish(4, 0, &["a", "b"])]);
    let published = shared.publish(u64::MAX);
    let copies = |queue| publish(queue, 0, &[vec![7; 18_000_000]]);
    let waiting = log.append(&mut vec![copies(2), settle(4, 0, 1)]);
    log.notify(waiting, &nobody());
    // In the same cut with it nothing goes ahead.
    wait_until("it waits", || log.append(&mut vec![settle(3, 0, 1)]) > waiting);
    let left = |queue: usize| {
        let image = SimDisk::holding(shared.disk.image());
        image.set_capacity(Some(image.bytes()));
        let found = open_backend(image.clone(), reserving(&image)).unwrap();
        let of_queue = found.recovered.queues.iter().find(|of| of.record.id == QueueId(queue as u64));
        of_queue.map(|of| of.messages.iter().map(|range| range.len()).sum::<u64>())
    };
    for half in [0..published / 2, published / 2..published - 10] {
        log.append(&mut vec![settle(1, half.start, half.end)]);
        wait_until("off the disk", || left(1) <= Some(published - half.end + 1));
        assert_eq!((left(4), left(2)), (Some(2), Some(0)), "what belongs together waits");
    }
    assert!(log.durable() < waiting);
    // A queue whose messages are on their way is not deleted before they are there.
    shared.others_have(16 << 20);
    log.append(&mut vec![Change::DeleteQueue(QueueId(4)), Change::DeleteQueue(QueueId(1))]);
    wait_until("deleted", || left(1).is_none());
    assert_eq!((left(4), left(2)), (Some(2), Some(0)));
    shared.others_have(0);
    wait_for(log, waiting);
    wait_until("deleted", || left(4).is_none());
    assert_eq!(left(2), Some(1));
}

/// What was consumed while there was room is in the file still when the disk gets full: it is given
/// back although a record waits.
#[test]
fn a_file_is_made_smaller_although_a_record_waits_for_room() {
    check_made_smaller(false);
}

/// Others go on publishing and consuming, and no moment passes without something new.
#[test]
fn a_file_is_made_smaller_although_something_happens_all_the_time() {
    check_made_smaller(true);
}

fn check_made_smaller(is_busy: bool) {
    let shared = Shared::new();
    let log = &shared.opened.log;
    let published = shared.publish(200);
    assert_eq!((published, log.health()), (200, Health::Good));
    commit(log, [settle(1, 0, published)]);
    let used = shared.disk.bytes() as u64;
    shared.others_have(Shared::BYTES - used);
    let waiting = log.append(&mut vec![publish(2, 0, &[vec![7; 3_000_000]])]);
    log.notify(waiting, &nobody());
    wait_until("full", || log.health() == Health::Full);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for seq in (1..).take_while(|_| is_busy && !done.load(Ordering::Relaxed)) {
                log.append(&mut vec![publish(2, seq, &["x"]), settle(2, seq, seq + 1)]);
                thread::park_timeout(Duration::from_millis(1));
            }
        });
        shared.others_have(Shared::BYTES - used - (1 << 20));
        let has_room = comes_true(|| log.durable() >= waiting && log.health() == Health::Good);
        done.store(true, Ordering::Relaxed);
        assert!(has_room, "publishers would wait for ever");
    });
}

/// There is room, and too little for it without the reserve: publishers would be let in and kept
/// out, and whoever acknowledges something with it would wait for ever.
#[test]
fn what_takes_something_away_is_written_from_the_reserve_though_there_is_some_room() {
    let shared = Shared::new();
    let log = &shared.opened.log;
    assert_eq!(shared.publish(20), 20);
    shared.others_have(Shared::BYTES - shared.disk.bytes() as u64 - (10 << 20));
    let ticket = log.append(&mut vec![publish(2, 0, &[vec![7; 6_000_000]]), settle(1, 0, 1)]);
    wait_for(log, ticket);
}

/// Half of what is on the disk is consumed, all over the file: to bring the rest together would
/// take room, of which there is none, nor any of the reserve.
#[test]
fn what_is_consumed_makes_room_where_it_is() {
    let disk = SimDisk::default();
    let options = |disk: &SimDisk| {
        let seen = disk.clone();
        let free = move || (seen.capacity().saturating_sub(seen.bytes())) as u64;
        Options { free_bytes: Some(Arc::new(free)), ..reserving(disk) }
    };
    disk.set_capacity(Some(64 << 20));
    let opened = open_backend(disk.clone(), options(&disk)).unwrap();
    commit(&opened.log, [declare(1), declare(2)]);
    let body = vec![7; 200_000];
    for seq in 0..100 {
        commit(&opened.log, [publish(1 + seq % 2, seq / 2, &[&body])]);
    }
    commit(&opened.log, [settle(1, 0, 50)]);
    drop(opened);
    let reserve = 4096 + JOURNAL..4096 + JOURNAL + RESERVE as u64;
    let disk = SimDisk::holding(disk.image());
    disk.punch(reserve).unwrap();
    disk.set_capacity(Some(disk.bytes()));
    let opened = open_backend(disk.clone(), options(&disk)).unwrap();
    wait_until("room", || opened.log.health() == Health::Good);
    assert_eq!(bodies(&opened, 2, ALL).len(), 50);
    let ticket = opened.log.append(&mut vec![publish(1, 50, &[&body])]);
    wait_for(&opened.log, ticket);
    opened.log.close().unwrap();
    let opened = open_backend(SimDisk::holding(disk.image()), Options::default()).unwrap();
    let counts = [1, 2].map(|queue| bodies(&opened, queue, ALL).len());
    assert_eq!(counts, [1, 50]);
}

/// What a process leaves that was killed with eight records in its journal alone.
fn killed() -> Vec<u8> {
    let disk = SimDisk::default();
    let opened = open_backend(disk.clone(), reserving(&disk)).unwrap();
    commit(&opened.log, [declare(1)]);
    let large = vec![7; 100_000];
    for seq in 0..8 {
        commit(&opened.log, [publish(1, seq, &[&large])]);
    }
    disk.image()
}

/// How many bytes the reserve of a file has that was made on `disk` as [`reserving`] says.
fn reserved(disk: &SimDisk) -> usize {
    let front = 4096 + usize::try_from(JOURNAL).unwrap();
    disk.bytes_in(front..front + RESERVE)
}

#[test]
fn a_start_on_a_full_disk_takes_what_it_needs_from_the_reserve() {
    let disk = SimDisk::holding(killed());
    disk.set_capacity(Some(disk.bytes()));
    let without = open_backend(disk, Options::default()).unwrap_err();
    assert!(without.is_full(), "{without}");

    let disk = SimDisk::holding(killed());
    disk.set_capacity(Some(disk.bytes()));
    let opened = open_backend(disk.clone(), reserving(&disk)).unwrap();
    assert_eq!(bodies(&opened, 1, ALL).len(), 8);
    let left = reserved(&disk);
    assert!(0 < left && left < RESERVE, "{left} are left");
    assert_eq!(opened.log.health(), Health::Full);
    // Publishers wait, and are not confirmed.
    let ticket = opened.log.append(&mut vec![publish(1, 100, &["late"])]);
    opened.log.notify(ticket, &nobody());
    // Consumers go on, and what they take is off the disk.
    let settled = opened.log.append(&mut vec![settle(1, 0, 2), settle(1, 100, 101)]);
    wait_for(&opened.log, settled);
    let after = open_sim(&SimDisk::holding(disk.image()));
    assert_eq!(bodies(&after, 1, ALL).into_keys().next(), Some(2));
    let ticket = opened.log.append(&mut vec![publish(1, 101, &["later"])]);
    opened.log.notify(ticket, &nobody());
    wait_until("held", || opened.log.pending_bytes() > 0);
    assert!(opened.log.durable() < ticket);
    // Room for the reserve is room for all.
    disk.set_capacity(None);
    wait_for(&opened.log, ticket);
    wait_until("good", || opened.log.health() == Health::Good);
    assert_eq!(reserved(&disk), RESERVE);
}

/// What is left of the reserve is told by the disk alone.
#[test]
fn one_start_after_another_on_a_full_disk_finds_what_the_last_one_left() {
    let disk = SimDisk::holding(killed());
    disk.set_capacity(Some(disk.bytes()));
    let mut left = RESERVE;
    for start in 0..6 {
        let opened = open_backend(disk.clone(), reserving(&disk))
            .unwrap_or_else(|why| panic!("start {start}, {left} bytes were left: {why}"));
        assert_eq!(opened.log.health(), Health::Full, "start {start}");
        let there: u64 = opened.recovered.queues[0].messages.iter().map(|range| range.len()).sum();
        assert_eq!(there, 8 - start, "start {start}");
        commit(&opened.log, [settle(1, start, start + 1)]);
        drop(opened);
        left = reserved(&disk);
        assert!(left < RESERVE, "start {start}");
    }
    assert!(left > RESERVE / 4, "{left} are left");
    disk.set_capacity(None);
    let opened = open_backend(disk.clone(), reserving(&disk)).unwrap();
    assert_eq!((opened.log.health(), reserved(&disk)), (Health::Good, RESERVE));
}

/// A backup may fill holes, or make some.
#[test]
fn a_reserve_without_blocks_is_filled_once_there_is_room() {
    let disk = SimDisk::holding(killed());
    let front = 4096 + JOURNAL;
    disk.punch(front..front + RESERVE as u64).unwrap();
    disk.set_capacity(Some(disk.bytes() + RESERVE));
    let opened = open_backend(disk.clone(), reserving(&disk)).unwrap();
    assert_eq!(bodies(&opened, 1, ALL).len(), 8);
    disk.set_capacity(None);
    wait_until("good", || opened.log.health() == Health::Good);
    assert_eq!(reserved(&disk), RESERVE);
}

/// Records that nobody was told of are no reason to touch what is kept for the others.
#[test]
fn new_records_take_nothing_from_the_reserve() {
    let disk = SimDisk::default();
    let options = Options { journal_bytes: 0, ..reserving(&disk) };
    let opened = open_backend(disk.clone(), options).unwrap();
    commit(&opened.log, [declare(1)]);
    disk.set_capacity(Some(disk.bytes()));
    let mut ticket = Ticket(0);
    for seq in 0..20 {
        ticket = opened.log.append(&mut vec![publish(1, seq, &[vec![7; 200_000]])]);
    }
    opened.log.notify(ticket, &nobody());
    wait_until("full", || opened.log.health() == Health::Full);
    assert!(opened.log.durable() < ticket);
    assert_eq!(disk.bytes_in(4096..4096 + RESERVE), RESERVE);
    // A declaration is no record.
    let ticket = opened.log.append(&mut vec![settle(1, 0, 20), declare(2)]);
    wait_for(&opened.log, ticket);
}

/// What the operator's clock says is written beside the commit thread, which goes on with the same
/// database.
#[test]
fn a_calendar_that_finds_the_disk_full_does_not_end_the_store() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    disk.set_failing(Some(io::ErrorKind::StorageFull));
    let kept = opened.log.keep_ahead(7).unwrap_err();
    assert!(kept.is_full(), "{kept}");
    disk.set_failing(None);
    commit(&opened.log, [publish(1, 1, &["b"])]);
    wait_until("good", || opened.log.health() == Health::Good);
    opened.log.keep_ahead(8).unwrap();
    let found = open_sim(&SimDisk::holding(disk.image()));
    assert_eq!((bodies(&found, 1, ALL).len(), found.recovered.ahead_ms), (2, 8));
}

#[test]
fn a_calendar_that_cannot_be_written_ends_the_store() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1)]);
    disk.set_failing(Some(io::ErrorKind::Other));
    opened.log.keep_ahead(7).unwrap_err();
    assert_eq!(opened.log.health(), Health::Failed);
    assert!(matches!(opened.log.close(), Err(StoreError::Io(_))));
}

/// What is appended in an atomic batch reaches the disk together, or not at all.
#[test]
fn a_panic_in_an_atomic_batch_ends_the_store_without_what_was_appended_there() {
    let disk = SimDisk::default();
    let opened = open_sim(&disk);
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    let log = Arc::clone(&opened.log);
    let panicked = thread::spawn(move || {
        let _batch = log.atomic_batch();
        log.append(&mut vec![settle(1, 0, 1)]);
        panic!("a fault made for the test");
    });
    assert!(panicked.join().is_err());
    assert_eq!(opened.log.health(), Health::Failed);
    assert!(opened.log.close().is_err());
    let found = open_sim(&SimDisk::holding(disk.image()));
    assert_eq!(bodies(&found, 1, ALL).len(), 1);
}
