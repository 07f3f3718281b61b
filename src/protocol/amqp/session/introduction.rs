//! What a client says of itself as it logs in, for operators.

use crate::message::table::{self, FieldTable, FieldValue};
use crate::protocol::amqp::wire::fields;
use amq_protocol::protocol::connection::StartOk;

/// Bytes that are kept of what a client says of itself; of one that says more, only [`KEPT`].
const PROPERTIES_BYTES_MAX: usize = 4096;

/// What tells clients apart.
const KEPT: [&str; 5] = ["connection_name", "information", "platform", "product", "version"];

/// The longest of these, in bytes.
const KEPT_BYTES_MAX: usize = 255;

/// What is only known while the client logs in.
#[derive(Default)]
pub(super) struct Introduction {
    pub(super) mechanism: String,
    pub(super) properties: Box<[u8]>,
}

impl Introduction {
    /// As the client logs in.
    pub(super) fn of(start_ok: &StartOk) -> Self {
        let mechanism = start_ok.mechanism.as_str().to_owned();
        Self { mechanism, properties: properties(&fields::read(&start_ok.client_properties)) }
    }
}

/// What a client says of itself, as far as it is kept.
fn properties(given: &FieldTable) -> Box<[u8]> {
    let mut bytes = Vec::new();
    table::encode(given, &mut bytes);
    if bytes.len() <= PROPERTIES_BYTES_MAX {
        return bytes.into();
    }
    let mut kept = FieldTable::default();
    for name in KEPT {
        if let Some(value @ FieldValue::LongString(text)) = given.get(name)
            && text.len() <= KEPT_BYTES_MAX
        {
            kept.insert(name.into(), value.clone());
        }
    }
    bytes.clear();
    table::encode(&kept, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_client_that_says_too_much_only_what_tells_it_apart_is_kept() {
        let text = |len: usize| FieldValue::LongString("x".repeat(len).into());
        let mut given = FieldTable::default();
        given.insert("product".into(), text(10));
        given.insert("version".into(), text(300));
        given.insert("poem".into(), text(1000));
        let kept = |given: &FieldTable| -> Vec<String> {
            let names = table::decode(&properties(given)).unwrap();
            names.keys().map(ToString::to_string).collect()
        };
        assert_eq!(kept(&given), ["poem", "product", "version"]);
        given.insert("poem".into(), text(5000));
        assert_eq!(kept(&given), ["product"]);
    }
}
