//! Exchanges and bindings. The default exchange, and the binding that it has to every queue, are
//! nowhere in the broker; they are listed because clients can use them.

use super::access::{Access, Requirement, Tag};
use super::binding_key::{properties_key, quoted};
use super::refusal::{Refusal, RefusalKind};
use super::value::{Arguments, arguments, decoded, table_of};
use super::{Caller, DESCRIBED_MAX, Performed, Row, Told, explain_route, find, short};
use crate::auth::permission::Right;
use crate::broker::Broker;
use crate::broker::vhost::access::{may_bind, may_declare_exchange};
use crate::broker::vhost::listing::Bound;
use crate::broker::vhost::{Bind, Destination, ExchangeDeclare, VHost};
use crate::error::Resource;
use crate::ids::{ConnectionId, Ticket};
use crate::message::table::{self, FieldTable};
use crate::routing::topology::{Declared, Target, is_predeclared};
use crate::statistics::{SamplesWanted, Trend};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What can be asked about exchanges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExchangeOperation {
    /// All exchanges of a vhost.
    ListExchanges {
        /// The virtual host.
        vhost: String,
    },
    /// All bindings of a vhost.
    ListBindings {
        /// The virtual host.
        vhost: String,
    },
    /// An exchange with what is bound to it and what it is bound to.
    DescribeExchange {
        /// The virtual host.
        vhost: String,
        /// The exchange.
        exchange: String,
    },
    /// An exchange, if there is none that differs; as whoever asks could declare it.
    DeclareExchange(ExchangeSetting),
    /// An exchange goes, with its bindings.
    DeleteExchange {
        /// The virtual host.
        vhost: String,
        /// The exchange.
        exchange: String,
        /// Only if nothing is bound to it.
        if_unused: bool,
    },
    /// A queue or an exchange receives from an exchange.
    Bind(BindingSetting),
    /// Where a message would go; nothing is published.
    RouteTo {
        /// The virtual host.
        vhost: String,
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// Its routing key.
        routing_key: String,
        /// Its headers.
        headers: Arguments,
    },
    /// It does no longer.
    Unbind {
        /// The virtual host.
        vhost: String,
        /// The exchange that routes.
        source: String,
        /// What receives.
        destination: String,
        /// Whether that is an exchange, and not a queue.
        to_exchange: bool,
        /// Which of the bindings between them.
        properties_key: String,
    },
}

/// An exchange, as it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSetting {
    /// The virtual host.
    pub vhost: String,
    /// Its name.
    pub exchange: String,
    /// Its type.
    pub kind: String,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with the last binding from it.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// As declared.
    pub arguments: Arguments,
}

/// A binding, as it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingSetting {
    /// The virtual host.
    pub vhost: String,
    /// The exchange that routes.
    pub source: String,
    /// What receives.
    pub destination: String,
    /// Whether that is an exchange, and not a queue.
    pub to_exchange: bool,
    /// The binding key.
    pub routing_key: String,
    /// As bound.
    pub arguments: Arguments,
}

/// An exchange, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRow {
    /// Its name; empty for the default exchange.
    pub name: String,
    /// Its vhost.
    pub vhost: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with the last binding from it.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// As declared.
    pub arguments: Arguments,
    /// The name of the policy in effect.
    pub policy: Option<String>,
    /// Messages that came, and those that went on to queues; none if none ever has.
    #[serde(skip)]
    pub flow: Option<[Trend; 2]>,
}

/// A binding, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingRow {
    /// The exchange that routes.
    pub source_name: String,
    /// `exchange`.
    pub source_kind: String,
    /// What receives.
    pub destination_name: String,
    /// `queue` or `exchange`.
    pub destination_kind: String,
    /// The binding key; what is not UTF-8 is replaced.
    pub routing_key: String,
    /// As given.
    pub arguments: Arguments,
    /// What tells it from others between the same two.
    #[serde(default)]
    pub properties_key: String,
}

/// An exchange and its bindings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeDescription {
    /// The exchange.
    pub exchange: ExchangeRow,
    /// The bindings from it and to it.
    pub bindings: Vec<BindingRow>,
}

