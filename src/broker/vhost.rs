//! A vhost: declares, deletes, binds and routes, and refuses what clients may not do.
//!
//! One lock guards everything that exists by name, exchanges, bindings and queues alike, so that a
//! route never meets a queue without its bindings or the other way round: see `objects`.
//! Publishing does not depend on it: routes are cached and stay valid while [`VHost::epoch`] is the
//! same. Lock order: topology -> queue -> log. The ticket that is returned also covers what an
//! idempotent request relies on.

pub mod access;
pub mod apply_policies;
mod ceilings;
mod closing;
mod context;
mod define;
mod delayed;
pub mod listing;
mod names;
mod objects;
mod recover;
pub mod replies;
mod request;
pub(super) mod routing;
#[cfg(test)]
mod tests;

pub use self::context::BrokerContext;
pub(super) use self::define::{DEFINED_AT_ONCE, VHostDefinitions};
pub use self::define::{Draft, DraftQueue};
pub use self::recover::RecoveredVHost;
pub use self::request::{Bind, Destination, ExchangeDeclare, QueueDeclare};

use self::access::{May, anything};
use self::apply_policies::VHostPolicies;
use self::closing::Left;
use self::delayed::{check_not_delay_queue, kind_of, open_delay_queue};
use self::names::{RESERVED, check_not_default, check_reserved, clean};
use self::objects::Objects;
use self::replies::ReplyQueues;
use crate::arguments::exchange_type::ExchangeType;
use crate::arguments::table::{DELAYED_TYPE, Subject};
use crate::arguments::value::{equivalent, equivalent_flag};
use crate::arguments::{self, QueueFlags, Settings};
use crate::broker::counted::VHostCounted;
use crate::broker::quotas::Quota;
use crate::clock::Now;
use crate::error::{BrokerError, Resource, ResourceKind};
use crate::ids::{ConnectionId, Ticket};
use crate::message::table::{FieldTable, FieldValue};
use crate::queue::delayed::queue_name;
use crate::queue::reply::is_reply_queue;
use crate::queue::{Busy, ConsumerArguments, Home, Queue};
use crate::routing::exchange::check_binding;
use crate::routing::topology::{Declared, Exchange, Target, Topology};
use std::convert::Infallible;
use std::fmt::Display;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// A virtual host: its exchanges, queues and bindings behind one lock.
pub struct VHost {
    /// Its name.
    pub name: Arc<str>,
    /// For the connections of clients that have opened it.
    pub connections: Quota,
    /// What is counted of it.
    pub counted: VHostCounted,
    objects: Objects,
    deleted: AtomicBool,
    /// What is left in it, once somebody deletes that.
    left: Mutex<Option<Left>>,
    /// Whether what clients publish and are delivered is copied to the firehose.
    tracing: AtomicBool,
}

impl Drop for VHost {
    fn drop(&mut self) {
        self.objects.context.unregister(self.objects.id());
    }
}

impl VHost {
    /// An empty one; `this` is where it will be.
    fn empty(name: &Arc<str>, context: &Arc<BrokerContext>, this: &Weak<Self>) -> Self {
        let home = Home::new(context.register(this), Arc::clone(name));
        Self {
            name: Arc::clone(name),
            connections: Quota::with(u64::MAX),
            counted: VHostCounted::default(),
            objects: Objects::new(home, Arc::clone(context)),
            deleted: AtomicBool::new(false),
            left: Mutex::default(),
            tracing: AtomicBool::new(false),
        }
    }

    /// A new one.
    #[must_use]
    pub fn new(name: &str, context: &Arc<BrokerContext>) -> Arc<Self> {
        let name = Arc::from(name);
        Arc::new_cyclic(|this| Self::empty(&name, context, this))
    }

    /// What was on disk. Bindings without both of their ends are dropped, from disk as well.
    #[must_use]
    pub fn recover(name: &str, part: &RecoveredVHost<'_>, context: &Arc<BrokerContext>) -> Arc<Self> {
        let name = Arc::from(name);
        Arc::new_cyclic(|this| {
            let mut vhost = Self::empty(&name, context, this);
            vhost.objects.restore(part);
            vhost
        })
    }

