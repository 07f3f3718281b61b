//! Random operations against a naive topology: a list of names and a list of bindings, searched
//! from end to end.

use super::*;
use crate::arguments::{QueueFlags, Settings};
use crate::draw::{Draw, seeds};
use crate::ids::VHostId;
use crate::message::properties::NONE;
use crate::message::table::FieldValue;
use crate::queue::{Home, QueueContext};
use crate::routing::exchange::topic::LongMatches;
use crate::routing::route;
use crate::store::fake::FakeLog;
use std::sync::atomic::AtomicUsize;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bind {
    source: String,
    to_exchange: bool,
    destination: String,
    key: String,
    arguments: Vec<u8>,
}

/// Names of what exists, with what matters of each.
#[derive(Debug, Default)]
struct Model {
    /// Name and whether it is durable.
    queues: Vec<(String, bool)>,
    /// Name, type, durable, auto-delete.
    exchanges: Vec<(String, ExchangeType, bool, bool)>,
    binds: Vec<Bind>,
}

impl Model {
    fn has(&self, bind: &Bind) -> bool {
        let queue = self.queues.iter().any(|(name, _)| *name == bind.destination);
        let exchange = self.exchanges.iter().any(|(name, ..)| *name == bind.destination);
        let source = self.exchanges.iter().any(|(name, ..)| *name == bind.source);
        source && if bind.to_exchange { exchange } else { queue }
    }

    /// Drops the bindings that `lost` names, then whatever that leaves bare, over and over.
    fn drop_binds(&mut self, lost: impl Fn(&Bind) -> bool) {
        let before = self.binds.clone();
        self.binds.retain(|bind| !lost(bind));
        let gone: Vec<String> = self
            .exchanges
            .iter()
            .filter(|(name, _, _, auto_delete)| {
                let had = before.iter().any(|bind| bind.source == *name);
                *auto_delete && had && !self.binds.iter().any(|bind| bind.source == *name)
            })
            .map(|(name, ..)| name.clone())
            .collect();
        for name in gone {
            self.delete_exchange(&name);
        }
    }

    fn delete_exchange(&mut self, name: &str) {
        self.exchanges.retain(|(other, ..)| other != name);
        self.binds.retain(|bind| bind.source != name);
        self.drop_binds(|bind| bind.to_exchange && bind.destination == name);
    }

    fn delete_queue(&mut self, name: &str) {
        self.queues.retain(|(other, _)| other != name);
        self.drop_binds(|bind| !bind.to_exchange && bind.destination == name);
    }

    fn route(&self, origin: &str, key: &str) -> Vec<String> {
        let (mut reached, mut queues) = (vec![origin.to_owned()], Vec::new());
        let mut next = 0;
        while next < reached.len() {
            let source = reached[next].clone();
            next += 1;
            let Some((_, kind, ..)) = self.exchanges.iter().find(|(name, ..)| *name == source) else {
                continue;
            };
            for bind in self.binds.iter().filter(|bind| bind.source == source) {
                let matches = match kind {
                    ExchangeType::Direct => bind.key == key,
                    ExchangeType::Topic => {
                        bind.key == "#" || bind.key == key || bind.key == "*" && !key.is_empty()
                    }
                    ExchangeType::Fanout | ExchangeType::Headers => true,
                    _ => unreachable!("no exchange here chooses"),
                };
                let into = if bind.to_exchange { &mut reached } else { &mut queues };
                if matches && !into.contains(&bind.destination) {
                    into.push(bind.destination.clone());
                }
            }
        }
        queues.sort();
        queues
    }

    fn is_durable(&self, bind: &Bind) -> bool {
        let exchange =
            |name: &str| self.exchanges.iter().any(|(other, _, durable, _)| other == name && *durable);
        let queue = || self.queues.iter().any(|(other, durable)| *other == bind.destination && *durable);
        exchange(&bind.source) && if bind.to_exchange { exchange(&bind.destination) } else { queue() }
    }
}

