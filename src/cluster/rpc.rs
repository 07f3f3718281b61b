//! What nodes ask each other, as bytes: a request and its answer, of one kind each.
//!
//! ```text
//! 1 append    vote | optional id before | optional id committed | u32 count, each id | u32 length | payload
//! 2 vote      vote | optional id of the last entry | u8 whether the leader asks for it
//! 3 pre-vote  as 2
//! 4 transfer  vote of the leader | u64 node that is to lead | optional id of the last entry
//!
//! 1 answer    u8 0 all | u8 1, optional id of the last one | u8 2 not behind these | u8 3, vote that is higher
//! 2, 3        vote | u8 whether it is given | optional id of the last entry
//! 4           nothing: it asks for votes now
//! 0           str why it cannot be answered
//! ```

use super::types::{
    RaftVote, TypeConfig, malformed, of_raft_entry, of_raft_id, of_raft_vote, put_id, put_optional, put_text,
    put_vote, take, take_id, take_optional, take_text, take_u64, take_vote, to_raft_entry, to_raft_id,
    to_raft_vote,
};
use crate::store::replica::log::{EntryId, LogEntry};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use std::io;

const FAULT: u8 = 0;
const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const TRANSFER: u8 = 4;

pub(super) type Append = AppendEntriesRequest<TypeConfig>;
pub(super) type Appended = AppendEntriesResponse<TypeConfig>;
pub(super) type AskVote = VoteRequest<TypeConfig>;
pub(super) type Voted = VoteResponse<TypeConfig>;
pub(super) type Transfer = TransferLeaderRequest<TypeConfig>;

/// A request.
#[derive(Debug)]
pub(super) enum Request {
    Append(Append),
    Vote(AskVote),
    PreVote(AskVote),
    Transfer(Transfer),
}

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    Appended(Appended),
    Voted(Voted),
    Transferred,
    Fault(String),
}

impl Request {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Append(append) => {
                out.put_u8(APPEND);
                put_vote(&mut out, of_raft_vote(&append.vote));
                put_optional(&mut out, append.prev_log_id.as_ref().map(of_raft_id), put_id);
                put_optional(&mut out, append.leader_commit.as_ref().map(of_raft_id), put_id);
                put_len(&mut out, append.entries.len());
                for entry in &append.entries {
                    let LogEntry { id, payload } = of_raft_entry(entry);
                    put_id(&mut out, id);
                    put_len(&mut out, payload.len());
                    out.extend_from_slice(&payload);
                }
            }
            Self::Vote(ask) => put_ask(&mut out, VOTE, ask),
            Self::PreVote(ask) => put_ask(&mut out, PRE_VOTE, ask),
            Self::Transfer(transfer) => {
                out.put_u8(TRANSFER);
                put_vote(&mut out, of_raft_vote(transfer.from_leader()));
                out.put_u64(*transfer.to_node_id());
                put_optional(&mut out, transfer.last_log_id().map(of_raft_id), put_id);
            }
        }
        out.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        match take(&mut bytes, 1)?[0] {
            APPEND => {
                let vote = take_raft_vote(&mut bytes)?;
                let prev_log_id = take_optional(&mut bytes, take_id)?.map(to_raft_id);
                let leader_commit = take_optional(&mut bytes, take_id)?.map(to_raft_id);
                let count = take_len(&mut bytes)?;
                let entries = (0..count).map(|_| {
                    let id: EntryId = take_id(&mut bytes)?;
                    let len = take_len(&mut bytes)?;
                    to_raft_entry(LogEntry { id, payload: take(&mut bytes, len)? })
                });
                let entries = entries.collect::<io::Result<_>>()?;
                Ok(Self::Append(Append { vote, prev_log_id, entries, leader_commit }))
            }
            VOTE => take_ask(&mut bytes).map(Self::Vote),
            PRE_VOTE => take_ask(&mut bytes).map(Self::PreVote),
            TRANSFER => {
                let (from, to) = (take_raft_vote(&mut bytes)?, take_u64(&mut bytes)?);
                let last = take_optional(&mut bytes, take_id)?.map(to_raft_id);
                Ok(Self::Transfer(Transfer::new(from, to, last)))
            }
            _ => Err(malformed()),
        }
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Appended(appended) => {
                out.put_u8(APPEND);
                match appended {
                    Appended::Success => out.put_u8(0),
                    Appended::PartialSuccess(last) => {
                        out.put_u8(1);
                        put_optional(&mut out, last.as_ref().map(of_raft_id), put_id);
                    }
                    Appended::Conflict => out.put_u8(2),
                    Appended::HigherVote(vote) => {
                        out.put_u8(3);
                        put_vote(&mut out, of_raft_vote(vote));
                    }
                }
            }
            Self::Voted(voted) => {
                out.put_u8(VOTE);
                put_vote(&mut out, of_raft_vote(&voted.vote));
                out.put_u8(voted.vote_granted.into());
                put_optional(&mut out, voted.last_log_id.as_ref().map(of_raft_id), put_id);
            }
            Self::Transferred => out.put_u8(TRANSFER),
            Self::Fault(why) => {
                out.put_u8(FAULT);
                put_text(&mut out, why);
            }
        }
        out.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        match take(&mut bytes, 1)?[0] {
            APPEND => Ok(Self::Appended(match take(&mut bytes, 1)?[0] {
                0 => Appended::Success,
                1 => Appended::PartialSuccess(take_optional(&mut bytes, take_id)?.map(to_raft_id)),
                2 => Appended::Conflict,
                3 => Appended::HigherVote(take_raft_vote(&mut bytes)?),
                _ => return Err(malformed()),
            })),
            VOTE => {
                let vote = take_raft_vote(&mut bytes)?;
                let granted = take(&mut bytes, 1)?[0] == 1;
                Ok(Self::Voted(Voted::new(
                    vote,
                    take_optional(&mut bytes, take_id)?.map(to_raft_id),
                    granted,
                )))
            }
            TRANSFER => Ok(Self::Transferred),
            FAULT => take_text(&mut bytes).map(Self::Fault),
            _ => Err(malformed()),
        }
    }
}

fn put_ask(out: &mut BytesMut, kind: u8, ask: &AskVote) {
    out.put_u8(kind);
    put_vote(out, of_raft_vote(&ask.vote));
    put_optional(out, ask.last_log_id.as_ref().map(of_raft_id), put_id);
    out.put_u8(ask.leadership_transfer.into());
}

fn take_ask(bytes: &mut Bytes) -> io::Result<AskVote> {
    let vote = take_raft_vote(bytes)?;
    let mut ask = AskVote::new(vote, take_optional(bytes, take_id)?.map(to_raft_id));
    ask.leadership_transfer = take(bytes, 1)?[0] == 1;
    Ok(ask)
}

fn take_raft_vote(bytes: &mut Bytes) -> io::Result<RaftVote> {
    take_vote(bytes).map(to_raft_vote)
}

fn put_len(out: &mut BytesMut, len: usize) {
    out.put_u32(u32::try_from(len).expect("an entry is under 4 GiB"));
}

fn take_len(bytes: &mut Bytes) -> io::Result<usize> {
    Ok(take(bytes, 4)?.get_u32() as usize)
}