    /// What texts call a queue of this name here.
    #[must_use]
    pub fn on_queue(&self, name: &str) -> Resource {
        Resource::queue(&self.name, name)
    }

    /// What texts call an exchange of this name here.
    #[must_use]
    pub fn on_exchange(&self, name: &str) -> Resource {
        Resource::exchange(&self.name, name)
    }

    /// What is in effect of policies here.
    #[must_use]
    pub fn policies(&self) -> VHostPolicies<'_> {
        VHostPolicies(&self.objects)
    }

    /// What may be defined here.
    pub(super) fn definitions(&self) -> VHostDefinitions<'_> {
        VHostDefinitions(self)
    }

    /// The queues of direct reply-to.
    #[must_use]
    pub fn reply_queues(&self) -> ReplyQueues<'_> {
        ReplyQueues(&self.objects)
    }

    /// Declares a queue, or asks for one.
    ///
    /// # Errors
    /// The name is reserved; there is none to ask for; it is another connection's exclusive queue;
    /// an argument is wrong, or the queue is there and differs.
    pub fn declare_queue(&self, declare: QueueDeclare) -> Result<(Arc<Queue>, Ticket), BrokerError> {
        self.declare_queue_if(&anything, declare)
    }

    /// As [`Self::declare_queue`], if it may be declared.
    ///
    /// # Errors
    /// As [`Self::declare_queue`], and what `may` says.
    pub fn declare_queue_if(
        &self,
        may: May<'_>,
        declare: QueueDeclare,
    ) -> Result<(Arc<Queue>, Ticket), BrokerError> {
        let name = clean(declare.name);
        if declare.passive {
            let state = self.objects.read();
            let queue = usable(&state.topology, &name, declare.connection)?;
            queue.touch(declare.now);
            return Ok((Arc::clone(queue), state.known(queue.settings.durable)));
        }
        check_reserved(ResourceKind::Queue, &name)?;
        let QueueDeclare { durable, auto_delete, exclusive, mut arguments, .. } = declare;
        let flags = QueueFlags { durable, auto_delete, exclusive };
        let state = self.objects.write_without(|topology| topology.removal_of_queue(&name));
        self.objects.change_in(state, |state, changes| {
            state.default_kind.fill(flags, &mut arguments);
            if let Some(queue) = state.topology.queue(&name) {
                let on = queue.on();
                may(&on, None)?;
                if queue.owner() != exclusive.then_some(declare.connection) {
                    return Err(BrokerError::Locked(on));
                }
                queue.settings.check_equivalent(&on, flags, &arguments)?;
                queue.touch(declare.now);
                return Ok((Arc::clone(queue), queue.settings.durable));
            }
            let name = if name.is_empty() {
                arguments::check_server_named(&arguments)?;
                self.objects.unused_name(&state.topology, "amq.gen-")
            } else {
                name
            };
            let on = self.on_queue(&name);
            may(&on, Some(&arguments))?;
            self.objects.context.check_new_queue(state, &on, (&arguments, durable))?;
            let settings = Settings::declare(&on, flags, arguments)?;
            self.tell_of_misnamed(&on, &settings.arguments);
            let owner = exclusive.then_some(declare.connection);
            let queue = self.objects.create(state, changes, name, settings, owner);
            queue.touch(declare.now);
            let durable = queue.settings.durable;
            Ok((queue, durable))
        })
    }

    /// Deletes a queue; how many messages were ready in it. One that does not exist is deleted
    /// already, and reply queues are not deleted by name.
    ///
    /// # Errors
    /// It is another connection's exclusive queue, or in use or not empty but should not be.
    pub fn delete_queue(
        &self,
        name: &str,
        connection: ConnectionId,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<(u64, Ticket), BrokerError> {
        let name = clean(name.to_owned());
        if is_reply_queue(&name) {
            return Ok((0, Ticket(0)));
        }
        check_not_delay_queue(&self.name, &name)?;
        let deleted = self.objects.change(|state, changes| {
            let Some(queue) = state.topology.queue(&name) else { return Ok(((0, None), true)) };
            check_owner(queue, connection)?;
            let ready = queue.close(if_unused, if_empty).map_err(|busy| {
                let on = queue.on();
                match busy {
                    Busy::InUse => BrokerError::InUse(on),
                    Busy::NotEmpty => BrokerError::NotEmpty(on),
                }
            })?;
            let durable = queue.settings.durable;
            Ok(((ready, state.topology.remove_queue(&name, changes)), durable))
        });
        let ((ready, removal), ticket) = deleted?;
        Ok((ready, ticket.max(self.objects.go_on(removal))))
    }

    /// Deletes this very queue, unless that is done already: one that is auto-delete and has lost
    /// its last consumer, or exclusive and has lost its connection. Many bindings go later, as
    /// nobody waits for that.
    pub fn remove_queue(&self, queue: &Arc<Queue>) {
        let Ok((removal, _ticket)) = self.objects.change(|state, changes| {
            let is_here =
                state.topology.queue(&queue.name).is_some_and(|current| Arc::ptr_eq(current, queue));
            let removal = is_here.then(|| {
                let _unconditional = queue.close(false, false);
                state.topology.remove_queue(&queue.name, changes)
            });
            Ok::<_, Infallible>((removal.flatten(), false))
        });
        self.objects.go_on_later(removal);
    }

    /// As [`Self::remove_queue`], if nobody has used it for as long as it may stay.
    pub fn remove_expired(&self, queue: &Arc<Queue>, now: Now) {
        let Ok((removal, _ticket)) = self.objects.change(|state, changes| {
            let is_here =
                state.topology.queue(&queue.name).is_some_and(|current| Arc::ptr_eq(current, queue));
            let removal = (is_here && queue.close_expired(now)).then(|| {
                tracing::debug!(queue = %queue.name, "deleting an unused queue (x-expires)");
                state.topology.remove_queue(&queue.name, changes)
            });
            Ok::<_, Infallible>((removal.flatten(), false))
        });
        self.objects.go_on_later(removal);
    }

    /// The queue of this name, for use by a connection.
    ///
    /// # Errors
    /// There is none, or it is another connection's exclusive queue.
    pub fn queue(&self, name: &str, connection: ConnectionId) -> Result<Arc<Queue>, BrokerError> {
        usable(&self.objects.read().topology, name, connection).cloned()
    }

    /// Declares an exchange, or asks for one.
    ///
    /// # Errors
    /// It is the default exchange, or the name is reserved; there is none to ask for; the type is
    /// unknown, an argument is wrong, or the exchange is there and differs.
    pub fn declare_exchange(&self, declare: ExchangeDeclare) -> Result<Ticket, BrokerError> {
        self.declare_exchange_if(&anything, declare)
    }

    /// As [`Self::declare_exchange`], if it may be declared.
    ///
    /// # Errors
    /// As [`Self::declare_exchange`], and what `may` says.
    pub fn declare_exchange_if(
        &self,
        may: May<'_>,
        mut declare: ExchangeDeclare,
    ) -> Result<Ticket, BrokerError> {
        let name = clean(mem::take(&mut declare.name));
        if declare.passive {
            check_not_default(&name)?;
            let state = self.objects.read();
            return Ok(state.known(exchange(&state.topology, &name)?.declared.durable));
        }
        let (kind, delays) = kind_of(&declare.kind, &declare.arguments)?;
        check_not_default(&name)?;
        let wanted = declare.declared(&name, kind);
        let state = self.objects.write_without(|topology| {
            let exchange = topology.removal_of_exchange(&name);
            exchange.or_else(|| topology.removal_of_queue(&queue_name(&name)))
        });
        let declared = self.objects.change_in(state, |state, changes| {
            let on = self.on_exchange(&name);
            may(&on, None)?;
            if let Some(existing) = state.topology.exchange(&name) {
                check_exchange_equivalent(&on, &existing.declared, &wanted, &declare.kind)?;
            } else {
                check_reserved(ResourceKind::Exchange, &name)?;
                self.objects.context.check_new_exchange(state, &on, (&declare.arguments, declare.durable))?;
                declare.check_values(&on, (kind, delays), may)?;
                self.tell_of_misnamed(&on, &declare.arguments);
                let delay =
                    delays.then(|| open_delay_queue(&self.objects, state, changes, (&name, declare.durable)));
                state.topology.add_exchange(Declared { delay, ..wanted }, changes);
                self.policies().apply_to_exchange(&mut state.topology, &name);
            }
            Ok(((), declare.durable))
        });
        declared.map(|((), ticket)| ticket)
    }

    /// Deletes an exchange. One that does not exist is deleted already.
    ///
    /// # Errors
    /// It is one of the broker's own, or should be unused and something is bound to it.
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<Ticket, BrokerError> {
        let name = clean(name.to_owned());
        check_not_default(&name)?;
        let on = self.on_exchange(&name);
        if name.starts_with(RESERVED) {
            return Err(BrokerError::SystemExchange(on));
        }
        let deleted = self.objects.change(|state, changes| {
            let Some(exchange) = state.topology.exchange(&name) else { return Ok((None, true)) };
            if if_unused && state.topology.is_used(exchange) {
                return Err(BrokerError::InUse(on));
            }
            let durable = exchange.declared.durable;
            Ok((state.topology.remove_exchange(&name, changes), durable))
        });
        deleted.map(|(removal, ticket)| ticket.max(self.objects.go_on(removal)))
    }

    /// Binds a queue or an exchange to an exchange; a binding that exists is not made again.
    ///
    /// # Errors
    /// An end is the default exchange, a reply queue or another connection's exclusive queue, or
    /// does not exist; the exchange cannot use the arguments; there are too many, or there is no
    /// room.
    pub fn bind(&self, bind: Bind, connection: ConnectionId) -> Result<Ticket, BrokerError> {
        let bind = bind.clean(&self.name)?;
        let bound = self.objects.change(|state, changes| {
            let source = exchange(&state.topology, &bind.source)?;
            let target = match &bind.destination {
                Destination::Queue(name) => {
                    Target::Queue(Arc::clone(usable(&state.topology, name, connection)?))
                }
                Destination::Exchange(name) => {
                    Target::Exchange(Arc::clone(&exchange(&state.topology, name)?.declared))
                }
            };
            let kind = source.declared.kind;
            check_binding(kind, &bind.routing_key, &bind.arguments, target.queue_type())?;
            let durable = source.declared.durable && target.is_durable();
            if !(kind.binds_once() && state.topology.leads_to(&bind.source, &target)) {
                let binding = bind.to(target);
                if !state.topology.is_bound(&bind.source, &binding) {
                    self.objects.context.check_room_to_bind(&self.name, &bind, durable)?;
                    self.objects.context.check_new_binding(&self.name, kind, &bind)?;
                }
                state.topology.bind(&bind.source, binding, changes);
            }
            Ok(((), durable))
        });
        bound.map(|((), ticket)| ticket)
    }

    /// Removes a binding. One that does not exist, or has lost an end, is removed already.
    ///
    /// # Errors
    /// An end is the default exchange, a reply queue or another connection's exclusive queue.
    pub fn unbind(&self, bind: Bind, connection: ConnectionId) -> Result<Ticket, BrokerError> {
        let bind = bind.clean(&self.name)?;
        let unbound = self.objects.change(|state, changes| {
            let Some(target) = bind.target(&state.topology) else { return Ok((None, true)) };
            let binding = bind.to(target);
            if let Target::Queue(queue) = &binding.target
                && state.topology.is_bound(&bind.source, &binding)
            {
                check_owner(queue, connection)?;
            }
            Ok((state.topology.unbind(&bind.source, &binding, changes), true))
        });
        unbound.map(|(removal, ticket)| ticket.max(self.objects.go_on(removal)))
    }

    /// Whether what clients publish and are delivered here is copied to the firehose.
    #[inline]
    #[must_use]
    pub fn is_tracing(&self) -> bool {
        self.tracing.load(Ordering::Relaxed)
    }

    /// From now on it is, or is not, until the broker stops.
    pub fn set_tracing(&self, on: bool) {
        self.tracing.store(on, Ordering::Relaxed);
        let Ok(((), _ticket)) = self.objects.change(|state, _changes| {
            state.topology.set_traced(on);
            Ok::<_, Infallible>(((), false))
        });
    }

    /// Another number after each change: a route that was found after reading it is right while it
    /// is the same.
    pub fn epoch(&self) -> u64 {
        self.objects.epoch()
    }

    /// Makes every route that was found before be looked for again, because somebody may do more or
    /// less than before.
    pub fn renew_routes(&self) {
        self.objects.renew_routes();
    }

    /// The arguments of a new consumer of this queue, if it has any.
    ///
    /// # Errors
    /// They are too long, or there is no room for them.
    pub fn keep_arguments(
        &self,
        on: &Resource,
        arguments: &FieldTable,
    ) -> Result<Option<Arc<ConsumerArguments>>, BrokerError> {
        self.objects.context.keep_arguments(on, arguments)
    }

    /// Tells the log of arguments that do nothing and are nearly called like one that does
    /// something, of each name once.
    pub fn tell_of_misnamed(&self, on: &dyn Display, arguments: &FieldTable) {
        self.objects.context.tell_of_misnamed(on, arguments);
    }

    /// Whether there is a topic exchange of this name.
    #[must_use]
    pub fn is_topic_exchange(&self, name: &str) -> bool {
        let state = self.objects.read();
        state.topology.exchange(name).is_some_and(|found| found.declared.kind == ExchangeType::Topic)
    }

    /// The exclusive queues of a connection.
    #[must_use]
    pub fn queues_of(&self, owner: ConnectionId) -> Vec<Arc<Queue>> {
        self.objects.read().topology.owned_by(owner).cloned().collect()
    }

    /// Shows every queue, outside of the lock.
    pub fn each_queue(&self, visit: impl FnMut(&Arc<Queue>)) {
        self.objects.each_queue(visit);
    }
}

