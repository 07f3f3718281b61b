//! Dead letters: what a message becomes when it dies in a queue, and where it may not go.
//!
//! RabbitMQ: dlx.md. The `x-death` header is an array of tables, the most recent death first, one
//! for each (queue, reason); a repeated death moves to the front and counts up. A dead letter has
//! the routing keys of its message, copies and all, unless the queue has a key for it, which then
//! replaces all of them for good. Everything here is a pure function from records to records.

use crate::message::properties;
use crate::message::table;
use crate::message::table::{FieldTable, FieldValue};
use crate::message::{BCC, Block, BlockBuilder, CC, Copies, Message};
use crate::queue::DeathReason;

/// One entry of `x-death`.
#[derive(Debug, Clone, PartialEq)]
struct Death {
    count: i64,
    reason: String,
    queue: String,
    /// Seconds since 1970 of the first death of this queue and reason.
    time_s: u64,
    exchange: String,
    routing_keys: Vec<Vec<u8>>,
    /// The `expiration` that the message had and lost.
    original_expiration: Option<Vec<u8>>,
}

/// Where and when a message died.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) queue: &'a str,
    pub(crate) reason: DeathReason,
    /// When it is sent.
    pub(crate) now_unix_ms: u64,
    /// When it died, by the wall clock.
    pub(crate) died_wall_ms: u64,
    /// The dead-letter exchange.
    pub(crate) exchange: &'a str,
    /// The queue's `x-dead-letter-routing-key`; the message's own key without it.
    pub(crate) routing_key: Option<&'a str>,
}

/// A message on its way to the dead-letter exchange.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// A block of this one message.
    pub(crate) block: Block,
    /// The first is the one that consumers see.
    pub(crate) routing_keys: Vec<Vec<u8>>,
    history: Vec<Death>,
}

impl DeadLetter {
    /// Whether entering `queue` would close a cycle without anybody's doing: it died there before,
    /// and no consumer has rejected it since.
    pub(crate) fn is_cycle(&self, queue: &str) -> bool {
        self.history
            .iter()
            .map_while(|death| (death.reason != DeathReason::Rejected.name()).then_some(&death.queue))
            .any(|died_in| died_in == queue)
    }

    /// Its properties, for exchanges that route by them.
    pub(crate) fn properties(&self) -> &[u8] {
        self.block.message(0).properties
    }
}

/// What `message` becomes.
pub(crate) fn dead_letter(message: &Message<'_>, at: &Circumstances<'_>) -> DeadLetter {
    // A message whose properties do not decode was let in as it is; it loses them rather than its
    // life.
    let mut old = properties::decode(message.properties).unwrap_or_default();
    let headers = old.headers.and_then(|bytes| table::decode(bytes).ok()).unwrap_or_default();
    let mut history = if message.died { read_history(&headers) } else { Vec::new() };
    record_death(&mut history, message, at, &headers, old.expiration);
    let (mut routing_keys, mut copies) = (all_keys(message, &headers), message.copies);
    if let Some(key) = at.routing_key {
        routing_keys = vec![key.as_bytes().to_vec()];
        copies = Copies::Spent;
    }
    let mut bytes = write_headers(headers, message, at, &history);
    if copies == Copies::Spent {
        bytes = table::with(&bytes, BCC, None);
    }
    old.headers = Some(&bytes);
    old.expiration = None;
    let mut raw = Vec::with_capacity(message.properties.len() + bytes.len());
    properties::encode(&old, &mut raw);
    let mut builder = BlockBuilder::default();
    builder.push(&Message {
        died: true,
        copies,
        expires: false,
        arrived_at_ms: at.now_unix_ms,
        exchange: at.exchange.as_bytes(),
        routing_key: &routing_keys[0],
        properties: &raw,
        ..*message
    });
    DeadLetter { block: builder.build(), routing_keys, history }
}

