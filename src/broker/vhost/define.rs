//! What definitions put into a vhost: all of it is looked at before any of it is made, under one
//! lock, so that it is made whole or not at all.
//!
//! Definitions are an operator's: names that are reserved may be used, and the limits of the vhost
//! are not asked. What is there already stays as it is.

use super::access::anything;
use super::apply_policies::VHostPolicies;
use super::context::BrokerContext;
use super::delayed::{check_not_delay_queue, kind_of, open_delay_queue};
use super::names::{RESERVED, check_length, check_not_default, clean};
use super::objects::State;
use super::{Bind, Destination, ExchangeDeclare, QueueDeclare, VHost, check_exchange_equivalent};
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::{QueueFlags, Settings};
use crate::clock::Now;
use crate::error::{BrokerError, Resource, ResourceKind};
use crate::ids::Ticket;
use crate::queue::reply::is_reply_queue;
use crate::routing::exchange::check_binding;
use crate::routing::topology::{Declared, Topology};
use crate::store::change::Change;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, RwLockWriteGuard};

/// What is to be in a vhost.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Exchanges.
    pub exchanges: Vec<ExchangeDeclare>,
    /// Queues; none of them is exclusive.
    pub queues: Vec<DraftQueue>,
    /// Bindings. One that lacks an end is left out: RabbitMQ's exports have bindings of internal
    /// exchanges, which they leave out.
    pub bindings: Vec<Bind>,
}

impl Draft {
    /// The kind and the name of the first thing in it, for messages.
    pub(in crate::broker) fn first_name(&self) -> String {
        match (self.queues.first(), self.exchanges.first()) {
            (Some(queue), _) => format!("queue '{}'", queue.declare.name),
            (None, Some(exchange)) => format!("exchange '{}'", exchange.name),
            (None, None) => "a binding".to_owned(),
        }
    }
}

/// A queue to declare.
#[derive(Debug, Clone)]
pub struct DraftQueue {
    /// As a client would declare it.
    pub declare: QueueDeclare,
    /// Whether its type is said, or else known to be classic: the default of the vhost does not
    /// count then.
    pub is_typed: bool,
}

/// A draft that can be made.
#[derive(Default)]
pub(in crate::broker) struct Checked {
    exchanges: BTreeMap<String, (Declared, bool)>,
    queues: BTreeMap<String, Settings>,
    bindings: Vec<Bind>,
    /// What is there already and differs, in words.
    pub(in crate::broker) kept: Vec<String>,
    /// Bindings that are left out, in words.
    pub(in crate::broker) skipped: Vec<String>,
}

/// A vhost that nobody else changes, or looks at.
pub(in crate::broker) struct Locked<'a> {
    vhost: &'a VHost,
    state: RwLockWriteGuard<'a, State>,
}

impl<'a> Locked<'a> {
    /// Keeps everybody else out.
    pub(in crate::broker) fn of(vhost: &'a VHost) -> Self {
        Self { vhost, state: vhost.objects.write_without(Topology::any_removal) }
    }

    fn context(&self) -> &BrokerContext {
        &self.vhost.objects.context
    }

    /// Looks at a draft. What of it cannot be made is added to `faults`, as a client would be told.
    pub(in crate::broker) fn check(&self, draft: Draft, faults: &mut Vec<String>) -> Checked {
        let mut checked = Checked::default();
        let mut note = |result: Result<(), BrokerError>| {
            faults.extend(result.err().map(|error| error.to_string()));
        };
        for exchange in draft.exchanges {
            note(self.check_exchange(exchange, &mut checked));
        }
        for queue in draft.queues {
            note(self.check_queue(queue, &mut checked));
        }
        for bind in draft.bindings {
            note(self.check_binding(bind, &mut checked));
        }
        note(self.check_counts(&checked));
        checked
    }

    fn check_exchange(&self, mut declare: ExchangeDeclare, checked: &mut Checked) -> Result<(), BrokerError> {
        let name = clean(mem::take(&mut declare.name));
        check_not_default(&name)?;
        check_length(ResourceKind::Exchange, &name)?;
        let on = self.vhost.on_exchange(&name);
        let (kind, delays) = kind_of(&declare.kind, &declare.arguments)?;
        self.context().check_new_arguments(&on, &declare.arguments)?;
        declare.check_values(&on, (kind, delays), &anything)?;
        let declared = declare.declared(&name, kind);
        if let Some(there) = self.state.topology.exchange(&name) {
            // RabbitMQ's exports leave out internal exchanges, but not its own, of which they do
            // not say that they are internal.
            let internal =
                if name.starts_with(RESERVED) { there.declared.internal } else { declared.internal };
            let declared = Declared { internal, ..declared };
            let differs = check_exchange_equivalent(&on, &there.declared, &declared, &declare.kind);
            checked.kept.extend(differs.err().map(|error| error.to_string()));
            return Ok(());
        }
        once(&on, checked.exchanges.insert(name, (declared, delays)).is_none())
    }

