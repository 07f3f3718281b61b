//! A naive store: what must be on disk after each unit of a random workload.

use super::{block, bodies};
use crate::support::draw::Draw;
use leveret::auth::directory::{AuthChange, Directory};
use leveret::auth::permission::{Permission, TopicPermission};
use leveret::auth::user::{User, UserLimits};
use leveret::auth::vhost::{VHostLimits, VHostRecord};
use leveret::ids::{QueueId, SeqRange, lane_of, lane_start};
use leveret::policy::{ApplyTo, Policy, PolicyChange, Rank, Value};
use leveret::store::Opened;
use leveret::store::change::{BindingRecord, Change, ExchangeRecord, QueueRecord};
use leveret::store::change::{RecoveredStream, StreamChunk, StreamNote};
use leveret::store::seen::{SeenBy, SeenRecord};
use std::collections::{BTreeMap, BTreeSet};

/// The lanes that queues have.
const LANES: [u8; 3] = [0, 3, 255];

/// What outlives the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    queues: BTreeMap<u64, ModelQueue>,
    exchanges: BTreeMap<String, String>,
    bindings: BTreeSet<BindingRecord>,
    /// By owner and slot.
    seen: BTreeMap<(SeenBy, u64), SeenRecord>,
    /// The changes that make the users there are, once there was one.
    auth: Option<Vec<AuthChange>>,
    /// By rank and name.
    policies: BTreeMap<(Rank, String), Policy>,
    parameters: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ModelQueue {
    name: String,
    messages: BTreeMap<u64, Vec<u8>>,
    /// Failed deliveries, and until when the message waits.
    requeues: BTreeMap<u64, (u32, u64)>,
    stream: Option<RecoveredStream>,
}

/// Changes that reach the disk together: several appends in one atomic batch.
pub(super) type Unit = Vec<Vec<Change>>;