fn record_death(
    history: &mut Vec<Death>,
    message: &Message<'_>,
    at: &Circumstances<'_>,
    headers: &FieldTable,
    expiration: Option<&[u8]>,
) {
    let same = |death: &Death| death.queue == at.queue && death.reason == at.reason.name();
    let newest = match history.iter().position(same) {
        Some(index) => {
            let mut again = history.remove(index);
            again.count = again.count.saturating_add(1);
            again
        }
        None => Death {
            count: 1,
            reason: at.reason.name().to_owned(),
            queue: at.queue.to_owned(),
            time_s: at.died_wall_ms / 1000,
            exchange: text(message.exchange),
            routing_keys: known_keys(message, headers),
            original_expiration: expiration.map(<[u8]>::to_vec),
        },
    };
    history.insert(0, newest);
}

/// The routing key and those of the `CC` header, while they count; `BCC` stays secret.
fn known_keys(message: &Message<'_>, headers: &FieldTable) -> Vec<Vec<u8>> {
    let mut keys = vec![message.routing_key.to_vec()];
    if message.copies != Copies::Spent {
        keys.extend(strings(headers.get(CC)));
    }
    keys
}

/// All keys that a message with these headers is routed by, the secret ones too.
pub(crate) fn all_keys(message: &Message<'_>, headers: &FieldTable) -> Vec<Vec<u8>> {
    let mut keys = known_keys(message, headers);
    if message.copies == Copies::Blind {
        keys.extend(strings(headers.get(BCC)));
    }
    keys
}

/// The strings of an array.
fn strings(array: Option<&FieldValue>) -> Vec<Vec<u8>> {
    let Some(FieldValue::FieldArray(items)) = array else { return Vec::new() };
    let string = |item: &FieldValue| match item {
        FieldValue::LongString(text) => Some(text.clone()),
        _ => None,
    };
    items.as_slice().iter().filter_map(string).collect()
}

fn read_history(headers: &FieldTable) -> Vec<Death> {
    let Some(FieldValue::FieldArray(deaths)) = headers.get("x-death") else { return Vec::new() };
    deaths.as_slice().iter().filter_map(read_death).collect()
}

fn read_death(entry: &FieldValue) -> Option<Death> {
    let FieldValue::FieldTable(fields) = entry else { return None };
    let string = |key: &str| match fields.get(key) {
        Some(FieldValue::LongString(value)) => Some(value.clone()),
        _ => None,
    };
    let Some(&FieldValue::LongLongInt(count)) = fields.get("count") else { return None };
    let Some(&FieldValue::Timestamp(time_s)) = fields.get("time") else { return None };
    Some(Death {
        count,
        reason: text(&string("reason")?),
        queue: text(&string("queue")?),
        time_s,
        exchange: text(&string("exchange")?),
        routing_keys: strings(fields.get("routing-keys")),
        original_expiration: string("original-expiration"),
    })
}

/// The headers' bytes: all keys in order, with the death's own among them.
fn write_headers(
    headers: FieldTable,
    message: &Message<'_>,
    at: &Circumstances<'_>,
    history: &[Death],
) -> Vec<u8> {
    let mut all = headers;
    let mut put = |key: &str, value: &str| {
        all.insert(key.to_owned(), FieldValue::LongString(value.into()));
    };
    put("x-last-death-reason", at.reason.name());
    put("x-last-death-queue", at.queue);
    put("x-last-death-exchange", &text(message.exchange));
    if !(message.died && all.contains_key("x-first-death-reason")) {
        let mut put = |key: &str, value: &str| {
            all.insert(key.to_owned(), FieldValue::LongString(value.into()));
        };
        put("x-first-death-reason", at.reason.name());
        put("x-first-death-queue", at.queue);
        put("x-first-death-exchange", &text(message.exchange));
    }
    let mut out = Vec::new();
    let (mut before, mut after) = (FieldTable::default(), FieldTable::default());
    for (key, value) in all {
        match key.as_str().cmp("x-death") {
            std::cmp::Ordering::Less => before.insert(key, value),
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Greater => after.insert(key, value),
        };
    }
    table::encode(&before, &mut out);
    write_history(history, &mut out);
    table::encode(&after, &mut out);
    out
}