    fn check_queue(&self, queue: DraftQueue, checked: &mut Checked) -> Result<(), BrokerError> {
        let DraftQueue { declare, is_typed } = queue;
        let name = clean(declare.name);
        check_length(ResourceKind::Queue, &name)?;
        let on = self.vhost.on_queue(&name);
        check_not_delay_queue(&self.vhost.name, &name)?;
        if name.is_empty() || is_reply_queue(&name) {
            return Err(BrokerError::Undefinable(on));
        }
        let QueueDeclare { durable, auto_delete, mut arguments, .. } = declare;
        let flags = QueueFlags { durable, auto_delete, exclusive: false };
        self.context().check_new_arguments(&on, &arguments)?;
        if !is_typed {
            self.state.default_kind.fill(flags, &mut arguments);
        }
        let settings = Settings::declare(&on, flags, arguments)?;
        if let Some(there) = self.state.topology.queue(&name) {
            let differs = there.settings.check_equivalent(&on, flags, &settings.arguments);
            checked.kept.extend(differs.err().map(|error| error.to_string()));
            return Ok(());
        }
        once(&on, checked.queues.insert(name, settings).is_none())
    }

    fn check_binding(&self, bind: Bind, checked: &mut Checked) -> Result<(), BrokerError> {
        let bind = bind.clean(&self.vhost.name)?;
        let (kind, queue_type) = match self.ends_of(&bind, checked) {
            Ok(ends) => ends,
            Err(error) => {
                let (source, Destination::Queue(name) | Destination::Exchange(name)) =
                    (&bind.source, &bind.destination);
                checked.skipped.push(format!("the binding from '{source}' to '{name}': {error}"));
                return Ok(());
            }
        };
        check_binding(kind, &bind.routing_key, &bind.arguments, queue_type)?;
        let topology = &self.state.topology;
        let is_new = |target| !topology.is_bound(&bind.source, &bind.to(target));
        if bind.target(topology).is_none_or(is_new) {
            self.context().check_new_binding(&self.vhost.name, kind, &bind)?;
        }
        checked.bindings.push(bind);
        Ok(())
    }

    /// The type of the exchange that routes, and of the queue that receives, if it is one.
    fn ends_of(
        &self,
        bind: &Bind,
        checked: &Checked,
    ) -> Result<(ExchangeType, Option<&'static str>), BrokerError> {
        let vhost = &self.vhost.name;
        let exchange =
            |name: &str| self.kind_of(name, checked).ok_or_else(|| BrokerError::no_exchange(vhost, name));
        let kind = exchange(&bind.source)?;
        let queue_type = match &bind.destination {
            Destination::Exchange(name) => exchange(name).map(|_kind| None)?,
            Destination::Queue(name) => {
                let there = self.state.topology.queue(name).map(|queue| queue.settings.kind);
                let there = there.or_else(|| checked.queues.get(name).map(|settings| settings.kind));
                Some(there.ok_or_else(|| BrokerError::no_queue(vhost, name))?.rabbit_type())
            }
        };
        Ok((kind, queue_type))
    }

    fn kind_of(&self, exchange: &str, checked: &Checked) -> Option<ExchangeType> {
        let there = self.state.topology.exchange(exchange).map(|found| found.declared.kind);
        there.or_else(|| checked.exchanges.get(exchange).map(|(declared, _)| declared.kind))
    }

    /// The broker's own limits hold for operators, too.
    fn check_counts(&self, checked: &Checked) -> Result<(), BrokerError> {
        let (there, limits) = (self.context().counts(), &self.context().limits);
        let delays = checked.exchanges.values().filter(|(_, delays)| *delays).count();
        for (what, there, new, max) in [
            ("queue", there.queues, checked.queues.len() + delays, limits.queues_max),
            ("exchange", there.exchanges, checked.exchanges.len(), limits.exchanges_max),
            ("binding", there.bindings, checked.bindings.len(), limits.bindings_max),
        ] {
            if new > 0 && there + new > max as usize {
                let vhost = Arc::clone(&self.vhost.name);
                return Err(BrokerError::DefinitionLimit { what, new, vhost, max });
            }
        }
        Ok(())
    }

    /// Makes it.
    pub(in crate::broker) fn make(mut self, checked: Checked, now: Now) -> Ticket {
        let (objects, state, mut changes) = (&self.vhost.objects, &mut *self.state, Vec::new());
        for (name, (declared, delays)) in checked.exchanges {
            let delay =
                delays.then(|| open_delay_queue(objects, state, &mut changes, (&name, declared.durable)));
            state.topology.add_exchange(Declared { delay, ..declared }, &mut changes);
            VHostPolicies(objects).apply_to_exchange(&mut state.topology, &name);
        }
        for (name, settings) in checked.queues {
            objects.create(state, &mut changes, name, settings, None).touch(now);
        }
        for bind in checked.bindings {
            make_binding(state, &bind, &mut changes);
        }
        objects.finish(state, &mut changes)
    }
}

fn make_binding(state: &mut State, bind: &Bind, changes: &mut Vec<Change>) {
    let target = bind.target(&state.topology);
    let kind = state.topology.exchange(&bind.source).map(|found| found.declared.kind);
    let (Some(target), Some(kind)) = (target, kind) else { return };
    if !(kind.binds_once() && state.topology.leads_to(&bind.source, &target)) {
        state.topology.bind(&bind.source, bind.to(target), changes);
    }
}

fn once(on: &Resource, first: bool) -> Result<(), BrokerError> {
    if first { Ok(()) } else { Err(BrokerError::DefinedTwice(on.clone())) }
}