/// A random workload.
pub(super) struct Workload {
    draw: Draw,
    model: Model,
    users: Directory,
    next_queue: u64,
    /// The next number of each lane of each queue, undeclared ones too.
    next_seq: BTreeMap<u64, BTreeMap<u8, u64>>,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        let (draw, model, mut users) = (Draw::new(seed), Model::default(), Directory::default());
        // A new file has this one.
        users.apply(AuthChange::PutVHost(VHostRecord::root()));
        Self { draw, model, users, next_queue: 1, next_seq: BTreeMap::new() }
    }

    /// The next unit and what must be on disk after it.
    pub(super) fn step(&mut self) -> (Unit, Model) {
        let mut unit = Vec::new();
        match self.draw.below(27) {
            0 => unit.push(vec![self.declare()]),
            1 => unit.push(self.declare_stream()),
            2 => unit.push(self.delete()),
            3 => unit.push(vec![self.exchange()]),
            4 => unit.push(vec![self.bind()]),
            5..=9 => unit.push(self.publish()),
            10..=13 => unit.push(self.settle()),
            14 => unit.push(self.give_back()),
            15 => unit.push(self.note()),
            16 => {
                // A dead letter: it enters one queue and leaves the other.
                unit.push(self.publish());
                unit.push(self.settle());
            }
            17 | 18 => unit.push(self.see()),
            19 | 20 => unit.push(self.allow()),
            21 | 22 => unit.push(vec![self.rule()]),
            23 => unit.push(vec![self.parameter()]),
            _ => {
                // Everything at once, also what is consumed before it is written.
                unit.push(self.publish());
                let mut more = self.publish();
                more.append(&mut self.settle());
                more.append(&mut self.give_back());
                more.append(&mut self.settle());
                more.append(&mut self.note());
                more.append(&mut self.note());
                unit.push(more);
                unit.push(vec![self.bind()]);
            }
        }
        (unit, self.model.clone())
    }

    fn declare(&mut self) -> Change {
        let id = self.next_queue;
        self.next_queue += 1;
        // Now and then a queue stays without a record, as one that is not durable.
        let first = self.draw.below(3);
        self.next_seq.insert(id, LANES.map(|lane| (lane, lane_start(lane) + first)).into());
        let name = format!("queue {id}");
        let queue = ModelQueue { name: name.clone(), ..ModelQueue::default() };
        self.model.queues.insert(id, queue);
        Change::DeclareQueue(QueueRecord {
            id: QueueId(id),
            vhost: "/".to_owned(),
            name,
            auto_delete: id.is_multiple_of(2),
            arguments: vec![1; 5],
        })
    }

    fn declare_stream(&mut self) -> Vec<Change> {
        let (queue, declared) = (QueueId(self.next_queue), self.declare());
        if let Some(queue) = self.model.queues.get_mut(&queue.0) {
            queue.stream = Some(RecoveredStream::default());
        }
        vec![declared, Change::Stream { queue, note: StreamNote::Begins(0) }]
    }

    /// Something about a stream, if the queue that is drawn is one.
    fn note(&mut self) -> Vec<Change> {
        let Some(id) = self.a_queue() else { return Vec::new() };
        let (queue, end) = (QueueId(id), self.next_seq[&id][&0]);
        let Some(ModelQueue { messages, stream: Some(stream), .. }) = self.model.queues.get_mut(&id) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        let note = match self.draw.below(5) {
            0 => {
                let first = stream.first + self.draw.below(end - stream.first.min(end) + 1);
                messages.retain(|&seq, _| seq >= first);
                stream.chunks.retain(|chunk| chunk.first >= first);
                stream.first = first;
                changes.push(Change::Settle { queue, range: SeqRange { first: 0, end: first } });
                StreamNote::Begins(first)
            }
            1 | 2 => {
                let first = stream.chunks.last().map_or(stream.first, |chunk| chunk.first + 1);
                let chunk =
                    StreamChunk { first, since_ms: self.draw.below(99), position: self.draw.below(99) };
                stream.chunks.push(chunk);
                StreamNote::Chunk(chunk)
            }
            draw => {
                let name: Box<str> = format!("reader {}", self.draw.below(3)).into();
                stream.offsets.retain(|(other, _)| *other != name);
                if draw == 3 {
                    StreamNote::Forget { name }
                } else {
                    let next = self.draw.below(end + 1);
                    stream.offsets.push((name.clone(), next));
                    stream.offsets.sort();
                    StreamNote::Offset { name, next }
                }
            }
        };
        changes.push(Change::Stream { queue, note });
        changes
    }

    fn delete(&mut self) -> Vec<Change> {
        let Some(id) = self.a_queue() else { return vec![self.declare()] };
        if self.next_seq.len() < 3 {
            return self.publish();
        }
        self.model.queues.remove(&id);
        self.next_seq.remove(&id);
        self.model.bindings.retain(|binding| binding.destination != format!("queue {id}"));
        let mut changes: Vec<Change> = vec![Change::DeleteQueue(QueueId(id))];
        changes.extend((0..3).map(|key| Change::Unbind(binding(id, key))));
        changes.push(self.forget(SeenBy::Queue(QueueId(id))));
        changes
    }

    fn see(&mut self) -> Vec<Change> {
        let exchange = SeenBy::Exchange { vhost: "/".to_owned(), name: "x".to_owned() };
        let queue = self.a_queue().map(|id| SeenBy::Queue(QueueId(id)));
        let by = queue.filter(|_| self.draw.one_in(2)).unwrap_or(exchange);
        if self.draw.one_in(10) {
            return vec![self.forget(by)];
        }
        let mut changes = Vec::new();
        for _ in 0..=self.draw.below(3) {
            let (slot, number, until_ms) = (self.draw.below(5), self.draw.below(900), self.draw.below(900));
            let value = vec![b'v'; usize::try_from(self.draw.below(40)).unwrap()];
            let record = SeenRecord { by: by.clone(), slot, number, until_ms, value };
            self.model.seen.insert((by.clone(), slot), record.clone());
            changes.push(Change::Seen(record));
        }
        changes
    }

    fn forget(&mut self, by: SeenBy) -> Change {
        self.model.seen.retain(|(owner, _), _| *owner != by);
        Change::Forget(by)
    }

    /// Something about users and vhosts; a permission may be of one that is not there.
    fn allow(&mut self) -> Vec<Change> {
        let name = format!("user {}", self.draw.below(4));
        let vhost = ["/", "v"][usize::try_from(self.draw.below(2)).unwrap()].to_owned();
        let (user, exchange) = (name.clone(), format!("t{}", self.draw.below(2)));
        let pattern = format!("^{}", self.draw.below(99));
        let (configure, write, read) = (String::new(), pattern.clone(), ".*".to_owned());
        let changes = match self.draw.below(8) {
            0 => self.users.deletion_of(&name),
            1 => vec![AuthChange::DeletePermission { user, vhost }],
            2 => vec![AuthChange::DeleteTopicPermission { user, vhost, exchange }],
            3 => {
                vec![AuthChange::PutTopicPermission(TopicPermission { user, vhost, exchange, write, read })]
            }
            4 => vec![AuthChange::PutPermission(Permission { user, vhost, configure, write, read })],
            5 => self.users.deletion_of_vhost(&vhost),
            6 => {
                let limits = VHostLimits { connections_max: None, queues_max: Some(7) };
                vec![AuthChange::PutVHost(VHostRecord {
                    tags: vec![pattern],
                    limits,
                    ..VHostRecord::named(&vhost)
                })]
            }
            _ => {
                let limits = UserLimits { connections_max: Some(3), channels_max: None };
                vec![AuthChange::PutUser(User { name, password: None, tags: vec![pattern], limits })]
            }
        };
        for change in changes.iter().cloned() {
            self.users.apply(change);
        }
        if self.model.auth.is_some() || changes.iter().any(|change| matches!(change, AuthChange::PutUser(_)))
        {
            self.model.auth = Some(all(&self.users));
        }
        changes.into_iter().map(Change::Auth).collect()
    }

    /// Something about policies.
    fn rule(&mut self) -> Change {
        let rank = *self.draw.pick(&[Rank::User, Rank::Operator]);
        let (vhost, name) = ("/".to_owned(), format!("policy {}", self.draw.below(3)));
        if self.draw.one_in(3) {
            self.model.policies.remove(&(rank, name.clone()));
            return Change::Policy(PolicyChange::Delete { rank, vhost, name });
        }
        let length = Value::Integer(self.draw.below(9).cast_signed());
        let policy = Policy {
            vhost,
            name: name.clone(),
            pattern: format!("^{}", self.draw.below(9)),
            apply_to: ApplyTo::Queues,
            priority: -self.draw.below(9).cast_signed(),
            definition: [("max-length".to_owned(), length)].into(),
        };
        self.model.policies.insert((rank, name), policy.clone());
        Change::Policy(PolicyChange::Put(rank, policy))
    }

    fn parameter(&mut self) -> Change {
        let name = format!("parameter {}", self.draw.below(3));
        let value = (!self.draw.one_in(3)).then(|| self.draw.below(9).to_string());
        self.model.parameters.remove(&name);
        self.model.parameters.extend(value.clone().map(|value| (name.clone(), value)));
        Change::Parameter { name, value }
    }

    fn exchange(&mut self) -> Change {
        let name = format!("exchange {}", self.draw.below(4));
        if self.model.exchanges.remove(&name).is_some() {
            return Change::DeleteExchange { vhost: "/".to_owned(), name };
        }
        let kind = if self.draw.one_in(2) { "topic" } else { "fanout" }.to_owned();
        self.model.exchanges.insert(name.clone(), kind.clone());
        Change::DeclareExchange(ExchangeRecord {
            vhost: "/".to_owned(),
            name,
            kind,
            auto_delete: false,
            internal: true,
            arguments: Vec::new(),
        })
    }

    fn bind(&mut self) -> Change {
        let Some(id) = self.a_queue() else { return self.exchange() };
        let binding = binding(id, self.draw.below(3));
        if !self.model.queues.contains_key(&id) || self.model.bindings.remove(&binding) {
            return Change::Unbind(binding);
        }
        self.model.bindings.insert(binding.clone());
        Change::Bind(binding)
    }

    fn publish(&mut self) -> Vec<Change> {
        if self.next_seq.is_empty() || self.draw.one_in(30) {
            let id = self.next_queue;
            self.next_queue += 1;
            self.next_seq.insert(id, LANES.map(|lane| (lane, lane_start(lane))).into());
        }
        let Some(id) = self.a_queue() else { return Vec::new() };
        // Now and then a number is left out: a transient message that was not written.
        let gap = u64::from(self.draw.one_in(4));
        let lane = self.a_lane(id);
        let first = self.next_seq[&id][&lane] + gap;
        let records: Vec<(Vec<u8>, bool)> = (0..=self.draw.below(6))
            .map(|index| {
                let len = if self.draw.one_in(8) { 3000 } else { 20 };
                let mut body = format!("{id}:{}:", first + index).into_bytes();
                body.resize(body.len() + usize::try_from(self.draw.below(len)).unwrap(), b'x');
                (body, !self.draw.one_in(5))
            })
            .collect();
        // Not always the whole block.
        let skip = self.draw.below(2).min(records.len() as u64 - 1);
        let block = block(&records);
        let range = u32::try_from(skip).unwrap()..block.len();
        let next = first + u64::from(block.len()) - skip;
        self.next_seq.entry(id).or_default().insert(lane, next);
        if let Some(queue) = self.model.queues.get_mut(&id) {
            let entering = (first..).zip(records.into_iter().skip(usize::try_from(skip).unwrap()));
            let all = queue.stream.is_some();
            let lasting = entering.filter(|(_, (_, persistent))| all || *persistent);
            queue.messages.extend(lasting.map(|(seq, (body, _))| (seq, body)));
        }
        let (queue, is_transient) = (QueueId(id), (0..block.len()).all(|index| !block.is_persistent(index)));
        let is_spilled = match self.model.queues.get(&id) {
            Some(queue) => is_transient && queue.stream.is_none(),
            None => true,
        };
        if is_spilled && !self.draw.one_in(4) {
            return vec![Change::Spill { queue, first, block, range }];
        }
        vec![Change::Publish { queue, first, block, range }]
    }

    fn settle(&mut self) -> Vec<Change> {
        let Some(id) = self.a_queue() else { return Vec::new() };
        let lane = self.a_lane(id);
        let (start, next) = (lane_start(lane), self.next_seq[&id][&lane]);
        // Mostly in order from the front, as acks come; sometimes anywhere, sometimes everything.
        let front = self.model.queues.get(&id).and_then(|queue| queue.messages.keys().next().copied());
        let range = match self.draw.below(8) {
            0 => SeqRange { first: start, end: next },
            1 | 2 => SeqRange::of(start + self.draw.below(next - start + 1), self.draw.below(4)),
            _ => SeqRange::of(front.unwrap_or(0), self.draw.below(8)),
        };
        if let Some(queue) = self.model.queues.get_mut(&id) {
            queue.messages.retain(|&seq, _| seq < range.first || range.end <= seq);
            queue.requeues.retain(|&seq, _| seq < range.first || range.end <= seq);
        }
        let next = self.next_seq[&id][&lane_of(range.first)];
        let end = range.end.min(next).max(range.first);
        vec![Change::Settle { queue: QueueId(id), range: SeqRange { first: range.first, end } }]
    }

    fn give_back(&mut self) -> Vec<Change> {
        let Some(id) = self.a_queue() else { return Vec::new() };
        let deliveries = 1 + u32::try_from(self.draw.below(9)).unwrap();
        let due_ms = self.draw.below(2) * self.draw.below(1 << 40);
        let Some(queue) = self.model.queues.get_mut(&id) else {
            return vec![Change::Requeue { queue: QueueId(id), seq: 0, deliveries, due_ms }];
        };
        if queue.stream.is_some() {
            return Vec::new();
        }
        let nth = usize::try_from(self.draw.below(queue.messages.len() as u64 + 1)).unwrap();
        let Some((&seq, _)) = queue.messages.iter().nth(nth) else { return Vec::new() };
        queue.requeues.insert(seq, (deliveries, due_ms));
        vec![Change::Requeue { queue: QueueId(id), seq, deliveries, due_ms }]
    }

    /// A lane of a queue; a stream has one only.
    fn a_lane(&mut self, id: u64) -> u8 {
        let is_stream = self.model.queues.get(&id).is_some_and(|queue| queue.stream.is_some());
        if is_stream { 0 } else { *self.draw.pick(&LANES) }
    }

    fn a_queue(&mut self) -> Option<u64> {
        let nth = usize::try_from(self.draw.below(self.next_seq.len().max(1) as u64)).unwrap();
        self.next_seq.keys().nth(nth).copied()
    }
}

