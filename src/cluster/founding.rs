//! How nodes become a cluster, once: what a node decides from what it has heard of the others. No
//! I/O.
//!
//! A node draws its number with its data, and keeps both; so one that has lost its disk is another
//! node. The node whose name comes first founds: it draws the cluster's id, and notes it together
//! with the members, by their numbers, once every peer has answered that it belongs to no cluster.
//! The others join the cluster of any peer that belongs to one, if they are among its members. So
//! there is one place where it is decided that there is a cluster, and one write that does it.
//!
//! ```text
//! self      u64 node | str name | u8 1, founding | u8 0
//! founding  16 bytes cluster | u16 count of members, each u64 node | str name | str address
//! ```

use super::handshake::ClusterId;
use super::types::{NodeId, Peer, put_text, take, take_text, take_u64};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A cluster, as it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Founding {
    /// Which cluster.
    pub(super) cluster: ClusterId,
    /// Its nodes.
    pub(super) members: BTreeMap<NodeId, Peer>,
}

/// What a node keeps of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Which node it is.
    pub(super) node: NodeId,
    /// What it is called.
    pub(super) name: String,
    /// The cluster that it belongs to, if it does.
    pub(super) founding: Option<Founding>,
}

/// What a peer has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// Which node it is.
    pub(super) node: NodeId,
    /// What it is called.
    pub(super) name: String,
    /// The names of its peers.
    pub(super) peers: BTreeSet<String>,
    /// The cluster that it belongs to, if it does.
    pub(super) founding: Option<Founding>,
}

/// What a node that belongs to no cluster does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It founds one, of these.
    Found(BTreeMap<NodeId, Peer>),
    /// It belongs to this one.
    Join(Founding),
    /// It waits, for this reason.
    Wait(String),
}

/// Decides for the node `me`, whose settings name `peers` with their addresses, itself included;
/// `heard` has by these names those that answer.
pub(super) fn decide(me: &Kept, peers: &BTreeMap<String, String>, heard: &BTreeMap<String, Heard>) -> Step {
    let founded = || heard.values().filter_map(|heard| heard.founding.as_ref());
    if let Some(founding) = founded().find(|founding| founding.members.contains_key(&me.node)) {
        return Step::Join(founding.clone());
    }
    if let Some(founding) = founded().next() {
        let names: Vec<&str> = founding.members.values().map(|peer| peer.name.as_str()).collect();
        return Step::Wait(format!(
            "the nodes {} are a cluster already, and the data of this node is none of theirs: this version cannot \
             take in a node that is new or has lost its data",
            names.join(", ")
        ));
    }
    let mut members = BTreeMap::new();
    let mut silent = Vec::new();
    for (name, address) in peers {
        let node = match heard.get(name) {
            Some(heard) if heard.name != *name => {
                return Step::Wait(format!("at {address} is node '{}', and not '{name}'", heard.name));
            }
            Some(heard) if !heard.peers.iter().eq(peers.keys()) => {
                let theirs: Vec<&str> = heard.peers.iter().map(String::as_str).collect();
                let theirs = theirs.join(", ");
                return Step::Wait(format!("node '{name}' has other peers than this one: {theirs}"));
            }
            Some(heard) => heard.node,
            None if *name == me.name => me.node,
            None => {
                silent.push(name.as_str());
                continue;
            }
        };
        let peer = Peer { name: name.clone(), address: address.clone() };
        if let Some(Peer { name: other, .. }) = members.insert(node, peer) {
            return Step::Wait(format!("the nodes '{other}' and '{name}' have copies of the same data"));
        }
    }
    if !silent.is_empty() {
        return Step::Wait(format!("it does not reach {} yet", silent.join(", ")));
    }
    match peers.keys().next() {
        Some(first) if *first != me.name => Step::Wait(format!("node '{first}' is to found the cluster")),
        _ => Step::Found(members),
    }
}

impl Kept {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u64(self.node);
        put_text(&mut out, &self.name);
        put_founding(&mut out, self.founding.as_ref());
        out.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        let (node, name) = (take_u64(&mut bytes)?, take_text(&mut bytes)?);
        Ok(Self { node, name, founding: take_founding(&mut bytes)? })
    }
}

