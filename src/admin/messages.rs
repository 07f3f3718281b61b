//! Messages on their way in and out: published and fetched by somebody who has no connection, with
//! its permissions.
//!
//! What is fetched is settled before it is told: given back, acknowledged or rejected.

use super::access::{Access, Requirement, Tag};
use super::refusal::{Refusal, RefusalKind};
use super::value::{Arguments, arguments, table_of};
use super::{Caller, Performed, Told, find, secret, short};
use crate::arguments::Requeue;
use crate::auth::permission::{Grants, Right};
use crate::broker::Broker;
use crate::broker::trace::{self, Moment, TracedClient};
use crate::broker::vhost::VHost;
use crate::broker::vhost::access::may_use_keys;
use crate::ids::{SeqRange, Ticket};
use crate::message::properties::{self, Properties};
use crate::message::table::{self, FieldTable, FieldValue};
use crate::message::{BCC, Block, CC, Copies, Message};
use crate::metrics::SizeTally;
use crate::queue::mailbox::Mailbox;
use crate::queue::{Got, Queue, Settled};
use crate::statistics::{Event, EventCounters};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Messages that are fetched at a time, at most.
const FETCHED_MAX: u64 = 10_000;

/// Bytes of bodies that are fetched at a time; the message that goes beyond is the last.
const FETCHED_BYTES_MAX: usize = 32 << 20;

/// How long a message may take to be read from disk.
const DISK_WAIT: Duration = Duration::from_secs(10);

/// Bytes of a content header's frame beside the properties (AMQP 0-9-1 sections 2.3.5 and 4.2.6.1).
const HEADER_FRAME_BYTES: usize = 8 + 12;

/// Ten years (RabbitMQ: `MAX_EXPIRY_TIMER`).
const EXPIRATION_MAX_MS: u64 = 315_360_000_000;

/// What can be done with messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MessageOperation {
    /// A message is published.
    Publish {
        /// The virtual host.
        vhost: String,
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
        /// Its properties.
        properties: Box<MessageProperties>,
        /// Its body.
        payload: Payload,
    },
    /// The first messages of a queue are fetched, and settled at once.
    Fetch {
        /// The virtual host.
        vhost: String,
        /// The queue.
        queue: String,
        /// Messages at most.
        count: u64,
        /// What becomes of them.
        settlement: FetchSettlement,
        /// How bodies are told.
        encoding: PayloadEncoding,
        /// Bytes of a body that are told, at most.
        truncate: Option<usize>,
    },
}

/// What becomes of messages that were fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchSettlement {
    /// They are gone.
    Acknowledge,
    /// They are ready again, as after `basic.reject`.
    Requeue,
    /// They die.
    Reject,
}

/// How bodies are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadEncoding {
    /// As text where they are UTF-8.
    Auto,
    /// All in base64.
    Base64,
}

/// A body; in JSON it is base64, and in the log it is not.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

/// Properties by name; what is none is not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "they are AMQP's")]
pub struct MessageProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Arguments>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

/// A message that was fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FetchedMessage {
    /// Bytes of its body.
    pub payload_bytes: usize,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// How many more were ready.
    pub message_count: u32,
    /// Its properties.
    pub properties: MessageProperties,
    /// Its body, or the beginning of it.
    pub payload: String,
    /// `string` or `base64`.
    pub payload_encoding: String,
}

impl MessageOperation {
    /// Whether it is logged as a change. Messages come and go, which is no change of the broker.
    pub(super) fn is_change(&self) -> bool {
        false
    }

    /// What it takes of a user; permissions of the exchange and the queue count, too.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        match self {
            Self::Publish { vhost, .. } => Requirement::VHost(Tag::Management, vhost),
            Self::Fetch { vhost, queue, .. } => {
                Requirement::Queue { vhost, queue, right: Right::Read, publishes: None }
            }
        }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Arc<Broker>,
    operation: MessageOperation,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    match operation {
        MessageOperation::Publish { vhost, exchange, routing_key, properties, payload } => {
            let place = find::vhost(broker, &vhost)?;
            let sent = Sent { exchange, routing_key, properties, payload };
            publish(broker, &place, &sent, caller, access)
        }
        MessageOperation::Fetch { vhost, queue, count, settlement, encoding, truncate } => {
            let queue = find::queue(broker, &vhost, &queue)?;
            if queue.is_stream() {
                let why = format!("basic.get not supported by stream queues {}", queue.on());
                return Err(Refusal::new(RefusalKind::Invalid, why));
            }
            let place = find::vhost(broker, &vhost)?;
            let (counted, held) = (&place.counted.ended, Vec::new());
            let mut fetching = Fetching { broker, queue: &queue, counted, settlement, caller, held };
            let fetched = fetching.fetch(count.min(FETCHED_MAX), encoding, truncate)?;
            drop(fetching);
            // What was settled is durable once this is, which comes after it.
            let ticket = broker.log().last_appended();
            Ok(Performed::told(Told::Fetched(fetched), ticket))
        }
    }
}

