//! A start on tables that hold any rows: the store says what is wrong with them, or works with what
//! it found.

use super::samples;
use crate::support::disk::SimDisk;
use leveret::ids::{SeqRange, lane_of};
use leveret::message::{Block, Message};
use leveret::store::change::{Change, RecoveredLane, RecoveredQueue};
use leveret::store::{Opened, Options, StoreError, open_backend};
use redb::{Database, TableDefinition};
use std::sync::{Arc, OnceLock};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("leveret");
const SEGMENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("segments");
const BODIES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("bodies");
const RETURNS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("returns");
const DELIVERED: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("delivered");
const QUEUES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("queues");
const EXCHANGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("exchanges");
const BINDINGS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bindings");
const USERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("users");
const PERMISSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("permissions");
const TOPICS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("topic_permissions");
const VHOSTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("vhosts");
const POLICIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("policies");
const SEEN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("seen");

/// The head of a data file, before what is redb's when there is no journal.
const HEAD: usize = 4096;

/// A data file that nothing was put into, as a crash leaves it.
pub(crate) fn empty(journal_bytes: u64) -> Vec<u8> {
    let disk = SimDisk::default();
    drop(open(&disk, journal_bytes).expect("an empty disk is filled"));
    disk.image()
}

fn open(disk: &SimDisk, journal_bytes: u64) -> Result<Opened, StoreError> {
    open_backend(disk.clone(), Options { journal_bytes, cache_bytes: 1 << 20, ..Options::default() })
}

/// Reads `data` as rows, one after the other: see [`row`].
pub fn check(data: &[u8]) {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    let mut image = EMPTY.get_or_init(|| empty(0)).clone();
    let disk = SimDisk::holding(image.split_off(HEAD));
    let database = Database::builder().create_with_backend(disk.clone()).expect("it is redb's");
    let tx = database.begin_write().expect("nobody else writes");
    let mut input = Input(data);
    while put(&tx, &mut input).is_some() {}
    tx.commit().expect("the disk has room");
    drop(database);
    image.extend(disk.image());
    // The counts of rows are not those that were written last: a repair takes the rows as they are.
    let disk = SimDisk::holding(image);
    let options = Options { journal_bytes: 0, cache_bytes: 1 << 20, repair: true, ..Options::default() };
    match open_backend(disk.clone(), options) {
        Ok(mended) => mended.log.close().expect("nothing is to be written"),
        Err(StoreError::Damaged(why)) => return assert!(!why.is_empty(), "a fault has a reason"),
        Err(other) => panic!("the file is ours, and the disk works: {other}"),
    }
    start(disk.image());
}

/// Puts the next row of `input` into its table, with the checksum that it has there.
fn put(tx: &redb::WriteTransaction, input: &mut Input<'_>) -> Option<()> {
    let table = "the tables are there";
    match input.array::<1>()?[0] % 14 {
        0 => sealed(tx, QUEUES, input.number()?, input.text()?),
        1 => tx.open_table(SEGMENTS).expect(table).insert(input.key()?, input.text()?).map(drop),
        2 => tx.open_table(BODIES).expect(table).insert(input.key()?, input.text()?).map(drop),
        3 => sealed(tx, RETURNS, input.key()?, &input.array::<12>()?),
        4 => sealed(tx, DELIVERED, input.key()?, &input.array::<8>()?),
        5 => sealed(tx, EXCHANGES, input.text()?, input.text()?),
        6 => sealed(tx, BINDINGS, input.text()?, &[]),
        7 => sealed(tx, SEEN, input.text()?, input.text()?),
        9 => sealed(tx, USERS, input.text()?, input.text()?),
        10 => sealed(tx, PERMISSIONS, input.text()?, input.text()?),
        13 => sealed(tx, POLICIES, input.text()?, input.text()?),
        11 => sealed(tx, TOPICS, input.text()?, input.text()?),
        12 => sealed(tx, VHOSTS, input.text()?, input.text()?),
        _ => {
            let key = ["next_queue", "clean", "journal"][usize::from(input.array::<1>()?[0]) % 3];
            tx.open_table(META).expect(table).insert(key, input.number()?).map(drop)
        }
    }
    .expect("the disk has room");
    Some(())
}

