//! Dead letters: what a message becomes when it dies in a queue, and where it may not go.
//!
//! RabbitMQ: dlx.md. The `x-death` header is an array of tables, the most recent death first, one
//! for each (queue, reason); a repeated death moves to the front and counts up. A dead letter has
//! the routing keys of its message, copies and all, unless the queue has a key for it, which then
//! replaces all of them for good. Everything here is a pure function from records to records.

use crate::message::copies::{all_keys, known_keys};
use crate::message::deaths::{self, Death, LastDeath};
use crate::message::properties;
use crate::message::table;
use crate::message::table::FieldTable;
use crate::message::{BCC, Block, BlockBuilder, Copies, Message};
use crate::queue::DeathReason;

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
    let mut history = if message.died { deaths::read(&headers) } else { Vec::new() };
    record_death(&mut history, message, at, &headers, old.expiration);
    let (mut routing_keys, mut copies) = (all_keys(message, &headers), message.copies);
    if let Some(key) = at.routing_key {
        routing_keys = vec![key.as_bytes().to_vec()];
        copies = Copies::Spent;
    }
    let exchange = text(message.exchange);
    let last = LastDeath {
        reason: at.reason.name(),
        queue: at.queue,
        exchange: &exchange,
        is_repeated: message.died,
    };
    let mut bytes = deaths::write(headers, last, &history);
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::CC;
    use crate::message::properties::Properties;
    use crate::message::table::FieldValue;

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
        let deaths = deaths::read(&headers);
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
            deaths::read(&headers_of(&last)).into_iter().map(|death| death.routing_keys).collect();
        let known = vec![b"a.b".to_vec(), b"c".to_vec()];
        assert_eq!(keys, [vec![b"dead".to_vec()], known.clone(), known]);
    }

    #[test]
    fn a_repeated_death_counts_and_moves_to_the_front() {
        let first = die(&message(&[0, 0]), "q", DeathReason::Rejected);
        let second = die(&first.block.message(0), "r", DeathReason::DeliveryLimit);
        let third = die(&second.block.message(0), "q", DeathReason::Rejected);
        let deaths = deaths::read(&headers_of(&third));
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
        assert_eq!(deaths::read(&headers_of(&again))[0].count, 1);
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