/// What a store would hold after replaying all changes: names of queues and exchanges, and
/// bindings.
#[derive(Debug, Default)]
struct Disk {
    queues: BTreeMap<QueueId, String>,
    exchanges: BTreeSet<String>,
    binds: BTreeSet<Bind>,
}

impl Disk {
    fn replay(&mut self, change: Change) {
        let bind = |record: BindingRecord| Bind {
            source: record.source,
            to_exchange: record.to_exchange,
            destination: record.destination,
            key: String::from_utf8(record.routing_key).unwrap(),
            arguments: record.arguments,
        };
        let fits = match change {
            Change::DeclareQueue(record) => self.queues.insert(record.id, record.name).is_none(),
            Change::DeleteQueue(id) => self.queues.remove(&id).is_some(),
            Change::DeclareExchange(record) => self.exchanges.insert(record.name),
            Change::DeleteExchange { name, .. } => self.exchanges.remove(&name),
            Change::Bind(record) => self.binds.insert(bind(record)),
            Change::Unbind(record) => self.binds.remove(&bind(record)),
            other => panic!("{other:?} is none of the topology's"),
        };
        assert!(fits, "each change changes something");
    }
}

struct Trial {
    topology: Topology,
    model: Model,
    disk: Disk,
    context: QueueContext,
    next_queue: u64,
    draw: Draw,
}

impl Trial {
    fn random(&mut self, below: u64) -> u64 {
        self.draw.below(below)
    }

    fn coin(&mut self) -> bool {
        self.random(2) == 0
    }

    fn declare_queue(&mut self, name: String, changes: &mut Vec<Change>) {
        let durable = self.coin();
        if self.topology.queue(&name).is_some() {
            return;
        }
        self.next_queue += 1;
        let settings = Settings::new(QueueFlags { durable, ..QueueFlags::default() }, FieldTable::default());
        let identity = (QueueId(self.next_queue), name.as_str().into());
        self.topology.add_queue(Queue::new(identity, settings, None, &self.context), changes);
        self.model.queues.push((name, durable));
    }

    fn declare_exchange(&mut self, name: String, changes: &mut Vec<Change>) {
        let kinds = [ExchangeType::Direct, ExchangeType::Fanout, ExchangeType::Topic, ExchangeType::Headers];
        let kind = kinds[usize::try_from(self.random(4)).unwrap()];
        let (durable, auto_delete) = (self.coin(), self.coin());
        if self.topology.exchange(&name).is_some() {
            return;
        }
        let declared = Declared {
            name: name.as_str().into(),
            kind,
            durable,
            auto_delete,
            internal: false,
            delay: None,
            arguments: FieldTable::default(),
        };
        self.topology.add_exchange(declared, changes);
        self.model.exchanges.push((name, kind, durable, auto_delete));
    }

    fn any_bind(&mut self) -> Bind {
        let to_exchange = self.random(3) == 0;
        let (source, destination) = (self.random(6), self.random(6));
        let key = ["", "a", "b", "#", "*"][usize::try_from(self.random(5)).unwrap()].to_owned();
        // An argument that a headers exchange ignores: two bindings may differ in nothing else.
        let mut arguments = FieldTable::default();
        if self.random(3) == 0 {
            arguments.insert("x-a".into(), FieldValue::Void);
        }
        let destination = format!("{}{destination}", if to_exchange { 'x' } else { 'q' });
        Bind { source: format!("x{source}"), to_exchange, destination, key, arguments: encoded(&arguments) }
    }

    fn binding(&self, bind: &Bind) -> Binding {
        let target = if bind.to_exchange {
            Target::Exchange(Arc::clone(&self.topology.exchange(&bind.destination).unwrap().declared))
        } else {
            Target::Queue(Arc::clone(self.topology.queue(&bind.destination).unwrap()))
        };
        Binding { target, key: bind.key.as_bytes().into(), arguments: bind.arguments.as_slice().into() }
    }