/// `x-death` with its fields in the order in which RabbitMQ writes them, which a sorted table would
/// lose.
fn write_history(history: &[Death], out: &mut Vec<u8>) {
    short(out, b"x-death");
    out.push(b'A');
    with_length(out, |out| {
        for death in history {
            out.push(b'F');
            with_length(out, |out| {
                if let Some(expiration) = &death.original_expiration {
                    long_field(out, b"original-expiration", expiration);
                }
                short(out, b"count");
                out.push(b'l');
                out.extend_from_slice(&death.count.to_be_bytes());
                long_field(out, b"reason", death.reason.as_bytes());
                long_field(out, b"queue", death.queue.as_bytes());
                short(out, b"time");
                out.push(b'T');
                out.extend_from_slice(&death.time_s.to_be_bytes());
                long_field(out, b"exchange", death.exchange.as_bytes());
                short(out, b"routing-keys");
                out.push(b'A');
                with_length(out, |out| {
                    for key in &death.routing_keys {
                        out.push(b'S');
                        with_length(out, |out| out.extend_from_slice(key));
                    }
                });
            });
        }
    });
}

fn long_field(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    short(out, key);
    out.push(b'S');
    with_length(out, |out| out.extend_from_slice(value));
}

fn short(out: &mut Vec<u8>, key: &[u8]) {
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(key);
}

