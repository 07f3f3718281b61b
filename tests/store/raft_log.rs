//! The log and the vote of a node of a cluster: power is cut at every call to the disk, and what
//! survives is what was written up to some record, with each record that was synced.

use crate::support::disk::{Cut, SimDisk};
use crate::support::draw::{Draw, seeds};
use bytes::Bytes;
use leveret::store::StoreError;
use leveret::store::replica::log::{EntryId, LogEntry, LogFile, RaftLog, Vote};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

const STEPS: usize = 60;

impl LogFile for SimDisk {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(self)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(self, at, out)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        StorageBackend::write(self, at, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        StorageBackend::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

pub(super) fn open(disk: &SimDisk) -> Result<RaftLog, StoreError> {
    RaftLog::open(Arc::new(disk.clone()))
}

/// What a log should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    vote: Option<(u64, u64, bool)>,
    purged: Option<EntryId>,
    entries: Vec<(EntryId, Bytes)>,
    notes: BTreeMap<u8, Bytes>,
}

impl Model {
    fn of(log: &RaftLog) -> Self {
        let first = log.purged().map_or(0, |purged| purged.index + 1);
        let entries = log.entries(first..u64::MAX, usize::MAX).unwrap();
        if let Some(last) = entries.last() {
            assert_eq!(log.last(), Some(last.id));
        }
        Self {
            vote: log.vote().map(|vote| (vote.term, vote.node, vote.committed)),
            purged: log.purged(),
            entries: entries.into_iter().map(|entry| (entry.id, entry.payload)).collect(),
            notes: (0..4).filter_map(|which| Some((which, log.note(which)?))).collect(),
        }
    }

    fn next(&self) -> u64 {
        let last = self.entries.last().map(|entry| entry.0).or(self.purged);
        last.map_or(0, |last| last.index + 1)
    }
}

/// Draws what a node might do to its log.
struct Workload {
    draw: Draw,
    term: u64,
    body_max: u64,
}

impl Workload {
    fn new(seed: u64, body_max: u64) -> Self {
        Self { draw: Draw::new(seed), term: 1, body_max }
    }

    fn bytes(&mut self) -> Bytes {
        let len = usize::try_from(self.draw.below(self.body_max)).unwrap();
        vec![u8::try_from(self.draw.below(256)).unwrap(); len].into()
    }