/// Puts a row into a table whose rows have checksums.
fn sealed<'k, K: redb::Key + 'static>(
    tx: &redb::WriteTransaction,
    table: TableDefinition<'_, K, &'static [u8]>,
    key: K::SelfType<'k>,
    value: &[u8],
) -> Result<(), redb::StorageError> {
    let name = redb::TableHandle::name(&table).to_owned();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    {
        let bytes = K::as_bytes(&key);
        let len = u32::try_from(bytes.as_ref().len()).expect("a key is short");
        hasher.update(&len.to_be_bytes());
        hasher.update(bytes.as_ref());
    }
    hasher.update(value);
    let row = [value, &hasher.finalize().to_be_bytes()].concat();
    tx.open_table(table).expect("the tables are there").insert(key, row.as_slice()).map(drop)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn key(&mut self) -> Option<(u64, u64)> {
        Some((self.number()?, self.number()?))
    }

    /// A length in two bytes, and so many of what is left.
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(self.array()?);
        let (text, rest) = self.0.split_at(self.0.len().min(len.into()));
        self.0 = rest;
        Some(text)
    }
}

/// Starts a store on `image`. It refuses what it finds with a reason; or what it found is sound, is
/// found again, can be read or is said to be damaged, and is gone once it is consumed.
pub(crate) fn start(image: Vec<u8>) {
    let disk = SimDisk::holding(image);
    let opened = match open(&disk, 0) {
        Ok(opened) => opened,
        Err(StoreError::Damaged(why)) => return assert!(!why.is_empty(), "a fault has a reason"),
        Err(other) => panic!("the file is ours, and the disk works: {other}"),
    };
    let found = opened.recovered.clone();
    for queue in &found.queues {
        assert!(queue.record.id.0 < found.next_queue, "an id is used again");
        check_sound(queue);
        read(&opened, queue);
    }
    opened.log.close().expect("nothing is to be written");

    let again = open(&disk, 0).expect("what was found once is found again");
    let seen = |queues: &[RecoveredQueue]| -> Vec<_> {
        queues
            .iter()
            .map(|queue| (queue.record.clone(), queue.messages.clone(), queue.requeues.clone(), nexts(queue)))
            .collect()
    };
    assert_eq!(seen(&again.recovered.queues), seen(&found.queues), "another start finds other queues");
    assert_eq!(again.recovered.exchanges, found.exchanges);
    assert_eq!(again.recovered.bindings, found.bindings);
    assert_eq!(again.recovered.seen, found.seen);
    assert_eq!(again.recovered.auth, found.auth);
    assert!(again.recovered.clean);
    if consume(&again, &found.queues) {
        drop(again);
        let empty = open(&disk, 0).expect("a store that was emptied is sound");
        let left = empty.recovered.queues.iter().map(|queue| queue.messages.len()).sum::<usize>();
        assert_eq!(left, 0, "what was consumed is there again");
    }
}

/// Its messages are in order and apart, and all that is said of them is said of one that is there.
fn check_sound(queue: &RecoveredQueue) {
    assert!(queue.messages.iter().all(|range| !range.is_empty()), "a range of nothing: {queue:?}");
    assert!(queue.messages.is_sorted_by(|left, right| left.end < right.first), "they overlap: {queue:?}");
    assert!(queue.lanes.is_sorted_by_key(|lane| lane.lane), "lanes are not in order: {queue:?}");
    for &range in &queue.messages {
        let lane = queue.lanes.iter().find(|lane| lane.lane == lane_of(range.first));
        let lane = lane.unwrap_or_else(|| panic!("a message of no lane: {queue:?}"));
        assert!(range.end <= lane.next, "a number is used again");
        assert_eq!(lane_of(lane.next + (1 << 32)), lane.lane, "there are no numbers left");
    }
    let holds = |seq| queue.messages.iter().any(|range| range.first <= seq && seq < range.end);
    assert!(queue.requeues.iter().all(|returned| holds(returned.seq)), "a return of nothing: {queue:?}");
}

