//! The routing keys of a message: its own, and those of the copies that its headers `CC` and `BCC`
//! ask for (RabbitMQ: sender-selected.md).

use super::table::{self, FieldTable};
use super::{BCC, CC, Copies, Message};

/// The routing key and those of the `CC` header, while they count; `BCC` stays secret.
pub(crate) fn known_keys(message: &Message<'_>, headers: &FieldTable) -> Vec<Vec<u8>> {
    let mut keys = vec![message.routing_key.to_vec()];
    if message.copies != Copies::Spent {
        keys.extend(table::strings(headers.get(CC)));
    }
    keys
}

/// All keys that a message with these headers is routed by, the secret ones too.
pub(crate) fn all_keys(message: &Message<'_>, headers: &FieldTable) -> Vec<Vec<u8>> {
    let mut keys = known_keys(message, headers);
    if message.copies == Copies::Blind {
        keys.extend(table::strings(headers.get(BCC)));
    }
    keys
}
