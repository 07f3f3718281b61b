//! Where a message would go, and why: the bindings on its way, or what keeps it from any queue.

use super::refusal::{Refusal, RefusalKind};
use super::value::{Arguments, decoded, table_of};
use crate::broker::vhost::VHost;
use crate::message::properties::{self, Properties};
use crate::message::table;
use crate::routing::exchange::RoutingInput;
use crate::routing::explain::{Explained, Step};
use crate::routing::topology::Target;
use serde::{Deserialize, Serialize};

/// Where a message would go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// Whether it reaches a queue.
    pub routed: bool,
    /// The queues, a thousand at most.
    pub queues: Vec<RoutedQueue>,
    /// The alternate exchange that it went to first, if it went to one.
    pub alternate: Option<String>,
    /// A sentence for people.
    pub why: String,
}

/// A queue that a message reaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutedQueue {
    /// Its name.
    pub name: String,
    /// The steps to it.
    pub path: Vec<RouteStep>,
}

/// A step of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteStep {
    /// From which exchange; empty for the default exchange.
    pub exchange: String,
    /// To what.
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    /// The binding key; the message's own where there is no binding.
    pub routing_key: String,
    /// As bound.
    pub arguments: Arguments,
    /// It goes to the alternate exchange, since no binding matches.
    pub alternate: bool,
}

/// Says where a message would go.
///
/// # Errors
/// There is no such exchange, or a header cannot be used.
pub(super) fn explain(
    place: &VHost,
    exchange: &str,
    routing_key: &str,
    headers: &Arguments,
) -> Result<ExplainedRoute, Refusal> {
    if exchange.is_empty() {
        return Ok(by_default(place, routing_key));
    }
    let headers = table_of(headers).map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
    let (mut encoded, mut raw) = (Vec::new(), Vec::new());
    table::encode(&headers, &mut encoded);
    properties::encode(&Properties { headers: Some(&encoded), ..Properties::default() }, &mut raw);
    let message = RoutingInput { routing_key: routing_key.as_bytes(), properties: &raw };
    let explained = place.explain(exchange, message).ok_or_else(|| {
        let known = place.list_exchanges();
        Refusal::not_found("exchange", exchange, known.iter().map(|declared| &*declared.name))
    })?;
    let why = why(&explained, routing_key);
    let step = |step: &Step| route_step(step, routing_key);
    Ok(ExplainedRoute {
        routed: !explained.queues.is_empty(),
        queues: explained
            .queues
            .iter()
            .map(|(queue, path)| RoutedQueue {
                name: queue.name.to_string(),
                path: path.iter().map(step).collect(),
            })
            .collect(),
        alternate: explained.alternates.first().map(ToString::to_string),
        why,
    })
}

/// The default exchange sends to the queue of that name.
fn by_default(place: &VHost, routing_key: &str) -> ExplainedRoute {
    let Some(queue) = place.find_queue(routing_key) else {
        let why = format!("there is no queue '{routing_key}': {NOWHERE}");
        return ExplainedRoute { why, ..ExplainedRoute::default() };
    };
    let step = RouteStep {
        exchange: String::new(),
        destination: queue.name.to_string(),
        destination_type: "queue".to_owned(),
        routing_key: routing_key.to_owned(),
        arguments: Arguments::new(),
        alternate: false,
    };
    let why = "the default exchange sends to the queue that has the routing key for its name".to_owned();
    let queues = vec![RoutedQueue { name: queue.name.to_string(), path: vec![step] }];
    ExplainedRoute { routed: true, queues, alternate: None, why }
}

fn route_step(step: &Step, routing_key: &str) -> RouteStep {
    let (destination_type, destination) = match &step.target {
        Target::Queue(queue) => ("queue", queue.name.to_string()),
        Target::Exchange(declared) => ("exchange", declared.name.to_string()),
    };
    let (key, arguments) = match &step.binding {
        Some(binding) => (String::from_utf8_lossy(&binding.key).into_owned(), decoded(&binding.arguments)),
        None => (routing_key.to_owned(), Arguments::new()),
    };
    RouteStep {
        exchange: step.exchange.to_string(),
        destination,
        destination_type: destination_type.to_owned(),
        routing_key: key,
        arguments,
        alternate: step.binding.is_none(),
    }
}

/// What becomes of a message that reaches no queue.
const NOWHERE: &str = "it would be dropped, or returned if it is mandatory";

fn why(explained: &Explained, routing_key: &str) -> String {
    let mut sentences = Vec::new();
    if let Some(alternate) = explained.alternates.first() {
        sentences.push(format!("no binding matches, so it goes to the alternate exchange '{alternate}'"));
    }
    if explained.by_chance {
        sentences
            .push("an exchange on its way decides by chance: another message may go elsewhere".to_owned());
    }
    match (explained.queues.len(), explained.dead_ends.first()) {
        (0, Some(end)) => sentences.push(format!(
            "no binding of the {} exchange '{}' matches the routing key '{routing_key}' and the headers, and it has \
             no alternate exchange: {NOWHERE}",
            end.type_name(),
            end.name
        )),
        (0, None) => sentences.push(format!("it goes in a circle between exchanges: {NOWHERE}")),
        (1, _) => sentences.push("1 queue gets it".to_owned()),
        (count, _) => sentences.push(format!("{count} queues get it, each once")),
    }
    sentences.join("; ")
}
