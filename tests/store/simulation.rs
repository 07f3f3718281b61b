//! A cluster of three in one thread and in its own time: links are cut, messages are late, lost and
//! doubled, nodes lose power at any call to their disks, one or all of them. Groups are proposed to
//! whoever says that it leads, and again when nobody knows what became of one. In the end each is
//! there once, on all nodes.
//!
//! What a seed draws is the same each time, and nearly all of what follows from it.

use super::model::Model;
use super::raft_log;
use super::replica::{entries, state_of};
use crate::support::disk::SimDisk;
use crate::support::draw::{Draw, seeds};
use bytes::Bytes;
use leveret::cluster::{Call, Member, NodeId, Parts, Peer, Timing, Transport};
use leveret::store::replica::log::EntryId;
use leveret::store::replica::{NotApplied, Outcome, Replica};
use leveret::store::{Options, open_replica_backend};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

const NODES: [NodeId; 3] = [11, 12, 13];

/// How long somebody waits for a group; more than an election takes.
const PATIENCE: Duration = Duration::from_secs(3);

/// Within so many steps of a healed cluster everything is done.
const STEPS_MAX: usize = 2000;

/// The network, and who is on it.
#[derive(Clone)]
struct Net(Arc<Mutex<Links>>);

struct Links {
    draw: Draw,
    members: BTreeMap<NodeId, Member>,
    /// From and to.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// One message of so many is lost, and one is doubled.
    faults: u64,
}

/// A node's way to the network.
struct Port {
    net: Net,
    from: NodeId,
}

impl Net {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap()
    }

    /// One way of a message.
    async fn pass(&self, from: NodeId, to: NodeId) -> io::Result<bool> {
        let (late_ms, is_doubled) = {
            let mut links = self.links();
            let late_ms = if links.draw.one_in(20) { links.draw.below(400) } else { links.draw.below(5) };
            let faults = links.faults;
            if links.cut.contains(&(from, to)) || faults > 0 && links.draw.one_in(faults) {
                (u64::MAX, false)
            } else {
                (late_ms, faults > 0 && links.draw.one_in(faults))
            }
        };
        if late_ms == u64::MAX {
            // Nobody hears of it any more.
            sleep(Duration::from_secs(3600)).await;
        }
        sleep(Duration::from_millis(late_ms)).await;
        Ok(is_doubled)
    }

    async fn call(&self, from: NodeId, to: NodeId, request: Bytes) -> io::Result<Bytes> {
        let is_doubled = self.pass(from, to).await?;
        let member = self.links().members.get(&to).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
        if is_doubled {
            member.handle(request.clone()).await?;
        }
        let answer = member.handle(request).await?;
        self.pass(to, from).await?;
        Ok(answer)
    }
}

impl Transport for Port {
    fn call(&self, to: NodeId, request: Bytes) -> Call<'_> {
        Box::pin(self.net.call(self.from, to, request))
    }
}

/// The disks of a node.
#[derive(Clone, Default)]
struct Disks {
    log: SimDisk,
    tables: SimDisk,
}

impl Disks {
    /// What is left of them after a power cut that came before, or comes now.
    fn cut(&self, seed: u64) -> Self {
        let left = |disk: &SimDisk| {
            let image = disk.take_cuts().pop().map_or_else(|| disk.cut_now(seed), |cut| cut.image);
            SimDisk::holding(image)
        };
        Self { log: left(&self.log), tables: left(&self.tables) }
    }
}

struct Cluster {
    net: Net,
    disks: BTreeMap<NodeId, Disks>,
    replicas: BTreeMap<NodeId, Replica>,
    draw: Draw,
    seed: u64,
    /// How often power was cut, and how often a proposal was in vain or its fate unknown.
    cuts: usize,
    unknown: usize,
    /// How often one was applied already.
    refused: usize,
}

impl Cluster {
    async fn new(seed: u64) -> Self {
        let links =
            Links { draw: Draw::new(seed ^ 1), members: BTreeMap::new(), cut: BTreeSet::new(), faults: 0 };
        let mut cluster = Self {
            net: Net(Arc::new(Mutex::new(links))),
            disks: NODES.map(|node| (node, Disks::default())).into(),
            replicas: BTreeMap::new(),
            draw: Draw::new(seed),
            seed,
            cuts: 0,
            unknown: 0,
            refused: 0,
        };
        for node in NODES {
            cluster.start(node).await;
        }
        let peers = NODES.map(|node| (node, Peer { name: node.to_string(), address: String::new() }));
        let first = cluster.net.links().members[&NODES[0]].clone();
        first.found(peers.into()).await.unwrap();
        cluster
    }

    /// Starts a node, unless its disk fails meanwhile.
    async fn start(&mut self, node: NodeId) {
        if !self.try_start(node).await {
            self.cuts += 1;
            let left = self.disks[&node].cut(self.seed);
            self.disks.insert(node, left);
        }
    }

    async fn try_start(&mut self, node: NodeId) -> bool {
        let disks = &self.disks[&node];
        let replica = open_replica_backend(disks.tables.clone(), Options::default());
        let (Ok(replica), Ok(log)) = (replica, raft_log::open(&disks.log)) else { return false };
        let parts = Parts {
            id: node,
            log,
            syncs_aside: false,
            replica: replica.clone(),
            transport: Arc::new(Port { net: self.net.clone(), from: node }),
            timing: Timing::default(),
            seed: self.seed ^ self.draw.below(1 << 40) ^ node,
        };
        let Ok(member) = Member::start(parts).await else { return false };
        self.replicas.insert(node, replica);
        self.net.links().members.insert(node, member);
        true
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.net.links().members.contains_key(&node)
    }