    fn step(&mut self) {
        let mut changes = Vec::new();
        let name = self.random(6);
        match self.random(20) {
            0 | 1 => self.declare_queue(format!("q{name}"), &mut changes),
            2 | 3 => self.declare_exchange(format!("x{name}"), &mut changes),
            4 => {
                self.topology.remove_queue(&format!("q{name}"), &mut changes);
                self.model.delete_queue(&format!("q{name}"));
            }
            5 => {
                self.topology.remove_exchange(&format!("x{name}"), &mut changes);
                self.model.delete_exchange(&format!("x{name}"));
            }
            6..=9 if !self.model.binds.is_empty() => {
                let count = self.model.binds.len() as u64;
                let index = usize::try_from(self.random(count)).unwrap();
                let bind = self.model.binds[index].clone();
                let binding = self.binding(&bind);
                self.topology.unbind(&bind.source, &binding, &mut changes);
                self.model.drop_binds(|other| *other == bind);
            }
            _ => {
                let bind = self.any_bind();
                if self.model.has(&bind) {
                    let binding = self.binding(&bind);
                    self.topology.bind(&bind.source, binding, &mut changes);
                    if !self.model.binds.contains(&bind) {
                        self.model.binds.push(bind);
                    }
                }
            }
        }
        for change in changes {
            self.disk.replay(change);
        }
    }

    fn compare(&self, seed: u64, round: u32) {
        for (name, ..) in &self.model.exchanges {
            for key in ["", "a", "b", "c"] {
                let origin = self.topology.exchange(name);
                let route =
                    route::find(&self.topology, origin, &[key.as_bytes()], NONE, &mut LongMatches::default());
                let mut found: Vec<_> = route.queues.iter().map(|queue| queue.name.to_string()).collect();
                found.sort();
                let expected = self.model.route(name, key);
                assert_eq!(found, expected, "seed {seed}, round {round}, {name} {key:?}: {:?}", self.model);
            }
        }
        let sorted = |names: Vec<&String>| names.into_iter().cloned().collect::<BTreeSet<_>>();
        let queues = self.model.queues.iter().filter(|(_, durable)| *durable).map(|(name, _)| name).collect();
        let exchanges = self
            .model
            .exchanges
            .iter()
            .filter(|(_, _, durable, _)| *durable)
            .map(|(name, ..)| name)
            .collect();
        let binds: BTreeSet<_> =
            self.model.binds.iter().filter(|bind| self.model.is_durable(bind)).cloned().collect();
        let context = format!("seed {seed}, round {round}");
        assert_eq!(self.disk.queues.values().cloned().collect::<BTreeSet<_>>(), sorted(queues), "{context}");
        assert_eq!(self.disk.exchanges, sorted(exchanges), "{context}");
        assert_eq!(self.disk.binds, binds, "{context}");
        assert_eq!(
            self.topology.exchanges.len(),
            predeclared(self.topology.vhost()).count() + self.model.exchanges.len(),
            "{context}"
        );
        let bindings: usize = self.topology.exchanges.values().map(|exchange| exchange.bindings.len()).sum();
        assert_eq!(bindings, self.model.binds.len(), "{context}");
    }
}

#[test]
fn random_operations_agree_with_a_naive_topology() {
    for seed in seeds(1) {
        let context = QueueContext {
            log: Arc::<FakeLog<()>>::default(),
            memory: Arc::new(AtomicUsize::new(0)),
            timers: Arc::default(),
            home: Home::new(VHostId(1), "/".into()),
        };
        let mut trial = Trial {
            topology: Topology::new("/".into()),
            model: Model::default(),
            disk: Disk::default(),
            context,
            next_queue: 0,
            draw: Draw::new(seed),
        };
        for round in 0..4000 {
            trial.step();
            trial.compare(seed, round);
        }
    }
}
