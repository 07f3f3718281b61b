//! A commit group: changes that reach the disk together or not at all, and their place among all
//! groups. It is a value: as bytes it can go elsewhere, and be applied there to the same effect.
//!
//! The number goes beside the bytes, as in an entry of the journal, whose payload these are. They
//! are one change after the other, each a kind and its fields; integers big-endian, `str` a u32
//! length and that many bytes.
//!
//! ```text
//! 1 publish          u64 queue | u64 first | u32 length | records, as `message` draws them
//! 2 settle           u64 queue | u64 first | u64 end
//! 3 requeue          u64 queue | u64 number | u32 deliveries | u64 until when it waits (see `mark`), from format 3 on
//! 4 delivered        u64 queue | u64 up to
//! 5 declare queue    u64 queue | str row of `queues`
//! 6 delete queue     u64 queue
//! 7 declare exchange str key | str row of `exchanges`
//! 8 delete exchange  str vhost | str name
//! 9 bind, 10 unbind  str key of `bindings`
//! 11 stream begins   u64 queue | u64 first
//! 12 stream chunk    u64 queue | u64 first | u64 ms | u64 position
//! 13 stream offset   u64 queue | u64 next | str name
//! 14 stream forgets  u64 queue | str name
//! 20 seen            str key | str row of `seen`
//! 21 forget          str key of `seen` without its slot
//! 40 put user, 42 permission, 44 topic permission           str key | str row of their table
//! 46 put vhost                                              str key | str row of its table
//! 41 delete user, 43 permission, 45 topic permission        str key
//! 47 delete vhost                                           str key
//! 48 put policy      str key | str row of `policies`
//! 49 delete policy   str key
//! 50 put parameter   str name | str value, a JSON text
//! 51 delete parameter str name
//! ```

use super::merge::{QueueBatch, WriteBatch};
use super::stream::StreamBatch;
use crate::ids::{QueueId, SeqRange};
use crate::message::Block;
use crate::store::change::{Change, StreamChunk, StreamNote};
use crate::store::codec;
use crate::store::codec::auth::{self, AuthRow};
use crate::store::codec::policy::{self, PolicyRow};
use crate::store::codec::record;
use crate::store::codec::seen;
use crate::store::error::StoreError;
use bytes::Bytes;
use std::sync::Arc;

/// The first format whose requeues have a time.
const REQUEUES_TIMED: u32 = 3;

const PUBLISH: u8 = 1;
const SETTLE: u8 = 2;
const REQUEUE: u8 = 3;
const DELIVERED: u8 = 4;
const DECLARE_QUEUE: u8 = 5;
const DELETE_QUEUE: u8 = 6;
const DECLARE_EXCHANGE: u8 = 7;
const DELETE_EXCHANGE: u8 = 8;
const BIND: u8 = 9;
const UNBIND: u8 = 10;
const STREAM_BEGINS: u8 = 11;
const STREAM_CHUNK: u8 = 12;
const STREAM_OFFSET: u8 = 13;
const STREAM_FORGET: u8 = 14;
const SEEN: u8 = 20;
const FORGET: u8 = 21;
/// Two for each kind of row: one to put it, one to delete it.
const AUTH: u8 = 40;
const AUTH_LAST: u8 = AUTH + 2 * auth::KINDS - 1;
const PUT_POLICY: u8 = 48;
const DELETE_POLICY: u8 = 49;
const PUT_PARAMETER: u8 = 50;
const DELETE_PARAMETER: u8 = 51;

/// What is committed at a time.
#[derive(Debug)]
pub(in crate::store) struct Group {
    /// One more than that of the group before; those of which nothing is left have none.
    pub(in crate::store) number: u64,
    /// Merged against all groups before it. What of them is local goes the same way, and is no part
    /// of the group.
    pub(in crate::store) changes: WriteBatch,
}

impl Group {
    /// The group after that with the number `last`, with nothing in it so far.
    pub(in crate::store) fn after(last: u64) -> Self {
        Self { number: last + 1, changes: WriteBatch::default() }
    }

    /// Appends its changes to `out`.
    pub(in crate::store) fn encode(&self, out: &mut Vec<u8>) {
        encode_changes(&self.changes, out);
    }

    /// Reads a group back whose changes were written by a version that has this format.
    ///
    /// # Errors
    /// They are nothing that a group ever had.
    pub(in crate::store) fn decode(number: u64, bytes: &[u8], format: u32) -> Result<Self, StoreError> {
        let mut changes = WriteBatch::default();
        changes.absorb(decode_changes(bytes, format)?);
        Ok(Self { number, changes })
    }
}

