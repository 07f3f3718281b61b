//! Exchanges and bindings. The default exchange, and the binding that it has to every queue, are
//! nowhere in the broker; they are listed because clients can use them.

use super::access::{Requirement, Tag};
use super::refusal::Refusal;
use super::value::{Arguments, arguments, decoded};
use super::{DESCRIBED_MAX, Performed, Row, Told, find};
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::broker::vhost::listing::Bound;
use crate::ids::Ticket;
use crate::routing::topology::{Declared, Target};
use serde::{Deserialize, Serialize};

/// What can be asked about exchanges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        let (Self::ListExchanges { vhost }
        | Self::ListBindings { vhost }
        | Self::DescribeExchange { vhost, .. }) = self;
        Requirement::VHost(Tag::Management, vhost)
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(broker: &Broker, operation: ExchangeOperation) -> Result<Performed, Refusal> {
    match operation {
        ExchangeOperation::ListExchanges { vhost } => {
            let place = find::vhost(broker, &vhost)?;
            let exchanges = place.list_exchanges();
            let first = std::iter::once(default_exchange(&vhost));
            let rows = first.chain(exchanges.into_iter().map(move |declared| row(&place, &declared)));
            Ok(Performed::rows(rows.map(Row::Exchange)))
        }
        ExchangeOperation::ListBindings { vhost } => {
            let place = find::vhost(broker, &vhost)?;
            let queues = place.list_queues().into_iter().map(|queue| default_binding(&queue.name));
            let made = place.list_bindings().into_iter().map(|bound| BindingRow::of(&bound));
            Ok(Performed::rows(queues.chain(made).map(Row::Binding)))
        }
        ExchangeOperation::DescribeExchange { vhost, exchange } => {
            describe(&*find::vhost(broker, &vhost)?, &vhost, &exchange)
        }
    }
}

fn describe(place: &VHost, vhost: &str, name: &str) -> Result<Performed, Refusal> {
    let exchanges = place.list_exchanges();
    let (exchange, bindings) = if name.is_empty() {
        let queues = place.list_queues();
        let bindings = queues.iter().take(DESCRIBED_MAX).map(|queue| default_binding(&queue.name));
        (default_exchange(vhost), bindings.collect())
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
        (row(place, found), bindings.collect())
    };
    Ok(Performed::told(Told::Exchange(ExchangeDescription { exchange, bindings }), Ticket(0)))
}

fn default_exchange(vhost: &str) -> ExchangeRow {
    ExchangeRow {
        name: String::new(),
        vhost: vhost.to_owned(),
        kind: "direct".to_owned(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Arguments::new(),
        policy: None,
    }
}

fn row(place: &VHost, declared: &Declared) -> ExchangeRow {
    ExchangeRow {
        name: declared.name.to_string(),
        vhost: place.name.to_string(),
        kind: declared.type_name().to_owned(),
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        internal: declared.internal,
        arguments: arguments(&declared.arguments),
        policy: place.policies().of_exchange(&declared.name).and_then(|in_effect| in_effect.policy),
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
        }
    }
}