/// What those are told who are still in a vhost that was deleted.
#[must_use]
pub fn gone(vhost: &str) -> BrokerError {
    BrokerError::VHostDeleted(vhost.to_owned())
}

fn check_owner(queue: &Queue, connection: ConnectionId) -> Result<(), BrokerError> {
    match queue.owner() {
        Some(owner) if owner != connection => Err(BrokerError::Locked(queue.on())),
        _ => Ok(()),
    }
}

fn usable<'a>(
    topology: &'a Topology,
    name: &str,
    connection: ConnectionId,
) -> Result<&'a Arc<Queue>, BrokerError> {
    let queue = topology.queue(name).ok_or_else(|| BrokerError::no_queue(topology.vhost(), name))?;
    check_owner(queue, connection)?;
    Ok(queue)
}

fn exchange<'a>(topology: &'a Topology, name: &str) -> Result<&'a Exchange, BrokerError> {
    topology.exchange(name).ok_or_else(|| BrokerError::no_exchange(topology.vhost(), name))
}

/// Refuses to redeclare an exchange differently, as one of the type `kind`; in RabbitMQ's order.
fn check_exchange_equivalent(
    on: &Resource,
    current: &Declared,
    received: &Declared,
    kind: &str,
) -> Result<(), BrokerError> {
    let name = |kind: &str| FieldValue::LongString(kind.into());
    equivalent("type", on, Some(&name(kind)), Some(&name(current.type_name())))?;
    if current.delay.is_some() {
        let (received, current) = (name(received.kind.name()), name(current.kind.name()));
        equivalent(DELAYED_TYPE, on, Some(&received), Some(&current))?;
    }
    equivalent_flag("durable", on, received.durable, current.durable)?;
    equivalent_flag("auto_delete", on, received.auto_delete, current.auto_delete)?;
    equivalent_flag("internal", on, received.internal, current.internal)?;
    let taker = Subject::Exchange { kind: current.kind, delays: current.delay.is_some() };
    taker.check_equivalent(on, &received.arguments, &current.arguments)
}