fn encode_changes(batch: &WriteBatch, out: &mut Vec<u8>) {
    for (&id, queue) in &batch.queues {
        encode_queue(id, queue, out);
    }
    for change in &batch.metadata {
        match change {
            Change::DeclareExchange(record) => {
                out.push(DECLARE_EXCHANGE);
                put(out, &record::exchange_key(&record.vhost, &record.name));
                put(out, &record::encode_exchange(record));
            }
            Change::DeleteExchange { vhost, name } => {
                out.push(DELETE_EXCHANGE);
                put(out, vhost.as_bytes());
                put(out, name.as_bytes());
            }
            Change::Bind(record) => {
                out.push(BIND);
                put(out, &record::encode_binding(record));
            }
            Change::Unbind(record) => {
                out.push(UNBIND);
                put(out, &record::encode_binding(record));
            }
            Change::Seen(record) => {
                out.push(SEEN);
                put(out, &seen::encode_key(record));
                put(out, &seen::encode_row(record));
            }
            Change::Forget(by) => {
                out.push(FORGET);
                put(out, &seen::encode_owner(by));
            }
            Change::Auth(change) => {
                let AuthRow { kind, key, value } = auth::encode(change);
                out.push(AUTH + 2 * kind + u8::from(value.is_none()));
                put(out, &key);
                value.iter().for_each(|value| put(out, value));
            }
            Change::Policy(change) => {
                let PolicyRow { key, value } = policy::encode(change);
                out.push(if value.is_some() { PUT_POLICY } else { DELETE_POLICY });
                put(out, &key);
                value.iter().for_each(|value| put(out, value));
            }
            Change::Parameter { name, value } => {
                out.push(if value.is_some() { PUT_PARAMETER } else { DELETE_PARAMETER });
                put(out, name.as_bytes());
                value.iter().for_each(|value| put(out, value.as_bytes()));
            }
            Change::Publish { .. }
            | Change::Spill { .. }
            | Change::Settle { .. }
            | Change::Requeue { .. }
            | Change::Delivered { .. }
            | Change::Stream { .. }
            | Change::DeclareQueue(_)
            | Change::DeleteQueue(_) => unreachable!("changes of queues are merged by queue"),
        }
    }
}

fn encode_queue(id: QueueId, queue: &QueueBatch, out: &mut Vec<u8>) {
    let mut begin = |kind, numbers: &[u64]| {
        out.push(kind);
        out.extend_from_slice(&id.0.to_be_bytes());
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
    };
    if queue.deleted {
        return begin(DELETE_QUEUE, &[]);
    }
    for range in &queue.settled {
        begin(SETTLE, &[range.first, range.end]);
    }
    for &up_to in queue.delivered.values() {
        begin(DELIVERED, &[up_to]);
    }
    if let Some(stream) = &queue.stream {
        stream.first.iter().for_each(|&first| begin(STREAM_BEGINS, &[first]));
        for chunk in stream.chunks.values() {
            begin(STREAM_CHUNK, &[chunk.first, chunk.since_ms, chunk.position]);
        }
    }
    for (&seq, &(deliveries, due_ms)) in &queue.requeues {
        out.push(REQUEUE);
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&seq.to_be_bytes());
        out.extend_from_slice(&deliveries.to_be_bytes());
        out.extend_from_slice(&due_ms.to_be_bytes());
    }
    if let Some(record) = &queue.declared {
        out.push(DECLARE_QUEUE);
        out.extend_from_slice(&id.0.to_be_bytes());
        put(out, &record::encode_queue(record));
    }
    if let Some(stream) = &queue.stream {
        encode_names(id, stream, out);
    }
    for run in &queue.runs {
        out.push(PUBLISH);
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&run.first.to_be_bytes());
        put(out, &run.block.slice(run.range.clone()));
    }
}

fn encode_names(id: QueueId, stream: &StreamBatch, out: &mut Vec<u8>) {
    for (name, &next) in &stream.offsets {
        out.push(STREAM_OFFSET);
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&next.to_be_bytes());
        put(out, name.as_bytes());
    }
    for name in &stream.forgotten {
        out.push(STREAM_FORGET);
        out.extend_from_slice(&id.0.to_be_bytes());
        put(out, name.as_bytes());
    }
}

fn decode_changes(payload: &[u8], format: u32) -> Result<Vec<Change>, StoreError> {
    let mut reader = Reader { rest: payload, format };
    let mut changes = Vec::new();
    while let Some(kind) = reader.kind() {
        changes.push(reader.change(kind)?);
    }
    Ok(changes)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("an entry is no longer than the journal");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    rest: &'a [u8],
    format: u32,
}