    /// Does one thing to both; `states` gets what there is after each record.
    fn step(&mut self, log: &mut RaftLog, model: &mut Model, states: &mut Vec<Model>) {
        let next = model.next();
        match self.draw.below(10) {
            0 => {
                self.term += 1;
                let vote = Vote { term: self.term, node: self.draw.below(3), committed: self.draw.one_in(2) };
                log.save_vote(vote).unwrap();
                model.vote = Some((vote.term, vote.node, vote.committed));
            }
            1 if !model.entries.is_empty() => {
                let gone = self.draw.below(model.entries.len() as u64 + 1);
                log.truncate(next - gone).unwrap();
                model.entries.truncate(model.entries.len() - usize::try_from(gone).unwrap());
            }
            2 | 3 if !model.entries.is_empty() => {
                let upto = usize::try_from(self.draw.below(model.entries.len() as u64)).unwrap();
                let upto = model.entries.drain(..=upto).next_back().unwrap().0;
                model.purged = Some(upto);
                log.purge(upto).unwrap();
            }
            4 => {
                let (which, bytes) = (u8::try_from(self.draw.below(4)).unwrap(), self.bytes());
                log.set_note(which, bytes.clone()).unwrap();
                model.notes.insert(which, bytes);
            }
            _ => {
                let count = 1 + self.draw.below(4);
                let mut batch = Vec::new();
                for index in next..next + count {
                    let id = EntryId { term: self.term, index };
                    batch.push(LogEntry { id, payload: self.bytes() });
                    model.entries.push((id, batch.last().unwrap().payload.clone()));
                    states.push(model.clone());
                }
                log.append(batch).unwrap();
                return;
            }
        }
        states.push(model.clone());
    }
}

/// Runs a workload; tells the disk how many of the states it gives are on it for certain.
fn run(disk: &SimDisk, (seed, body_max): (u64, u64)) -> Vec<Model> {
    let (mut workload, mut model) = (Workload::new(seed, body_max), Model::default());
    let mut states = vec![model.clone()];
    let mut log = open(disk).unwrap();
    let mut durable = 0;
    for _ in 0..STEPS {
        // Of an append of several entries some may be there.
        disk.set_progress(durable, states.len() + 4);
        workload.step(&mut log, &mut model, &mut states);
        assert_eq!(Model::of(&log), model, "seed {seed}");
        disk.set_progress(durable, states.len() - 1);
        if workload.draw.one_in(3) {
            log.sync().unwrap();
            durable = states.len() - 1;
            disk.set_progress(durable, durable);
        }
    }
    states
}

#[test]
fn the_log_and_the_vote_survive_a_power_cut_at_every_call() {
    // Small entries; and such that what is purged is soon worth a new generation of the file.
    for (seed, body_max) in seeds(3).flat_map(|seed| [(seed, 300), (seed, 150_000)]) {
        let step = if body_max > 300 { 4 } else { 1 };
        let disk = SimDisk::default().cut_everywhere(seed);
        let states = run(&disk, (seed, body_max));
        let cuts = disk.take_cuts();
        assert!(cuts.len() > 40, "seed {seed}: only {} cuts", cuts.len());
        for Cut { call, image, progress: (durable, tried) } in cuts.into_iter().step_by(step) {
            let case = format!("seed {seed}, bodies {body_max}, cut at call {call}, {durable}..={tried}");
            let image = reopen_under_a_cut(image, call, seed);
            let disk = SimDisk::holding(image);
            let log = open(&disk).unwrap_or_else(|fault| panic!("{case}: {fault}"));
            let found = Model::of(&log);
            let allowed = &states[durable..=tried.min(states.len() - 1)];
            assert!(allowed.contains(&found), "{case}: {:?} {:?}", found.vote, log.last());
        }
    }
}

/// Power may be cut again while the log is read, which cuts off what was torn.
fn reopen_under_a_cut(image: Vec<u8>, call: u64, seed: u64) -> Vec<u8> {
    let at = 1 + Draw::new(seed ^ call).below(3);
    let disk = SimDisk::holding(image.clone()).cut_at(at, seed);
    drop(open(&disk));
    disk.take_cuts().pop().map_or(image, |cut| cut.image)
}

#[test]
fn the_file_does_not_grow_with_what_is_purged() {
    let (seed, disk) = (7, SimDisk::default());
    let mut log = open(&disk).unwrap();
    let (mut longest, mut draw) = (0, Draw::new(seed));
    for index in 0..400 {
        let payload = Bytes::from(vec![1; usize::try_from(draw.below(1 << 16)).unwrap()]);
        log.append([LogEntry { id: EntryId { term: 1, index }, payload }]).unwrap();
        if index >= 4 {
            log.purge(EntryId { term: 1, index: index - 4 }).unwrap();
        }
        longest = longest.max(StorageBackend::len(&disk).unwrap());
    }
    assert!(longest < 4 << 20, "{longest} bytes for 200 KiB of entries, of 12 MiB that there were");
    let again = open(&SimDisk::holding(disk.image())).unwrap();
    assert_eq!(Model::of(&again), Model::of(&log));
}

/// Bytes of the file, each damaged in turn.
fn damage(range: Range<usize>, image: &[u8]) -> impl Iterator<Item = Result<RaftLog, StoreError>> {
    range.map(|at| {
        let mut image = image.to_vec();
        image[at] ^= 0x10;
        open(&SimDisk::holding(image))
    })
}

#[test]
fn damage_is_told_from_a_torn_end() {
    let disk = SimDisk::default();
    let mut log = open(&disk).unwrap();
    let start = disk.image().len().next_multiple_of(4096);
    log.save_vote(Vote { term: 3, node: 2, committed: false }).unwrap();
    log.sync().unwrap();
    let voted = disk.image().len();
    log.append([LogEntry { id: EntryId { term: 3, index: 0 }, payload: Bytes::from_static(b"a") }]).unwrap();
    let image = disk.image();
    let vote_bytes = start..start + 54;
    for opened in damage(vote_bytes, &image) {
        let fault = opened.map(|log| log.vote()).unwrap_err();
        assert!(fault.to_string().contains("record 1, which was on disk in full"), "{fault}");
    }
    for opened in damage(voted..voted + 54, &image) {
        let log = opened.unwrap();
        assert_eq!((log.vote().unwrap().term, log.last()), (3, None), "nobody was told of the entry");
    }
    let (first, second) = (0..1076, 4096..4096 + 1076);
    for opened in damage(first.clone(), &image).chain(damage(second.clone(), &image)).step_by(50) {
        assert_eq!(opened.unwrap().last(), Some(EntryId { term: 3, index: 0 }), "there are two slots");
    }
    let mut without = image;
    (without[first.start], without[second.start]) = (0, 0);
    let fault = open(&SimDisk::holding(without)).map(|log| log.last()).unwrap_err();
    assert!(fault.to_string().contains("both copies"), "{fault}");
}

#[test]
fn after_a_failed_sync_nothing_is_promised_any_more() {
    let disk = SimDisk::default();
    let mut log = open(&disk).unwrap();
    disk.set_failing(Some(io::ErrorKind::Other));
    let entry = |index| LogEntry { id: EntryId { term: 1, index }, payload: Bytes::new() };
    log.append([entry(0)]).unwrap_err();
    disk.set_failing(None);
    log.append([entry(0)]).unwrap_err();
    log.save_vote(Vote { term: 9, node: 1, committed: true }).unwrap_err();
    let mut log = open(&SimDisk::holding(disk.image())).unwrap();
    log.append([entry(1)]).map(drop).unwrap_err();
    log.append([entry(0)]).map(drop).unwrap();
}
