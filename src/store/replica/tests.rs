//! Three nodes on one log: brokers begin on one after the other, nodes restart and lag, and in the
//! end all hold the same.

use super::log::EntryId;
use super::{NotApplied, Outcome, Propose, Replica};
use crate::draw::{Draw, seeds};
use crate::ids::{QueueId, SeqRange, Ticket};
use crate::message::{Block, BlockBuilder, Message};
use crate::store::change::{Change, Health, Log, QueueRecord};
use crate::store::commit::pending::WaitTimeout;
use crate::store::commit::storage::Storage;
use crate::store::error::StoreError;
use crate::store::redb::tests::{Content, Folder, Workload, same};
use crate::store::{Opened, Options};
use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What is committed, and who applies it at once.
#[derive(Default)]
struct Shared {
    entries: Vec<(EntryId, Bytes)>,
    term: u64,
    leader: Option<Replica>,
}

impl Shared {
    fn commit(&mut self, entry: Bytes) -> EntryId {
        let id = EntryId { term: self.term, index: self.entries.len() as u64 };
        self.entries.push((id, entry));
        id
    }
}

/// A log whose entries are committed as they are proposed.
#[derive(Clone, Default)]
struct FakeLog(Arc<Mutex<Shared>>);

/// A broker's way to the log, in its term.
struct InTerm {
    log: FakeLog,
    term: u64,
}

impl Propose for InTerm {
    fn propose(&self, entry: Bytes) -> Result<(), NotApplied> {
        let mut log = self.log.0.lock().unwrap();
        if log.term != self.term {
            return Err(NotApplied);
        }
        let id = log.commit(entry.clone());
        let outcome =
            log.leader.as_ref().ok_or(NotApplied)?.apply(id, &entry).map_err(|_fatal| NotApplied)?;
        if outcome == Outcome::Applied { Ok(()) } else { Err(NotApplied) }
    }
}

fn open(path: &Path) -> Replica {
    Replica::open(path, Options { reserve_bytes: Some(0), ..Options::default() }).unwrap()
}

/// Applies up to `count` entries that a node does not have.
fn catch_up(log: &FakeLog, replica: &Replica, count: usize) {
    let from = replica.applied().map_or(0, |id| usize::try_from(id.index).unwrap() + 1);
    let entries: Vec<_> = log.0.lock().unwrap().entries.iter().skip(from).take(count).cloned().collect();
    for (id, entry) in entries {
        replica.apply(id, &entry).unwrap();
    }
}

/// A broker begins on a node, in a new term.
fn promote(log: &FakeLog, replica: &Replica) -> Opened {
    let term = {
        let mut shared = log.0.lock().unwrap();
        shared.term += 1;
        shared.leader = Some(replica.clone());
        shared.term
    };
    catch_up(log, replica, usize::MAX);
    let begin = replica.begin();
    let id = log.0.lock().unwrap().commit(begin.clone());
    replica.apply(id, &begin).unwrap();
    replica.serve(Arc::new(InTerm { log: log.clone(), term })).unwrap()
}

/// The workload goes on with what the broker found.
fn take_over(workload: &mut Workload, opened: &Opened) {
    workload.undeclared.clear();
    workload.next.clear();
    for queue in &opened.recovered.queues {
        let next = queue.lanes.iter().find(|lane| lane.lane == 0).map_or(0, |lane| lane.next);
        workload.next.insert(queue.record.id.0, next);
    }
    workload.next_queue = opened.recovered.next_queue;
}

/// The changes of a group; nobody settles what is in a stream.
fn cut(workload: &mut Workload) -> Vec<Change> {
    let mut changes = workload.cut();
    changes.retain(|change| match change {
        Change::Settle { queue, .. } => !workload.streams.contains(&queue.0),
        _ => true,
    });
    changes
}

fn wait_for(log: &Arc<dyn Log>, ticket: Ticket) {
    while log.durable() < ticket {
        assert_ne!(log.health(), Health::Failed);
        std::thread::yield_now();
    }
}