/// The changes that make the users and vhosts there are.
fn all(users: &Directory) -> Vec<AuthChange> {
    let permissions = users.permissions().cloned().map(AuthChange::PutPermission);
    let topics = users.topic_permissions().cloned().map(AuthChange::PutTopicPermission);
    let vhosts = users.vhosts().cloned().map(AuthChange::PutVHost);
    let users = users.users().cloned().map(AuthChange::PutUser);
    users.chain(permissions).chain(topics).chain(vhosts).collect()
}

fn binding(queue: u64, key: u64) -> BindingRecord {
    BindingRecord {
        vhost: "/".to_owned(),
        source: "amq.topic".to_owned(),
        to_exchange: false,
        destination: format!("queue {queue}"),
        routing_key: format!("key.{key}").into_bytes(),
        arguments: Vec::new(),
    }
}

/// What a store found when it was opened, in the model's terms, read back to the last body.
pub(super) fn found(opened: &Opened) -> Model {
    let recovered = &opened.recovered;
    let mut model = Model::default();
    for queue in &recovered.queues {
        let id = queue.record.id.0;
        assert!(id < recovered.next_queue, "ids are never used again");
        assert!(queue.messages.is_sorted_by(|a, b| a.end < b.first), "ordered and joined");
        for last in &queue.messages {
            let lane = queue.lanes.iter().find(|lane| lane.lane == lane_of(last.first));
            assert!(lane.is_some_and(|lane| last.end <= lane.next));
        }
        let stream = queue.stream.clone();
        let next = queue.lanes.first().map_or(0, |lane| lane.next);
        assert!(stream.as_ref().is_none_or(|stream| stream.first <= next), "no number comes again");
        assert_eq!(queue.bytes > 0, !queue.messages.is_empty());
        let mut messages = BTreeMap::new();
        for &range in &queue.messages {
            let there = bodies(opened, id, range);
            assert_eq!(there.len() as u64, range.len(), "every message found can be read");
            messages.extend(there);
        }
        let returned = queue.requeues.iter();
        let requeues = returned.map(|found| (found.seq, (found.deliveries, found.due_ms))).collect();
        model.queues.insert(id, ModelQueue { name: queue.record.name.clone(), messages, requeues, stream });
    }
    model.exchanges =
        recovered.exchanges.iter().map(|found| (found.name.clone(), found.kind.clone())).collect();
    model.auth = recovered.auth.clone();
    for change in &recovered.policies {
        let PolicyChange::Put(rank, policy) = change else { panic!("a row of a policy is that policy") };
        model.policies.insert((*rank, policy.name.clone()), policy.clone());
    }
    model.parameters = recovered.parameters.iter().cloned().collect();
    model.bindings = recovered.bindings.iter().cloned().collect();
    assert!(recovered.seen.is_sorted_by_key(|record| (record.by.clone(), record.number)));
    model.seen =
        recovered.seen.iter().map(|record| ((record.by.clone(), record.slot), record.clone())).collect();
    model
}
