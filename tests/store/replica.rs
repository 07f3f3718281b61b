//! The tables of a node of a cluster: power is cut at every call to the disk while entries are
//! applied, and what is there then is what the entries make of it up to the one it names.

use super::model::{Model, Workload, found};
use super::wait_for;
use crate::support::disk::{Cut, SimDisk};
use crate::support::draw::{Draw, seeds};
use bytes::Bytes;
use leveret::ids::Ticket;
use leveret::store::replica::log::EntryId;
use leveret::store::replica::{NotApplied, Outcome, Propose, Replica};
use leveret::store::{Opened, Options, open_replica_backend};
use std::sync::{Arc, Mutex};

const UNITS: usize = 40;

fn open(disk: &SimDisk) -> Replica {
    open_replica_backend(disk.clone(), Options::default()).unwrap()
}

/// A cluster of one, whose entries are kept.
struct Alone {
    replica: Replica,
    entries: Arc<Mutex<Vec<Bytes>>>,
}

impl Propose for Alone {
    fn propose(&self, entry: Bytes) -> Result<(), NotApplied> {
        let mut entries = self.entries.lock().unwrap();
        let id = EntryId { term: 1, index: entries.len() as u64 };
        entries.push(entry.clone());
        match self.replica.apply(id, &entry) {
            Ok(Outcome::Applied) => Ok(()),
            Ok(Outcome::Refused) | Err(_) => Err(NotApplied),
        }
    }
}

/// A broker begins with what the node holds.
fn begin(replica: &Replica, entries: Arc<Mutex<Vec<Bytes>>>) -> Opened {
    let alone = Alone { replica: replica.clone(), entries };
    alone.propose(replica.begin()).unwrap();
    replica.serve(Arc::new(alone)).unwrap()
}

/// What a node holds, as a broker finds it that begins with that.
pub(super) fn state_of(replica: &Replica) -> Model {
    let after = replica.applied().map_or(0, |id| usize::try_from(id.index).unwrap() + 1);
    found(&begin(replica, Arc::new(Mutex::new(vec![Bytes::new(); after]))))
}

/// Entries, and what there is after each of them; before the first, nothing.
pub(super) fn entries(seed: u64) -> (Vec<Bytes>, Vec<Model>) {
    let replica = open(&SimDisk::default());
    let entries = Arc::new(Mutex::new(Vec::new()));
    let opened = begin(&replica, Arc::clone(&entries));
    let mut workload = Workload::new(seed);
    let mut states = vec![Model::default(), found(&opened)];
    for _ in 0..UNITS {
        let (unit, state) = workload.step();
        let batch = opened.log.atomic_batch();
        let mut ticket = Ticket(0);
        for mut changes in unit {
            ticket = opened.log.append(&mut changes);
        }
        drop(batch);
        wait_for(&opened.log, ticket);
        let there = entries.lock().unwrap().len();
        assert!(there + 1 - states.len() <= 1, "a unit is one group");
        states.truncate(there);
        states.push(state);
    }
    let entries = entries.lock().unwrap().clone();
    (entries, states)
}

/// Applies the entries that a node does not have, putting what it has into the tables now and then.
fn apply(replica: &Replica, entries: &[Bytes], draw: &mut Draw) {
    let from = replica.applied().map_or(0, |id| id.index + 1);
    for (entry, index) in entries.iter().zip(0..).skip(usize::try_from(from).unwrap()) {
        let id = EntryId { term: 1, index };
        assert_eq!(replica.apply(id, entry).unwrap(), Outcome::Applied);
        if draw.one_in(5) {
            assert_eq!(replica.flush().unwrap(), Some(id));
        }
    }
}

#[test]
fn entries_are_applied_once_whatever_call_power_is_cut_at() {
    for seed in seeds(3) {
        let (entries, states) = entries(seed);
        let disk = SimDisk::default().cut_everywhere(seed);
        apply(&open(&disk), &entries, &mut Draw::new(seed));
        let cuts = disk.take_cuts();
        assert!(cuts.len() > 40, "seed {seed}: only {} cuts", cuts.len());
        for Cut { call, image, .. } in cuts {
            let case = format!("seed {seed}, cut at call {call}");
            let disk = SimDisk::holding(image);
            let replica = open(&disk);
            let there = replica.applied().map_or(0, |id| usize::try_from(id.index).unwrap() + 1);
            // What is on the disk now, as a broker finds it that begins with it.
            let other = open(&SimDisk::holding(disk.image()));
            assert_eq!(state_of(&other), states[there], "{case}");
            apply(&replica, &entries, &mut Draw::new(seed ^ call));
            assert_eq!(&state_of(&replica), states.last().unwrap(), "{case}, {there} entries were there");
        }
    }
}