impl<'a> Reader<'a> {
    fn kind(&mut self) -> Option<u8> {
        let (&kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(kind)
    }

    fn change(&mut self, kind: u8) -> Result<Change, StoreError> {
        Ok(match kind {
            PUBLISH => {
                let (queue, first) = (self.queue()?, self.u64()?);
                let block = Block::from_bytes(Bytes::copy_from_slice(self.bytes()?))
                    .map_err(|error| StoreError::Damaged(format!("an entry of the journal: {error}")))?;
                Change::Publish { queue, first, range: 0..block.len(), block: Arc::new(block) }
            }
            SETTLE => {
                let (queue, range) = (self.queue()?, SeqRange { first: self.u64()?, end: self.u64()? });
                if range.is_empty() {
                    return Err(malformed());
                }
                Change::Settle { queue, range }
            }
            REQUEUE => Change::Requeue {
                queue: self.queue()?,
                seq: self.u64()?,
                deliveries: self.u32()?,
                due_ms: if self.format < REQUEUES_TIMED {
                    0
                } else {
                    self.array().map(u64::from_be_bytes)?
                },
            },
            DELIVERED => Change::Delivered { queue: self.queue()?, up_to: self.u64()? },
            DECLARE_QUEUE => Change::DeclareQueue(record::decode_queue(self.queue()?.0, self.bytes()?)?),
            DELETE_QUEUE => Change::DeleteQueue(self.queue()?),
            DECLARE_EXCHANGE => {
                Change::DeclareExchange(record::decode_exchange(self.bytes()?, self.bytes()?)?)
            }
            DELETE_EXCHANGE => Change::DeleteExchange { vhost: self.text()?, name: self.text()? },
            BIND => Change::Bind(record::decode_binding(self.bytes()?)?),
            UNBIND => Change::Unbind(record::decode_binding(self.bytes()?)?),
            STREAM_BEGINS | STREAM_CHUNK | STREAM_OFFSET | STREAM_FORGET => {
                Change::Stream { queue: self.queue()?, note: self.note(kind)? }
            }
            SEEN => Change::Seen(seen::decode(self.bytes()?, self.bytes()?)?),
            FORGET => Change::Forget(seen::decode_owner(self.bytes()?)?),
            AUTH..=AUTH_LAST => {
                let (kind, deletes) = ((kind - AUTH) / 2, (kind - AUTH) % 2 == 1);
                let key = self.bytes()?;
                let value = if deletes { None } else { Some(self.bytes()?) };
                Change::Auth(auth::decode(kind, key, value)?)
            }
            PUT_POLICY => Change::Policy(policy::decode(self.bytes()?, Some(self.bytes()?))?),
            DELETE_POLICY => Change::Policy(policy::decode(self.bytes()?, None)?),
            PUT_PARAMETER => Change::Parameter { name: self.text()?, value: Some(self.text()?) },
            DELETE_PARAMETER => Change::Parameter { name: self.text()?, value: None },
            _ => return Err(malformed()),
        })
    }

    fn note(&mut self, kind: u8) -> Result<StreamNote, StoreError> {
        Ok(match kind {
            STREAM_BEGINS => StreamNote::Begins(self.u64()?),
            STREAM_CHUNK => StreamNote::Chunk(StreamChunk {
                first: self.u64()?,
                since_ms: self.u64()?,
                position: self.u64()?,
            }),
            STREAM_OFFSET => StreamNote::Offset { next: self.u64()?, name: self.text()?.into() },
            _ => StreamNote::Forget { name: self.text()?.into() },
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(malformed)?;
        self.rest = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes).and_then(codec::number)
    }

    fn queue(&mut self) -> Result<QueueId, StoreError> {
        self.u64().map(QueueId)
    }

    fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_not_utf8| malformed())
    }
}

