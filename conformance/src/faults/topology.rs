//! The queues that the clients use, and where messages go.

use crate::client::method::{bind_queue, declare_exchange, declare_queue};
use crate::client::{Client, ClientError};
use amq_protocol::types::{FieldTable, LongString};

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
/// Queues that are declared, purged and deleted while the run goes on.
pub(crate) static CHURN: [&str; 2] = ["faults-churn-a", "faults-churn-b"];

/// A fanout to [`ONE`] and [`TWO`].
const BOTH: &str = "faults-both";

/// Queues that are there for the whole run.
pub(crate) static LASTING: [&str; 7] = [ONE, TWO, WORK, DEAD, INPUT, OUTPUTS[0], OUTPUTS[1]];

/// Where a publish goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The exchange.
    pub(crate) exchange: &'static str,
    /// The routing key.
    pub(crate) key: &'static str,
    /// Every queue that this reaches.
    pub(crate) queues: &'static [&'static str],
}

/// What publishers choose from.
pub(crate) const TARGETS: [Target; 5] = [
    Target { exchange: "", key: ONE, queues: &[ONE] },
    Target { exchange: "", key: WORK, queues: &[WORK] },
    Target { exchange: BOTH, key: "", queues: &[ONE, TWO] },
    Target { exchange: BOTH, key: "again", queues: &[ONE, TWO] },
    Target { exchange: "", key: INPUT, queues: &[INPUT] },
];

/// Declares everything that lasts.
pub(crate) fn declare(client: &mut Client) -> Result<(), ClientError> {
    for queue in LASTING {
        let mut arguments = FieldTable::default();
        if queue == WORK {
            arguments.insert("x-dead-letter-exchange".into(), LongString::from("").into());
            arguments.insert("x-dead-letter-routing-key".into(), LongString::from(DEAD).into());
        }
        client.call(declare_queue(queue, arguments))?;
    }
    client.call(declare_exchange(BOTH, "fanout"))?;
    for queue in [ONE, TWO] {
        client.call(bind_queue(queue, BOTH))?;
    }
    Ok(())
}