/// The number that the next message of each lane has.
fn nexts(queue: &RecoveredQueue) -> Vec<(u8, u64)> {
    let messages =
        |lane: &&RecoveredLane| queue.messages.iter().any(|range| lane_of(range.first) == lane.lane);
    queue.lanes.iter().filter(messages).map(|lane| (lane.lane, lane.next)).collect()
}

/// Reads all messages of `queue`, until something is damaged.
fn read(opened: &Opened, queue: &RecoveredQueue) {
    let mut from = SeqRange { first: 0, end: u64::MAX };
    while let Ok(pages) = opened.pages.load(queue.record.id, from, 100_000) {
        let Some(last) = pages.last() else { return };
        let end = last.first + u64::from(last.block.len());
        assert!(end > from.first, "the next page begins before the last one ends");
        from.first = end;
    }
}

/// Publishes one message to each of `queues` and settles all; whether no damage was found on the
/// way.
fn consume(opened: &Opened, queues: &[RecoveredQueue]) -> bool {
    let message = Message { persistent: true, ..Message::published(0, (b"", b""), &[0, 0], b"") };
    let block = Arc::new(Block::of(&message));
    for found in queues {
        let (queue, block) = (found.record.id, Arc::clone(&block));
        let next = found.lanes.first().map_or(0, |lane| lane.next);
        let mut changes = vec![Change::Publish { queue, first: next, block, range: 0..1 }];
        changes.extend(found.messages.iter().map(|&range| Change::Settle { queue, range }));
        changes.push(Change::Settle { queue, range: SeqRange::of(next, 1) });
        opened.log.append(&mut changes);
    }
    match opened.log.close() {
        Ok(()) => true,
        Err(StoreError::Damaged(_)) => false,
        Err(other) => panic!("the store works with what it found: {other}"),
    }
}

/// A queue with messages in two rows, and one row of every other table.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let number = |number: u64| number.to_be_bytes().to_vec();
    let sized = |bytes: &[u8]| {
        [&u16::try_from(bytes.len()).expect("a sample is short").to_be_bytes(), bytes].concat()
    };
    let queue = [vec![0], number(1), sized(&samples::queue())].concat();
    let inline = [vec![1], number(1), number(3), sized(&samples::segment())].concat();
    let large = [vec![1], number(1), number(5), sized(b"\0\0\0\0\x02\0\0\0\x34\0\0\0\0")].concat();
    let body = [vec![2], number(1), number(5), sized(&samples::records())].concat();
    let returned = [vec![3], number(1), number(3), vec![0, 0, 0, 2], number(9)].concat();
    let delivered = [vec![4], number(1), number(0), number(4)].concat();
    let (key, row) = samples::exchange();
    let exchange = [vec![5], sized(&key), sized(&row)].concat();
    let binding = [vec![6], sized(&samples::binding())].concat();
    let (key, row) = samples::seen();
    let seen = [vec![7], sized(&key), sized(&row)].concat();
    let auth = [
        samples::user(),
        samples::permission(),
        samples::topic_permission(),
        samples::vhost(),
        samples::policy(),
    ];
    let auth = (9..).zip(auth).flat_map(|(kind, (key, row))| [vec![kind], sized(&key), sized(&row)].concat());
    let auth: Vec<u8> = auth.collect();
    let meta = [vec![8, 0], number(2), vec![8, 1], number(1)].concat();
    let all =
        [&queue, &inline, &large, &body, &returned, &delivered, &exchange, &binding, &seen, &auth, &meta];
    vec![
        all.into_iter().flatten().copied().collect(),
        [&queue[..], &inline, &meta].concat(),
        [inline, body, returned].concat(),
        meta,
    ]
}