/// Runs brokers on three nodes in turn.
fn run(folder: &Folder, seed: u64, reigns: u64) {
    let log = FakeLog::default();
    let paths: Vec<_> = (0..3).map(|node| folder.0.join(format!("{seed}.{node}"))).collect();
    let mut nodes: Vec<_> = paths.iter().map(|path| open(path)).collect();
    let (mut workload, mut draw) = (Workload::new(seed), Draw::new(!seed));
    for _ in 0..reigns {
        let leader = usize::try_from(draw.below(3)).unwrap();
        let opened = promote(&log, &nodes[leader]);
        take_over(&mut workload, &opened);
        for _ in 0..draw.below(40) {
            let ticket = opened.log.append(&mut cut(&mut workload));
            if draw.below(3) > 0 {
                wait_for(&opened.log, ticket);
            }
            let other = (leader + 1 + usize::try_from(draw.below(2)).unwrap()) % 3;
            match draw.below(12) {
                0..5 => catch_up(&log, &nodes[other], 1 + usize::try_from(draw.below(9)).unwrap()),
                5 => assert_eq!(nodes[other].flush().unwrap(), nodes[other].applied()),
                6 => {
                    // What was applied and is not in the tables is gone with the process.
                    nodes.remove(other);
                    nodes.insert(other, open(&paths[other]));
                }
                _ => {}
            }
        }
        if draw.below(2) == 0 {
            opened.log.close().unwrap();
        }
    }
    for node in &nodes {
        catch_up(&log, node, usize::MAX);
    }
    let contents: Vec<_> = nodes.iter().map(|node| Content::of(&mut node.tables().storage)).collect();
    for other in &contents[1..] {
        same(&contents[0].records, &other.records, seed);
        same(&contents[0].requeues, &other.requeues, seed);
        same(&contents[0].rows, &other.rows, seed);
    }
    assert!(contents[0].records.len() > 20, "seed {seed}: too little is left to compare");
}

#[test]
fn brokers_on_three_nodes_in_turn_leave_the_same_on_all() {
    let folder = Folder::new("replica");
    for seed in seeds(2) {
        run(&folder, seed, 6);
    }
}

#[test]
fn a_group_that_does_not_follow_is_refused_by_every_node() {
    let folder = Folder::new("refused");
    let log = FakeLog::default();
    let nodes: Vec<_> = (0..2).map(|node| open(&folder.0.join(node.to_string()))).collect();
    let opened = promote(&log, &nodes[0]);
    let mut workload = Workload::new(5);
    take_over(&mut workload, &opened);
    for _ in 0..20 {
        let ticket = opened.log.append(&mut workload.cut());
        wait_for(&opened.log, ticket);
    }
    // A proposal that outlives its term: it comes after what it did not know of.
    let late = log.0.lock().unwrap().entries[3].1.clone();
    let id = log.0.lock().unwrap().commit(late.clone());
    assert_eq!(nodes[0].apply(id, &late).unwrap(), Outcome::Refused);
    catch_up(&log, &nodes[1], usize::MAX);
    assert_eq!(nodes[1].applied(), Some(id));
    drop(opened);
    let contents: Vec<_> = nodes.iter().map(|node| Content::of(&mut node.tables().storage)).collect();
    same(&contents[0].records, &contents[1].records, 5);
    same(&contents[0].rows, &contents[1].rows, 5);
}

#[test]
fn a_broker_that_has_lost_the_lead_commits_nothing_more() {
    let folder = Folder::new("deposed");
    let log = FakeLog::default();
    let nodes: Vec<_> = (0..2).map(|node| open(&folder.0.join(node.to_string()))).collect();
    let old = promote(&log, &nodes[0]);
    let mut workload = Workload::new(9);
    take_over(&mut workload, &old);
    let ticket = old.log.append(&mut workload.cut());
    wait_for(&old.log, ticket);
    let new = promote(&log, &nodes[1]);
    let committed = log.0.lock().unwrap().entries.len();
    let ticket = loop {
        let ticket = old.log.append(&mut workload.cut());
        if ticket > old.log.durable() {
            break ticket;
        }
    };
    while old.log.health() != Health::Failed {
        std::thread::yield_now();
    }
    assert!(old.log.durable() < ticket, "nobody was told");
    assert!(matches!(old.log.close(), Err(StoreError::NotLeading)));
    assert_eq!(log.0.lock().unwrap().entries.len(), committed);
    take_over(&mut workload, &new);
    let ticket = new.log.append(&mut workload.cut());
    wait_for(&new.log, ticket);
}