impl ExchangeOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        match self {
            Self::ListExchanges { .. }
            | Self::ListBindings { .. }
            | Self::DescribeExchange { .. }
            | Self::RouteTo { .. } => false,
            Self::DeclareExchange { .. }
            | Self::DeleteExchange { .. }
            | Self::Bind(_)
            | Self::Unbind { .. } => true,
        }
    }

    /// What it takes of a user; to change something takes its permissions, too.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        let (Self::ListExchanges { vhost }
        | Self::ListBindings { vhost }
        | Self::DescribeExchange { vhost, .. }
        | Self::RouteTo { vhost, .. }
        | Self::DeclareExchange(ExchangeSetting { vhost, .. })
        | Self::DeleteExchange { vhost, .. }
        | Self::Bind(BindingSetting { vhost, .. })
        | Self::Unbind { vhost, .. }) = self;
        Requirement::VHost(Tag::Management, vhost)
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Broker,
    operation: ExchangeOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let sampled = (broker.sampling().newest(), caller.samples);
    match operation {
        ExchangeOperation::ListExchanges { vhost } => {
            let place = find::vhost(broker, &vhost)?;
            let exchanges = place.list_exchanges();
            let first = std::iter::once(default_exchange(&place, sampled));
            let rows =
                first.chain(exchanges.into_iter().map(move |declared| row(&place, &declared, sampled)));
            Ok(Performed::rows(rows.map(Row::Exchange)))
        }
        ExchangeOperation::ListBindings { vhost } => {
            let place = find::vhost(broker, &vhost)?;
            let queues = place.list_queues().into_iter().map(|queue| default_binding(&queue.name));
            let made = place.list_bindings().into_iter().map(|bound| BindingRow::of(&bound));
            Ok(Performed::rows(queues.chain(made).map(Row::Binding)))
        }
        ExchangeOperation::DescribeExchange { vhost, exchange } => {
            describe(&*find::vhost(broker, &vhost)?, &exchange, sampled)
        }
        ExchangeOperation::DeclareExchange(setting) => declare(broker, setting, access),
        ExchangeOperation::DeleteExchange { vhost, exchange, if_unused } => {
            let place = find::vhost(broker, &vhost)?;
            if find_exchange(&place, &exchange).is_none() && !exchange.is_empty() {
                let known = place.list_exchanges();
                return Err(Refusal::not_found(
                    "exchange",
                    &exchange,
                    known.iter().map(|known| &*known.name),
                ));
            }
            if let Some(grants) = access.grants_in(&vhost)
                && !is_predeclared(&exchange)
            {
                grants.check(Right::Configure, &place.on_exchange(&exchange))?;
            }
            Ok(Performed::done(place.delete_exchange(&exchange, if_unused)?))
        }
        ExchangeOperation::RouteTo { vhost, exchange, routing_key, headers } => {
            let place = find::vhost(broker, &vhost)?;
            let routed = explain_route::explain(&place, &exchange, &routing_key, &headers)?;
            Ok(Performed::told(Told::Explained(routed), Ticket(0)))
        }
        ExchangeOperation::Bind(setting) => {
            let (place, bind) = binding(broker, setting, access)?;
            let ticket = place.bind(bind, ConnectionId(0))?;
            Ok(Performed::put(true, ticket))
        }
        ExchangeOperation::Unbind { vhost, source, destination, to_exchange, properties_key } => {
            let place = find::vhost(broker, &vhost)?;
            let ends = (source.as_str(), destination.as_str(), to_exchange);
            let bind = find_binding(&place, ends, &properties_key)?;
            if let Some(grants) = access.grants_in(&vhost) {
                may_bind(&grants, &place, &bind)?;
            }
            Ok(Performed::done(place.unbind(bind, ConnectionId(0))?))
        }
    }
}

fn declare(broker: &Broker, setting: ExchangeSetting, access: &Access<'_>) -> Result<Performed, Refusal> {
    let ExchangeSetting { vhost, exchange, kind, durable, auto_delete, internal, arguments } = setting;
    short::check_names([("name of the exchange", &*exchange), ("type", &*kind)])?;
    let place = find::vhost(broker, &vhost)?;
    let arguments = table_of(&arguments).map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
    let grants = access.grants_in(&vhost);
    let may = |on: &Resource, new: Option<&FieldTable>| {
        grants.as_ref().map_or(Ok(()), |grants| may_declare_exchange(grants, on, new))
    };
    let is_new = find_exchange(&place, &exchange).is_none();
    let (name, passive) = (exchange, false);
    let declare = ExchangeDeclare { name, kind, passive, durable, auto_delete, internal, arguments };
    Ok(Performed::put(is_new, place.declare_exchange_if(&may, declare)?))
}

/// A binding that whoever asks may make and remove, and its vhost. An operator may bind exclusive
/// queues, too.
fn binding(
    broker: &Broker,
    setting: BindingSetting,
    access: &Access<'_>,
) -> Result<(Arc<VHost>, Bind), Refusal> {
    let BindingSetting { vhost, source, destination, to_exchange, routing_key, arguments } = setting;
    short::check([("routing key", &*routing_key)])?;
    short::check_names([("name of the source", &*source), ("name of the destination", &*destination)])?;
    let place = find::vhost(broker, &vhost)?;
    let arguments = table_of(&arguments).map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
    let destination =
        if to_exchange { Destination::Exchange(destination) } else { Destination::Queue(destination) };
    let bind = Bind { source, destination, routing_key: routing_key.into_bytes(), arguments };
    if let Some(grants) = access.grants_in(&vhost) {
        may_bind(&grants, &place, &bind)?;
    }
    Ok((place, bind))
}

