//! What openraft is told of our types, and how they are drawn as bytes, on disk and on the wire.
//!
//! Integers are big-endian; `str` is a u16 length and that many bytes. Of optional ids a byte 1
//! comes first, or a byte 0 in their place.
//!
//! ```text
//! id           u64 term | u64 index
//! vote         u64 term | u64 node | u8 whether a majority has given it
//! payload      u8 0: nothing, a new leader's first one
//!              u8 1: bytes of `store::replica`
//!              u8 2: members: u16 count of sets, each a u16 count of u64 nodes
//!                    | u16 count of nodes, each u64 node | str name | str address
//! ```

use crate::store::replica::Outcome;
use crate::store::replica::log::{EntryId, LogEntry, Vote};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::impls::{BoxedErrorSource, InlineBatch, OneshotResponder, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft::{
    EntryPayload, LogId, Membership, OptionalSend, RaftTypeConfig, StoredMembership, TokioRuntime,
};
use openraft_rt::deterministic_rng::DeterministicRng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

/// A node of a cluster: made with its data, and of no other data ever.
pub type NodeId = u64;

/// How a node is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// What it is called.
    pub name: String,
    /// Where the others reach it.
    pub address: String,
}

/// An entry as `store::replica` knows it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Data(pub(super) Bytes);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names the types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Data;
    type R = Outcome;
    type NodeId = NodeId;
    type Node = Peer;
    type Term = u64;
    type LeaderId = RaftLeader;
    type Vote = RaftVote;
    type Payload = RaftPayload;
    type Entry = RaftEntry;
    /// Its random choices follow from a seed, so that a simulation repeats them.
    type AsyncRuntime = DeterministicRng<TokioRuntime>;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// The leader of an entry, which is that of its term.
pub(super) type Leader = <RaftLeader as RaftLeaderId>::Committed;
pub(super) type RaftLeader = leader_id_std::LeaderId<u64, NodeId>;
pub(super) type RaftId = LogId<Leader>;
pub(super) type RaftVote = openraft::Vote<RaftLeader>;
pub(super) type RaftEntry = openraft::Entry<Leader, RaftPayload>;
pub(super) type RaftPayload = EntryPayload<Data, NodeId, Peer>;
pub(super) type Members = StoredMembership<Leader, NodeId, Peer>;

const BLANK: u8 = 0;
const DATA: u8 = 1;
const MEMBERS: u8 = 2;

pub(super) fn to_raft_id(EntryId { term, index }: EntryId) -> RaftId {
    LogId::new(Leader::new(term), index)
}

pub(super) fn of_raft_id(id: &RaftId) -> EntryId {
    EntryId { term: *id.leader_id, index: id.index }
}

pub(super) fn to_raft_vote(vote: Vote) -> RaftVote {
    RaftVote { leader_id: RaftLeader::new(vote.term, vote.node), committed: vote.committed }
}

