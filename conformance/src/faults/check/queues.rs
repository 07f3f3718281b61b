//! Whether queues that their one owner declares and deletes are there when they should be.

use super::{Kind, Violation};
use crate::faults::history::{Event, Record, Removal};
use std::collections::HashMap;

/// What is known of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    /// A declare or delete was tried and not answered: only another process, which knows what is on
    /// disk, can tell.
    Unknown {
        /// The process that it was tried on.
        epoch: u32,
    },
}

/// Checks that a queue exists exactly when its only owner expects it to.
pub(super) fn check(records: &[Record]) -> Vec<Violation> {
    let mut queues: HashMap<&'static str, Known> = HashMap::new();
    let mut violations = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let unknown = Known::Unknown { epoch: record.epoch };
        match record.event {
            Event::DeclareTried { queue } if queues.get(queue) != Some(&Known::There) => {
                queues.insert(queue, unknown);
            }
            Event::RemoveTried { queue, how: Removal::Delete } => {
                queues.insert(queue, unknown);
            }
            Event::Declared { queue } => {
                queues.insert(queue, Known::There);
            }
            Event::Removed { queue, how: Removal::Delete } => {
                queues.insert(queue, Known::Gone);
            }
            Event::Looked { queue, there } => {
                let (kind, what) = match (queues.get(queue), there) {
                    (Some(Known::Gone), true) => (Kind::Resurrected, "was deleted and is there"),
                    (Some(Known::There), false) => (Kind::Lost, "was declared and is not there"),
                    (Some(Known::Unknown { epoch }), _) if *epoch < record.epoch => {
                        queues.insert(queue, if there { Known::There } else { Known::Gone });
                        continue;
                    }
                    _ => continue,
                };
                let what = format!("{queue} {what} (event {at}, process {})", record.epoch);
                violations.push(Violation::new(kind, what, []));
            }
            _ => {}
        }
    }
    violations
}
