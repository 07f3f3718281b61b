//! What definitions put into a vhost: all of it is looked at before any of it is made.
//!
//! Both are done a part at a time, each under the lock of the topology, so that others are served
//! between two parts. What they do meanwhile counts: what is there already stays as it is, and a
//! binding one of whose ends they have deleted is not made.
//!
//! Definitions are an operator's: names that are reserved may be used, and the limits of the vhost
//! are not asked.

use super::access::anything;
use super::apply_policies::VHostPolicies;
use super::context::BrokerContext;
use super::delayed::{check_not_delay_queue, kind_of, open_delay_queue};
use super::names::{RESERVED, check_length, check_not_default, clean};
use super::objects::{Objects, State};
use super::{Bind, Destination, ExchangeDeclare, QueueDeclare, VHost, check_exchange_equivalent};
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::{QueueFlags, Settings};
use crate::clock::Now;
use crate::error::{BrokerError, Resource, ResourceKind};
use crate::ids::Ticket;
use crate::queue::reply::is_reply_queue;
use crate::routing::exchange::check_binding;
use crate::routing::topology::{Declared, Defined, Topology};
use crate::store::change::Change;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

/// Things that are looked at or made at a time, while others wait: some milliseconds.
pub(in crate::broker) const DEFINED_AT_ONCE: usize = 512;

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
    /// How many things are in it.
    pub(in crate::broker) fn len(&self) -> usize {
        self.exchanges.len() + self.queues.len() + self.bindings.len()
    }

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
    /// How much of that is not there.
    pub(in crate::broker) new: Defined,
    /// What is there already and differs, in words.
    pub(in crate::broker) kept: Vec<String>,
    /// Bindings that are left out, in words.
    pub(in crate::broker) skipped: Vec<String>,
}

/// What may be defined in a vhost.
#[derive(Clone, Copy)]
pub(in crate::broker) struct VHostDefinitions<'a>(pub(super) &'a VHost);

impl VHostDefinitions<'_> {
    /// Looks at a draft. What of it cannot be made is added to `faults`, as a client would be told.
    pub(in crate::broker) fn check(self, draft: Draft, faults: &mut Vec<String>) -> Checked {
        let (vhost, mut checked) = (self.0, Checked::default());
        let mut note = |result: Result<(), BrokerError>, about: String| {
            faults.extend(result.err().map(|error| format!("{about}{error}")));
        };
        self.in_parts(draft.exchanges.into_iter(), &|| true, |state, _changes, exchange| {
            let on = vhost.on_exchange(&exchange.name);
            let looked = Checking { vhost, state }.check_exchange(exchange, &mut checked);
            // All other faults name what they are about.
            let is_untyped = matches!(looked, Err(BrokerError::UnknownExchangeType(_)));
            note(looked, if is_untyped { format!("{on}: ") } else { String::new() });
        });
        self.in_parts(draft.queues.into_iter(), &|| true, |state, _changes, queue| {
            note(Checking { vhost, state }.check_queue(queue, &mut checked), String::new());
        });
        self.in_parts(draft.bindings.into_iter(), &|| true, |state, _changes, bind| {
            note(Checking { vhost, state }.check_binding(bind, &mut checked), String::new());
        });
        note(check_counts(vhost, &checked), String::new());
        checked
    }

    /// Waits until no name is taken by something that is deleted. Not to be called under an atomic
    /// batch.
    pub(in crate::broker) fn wait_for_names(self) {
        drop(self.0.objects.write_without(Topology::any_removal));
    }

    /// Makes it, each part once `before_part` has come back and said that it may be made.
    pub(in crate::broker) fn make(
        self,
        checked: Checked,
        now: Now,
        before_part: &dyn Fn() -> bool,
    ) -> Ticket {
        let objects = &self.0.objects;
        let Checked { exchanges, queues, bindings, .. } = checked;
        let exchanges = self.in_parts(exchanges.into_iter(), before_part, |state, changes, exchange| {
            make_exchange(objects, state, exchange, changes);
        });
        let queues = self.in_parts(queues.into_iter(), before_part, |state, changes, (name, settings)| {
            if state.topology.queue(&name).is_none() {
                objects.create(state, changes, name, settings, None).touch(now);
            }
        });
        let bindings = self.in_parts(bindings.into_iter(), before_part, |state, changes, bind| {
            make_binding(state, &bind, changes);
        });
        exchanges.max(queues).max(bindings)
    }

    /// Does something with all of these, a part at a time under the lock, and appends what it
    /// changes.
    fn in_parts<T>(
        self,
        mut things: impl ExactSizeIterator<Item = T>,
        before_part: &dyn Fn() -> bool,
        mut take: impl FnMut(&mut State, &mut Vec<Change>, T),
    ) -> Ticket {
        let (objects, mut changes, mut ticket) = (&self.0.objects, Vec::new(), Ticket(0));
        while things.len() > 0 && before_part() {
            objects.let_in();
            let mut state = objects.write_without_any();
            for thing in things.by_ref().take(DEFINED_AT_ONCE) {
                take(&mut state, &mut changes, thing);
            }
            ticket = ticket.max(objects.finish(&mut state, &mut changes));
        }
        ticket
    }
}