/// Writes what `content` writes behind its length in four bytes.
fn with_length(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::properties::Properties;

    fn die(message: &Message<'_>, queue: &str, reason: DeathReason) -> DeadLetter {
        dead_letter(
            message,
            &Circumstances {
                queue,
                reason,
                now_unix_ms: 5_000,
                died_wall_ms: 5_000,
                exchange: "dlx",
                routing_key: Some("dead"),
            },
        )
    }

    fn message(properties: &[u8]) -> Message<'_> {
        Message { persistent: true, ..Message::published(1, (b"logs", b"a.b"), properties, b"body") }
    }

    fn headers_of(letter: &DeadLetter) -> FieldTable {
        let properties = properties::decode(letter.properties()).unwrap();
        table::decode(properties.headers.unwrap()).unwrap()
    }

    #[test]
    fn the_first_death_is_written_in_full() {
        let mut raw = Vec::new();
        let properties =
            Properties { expiration: Some(b"60000"), app_id: Some(b"me"), ..Properties::default() };
        properties::encode(&properties, &mut raw);
        let letter = die(&message(&raw), "q", DeathReason::Rejected);
        let sent = letter.block.message(0);
        assert_eq!((sent.exchange, sent.routing_key, sent.body), (&b"dlx"[..], &b"dead"[..], &b"body"[..]));
        assert!(sent.died && sent.persistent);
        let properties = properties::decode(sent.properties).unwrap();
        assert_eq!((properties.expiration, properties.app_id), (None, Some(&b"me"[..])));
        let headers = headers_of(&letter);
        let names: Vec<_> = headers.keys().map(|key| key.as_str().to_owned()).collect();
        assert_eq!(
            names,
            [
                "x-death",
                "x-first-death-exchange",
                "x-first-death-queue",
                "x-first-death-reason",
                "x-last-death-exchange",
                "x-last-death-queue",
                "x-last-death-reason"
            ]
        );
        let deaths = read_history(&headers);
        assert_eq!(
            deaths,
            [Death {
                count: 1,
                reason: "rejected".into(),
                queue: "q".into(),
                time_s: 5,
                exchange: "logs".into(),
                routing_keys: vec![b"a.b".to_vec()],
                original_expiration: Some(b"60000".to_vec()),
            }]
        );
    }

    /// A message with the copies `c` and, for nobody to see, `b`.
    fn with_copies() -> Vec<u8> {
        let key = |key: &str| FieldValue::FieldArray(vec![FieldValue::LongString(key.into())]);
        let mut headers = FieldTable::default();
        headers.insert(CC.into(), key("c"));
        headers.insert(BCC.into(), key("b"));
        let mut bytes = Vec::new();
        table::encode(&headers, &mut bytes);
        let mut raw = Vec::new();
        properties::encode(&Properties { headers: Some(&bytes), ..Properties::default() }, &mut raw);
        raw
    }

    #[test]
    fn copies_are_addressed_again_until_a_key_replaces_them() {
        let raw = with_copies();
        let first = Message { copies: Copies::Blind, ..message(&raw) };
        let at = |queue, routing_key| Circumstances {
            queue,
            reason: DeathReason::Rejected,
            now_unix_ms: 5_000,
            died_wall_ms: 5_000,
            exchange: "dlx",
            routing_key,
        };
        let again = dead_letter(&first, &at("q", None));
        assert_eq!(again.routing_keys, [&b"a.b"[..], b"c", b"b"]);
        let second = again.block.message(0);
        assert_eq!((second.copies, second.routing_key), (Copies::Blind, &b"a.b"[..]));

        let replaced = dead_letter(&second, &at("r", Some("dead")));
        assert_eq!(replaced.routing_keys, [b"dead"]);
        let third = replaced.block.message(0);
        assert_eq!((third.copies, third.routing_key), (Copies::Spent, &b"dead"[..]));
        let headers = headers_of(&replaced);
        assert!(headers.contains_key(CC) && !headers.contains_key(BCC));

        let last = dead_letter(&third, &at("s", None));
        assert_eq!(last.routing_keys, [b"dead"]);
        let keys: Vec<_> =
            read_history(&headers_of(&last)).into_iter().map(|death| death.routing_keys).collect();
        let known = vec![b"a.b".to_vec(), b"c".to_vec()];
        assert_eq!(keys, [vec![b"dead".to_vec()], known.clone(), known]);
    }

    #[test]
    fn a_repeated_death_counts_and_moves_to_the_front() {
        let first = die(&message(&[0, 0]), "q", DeathReason::Rejected);
        let second = die(&first.block.message(0), "r", DeathReason::DeliveryLimit);
        let third = die(&second.block.message(0), "q", DeathReason::Rejected);
        let deaths = read_history(&headers_of(&third));
        let told: Vec<_> =
            deaths.iter().map(|death| (death.queue.as_str(), death.count, &*death.exchange)).collect();
        assert_eq!(told, [("q", 2, "logs"), ("r", 1, "dlx")], "the first death's exchange stays");
        let headers = headers_of(&third);
        assert_eq!(headers["x-first-death-queue"], FieldValue::LongString("q".into()));
        assert_eq!(headers["x-last-death-exchange"], FieldValue::LongString("dlx".into()));
    }

    #[test]
    fn what_a_client_claims_of_deaths_is_not_believed() {
        let first = die(&message(&[0, 0]), "q", DeathReason::Rejected);
        let forged = Message { died: false, ..first.block.message(0) };
        let again = die(&forged, "q", DeathReason::Rejected);
        assert_eq!(read_history(&headers_of(&again))[0].count, 1);
    }

    #[test]
    fn a_cycle_without_a_rejection_is_seen() {
        let limit = die(&message(&[0, 0]), "q", DeathReason::DeliveryLimit);
        assert!(limit.is_cycle("q"));
        assert!(!limit.is_cycle("r"));
        let rejected = die(&limit.block.message(0), "r", DeathReason::Rejected);
        assert!(!rejected.is_cycle("q"), "a consumer rejected it in between");
        assert!(!rejected.is_cycle("r"));
    }
}