impl Heard {
    /// `u64 node | str name | u16 count of peers, each str name | as in self`
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u64(self.node);
        put_text(&mut out, &self.name);
        put_count(&mut out, self.peers.len());
        self.peers.iter().for_each(|name| put_text(&mut out, name));
        put_founding(&mut out, self.founding.as_ref());
        out.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        let (node, name) = (take_u64(&mut bytes)?, take_text(&mut bytes)?);
        let count = take(&mut bytes, 2)?.get_u16();
        let peers = (0..count).map(|_| take_text(&mut bytes)).collect::<io::Result<_>>()?;
        Ok(Self { node, name, peers, founding: take_founding(&mut bytes)? })
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u16(u16::try_from(count).expect("settings bound the nodes of a cluster"));
}

fn put_founding(out: &mut BytesMut, founding: Option<&Founding>) {
    out.put_u8(founding.is_some().into());
    let Some(Founding { cluster, members }) = founding else { return };
    out.extend_from_slice(cluster);
    put_count(out, members.len());
    for (&node, peer) in members {
        out.put_u64(node);
        put_text(out, &peer.name);
        put_text(out, &peer.address);
    }
}

fn take_founding(bytes: &mut Bytes) -> io::Result<Option<Founding>> {
    if take(bytes, 1)?[0] == 0 {
        return Ok(None);
    }
    let mut cluster = ClusterId::default();
    take(bytes, cluster.len())?.copy_to_slice(&mut cluster);
    let count = take(bytes, 2)?.get_u16();
    let members = (0..count).map(|_| {
        let node = take_u64(bytes)?;
        Ok((node, Peer { name: take_text(bytes)?, address: take_text(bytes)? }))
    });
    Ok(Some(Founding { cluster, members: members.collect::<io::Result<_>>()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, seeds};

    fn peers() -> BTreeMap<String, String> {
        ["a", "b", "c"].map(|name| (name.to_owned(), format!("{name}:1"))).into()
    }

    fn kept(node: NodeId, name: &str) -> Kept {
        Kept { node, name: name.to_owned(), founding: None }
    }

    fn heard(node: &Kept) -> Heard {
        let Kept { node, name, founding } = node.clone();
        Heard { node, name, peers: peers().into_keys().collect(), founding }
    }

    fn founding(id: u8, members: &[(NodeId, &str)]) -> Founding {
        let peer = |name: &str| Peer { name: name.to_owned(), address: format!("{name}:1") };
        let members = members.iter().map(|&(node, name)| (node, peer(name))).collect();
        Founding { cluster: [id; 16], members }
    }

    /// What the node `me` does that hears these.
    fn step(me: &Kept, answers: &[Heard]) -> Step {
        let heard = answers.iter().map(|heard| (heard.name.clone(), heard.clone())).collect();
        decide(me, &peers(), &heard)
    }

    #[track_caller]
    fn waits(step: &Step, why: &str) {
        assert_eq!(*step, Step::Wait(why.to_owned()));
    }

    #[test]
    fn the_first_by_name_founds_once_all_answer_that_they_belong_to_no_cluster() {
        let (a, b, c) = (kept(7, "a"), kept(8, "b"), kept(9, "c"));
        waits(&step(&a, &[]), "it does not reach b, c yet");
        waits(&step(&a, &[heard(&b)]), "it does not reach c yet");
        let three = founding(1, &[(7, "a"), (8, "b"), (9, "c")]);
        assert_eq!(step(&a, &[heard(&b), heard(&c)]), Step::Found(three.members.clone()));
        waits(&step(&b, &[heard(&a), heard(&c)]), "node 'a' is to found the cluster");
        let a = Kept { founding: Some(three.clone()), ..a };
        assert_eq!(step(&b, &[heard(&a)]), Step::Join(three.clone()), "whoever else answers or not");
        let b = Kept { founding: Some(three.clone()), ..b };
        assert_eq!(step(&c, &[heard(&b)]), Step::Join(three));
    }

    #[test]
    fn nobody_founds_beside_a_cluster() {
        let (b, c) = (kept(8, "b"), kept(9, "c"));
        let c = Kept { founding: Some(founding(1, &[(7, "a"), (8, "b"), (9, "c")])), ..c };
        let Step::Wait(why) = step(&kept(17, "a"), &[heard(&b), heard(&c)]) else { panic!("it founds") };
        let cluster = "the nodes a, b, c are a cluster already, and the data of this node is none of theirs";
        assert!(why.starts_with(cluster), "{why}");
    }

    #[test]
    fn nobody_founds_with_nodes_that_are_not_meant() {
        let (a, b, c) = (kept(7, "a"), kept(8, "b"), kept(9, "c"));
        let other = Heard { peers: ["b", "d"].map(str::to_owned).into(), ..heard(&b) };
        let why = "node 'b' has other peers than this one: b, d";
        waits(&step(&a, &[other, heard(&c)]), why);
        let swapped = [("b".to_owned(), heard(&c)), ("c".to_owned(), heard(&b))].into();
        waits(&decide(&a, &peers(), &swapped), "at b:1 is node 'c', and not 'b'");
        let copied = step(&a, &[heard(&b), heard(&kept(8, "c"))]);
        waits(&copied, "the nodes 'b' and 'c' have copies of the same data");
    }

    #[test]
    fn what_is_kept_and_told_is_read_again() {
        let node = kept(1 << 63, "a");
        let founded = Kept { founding: Some(founding(3, &[(1, "a"), (u64::MAX, "b")])), ..node.clone() };
        for kept in [node, founded] {
            let bytes = kept.encode();
            assert_eq!(Kept::decode(bytes.clone()).unwrap(), kept);
            (0..bytes.len()).for_each(|end| assert!(Kept::decode(bytes.slice(..end)).is_err()));
            let bytes = heard(&kept).encode();
            assert_eq!(Heard::decode(bytes.clone()).unwrap(), heard(&kept));
            (0..bytes.len()).for_each(|end| assert!(Heard::decode(bytes.slice(..end)).is_err()));
        }
    }

    /// The clusters that a majority of their members belongs to.
    fn complete(nodes: &[Kept]) -> BTreeSet<ClusterId> {
        let founded = nodes.iter().filter_map(|node| node.founding.as_ref());
        let joined = |founding: &Founding| {
            let is_of = |of: &Founding| of.cluster == founding.cluster;
            let members = nodes.iter().filter(|node| node.founding.as_ref().is_some_and(is_of));
            members.filter(|node| founding.members.contains_key(&node.node)).count()
        };
        founded.filter(|founding| joined(founding) >= 2).map(|founding| founding.cluster).collect()
    }

    /// Nodes start again, ask each other one by one, and lose their disks, in any order, and decide
    /// by answers that may be old.
    #[test]
    fn however_nodes_start_and_lose_their_disks_one_cluster_at_most_has_a_majority() {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let mut founded = 0;
        for seed in seeds(500) {
            let mut draw = Draw::new(seed);
            let mut next = 3;
            let mut nodes: Vec<Kept> = NAMES.iter().zip(0..).map(|(name, id)| kept(id, name)).collect();
            let mut answers = vec![BTreeMap::new(); 3];
            let loses_disks = draw.one_in(2);
            for _ in 0..draw.below(200) {
                let (at, to) = (draw.index(3), draw.index(3));
                match draw.below(20) {
                    0 => answers[at].clear(),
                    1 if loses_disks => {
                        (nodes[at], answers[at]) = (kept(next, NAMES[at]), BTreeMap::new());
                        next += 1;
                    }
                    2..14 if at != to => drop(answers[at].insert(NAMES[to].to_owned(), heard(&nodes[to]))),
                    _ if nodes[at].founding.is_none() => {
                        nodes[at].founding = match decide(&nodes[at], &peers(), &answers[at]) {
                            Step::Found(members) => {
                                next += 1;
                                let cluster = u128::from(next).to_be_bytes();
                                Some(Founding { cluster, members })
                            }
                            Step::Join(founding) => Some(founding),
                            Step::Wait(_) => None,
                        };
                    }
                    _ => {}
                }
                assert!(complete(&nodes).len() <= 1, "seed {seed}: {nodes:?}");
            }
            founded += complete(&nodes).len();
        }
        assert!(founded > 100, "{founded}: too few clusters came about");
    }
}