/// The binding of that key between two ends.
fn find_binding(
    place: &VHost,
    (source, destination, to_exchange): (&str, &str, bool),
    key: &str,
) -> Result<Bind, Refusal> {
    let is_it = |bound: &Bound| {
        let (is_exchange, name) = match &bound.target {
            Target::Queue(queue) => (false, &*queue.name),
            Target::Exchange(declared) => (true, &*declared.name),
        };
        *bound.source.name == *source
            && (is_exchange, name) == (to_exchange, destination)
            && key_of(bound) == key
    };
    let found = place.list_bindings().into_iter().find(is_it).ok_or_else(|| {
        let why = format!("there is no binding '{key}' from '{source}' to '{destination}'");
        Refusal::new(RefusalKind::NotFound, why)
    })?;
    let name = destination.to_owned();
    Ok(Bind {
        source: source.to_owned(),
        destination: if to_exchange { Destination::Exchange(name) } else { Destination::Queue(name) },
        routing_key: found.key.to_vec(),
        arguments: table::decode(&found.arguments).unwrap_or_default(),
    })
}

fn key_of(bound: &Bound) -> String {
    properties_key(&bound.key, &table::decode(&bound.arguments).unwrap_or_default())
}

/// The key of a binding that is asked for with these arguments.
///
/// # Errors
/// One of them cannot be used.
pub fn key_for(routing_key: &str, arguments: &Arguments) -> Result<String, Refusal> {
    let table = table_of(arguments).map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
    Ok(properties_key(routing_key.as_bytes(), &table))
}

fn find_exchange(place: &VHost, name: &str) -> Option<Arc<Declared>> {
    place.list_exchanges().into_iter().find(|declared| *declared.name == *name)
}

fn describe(place: &VHost, name: &str, sampled: (u32, SamplesWanted)) -> Result<Performed, Refusal> {
    let exchanges = place.list_exchanges();
    let (exchange, bindings) = if name.is_empty() {
        let queues = place.list_queues();
        let bindings = queues.iter().take(DESCRIBED_MAX).map(|queue| default_binding(&queue.name));
        (default_exchange(place, sampled), bindings.collect())
    } else {
        let found = exchanges.iter().find(|declared| *declared.name == *name);
        let found = found.ok_or_else(|| {
            Refusal::not_found("exchange", name, exchanges.iter().map(|declared| &*declared.name))
        })?;
        let bindings = place.list_bindings().into_iter().filter(|bound| {
            let leads_here = matches!(&bound.target, Target::Exchange(to) if *to.name == *name);
            leads_here || *bound.source.name == *name
        });
        let bindings = bindings.take(DESCRIBED_MAX).map(|bound| BindingRow::of(&bound));
        (row(place, found, sampled), bindings.collect())
    };
    Ok(Performed::told(Told::Exchange(ExchangeDescription { exchange, bindings }), Ticket(0)))
}

/// What went through an exchange, with its history up to a tick.
fn flow(place: &VHost, name: &str, (newest, samples): (u32, SamplesWanted)) -> Option<[Trend; 2]> {
    let flow = place.flow_of(name)?;
    let counts = flow.counts();
    (counts != [0; 2]).then(|| flow.history.trends(counts, newest, samples.events))
}

fn default_exchange(place: &VHost, sampled: (u32, SamplesWanted)) -> ExchangeRow {
    ExchangeRow {
        name: String::new(),
        vhost: place.name.to_string(),
        kind: "direct".to_owned(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Arguments::new(),
        policy: None,
        flow: flow(place, "", sampled),
    }
}

fn row(place: &VHost, declared: &Declared, sampled: (u32, SamplesWanted)) -> ExchangeRow {
    ExchangeRow {
        name: declared.name.to_string(),
        vhost: place.name.to_string(),
        kind: declared.type_name().to_owned(),
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        internal: declared.internal,
        arguments: arguments(&declared.arguments),
        policy: place.policies().of_exchange(&declared.name).and_then(|in_effect| in_effect.policy),
        flow: flow(place, &declared.name, sampled),
    }
}

fn default_binding(queue: &str) -> BindingRow {
    BindingRow {
        source_name: String::new(),
        source_kind: "exchange".to_owned(),
        destination_name: queue.to_owned(),
        destination_kind: "queue".to_owned(),
        routing_key: queue.to_owned(),
        arguments: Arguments::new(),
        properties_key: quoted(queue.as_bytes()),
    }
}

impl BindingRow {
    /// As it is listed.
    pub(super) fn of(bound: &Bound) -> Self {
        let (kind, name) = match &bound.target {
            Target::Queue(queue) => ("queue", queue.name.to_string()),
            Target::Exchange(declared) => ("exchange", declared.name.to_string()),
        };
        Self {
            source_name: bound.source.name.to_string(),
            source_kind: "exchange".to_owned(),
            destination_name: name,
            destination_kind: kind.to_owned(),
            routing_key: String::from_utf8_lossy(&bound.key).into_owned(),
            arguments: decoded(&bound.arguments),
            properties_key: key_of(bound),
        }
    }
}
