//! Groups are values: what a random run commits is sent to a second file and applied there, some of
//! it twice, and both then hold the same.

use super::body::{BodyTables, CommittedBodies};
use super::checked::Checked;
use super::file::DataFile;
use super::loss::Loss;
use super::open_storage;
use super::segment::SegmentView;
use super::storage::RedbStorage;
use super::table::{
    BINDINGS, EXCHANGES, GLOBAL_PARAMETERS, LOCAL_SEGMENTS, PERMISSIONS, POLICIES, QUEUES, REQUEUES, SEEN,
    SEGMENTS, STREAM_CHUNKS, STREAM_OFFSETS, STREAMS, TOPIC_PERMISSIONS, USERS, VHOSTS,
};
use crate::auth::directory::AuthChange;
use crate::auth::user::{User, UserLimits};
use crate::draw::{Draw, seeds};
use crate::ids::{QueueId, SeqRange, Ticket};
use crate::message::{Block, BlockBuilder, Message};
use crate::policy::{ApplyTo, Policy, PolicyChange, Rank};
use crate::store::change::{BindingRecord, Change, ExchangeRecord, QueueRecord, StreamChunk, StreamNote};
use crate::store::commit::committer::Committer;
use crate::store::commit::group::Group;
use crate::store::commit::merge::OnDisk;
use crate::store::commit::pending::{Cut, Pending, WaitTimeout};
use crate::store::commit::storage::Storage;
use crate::store::error::StoreError;
use crate::store::seen::{SeenBy, SeenRecord};
use crate::store::{FORMAT, Options};
use bytes::Bytes;
use redb::{Key, ReadTransaction, ReadableDatabase};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Debug;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, PoisonError};

/// A group on its way: its number, and its changes as bytes.
type Sent = (u64, Vec<u8>);

/// Stands between the commit thread and the file, and keeps the groups that pass as bytes.
struct Tap {
    storage: RedbStorage,
    groups: Vec<Sent>,
}

impl Storage for Tap {
    fn on_disk(&self, queue: QueueId) -> OnDisk {
        self.storage.on_disk(queue)
    }

    fn applied(&self) -> u64 {
        self.storage.applied()
    }

    fn readable(&self) -> Option<Ticket> {
        self.storage.readable()
    }

    fn apply(&mut self, group: &mut Group, ticket: Ticket) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        group.encode(&mut bytes);
        // One of spilled records alone has no number.
        if !bytes.is_empty() {
            self.groups.push((group.number, bytes));
        }
        self.storage.apply(group, ticket)
    }

    fn finish(&mut self, group: &mut Group) -> Result<(), StoreError> {
        self.storage.finish(group)
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        self.storage.recover()
    }

    fn timeout(&self) -> WaitTimeout {
        self.storage.timeout()
    }

    fn rest(&mut self) -> Result<(), StoreError> {
        self.storage.rest()
    }

    fn shrink(&mut self) -> Result<(), StoreError> {
        self.storage.shrink()
    }

    fn has_room(&mut self) -> bool {
        self.storage.has_room()
    }

    fn close(self) -> Result<(), StoreError> {
        self.storage.close()
    }
}

/// A folder that goes with the test.
pub(in crate::store) struct Folder(pub(in crate::store) PathBuf);