/// A message, as it is given.
struct Sent {
    exchange: String,
    routing_key: String,
    properties: Box<MessageProperties>,
    payload: Payload,
}

fn publish(
    broker: &Broker,
    place: &VHost,
    sent: &Sent,
    caller: &Caller,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    if let Some(reason) = broker.alarms().shortage(broker.health()).reason() {
        let why = format!("publishers are blocked: {reason}");
        return Err(Refusal::new(RefusalKind::Unavailable, why));
    }
    let limit = broker.limits().message_bytes_max();
    if sent.payload.0.len() as u64 > limit {
        return Err(invalid(format!("a message has at most {limit} bytes")));
    }
    short::check([("exchange", &*sent.exchange), ("routing key", &*sent.routing_key)])?;
    let grants = access.grants_in(&place.name);
    if let Some(grants) = &grants {
        check_user_id(grants, &sent.properties)?;
        grants.check(Right::Write, &place.on_exchange(&sent.exchange))?;
    }
    let headers = sent.properties.headers.as_ref().map(table_of).transpose().map_err(invalid)?;
    let copies = CopyKeys::of(headers.as_ref())?;
    let raw = sent.properties.encoded(headers.as_ref())?;
    let limit = broker.limits().get().frame_max as usize;
    if raw.len() > limit.saturating_sub(HEADER_FRAME_BYTES) {
        let why = format!("the properties have {} bytes, and must fit in a frame of {limit}", raw.len());
        return Err(invalid(why));
    }
    let (exchange, routing_key) = (sent.exchange.as_bytes(), sent.routing_key.as_bytes());
    let keys = copies.with(routing_key);
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let route = place.route_copies(exchange, &keys, &raw)?;
    if let Some(grants) = &grants {
        may_use_keys(grants, place, Right::Write, exchange, &keys)?;
    }
    let message = Message {
        persistent: sent.properties.delivery_mode == Some(2),
        died: false,
        copies: copies.kind,
        expires: sent.properties.expiration.is_some(),
        priority: sent.properties.priority,
        arrived_at_ms: caller.now.unix_ms,
        exchange,
        routing_key,
        properties: &raw,
        body: &sent.payload.0,
    };
    let mut sizes = SizeTally::default();
    sizes.add(message.body.len());
    let metrics = broker.metrics();
    metrics.received.add(1);
    metrics.sizes.add(&sizes);
    let counted = &place.counted.ended;
    counted.add(Event::Publish, 1);
    route.flow.add(1, route.queues.len() as u64);
    if route.queues.is_empty() {
        metrics.unroutable_returned.add(1);
        counted.add(Event::ReturnUnroutable, 1);
        return Ok(Performed::told(Told::Routed(false), Ticket(0)));
    }
    if route.traced {
        let user = access.user().map_or("operator", |user| user.name.as_str());
        let client = TracedClient { connection: "HTTP", user, channel: 1 };
        trace::copy(broker, place, (&message, &raw), client, Moment::Published(&route.queues), caller.now);
    }
    let block = Block::of(&message);
    metrics.routed.add(route.reach(&block));
    // Nobody reads another request of this client meanwhile, as a session does not read on.
    broker.log().wait_for_room();
    let enqueued = broker.enqueue(&route, block, caller.now);
    if !enqueued.refused.is_empty() {
        let why = "a queue has refused the message: it is full, or has had it already";
        return Err(Refusal::new(RefusalKind::Conflict, why));
    }
    Ok(Performed::told(Told::Routed(true), enqueued.ticket))
}