/// A vhost, as it is looked at.
struct Checking<'a> {
    vhost: &'a VHost,
    state: &'a State,
}

impl Checking<'_> {
    fn context(&self) -> &BrokerContext {
        &self.vhost.objects.context
    }

    fn check_exchange(&self, mut declare: ExchangeDeclare, checked: &mut Checked) -> Result<(), BrokerError> {
        let name = clean(mem::take(&mut declare.name));
        check_not_default(&name)?;
        check_length(ResourceKind::Exchange, &name)?;
        let on = self.vhost.on_exchange(&name);
        let (kind, delays) = kind_of(&declare.kind, &declare.arguments)?;
        self.context().check_arguments(&on, &declare.arguments)?;
        declare.check_values(&on, (kind, delays), &anything)?;
        self.context().tell_of_misnamed(&on, &declare.arguments);
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
        checked.new += Defined::named(&name, &declared.arguments, declared.durable);
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
        self.context().check_arguments(&on, &arguments)?;
        let there = self.state.topology.queue(&name);
        if !is_typed {
            // A queue that is there is of the type that was the default when it was declared.
            let kind = there.map_or(self.state.default_kind, |queue| queue.settings.kind);
            kind.fill(flags, &mut arguments);
        }
        let settings = Settings::declare(&on, flags, arguments)?;
        self.context().tell_of_misnamed(&on, &settings.arguments);
        if let Some(there) = there {
            let differs = there.settings.check_equivalent(&on, flags, &settings.arguments);
            checked.kept.extend(differs.err().map(|error| error.to_string()));
            return Ok(());
        }
        checked.new += Defined::named(&name, &settings.arguments, settings.durable);
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
            checked.new += bind.defined(true);
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
}

/// The broker's own limits hold for operators, too. They keep memory in bounds: what clients
/// declare while definitions are made is not counted again.
fn check_counts(vhost: &VHost, checked: &Checked) -> Result<(), BrokerError> {
    let context = &vhost.objects.context;
    let (there, limits) = (context.counts(), context.limits.get());
    let delays = checked.exchanges.values().filter(|(_, delays)| *delays).count();
    for (what, there, new, max) in [
        ("queue", there.queues, checked.queues.len() + delays, limits.queues_max),
        ("exchange", there.exchanges, checked.exchanges.len(), limits.exchanges_max),
        ("binding", there.bindings, checked.bindings.len(), limits.bindings_max),
    ] {
        if new > 0 && there + new > max as usize {
            return Err(BrokerError::DefinitionLimit { what, new, vhost: Arc::clone(&vhost.name), max });
        }
    }
    Ok(())
}

fn make_exchange(
    objects: &Objects,
    state: &mut State,
    (name, (declared, delays)): (String, (Declared, bool)),
    changes: &mut Vec<Change>,
) {
    if state.topology.exchange(&name).is_none() {
        let delay = delays.then(|| open_delay_queue(objects, state, changes, (&name, declared.durable)));
        state.topology.add_exchange(Declared { delay, ..declared }, changes);
        VHostPolicies(objects).apply_to_exchange(&mut state.topology, &name);
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