impl Folder {
    pub(in crate::store) fn new(name: &str) -> Self {
        let dir = env::temp_dir().join(format!("leveret-{name}-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A storage in the file at `path`, with a journal of so many bytes if that is new.
fn open(path: &Path, journal_bytes: u64) -> RedbStorage {
    let options = Options { journal_bytes, ..Options::default() };
    open_storage(DataFile::open(path).unwrap(), None, options, Loss::default()).unwrap().0
}

/// What a file holds that outlives the broker: the bytes of each record and what is kept of those
/// that were requeued, by queue and number, and the rows of all other tables. The marks of a clean
/// stop are not among them: a start removes them.
#[derive(Debug, Default)]
pub(in crate::store) struct Content {
    pub(in crate::store) records: BTreeMap<(u64, u64), Bytes>,
    pub(in crate::store) requeues: BTreeMap<(u64, u64), Vec<u8>>,
    pub(in crate::store) rows: BTreeMap<(&'static str, String), Vec<u8>>,
    /// Rows with spilled records, which do not outlive it.
    spilled: usize,
}

impl Content {
    pub(in crate::store) fn of(storage: &mut RedbStorage) -> Self {
        // Puts what is in the journal into the tables.
        storage.rest().unwrap();
        let database = storage.database();
        let database = database.read().unwrap_or_else(PoisonError::into_inner);
        let tx = database.as_ref().unwrap().begin_read().unwrap();
        let mut content = Self::default();
        content.read_rows(&tx, &[&QUEUES, &STREAMS]);
        content.read_rows(&tx, &[&STREAM_CHUNKS]);
        content.read_rows(&tx, &[&STREAM_OFFSETS]);
        content.read_records(&tx);
        let others =
            [&EXCHANGES, &BINDINGS, &USERS, &PERMISSIONS, &TOPIC_PERMISSIONS, &VHOSTS, &POLICIES, &SEEN];
        content.read_rows(&tx, &others);
        content.read_rows(&tx, &[&GLOBAL_PARAMETERS]);
        content.spilled = tx.open_table(LOCAL_SEGMENTS).unwrap().range::<(u64, u64)>(..).unwrap().count();
        content
    }

    fn read_records(&mut self, tx: &ReadTransaction) {
        let segments = tx.open_table(SEGMENTS).unwrap();
        let bodies = CommittedBodies::open(tx, BodyTables::LASTING).unwrap();
        for row in segments.range::<(u64, u64)>(..).unwrap() {
            let (key, value) = row.unwrap();
            let (queue, first) = key.value();
            let view = SegmentView::decode((queue, first), value.value()).unwrap();
            let records = match view.inline {
                Some(records) => records.to_vec(),
                None => bodies.read((queue, first), view.bytes).unwrap().unwrap().to_vec(),
            };
            assert!(view.matches(&records));
            let block = Block::from_bytes(records.into()).unwrap();
            let is_stream = self.rows.contains_key(&(STREAMS.name, queue.to_string()));
            view.each_lasting(first, is_stream, |range| {
                for seq in range.first..range.end {
                    let index = u32::try_from(seq - first).unwrap();
                    let is_new = self.records.insert((queue, seq), block.slice(index..index + 1)).is_none();
                    assert!(is_new, "number {seq} of queue {queue} is there twice");
                }
            });
        }
        REQUEUES
            .read(tx, |key, value| {
                if self.records.contains_key(&key) {
                    self.requeues.insert(key, value.to_vec());
                }
                Ok(())
            })
            .unwrap();
    }

    fn read_rows<K: Key + 'static>(&mut self, tx: &ReadTransaction, tables: &[&'static Checked<K>])
    where
        for<'a> K::SelfType<'a>: Debug,
    {
        for table in tables {
            table
                .read(tx, |key, value| {
                    self.rows.insert((table.name, format!("{key:?}")), value.to_vec());
                    Ok(())
                })
                .unwrap();
        }
    }
}

/// Draws what a broker might tell its store.
pub(in crate::store) struct Workload {
    draw: Draw,
    /// The next number of each queue.
    pub(in crate::store) next: BTreeMap<u64, u64>,
    pub(in crate::store) streams: BTreeSet<u64>,
    /// Queues without a record: all that the store has of them is spilled.
    pub(in crate::store) undeclared: BTreeSet<u64>,
    pub(in crate::store) next_queue: u64,
}

impl Workload {
    pub(in crate::store) fn new(seed: u64) -> Self {
        Self {
            draw: Draw::new(seed),
            next: BTreeMap::new(),
            streams: BTreeSet::new(),
            undeclared: BTreeSet::new(),
            next_queue: 1,
        }
    }

    pub(in crate::store) fn below(&mut self, n: u64) -> u64 {
        self.draw.below(n)
    }

    /// The changes of a group.
    pub(in crate::store) fn cut(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..=self.below(6) {
            self.step(&mut changes);
        }
        changes
    }

    fn step(&mut self, changes: &mut Vec<Change>) {
        let kind = self.below(24);
        if kind < 5 {
            return changes.push(self.of_metadata());
        }
        let Some(id) = self.a_queue().filter(|_| kind > 5) else {
            return self.declare(changes);
        };
        let queue = QueueId(id);
        let next = self.next[&id];
        match kind {
            6..=11 if !self.undeclared.contains(&id) => {
                let block = self.block();
                self.next.insert(id, next + u64::from(block.len()));
                changes.push(Change::Publish { queue, first: next, range: 0..block.len(), block });
            }
            6..=13 => {
                let block = self.block();
                self.next.insert(id, next + u64::from(block.len()));
                changes.push(Change::Spill { queue, first: next, range: 0..block.len(), block });
            }
            14..=18 => {
                let first = self.below(next + 1);
                changes.push(Change::Settle { queue, range: SeqRange::of(first, 1 + self.below(30)) });
            }
            19 | 20 if next > 0 => {
                let (seq, deliveries, due_ms) = (self.below(next), 3, self.below(9));
                changes.push(Change::Requeue { queue, seq, deliveries, due_ms });
            }
            21 | 22 if self.streams.contains(&id) => {
                let note = self.note(next);
                changes.push(Change::Stream { queue, note });
            }
            23 if self.next.len() > 4 => {
                self.next.remove(&id);
                changes.push(Change::DeleteQueue(queue));
                changes.push(Change::Forget(SeenBy::Queue(queue)));
            }
            _ => changes.push(Change::Delivered { queue, up_to: next }),
        }
    }

    fn a_queue(&mut self) -> Option<u64> {
        let at = usize::try_from(self.below(self.next.len().max(1) as u64)).unwrap();
        self.next.keys().nth(at).copied()
    }

    fn declare(&mut self, changes: &mut Vec<Change>) {
        let id = QueueId(self.next_queue);
        self.next_queue += 1;
        self.next.insert(id.0, 0);
        if self.below(5) == 0 {
            self.undeclared.insert(id.0);
            return;
        }
        changes.push(Change::DeclareQueue(QueueRecord {
            id,
            vhost: "/".to_owned(),
            name: format!("q{}", id.0),
            auto_delete: false,
            arguments: Vec::new(),
        }));
        if self.below(3) == 0 {
            self.streams.insert(id.0);
            changes.push(Change::Stream { queue: id, note: StreamNote::Begins(0) });
        }
    }

    /// Records that are small, or so large that their group is not worth a place in the journal.
    fn block(&mut self) -> Arc<Block> {
        let most = if self.below(20) == 0 { 50_000 } else { 400 };
        let mut builder = BlockBuilder::default();
        for _ in 0..=self.below(9) {
            let body = vec![
                b'a' + u8::try_from(self.below(26)).unwrap();
                usize::try_from(self.below(most)).unwrap()
            ];
            builder.push(&Message {
                persistent: self.below(9) > 0,
                ..Message::published(self.below(1 << 40), (b"", b"q"), &[0, 0], &body)
            });
        }
        Arc::new(builder.build())
    }

    fn note(&mut self, next: u64) -> StreamNote {
        let name: Box<str> = format!("reader {}", self.below(3)).into();
        match self.below(4) {
            0 => StreamNote::Begins(self.below(next + 1)),
            1 => StreamNote::Chunk(StreamChunk { first: next, since_ms: 7, position: self.below(99) }),
            2 => StreamNote::Forget { name },
            _ => StreamNote::Offset { name, next },
        }
    }

    fn of_metadata(&mut self) -> Change {
        let (vhost, name) = ("/".to_owned(), format!("x{}", self.below(4)));
        let by = SeenBy::Exchange { vhost: vhost.clone(), name: name.clone() };
        match self.below(12) {
            0 => Change::DeleteExchange { vhost, name },
            1 => Change::DeclareExchange(ExchangeRecord {
                vhost,
                name,
                kind: "topic".to_owned(),
                auto_delete: self.below(2) == 0,
                internal: false,
                arguments: Vec::new(),
            }),
            bind @ 2..=3 => {
                let binding = BindingRecord {
                    vhost,
                    source: name,
                    to_exchange: false,
                    destination: "q1".to_owned(),
                    routing_key: vec![u8::try_from(self.below(3)).unwrap()],
                    arguments: Vec::new(),
                };
                if bind == 2 { Change::Bind(binding) } else { Change::Unbind(binding) }
            }
            4 => Change::Forget(by),
            5 => Change::Auth(AuthChange::DeleteUser { name }),
            6 => {
                let (tags, limits) = (vec![self.below(99).to_string()], UserLimits::default());
                Change::Auth(AuthChange::PutUser(User { name, password: None, tags, limits }))
            }
            7 => Change::Policy(PolicyChange::Delete { rank: Rank::User, vhost, name }),
            8 => Change::Policy(PolicyChange::Put(
                Rank::User,
                Policy {
                    vhost,
                    name,
                    pattern: self.below(99).to_string(),
                    apply_to: ApplyTo::All,
                    priority: 0,
                    definition: BTreeMap::default(),
                },
            )),
            9 => Change::Parameter { name, value: None },
            10 => Change::Parameter { name, value: Some(self.below(99).to_string()) },
            _ => {
                let (slot, number, value) = (self.below(5), self.below(900), vec![b'v'; 9]);
                Change::Seen(SeenRecord { by, slot, number, until_ms: 1, value })
            }
        }
    }
}

/// Commits `cuts` groups to one file, and applies them to another one as they come. Returns which
/// kinds of rows there are in the end.
fn replicate(folder: &Folder, seed: u64, cuts: u64) -> BTreeSet<&'static str> {
    let (leader, follower) = (folder.0.join(format!("{seed}.one")), folder.0.join(format!("{seed}.two")));
    let tap = Tap { storage: open(&leader, 60_000), groups: Vec::new() };
    let mut committer = Committer::new(Arc::new(Pending::default()), tap);
    let mut second = open(&follower, 20_000);
    let (mut workload, mut draw) = (Workload::new(seed), Workload::new(!seed));
    let mut sent: Vec<Sent> = Vec::new();
    for number in 1..=cuts {
        committer.commit(Cut { number: Ticket(number), changes: workload.cut(), stop: None }, false).unwrap();
        if draw.below(20) == 0 {
            committer.storage.rest().unwrap();
        }
        if draw.below(3) == 0 {
            continue;
        }
        for (number, bytes) in mem::take(&mut committer.storage.groups) {
            let decoded = || Group::decode(number, &bytes, FORMAT).unwrap();
            let mut later = decoded();
            later.number += 1;
            second.apply(&mut later, Ticket(0)).unwrap_err();
            second.apply(&mut decoded(), Ticket(0)).unwrap();
            sent.push((number, bytes.clone()));
            match draw.below(20) {
                0 => second.rest().unwrap(),
                1 => {
                    drop(second);
                    second = open(&follower, 0);
                }
                _ => {}
            }
            for _ in 0..draw.below(3) {
                let (again, bytes) = &sent[usize::try_from(draw.below(sent.len() as u64)).unwrap()];
                second.apply(&mut Group::decode(*again, bytes, FORMAT).unwrap(), Ticket(0)).unwrap();
            }
            assert_eq!(second.applied(), number, "seed {seed}");
        }
    }
    for (number, bytes) in mem::take(&mut committer.storage.groups) {
        second.apply(&mut Group::decode(number, &bytes, FORMAT).unwrap(), Ticket(0)).unwrap();
    }
    let first = &mut committer.storage;
    assert_eq!(first.applied(), second.applied(), "seed {seed}");
    let (one, other) = (Content::of(&mut first.storage), Content::of(&mut second));
    same(&one.records, &other.records, seed);
    same(&one.requeues, &other.requeues, seed);
    same(&one.rows, &other.rows, seed);
    assert_eq!(other.spilled, 0, "what is spilled is nobody else's, seed {seed}");
    let kinds = [("records", one.records.len()), ("requeues", one.requeues.len()), ("spilled", one.spilled)];
    let kinds = kinds.into_iter().filter(|&(_, rows)| rows > 0).map(|(kind, _)| kind);
    one.rows.into_keys().map(|(table, _)| table).chain(kinds).collect()
}

/// Asserts that two maps are the same; shows what is in one of them alone.
pub(in crate::store) fn same<K: Ord + Debug, V: PartialEq + Debug>(
    one: &BTreeMap<K, V>,
    other: &BTreeMap<K, V>,
    seed: u64,
) {
    let lacks = |of: &BTreeMap<K, V>, (key, value): &(&K, &V)| of.get(key) != Some(value);
    let first: Vec<_> = one.iter().filter(|row| lacks(other, row)).collect();
    let second: Vec<_> = other.iter().filter(|row| lacks(one, row)).collect();
    assert!(first.is_empty() && second.is_empty(), "seed {seed}: {first:?} alone here, {second:?} there");
}

#[test]
fn groups_make_of_another_file_the_same() {
    let folder = Folder::new("groups");
    let kinds: BTreeSet<_> = (1..=3).flat_map(|seed| replicate(&folder, seed, 200)).collect();
    assert_eq!(kinds.len(), 14, "the fixed seeds do too little: {kinds:?}");
    seeds(0).for_each(|seed| drop(replicate(&folder, seed, 200)));
}