fn check_user_id(grants: &Grants, properties: &MessageProperties) -> Result<(), Refusal> {
    match &properties.user_id {
        Some(claimed) if claimed != grants.user() && !grants.may_impersonate() => Err(invalid(format!(
            "user_id property set to '{claimed}' but authenticated user was '{}'",
            grants.user()
        ))),
        _ => Ok(()),
    }
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Invalid, why)
}

/// Further routing keys (RabbitMQ: sender-selected.md).
#[derive(Default)]
struct CopyKeys {
    keys: Vec<Vec<u8>>,
    kind: Copies,
}

impl CopyKeys {
    fn of(headers: Option<&FieldTable>) -> Result<Self, Refusal> {
        let mut copies = Self::default();
        for (name, value) in headers.into_iter().flat_map(FieldTable::iter) {
            let is_blind = name.as_bytes() == BCC.as_bytes();
            if !is_blind && name.as_bytes() != CC.as_bytes() {
                continue;
            }
            let FieldValue::FieldArray(array) = value else {
                return Err(invalid(format!("the header {name} is not an array")));
            };
            let texts = array.as_slice().iter().filter_map(|item| match item {
                FieldValue::LongString(text) => Some(text.clone()),
                _ => None,
            });
            copies.keys.extend(texts);
            if is_blind {
                copies.kind = Copies::Blind;
            }
        }
        Ok(copies)
    }

    /// All keys, each once, and first the one that the message has without copies.
    fn with(&self, routing_key: &[u8]) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = self.keys.iter().filter(|key| *key != routing_key).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        keys.insert(0, routing_key.to_vec());
        keys
    }
}

/// Fetches messages, and settles them in the end, whatever happens.
struct Fetching<'a> {
    broker: &'a Broker,
    queue: &'a Arc<Queue>,
    counted: &'a EventCounters,
    settlement: FetchSettlement,
    caller: &'a Caller,
    held: Vec<Settled>,
}

impl Fetching<'_> {
    fn fetch(
        &mut self,
        count: u64,
        encoding: PayloadEncoding,
        truncate: Option<usize>,
    ) -> Result<Vec<FetchedMessage>, Refusal> {
        let (mailbox, waker) = (Mailbox::new(), Waker::from(Arc::new(Unpark(thread::current()))));
        let (mut fetched, mut bytes) = (Vec::new(), 0);
        let (metrics, no_ack) = (self.broker.metrics(), self.settlement == FetchSettlement::Acknowledge);
        let (counter, event) = if no_ack {
            (&metrics.get_auto_ack, Event::GetNoAck)
        } else {
            (&metrics.get_manual_ack, Event::Get)
        };
        while (fetched.len() as u64) < count && bytes < FETCHED_BYTES_MAX {
            match self.broker.get(self.queue, no_ack, &mailbox, self.caller.now) {
                Got::Empty => {
                    metrics.get_empty.add(1);
                    self.counted.add(Event::GetEmpty, 1);
                    break;
                }
                Got::Paging => {
                    if mailbox.poll(&Context::from_waker(&waker)).is_pending() {
                        thread::park_timeout(DISK_WAIT);
                    }
                    if mailbox.poll(&Context::from_waker(&waker)).is_pending() {
                        let why = format!("messages of queue '{}' cannot be read in time", self.queue.name);
                        return Err(Refusal::new(RefusalKind::Unavailable, why));
                    }
                    mailbox.take(&mut Vec::new());
                }
                Got::Message { first, block, index, redelivered, remaining, .. } => {
                    if !no_ack {
                        self.held.push(Settled { consumer: None, range: SeqRange::of(first, 1) });
                    }
                    counter.add(1);
                    metrics.redelivered.add(u64::from(redelivered));
                    self.counted.add(event, 1);
                    self.counted.add(Event::Redeliver, redelivered.into());
                    let message = block.message(index);
                    bytes += message.body.len();
                    fetched.push(told(&message, redelivered, remaining, (encoding, truncate)));
                }
            }
        }
        Ok(fetched)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let (broker, queue, now) = (self.broker, self.queue, self.caller.now);
        match self.settlement {
            // They were gone with being fetched.
            FetchSettlement::Acknowledge => {}
            FetchSettlement::Requeue => broker.put_back(queue, &self.held, Requeue::Failed, now),
            FetchSettlement::Reject => broker.reject(queue, &self.held, now),
        }
    }
}