    /// Cuts a node's power.
    async fn crash(&mut self, node: NodeId) {
        let Some(member) = self.net.links().members.remove(&node) else { return };
        self.cuts += 1;
        let seed = self.draw.below(1 << 40);
        let left = self.disks[&node].cut(seed);
        self.disks.insert(node, left);
        self.replicas.remove(&node);
        member.shutdown().await;
    }

    /// Ends nodes whose disk has failed.
    async fn bury(&mut self) {
        for node in NODES {
            let member = self.net.links().members.get(&node).cloned();
            if member.is_some_and(|member| !member.status().works) {
                self.crash(node).await;
            }
        }
    }

    async fn disturb(&mut self) {
        let (node, other) = (*self.draw.pick(&NODES), *self.draw.pick(&NODES));
        match self.draw.below(12) {
            0 => drop(self.net.links().cut.insert((node, other))),
            1 => {
                // All that a node says and hears.
                let mut links = self.net.links();
                for other in NODES {
                    links.cut.extend([(node, other), (other, node)]);
                }
            }
            2 | 3 => self.net.links().cut.clear(),
            4 => self.net.links().faults = [0, 30, 8][usize::try_from(self.draw.below(3)).unwrap()],
            5 => self.crash(node).await,
            6 if self.draw.one_in(3) => {
                for node in NODES {
                    self.crash(node).await;
                }
            }
            7 => {
                let (calls, seed) = (1 + self.draw.below(9), self.draw.below(1 << 40));
                let disks = &self.disks[&node];
                let disk = if self.draw.one_in(3) { &disks.tables } else { &disks.log };
                disk.cut_and_fail_in(calls, seed);
            }
            8 => self.flush(node).await,
            _ => {
                if !self.is_up(node) {
                    self.start(node).await;
                }
            }
        }
    }

    /// Has a node put what it has applied into its tables; it ends if its disk fails.
    async fn flush(&mut self, node: NodeId) {
        if self.replicas.get(&node).is_some_and(|replica| replica.flush().is_err()) {
            self.crash(node).await;
        }
    }

    async fn heal(&mut self) {
        {
            let mut links = self.net.links();
            links.cut.clear();
            links.faults = 0;
        }
        for disks in self.disks.values() {
            disks.log.withdraw_cut();
            disks.tables.withdraw_cut();
        }
        self.bury().await;
        for node in NODES {
            if !self.is_up(node) {
                self.start(node).await;
            }
        }
    }

    /// Proposes a group to somebody who says that it leads: whether it is applied now.
    async fn propose(&mut self, entry: &Bytes) -> bool {
        let members: Vec<_> = self.net.links().members.values().cloned().collect();
        let sure = members.iter().filter(|member| member.status().is_sure).count();
        assert!(sure <= 1, "seed {}: two nodes are sure that they lead", self.seed);
        let leaders: Vec<_> = members.iter().filter(|member| member.status().is_leader).collect();
        if leaders.is_empty() {
            sleep(Duration::from_millis(self.draw.below(300))).await;
            return false;
        }
        let leader = *self.draw.pick(&leaders);
        let proposed = timeout(PATIENCE, leader.propose(leader.status().term, entry.clone())).await;
        match proposed {
            Ok(Ok(Outcome::Applied)) => true,
            Ok(Ok(Outcome::Refused)) => {
                self.refused += 1;
                true
            }
            Ok(Err(NotApplied)) | Err(_) => {
                self.unknown += 1;
                false
            }
        }
    }

    fn applied(&self) -> Vec<Option<EntryId>> {
        self.replicas.values().map(Replica::applied).collect()
    }
}

/// Runs a cluster through faults until all groups are confirmed, and then until all nodes have all.
async fn run(seed: u64) -> [usize; 3] {
    let (entries, states): (Vec<Bytes>, Vec<Model>) = entries(seed);
    let mut cluster = Cluster::new(seed).await;
    let (mut next, mut steps) = (0, 0);
    while next < entries.len() {
        cluster.bury().await;
        if cluster.draw.one_in(3) {
            cluster.disturb().await;
        }
        next += usize::from(cluster.propose(&entries[next]).await);
        steps += 1;
        if steps % 60 == 0 {
            cluster.heal().await;
        }
        assert!(steps < STEPS_MAX, "seed {seed}: only {next} groups are confirmed after {steps} steps");
    }
    cluster.heal().await;
    let mut waited = 0;
    loop {
        cluster.heal().await;
        let applied = cluster.applied();
        let is_settled = cluster.net.links().members.values().any(|member| member.status().is_leader);
        if is_settled
            && applied.len() == NODES.len()
            && applied.iter().all(|id| *id == applied[0])
            && waited > 20
        {
            break;
        }
        waited += 1;
        assert!(waited < STEPS_MAX, "seed {seed}: the nodes have {applied:?}");
        sleep(Duration::from_millis(200)).await;
    }
    let members: Vec<_> = std::mem::take(&mut cluster.net.links().members).into_values().collect();
    for member in members {
        member.shutdown().await;
    }
    for (node, replica) in &cluster.replicas {
        assert!(cluster.disks[node].tables.take_cuts().is_empty(), "a node works whose disk has failed");
        assert_eq!(&state_of(replica), states.last().unwrap(), "seed {seed}, node {node}");
    }
    [cluster.cuts, cluster.unknown, cluster.refused]
}

#[test]
fn what_a_majority_has_is_there_once_on_all_nodes_in_the_end() {
    let mut all = [0; 3];
    for seed in seeds(12) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let of_this = runtime.block_on(run(seed));
        all.iter_mut().zip(of_this).for_each(|(all, one)| *all += one);
    }
    let [cuts, unknown, refused] = all;
    assert!(cuts > 30, "only {cuts} power cuts");
    assert!(
        unknown > 30 && refused > 0,
        "only {unknown} groups without an answer, {refused} of them applied"
    );
}
