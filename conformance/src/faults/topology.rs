//! The queues that the clients use, and where messages go.

use crate::client::method::{bind_queue, declare_exchange, declare_queue};
use crate::client::{Client, ClientError};
use crate::faults::dice::Dice;
use amq_protocol::types::{AMQPValue, FieldTable, LongString};

/// A queue with one consumer, which is never hurt: its order is checked to the letter.
pub(crate) const ONE: &str = "faults-one";
/// A queue whose consumer acknowledges late, and many at a time.
pub(crate) const TWO: &str = "faults-two";
/// A queue with several workers, who refuse some messages.
pub(crate) const WORK: &str = "faults-work";
/// Where refused messages of [`WORK`] go.
pub(crate) const DEAD: &str = "faults-dead";
/// What transactions take from.
pub(crate) const INPUT: &str = "faults-input";
/// What transactions publish to, both or neither.
pub(crate) static OUTPUTS: [&str; 2] = ["faults-output-a", "faults-output-b"];
/// Full queues that dead-letter into each other, the oldest message first; what is driven out of
/// the last but one is consumed from the last. A message is in one of them at any time.
pub(crate) static CHAIN: [&str; 3] = ["faults-chain-a", "faults-chain-b", "faults-chain-c"];
/// So many messages the first two queues of [`CHAIN`] hold.
const CHAIN_LENGTH: i32 = 5;
/// A queue whose messages expire, and where they go then. A message is in one of them at any time.
pub(crate) static EXPIRING: [&str; 2] = ["faults-expiring", "faults-expired"];
/// How long a message stays in the first queue of [`EXPIRING`].
const EXPIRES_AFTER_MS: i32 = 40;
/// A queue with a dead-letter exchange that is not there: what is refused stays in it, parked.
pub(crate) const PARKING: &str = "faults-parking";
/// The parked messages of [`PARKING`], as a history has them.
pub(crate) const PARKED: &str = "faults-parking (parked)";

/// Queues that are declared, purged and deleted while the run goes on.
pub(crate) static CHURN: [&str; 2] = ["faults-churn-a", "faults-churn-b"];

/// A fanout to [`ONE`] and [`TWO`].
const BOTH: &str = "faults-both";

/// Queues that are there for the whole run.
pub(crate) static LASTING: [&str; 13] = [
    ONE,
    TWO,
    WORK,
    DEAD,
    INPUT,
    OUTPUTS[0],
    OUTPUTS[1],
    CHAIN[0],
    CHAIN[1],
    CHAIN[2],
    EXPIRING[0],
    EXPIRING[1],
    PARKING,
];

/// What a history calls `queue`. Messages wander along [`CHAIN`] and [`EXPIRING`] by themselves, so
/// each of these counts as one queue.
pub(crate) fn recorded_as(queue: &'static str) -> &'static str {
    for path in [&CHAIN[..], &EXPIRING[..]] {
        if path.contains(&queue) {
            return path[0];
        }
    }
    queue
}

/// Where a publish goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The exchange.
    pub(crate) exchange: &'static str,
    /// The routing key.
    pub(crate) key: &'static str,
    /// Every queue that this reaches, as a history has it.
    pub(crate) queues: &'static [&'static str],
}

/// Where most messages go.
const TARGETS: [Target; 6] = [
    Target { exchange: "", key: ONE, queues: &[ONE] },
    Target { exchange: "", key: WORK, queues: &[WORK] },
    Target { exchange: BOTH, key: "", queues: &[ONE, TWO] },
    Target { exchange: BOTH, key: "again", queues: &[ONE, TWO] },
    Target { exchange: "", key: CHAIN[0], queues: &[CHAIN[0]] },
    Target { exchange: "", key: EXPIRING[0], queues: &[EXPIRING[0]] },
];

/// Queues in which messages pile up: transactions wait as publishers do while the disk is full, and
/// what is parked stays. Full of these, the small disk would be full for good.
const PILING: [Target; 2] = [
    Target { exchange: "", key: INPUT, queues: &[INPUT] },
    Target { exchange: "", key: PARKING, queues: &[PARKING] },
];

/// One message in so many goes to those.
const PILED: u64 = 16;

/// Where a publisher sends its next message.
pub(crate) fn choose(dice: &mut Dice) -> Target {
    if dice.one_in(PILED) { dice.pick(&PILING) } else { dice.pick(&TARGETS) }
}

/// Declares everything that lasts.
pub(crate) fn declare(client: &mut Client) -> Result<(), ClientError> {
    for queue in LASTING {
        client.call(declare_queue(queue, arguments_of(queue)))?;
    }
    client.call(declare_exchange(BOTH, "fanout"))?;
    for queue in [ONE, TWO] {
        client.call(bind_queue(queue, BOTH))?;
    }
    Ok(())
}

fn arguments_of(queue: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    let mut dead_letters = |exchange: &str, key: &str| {
        arguments.insert("x-dead-letter-exchange".into(), LongString::from(exchange).into());
        arguments.insert("x-dead-letter-routing-key".into(), LongString::from(key).into());
    };
    match queue {
        WORK => dead_letters("", DEAD),
        PARKING => dead_letters("faults-nowhere", ""),
        _ if queue == EXPIRING[0] => dead_letters("", EXPIRING[1]),
        _ if queue == CHAIN[0] => dead_letters("", CHAIN[1]),
        _ if queue == CHAIN[1] => dead_letters("", CHAIN[2]),
        _ => {}
    }
    if queue == EXPIRING[0] {
        arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(EXPIRES_AFTER_MS));
    }
    if CHAIN[..2].contains(&queue) {
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(CHAIN_LENGTH));
    }
    arguments
}