/// Wakes a thread that waits for mail.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn told(
    message: &Message<'_>,
    redelivered: bool,
    message_count: u32,
    (encoding, truncate): (PayloadEncoding, Option<usize>),
) -> FetchedMessage {
    let shown = &message.body[..truncate.unwrap_or(usize::MAX).min(message.body.len())];
    let (payload, payload_encoding) = encoded(shown, encoding);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    FetchedMessage {
        payload_bytes: message.body.len(),
        redelivered,
        exchange: text(message.exchange),
        routing_key: text(message.routing_key),
        message_count,
        properties: MessageProperties::of(message),
        payload,
        payload_encoding: payload_encoding.to_owned(),
    }
}

/// A body as it is told, and how.
fn encoded(bytes: &[u8], encoding: PayloadEncoding) -> (String, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) if encoding == PayloadEncoding::Auto => (text.to_owned(), "string"),
        _ => (STANDARD.encode(bytes), "base64"),
    }
}

/// The first bytes of a body, `most` at most, as they are told, and how; and whether that is not
/// all. A text is not cut in a character.
pub(super) fn told_body(body: &[u8], most: usize) -> (String, &'static str, bool) {
    let mut shown = &body[..most.min(body.len())];
    let truncated = shown.len() < body.len();
    if let Err(fault) = std::str::from_utf8(shown)
        && truncated
        && fault.error_len().is_none()
    {
        shown = &shown[..fault.valid_up_to()];
    }
    let (payload, encoding) = encoded(shown, PayloadEncoding::Auto);
    (payload, encoding, truncated)
}

impl MessageProperties {
    /// Those of a message; blind copies are not told.
    #[must_use]
    pub fn of(message: &Message<'_>) -> Self {
        let Ok(raw) = properties::decode(message.properties) else { return Self::default() };
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let headers = raw.headers.and_then(|bytes| table::decode(bytes).ok()).map(|table| {
            let mut headers = arguments(&table);
            if message.copies == Copies::Blind {
                headers.remove(BCC);
            }
            headers
        });
        Self {
            content_type: text(raw.content_type),
            content_encoding: text(raw.content_encoding),
            headers,
            delivery_mode: raw.delivery_mode,
            priority: raw.priority,
            correlation_id: text(raw.correlation_id),
            reply_to: text(raw.reply_to),
            expiration: text(raw.expiration),
            message_id: text(raw.message_id),
            timestamp: raw.timestamp,
            kind: text(raw.kind),
            user_id: text(raw.user_id),
            app_id: text(raw.app_id),
            cluster_id: text(raw.cluster_id),
        }
    }

    /// As they lie in a message.
    fn encoded(&self, headers: Option<&FieldTable>) -> Result<Vec<u8>, Refusal> {
        let texts = [
            ("content_type", &self.content_type),
            ("content_encoding", &self.content_encoding),
            ("correlation_id", &self.correlation_id),
            ("reply_to", &self.reply_to),
            ("expiration", &self.expiration),
            ("message_id", &self.message_id),
            ("type", &self.kind),
            ("user_id", &self.user_id),
            ("app_id", &self.app_id),
            ("cluster_id", &self.cluster_id),
        ];
        short::check(texts.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?))))?;
        if let Some(text) = &self.expiration
            && text.parse::<u64>().ok().is_none_or(|ms| ms > EXPIRATION_MAX_MS)
        {
            return Err(invalid(format!("invalid expiration '{text}'")));
        }
        let headers = headers.map(|table| {
            let mut encoded = Vec::new();
            table::encode(table, &mut encoded);
            encoded
        });
        let bytes = |text: &'_ Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        let [
            content_type,
            content_encoding,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            kind,
            user_id,
            app_id,
            cluster_id,
        ] = texts.map(|(_, text)| bytes(text));
        let properties = Properties {
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
            headers: headers.as_deref(),
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            correlation_id: correlation_id.as_deref(),
            reply_to: reply_to.as_deref(),
            expiration: expiration.as_deref(),
            message_id: message_id.as_deref(),
            timestamp: self.timestamp,
            kind: kind.as_deref(),
            user_id: user_id.as_deref(),
            app_id: app_id.as_deref(),
            cluster_id: cluster_id.as_deref(),
        };
        let mut raw = Vec::new();
        properties::encode(&properties, &mut raw);
        Ok(raw)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        secret::serialize(&STANDARD.encode(&self.0), serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A body is not for logs.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