pub(super) fn of_raft_vote(vote: &RaftVote) -> Vote {
    Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(super) fn to_raft_entry(LogEntry { id, payload }: LogEntry) -> io::Result<RaftEntry> {
    Ok(RaftEntry { log_id: to_raft_id(id), payload: decode_payload(payload)? })
}

pub(super) fn of_raft_entry(entry: &RaftEntry) -> LogEntry {
    LogEntry { id: of_raft_id(&entry.log_id), payload: encode_payload(&entry.payload) }
}

fn encode_payload(payload: &RaftPayload) -> Bytes {
    let mut out = BytesMut::new();
    match payload {
        EntryPayload::Blank => out.put_u8(BLANK),
        EntryPayload::Normal(Data(bytes)) => {
            out.reserve(bytes.len() + 1);
            out.put_u8(DATA);
            out.extend_from_slice(bytes);
        }
        EntryPayload::Membership(members) => {
            out.put_u8(MEMBERS);
            put_members(&mut out, members);
        }
    }
    out.freeze()
}

fn decode_payload(mut bytes: Bytes) -> io::Result<RaftPayload> {
    match take(&mut bytes, 1)?[0] {
        BLANK => Ok(EntryPayload::Blank),
        DATA => Ok(EntryPayload::Normal(Data(bytes))),
        MEMBERS => Ok(EntryPayload::Membership(take_members(&mut bytes)?)),
        _ => Err(malformed()),
    }
}

/// Draws who the members are, and which entry says so.
pub(super) fn encode_members(members: &Members) -> Bytes {
    let mut out = BytesMut::new();
    put_optional(&mut out, members.log_id().as_ref().map(of_raft_id), put_id);
    put_members(&mut out, members.membership());
    out.freeze()
}

pub(super) fn decode_members(mut bytes: Bytes) -> io::Result<Members> {
    let id = take_optional(&mut bytes, take_id)?;
    Ok(Members::new(id.map(to_raft_id), take_members(&mut bytes)?))
}

fn put_members(out: &mut BytesMut, members: &Membership<NodeId, Peer>) {
    let sets = members.get_joint_config();
    put_count(out, sets.len());
    for set in sets {
        put_count(out, set.len());
        set.iter().for_each(|&node| out.put_u64(node));
    }
    let nodes: Vec<_> = members.nodes().collect();
    put_count(out, nodes.len());
    for (&node, peer) in nodes {
        out.put_u64(node);
        put_text(out, &peer.name);
        put_text(out, &peer.address);
    }
}

fn take_members(bytes: &mut Bytes) -> io::Result<Membership<NodeId, Peer>> {
    let mut sets = Vec::new();
    for _ in 0..take_count(bytes)? {
        let nodes = take_count(bytes)?;
        sets.push((0..nodes).map(|_| take_u64(bytes)).collect::<io::Result<BTreeSet<_>>>()?);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..take_count(bytes)? {
        let node = take_u64(bytes)?;
        nodes.insert(node, Peer { name: take_text(bytes)?, address: take_text(bytes)? });
    }
    Membership::new(sets, nodes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u16(u16::try_from(count).expect("under 64 Ki: nodes are few, and texts are cut"));
}

fn take_count(bytes: &mut Bytes) -> io::Result<u16> {
    Ok(take(bytes, 2)?.get_u16())
}

/// Draws a text; what is over 64 KiB of it is left out.
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    let text = beginning(text, usize::from(u16::MAX));
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// As much of a text as has so many bytes.
pub(super) fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn take_text(bytes: &mut Bytes) -> io::Result<String> {
    let len = usize::from(take_count(bytes)?);
    String::from_utf8(take(bytes, len)?.to_vec()).map_err(|_not_utf8| malformed())
}

pub(super) fn put_optional<T>(out: &mut BytesMut, value: Option<T>, put: fn(&mut BytesMut, T)) {
    out.put_u8(value.is_some().into());
    value.into_iter().for_each(|value| put(out, value));
}

pub(super) fn take_optional<T>(
    bytes: &mut Bytes,
    take_one: fn(&mut Bytes) -> io::Result<T>,
) -> io::Result<Option<T>> {
    if take(bytes, 1)?[0] == 1 { take_one(bytes).map(Some) } else { Ok(None) }
}

pub(super) fn put_id(out: &mut BytesMut, EntryId { term, index }: EntryId) {
    out.put_u64(term);
    out.put_u64(index);
}

pub(super) fn take_id(bytes: &mut Bytes) -> io::Result<EntryId> {
    Ok(EntryId { term: take_u64(bytes)?, index: take_u64(bytes)? })
}

pub(super) fn put_vote(out: &mut BytesMut, vote: Vote) {
    out.put_u64(vote.term);
    out.put_u64(vote.node);
    out.put_u8(vote.committed.into());
}

pub(super) fn take_vote(bytes: &mut Bytes) -> io::Result<Vote> {
    Ok(Vote { term: take_u64(bytes)?, node: take_u64(bytes)?, committed: take(bytes, 1)?[0] == 1 })
}

pub(super) fn take_u64(bytes: &mut Bytes) -> io::Result<u64> {
    Ok(take(bytes, 8)?.get_u64())
}

/// The first `len` bytes.
pub(super) fn take(bytes: &mut Bytes, len: usize) -> io::Result<Bytes> {
    if bytes.len() < len { Err(malformed()) } else { Ok(bytes.split_to(len)) }
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed bytes of another node")
}