#[test]
fn the_data_of_a_node_and_of_a_broker_alone_are_not_taken_for_each_other() {
    let folder = Folder::new("kinds");
    let (alone, node) = (folder.0.join("alone"), folder.0.join("node"));
    let opened = crate::store::open(&alone, Options::default()).unwrap();
    let mut workload = Workload::new(1);
    wait_for(&opened.log, opened.log.append(&mut (0..9).flat_map(|_| workload.cut()).collect()));
    opened.log.close().unwrap();
    drop(opened);
    let refused = Replica::open(&alone, Options::default()).unwrap_err();
    assert!(matches!(refused, StoreError::NotOfCluster), "{refused}");
    drop(open(&node));
    std::fs::write(node.join(super::log::FILE_NAME), b"").unwrap();
    let refused = crate::store::open(&node, Options::default()).unwrap_err();
    assert!(matches!(refused, StoreError::OfCluster { .. }), "{refused}");
}

/// One node has ten messages in two rows, of which the second goes, and the other in one row.
#[test]
fn a_new_broker_gives_no_number_that_another_node_has_in_a_row() {
    let folder = Folder::new("rows");
    let log = FakeLog::default();
    let paths: Vec<_> = (0..2).map(|node| folder.0.join(node.to_string())).collect();
    let nodes: Vec<_> = paths.iter().map(|path| open(path)).collect();
    let queue = QueueId(1);
    let publish = |first| {
        let mut builder = BlockBuilder::default();
        for _ in 0..5 {
            let message = Message::published(1, (b"", b"q"), &[0, 0], b"body");
            builder.push(&Message { persistent: true, ..message });
        }
        Change::Publish { queue, first, block: Arc::new(builder.build()), range: 0..5 }
    };
    let (vhost, name) = ("/".to_owned(), "q".to_owned());
    let record = QueueRecord { id: queue, vhost, name, auto_delete: false, arguments: Vec::new() };
    let opened = promote(&log, &nodes[0]);
    let commit = |opened: &Opened, change| wait_for(&opened.log, opened.log.append(&mut vec![change]));
    commit(&opened, Change::DeclareQueue(record));
    commit(&opened, publish(0));
    nodes[0].flush().unwrap();
    commit(&opened, publish(5));
    nodes[0].flush().unwrap();
    catch_up(&log, &nodes[1], usize::MAX);
    nodes[1].flush().unwrap();
    commit(&opened, Change::Settle { queue, range: SeqRange { first: 5, end: 10 } });
    drop(opened);
    let opened = promote(&log, &nodes[0]);
    let next = opened.recovered.queues[0].lanes[0].next;
    commit(&opened, publish(next));
    catch_up(&log, &nodes[1], usize::MAX);
    nodes.iter().for_each(|node| assert_eq!(node.flush().unwrap(), node.applied()));
    drop((opened, nodes));
    log.0.lock().unwrap().leader = None;
    let found: Vec<_> = paths.iter().map(|path| Content::of(&mut open(path).tables().storage)).collect();
    same(&found[0].records, &found[1].records, next);
    assert_eq!(found[0].records.len(), 10);
}

/// Bodies that are gone are removed some at a time: by the nodes that have no broker, too.
#[test]
fn a_node_without_a_broker_removes_what_is_gone() {
    let folder = Folder::new("sweep");
    let log = FakeLog::default();
    let nodes: Vec<_> = (0..2).map(|node| open(&folder.0.join(node.to_string()))).collect();
    let opened = promote(&log, &nodes[0]);
    let (queue, vhost, name) = (QueueId(1), "/".to_owned(), "q".to_owned());
    let record = QueueRecord { id: queue, vhost, name, auto_delete: false, arguments: Vec::new() };
    let body = vec![7; 100_000];
    let message = Message { persistent: true, ..Message::published(1, (b"", b"q"), &[0, 0], &body) };
    let block = Arc::new(Block::of(&message));
    let commit = |change| wait_for(&opened.log, opened.log.append(&mut vec![change]));
    commit(Change::DeclareQueue(record));
    for first in 0..200 {
        commit(Change::Publish { queue, first, block: Arc::clone(&block), range: 0..1 });
    }
    catch_up(&log, &nodes[1], usize::MAX);
    nodes[1].flush().unwrap();
    commit(Change::Settle { queue, range: SeqRange { first: 0, end: 200 } });
    catch_up(&log, &nodes[1], usize::MAX);
    nodes[1].flush().unwrap();
    let is_left = || matches!(nodes[1].tables().storage.timeout(), WaitTimeout::Soon);
    assert!(is_left(), "the test settles too little");
    for first in 200.. {
        commit(Change::Delivered { queue, up_to: first });
        catch_up(&log, &nodes[1], usize::MAX);
        if !is_left() {
            break;
        }
        assert!(first < 1_000_000, "it is never removed");
    }
    drop(opened);
}