fn malformed() -> StoreError {
    StoreError::Damaged("an entry of the journal is malformed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::directory::AuthChange;
    use crate::auth::permission::Permission;
    use crate::auth::vhost::VHostRecord;
    use crate::message::Message;
    use crate::policy::{ApplyTo, Policy, PolicyChange, Rank, Value};
    use crate::store::FORMAT;
    use crate::store::change::{BindingRecord, ExchangeRecord, QueueRecord};
    use crate::store::seen::{SeenBy, SeenRecord};

    fn record() -> QueueRecord {
        QueueRecord {
            id: QueueId(1),
            vhost: "/".into(),
            name: "jobs".into(),
            auto_delete: true,
            arguments: vec![1, 2],
        }
    }

    /// One change of every kind, and the bytes of the first few.
    fn policy() -> Policy {
        Policy {
            vhost: "/".into(),
            name: "p".into(),
            pattern: "^q".into(),
            apply_to: ApplyTo::All,
            priority: 1,
            definition: [("max-length".to_owned(), Value::Integer(3))].into(),
        }
    }

    fn changes() -> Vec<Change> {
        let message =
            Message { persistent: true, ..Message::published(5, (b"", b"jobs"), &[0, 0], b"hello") };
        let block = Arc::new(Block::of(&message));
        let stream = |note| Change::Stream { queue: QueueId(1), note };
        let exchange = ExchangeRecord {
            vhost: "/".into(),
            name: "logs".into(),
            kind: "topic".into(),
            auto_delete: false,
            internal: true,
            arguments: vec![3],
        };
        let binding = BindingRecord {
            vhost: "/".into(),
            source: "logs".into(),
            to_exchange: false,
            destination: "jobs".into(),
            routing_key: b"#".to_vec(),
            arguments: vec![],
        };
        let by = SeenBy::Queue(QueueId(1));
        vec![
            Change::Settle { queue: QueueId(1), range: SeqRange { first: 2, end: 4 } },
            Change::Delivered { queue: QueueId(1), up_to: 7 },
            stream(StreamNote::Begins(2)),
            stream(StreamNote::Chunk(StreamChunk { first: 5, since_ms: 6, position: 7 })),
            Change::Requeue { queue: QueueId(1), seq: 6, deliveries: 3, due_ms: 9 },
            Change::DeclareQueue(record()),
            stream(StreamNote::Offset { name: "reader".into(), next: 8 }),
            stream(StreamNote::Forget { name: "gone".into() }),
            Change::Publish { queue: QueueId(1), first: 9, block, range: 0..1 },
            Change::DeleteQueue(QueueId(2)),
            Change::DeclareExchange(exchange),
            Change::DeleteExchange { vhost: "/".into(), name: "old".into() },
            Change::Bind(binding.clone()),
            Change::Unbind(binding),
            Change::Seen(SeenRecord { by: by.clone(), slot: 3, number: 131, until_ms: 5, value: vec![4] }),
            Change::Forget(by),
            Change::Auth(AuthChange::DeleteUser { name: "gone".into() }),
            Change::Auth(AuthChange::PutVHost(VHostRecord::root())),
            Change::Auth(AuthChange::BeginVHostDeletion { name: "v".into() }),
            Change::Auth(AuthChange::DeleteVHost { name: "v".into() }),
            Change::Auth(AuthChange::PutPermission(Permission {
                user: "u".into(),
                vhost: "/".into(),
                configure: String::new(),
                write: ".*".into(),
                read: "^q".into(),
            })),
            Change::Policy(PolicyChange::Put(Rank::User, policy())),
            Change::Policy(PolicyChange::Delete {
                rank: Rank::Operator,
                vhost: "/".into(),
                name: "gone".into(),
            }),
            Change::Parameter { name: "cluster_name".into(), value: Some("\"c\"".into()) },
            Change::Parameter { name: "gone".into(), value: None },
        ]
    }

    fn encoded() -> Vec<u8> {
        let mut batch = WriteBatch::default();
        batch.absorb(changes());
        let mut out = Vec::new();
        encode_changes(&batch, &mut out);
        out
    }

    #[test]
    fn every_kind_of_change_comes_back() {
        assert_eq!(format!("{:?}", decode_changes(&encoded(), FORMAT).unwrap()), format!("{:?}", changes()));
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn the_payload_is_as_drawn() {
        let bytes = encoded();
        let begin = b"\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x04\
                      \x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07\
                      \x0b\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\
                      \x0c\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x07\
                      \x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x06\0\0\0\x03\0\0\0\0\0\0\0\x09\
                      \x05\0\0\0\0\0\0\0\x01\0\0\0\x14";
        assert!(bytes.starts_with(begin), "{bytes:?}");
    }

    #[test]
    fn a_payload_that_is_cut_off_is_refused_or_ends_between_changes() {
        let bytes = encoded();
        let whole = (0..bytes.len()).filter(|&end| decode_changes(&bytes[..end], FORMAT).is_ok()).count();
        assert_eq!(whole, changes().len(), "only between changes");
        assert!(decode_changes(b"\x63", FORMAT).is_err());
        assert!(
            decode_changes(b"\x06\xff\xff\xff\xff\xff\xff\xff\xff", FORMAT).is_err(),
            "no queue has this id"
        );
        let backwards = b"\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x02";
        assert!(decode_changes(backwards, FORMAT).is_err());
    }
}
