//! Values in field tables: when two are equal, and how RabbitMQ prints them in its error texts.

use crate::error::{BrokerError, Difference, Resource, ShownValue};
use crate::message::table::{FieldTable, FieldValue, RawValue, integer, type_name};

/// The value as text, if it is a long string.
#[must_use]
pub fn text(value: &FieldValue) -> Option<String> {
    match value {
        FieldValue::LongString(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

/// Whether two values are the same to a client: whole numbers and timestamps by value whatever
/// their type, so too the floats, so too strings and binaries; a whole number and a float are never
/// the same. Everything else has to have the same type.
#[must_use]
pub fn same(one: &FieldValue, other: &FieldValue) -> bool {
    match (class(one), class(other)) {
        (Class::Other(one), Class::Other(other)) => one == other,
        (one, other) => one == other,
    }
}

/// As [`same`], and arrays item by item: clients write the same whole number as different types.
fn same_to_all(one: &FieldValue, other: &FieldValue) -> bool {
    match (one, other) {
        (FieldValue::FieldArray(one), FieldValue::FieldArray(other)) => {
            let (one, other) = (one.as_slice(), other.as_slice());
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_to_all(one, other))
        }
        _ => same(one, other),
    }
}

/// Bytes that two values have in common when they are [`same`]; arrays and tables only when their
/// bytes are equal.
#[must_use]
pub fn canonical(value: RawValue<'_>) -> Vec<u8> {
    let tagged = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    match value.kind {
        b'A' | b'F' => return tagged(value.kind, value.bytes),
        b'S' | b'x' => return tagged(b'S', value.bytes),
        _ => {}
    }
    match value.decode() {
        Ok(decoded) => match class(&decoded) {
            Class::Integer(number) => tagged(b'l', &number.to_be_bytes()),
            Class::Float(number) => tagged(b'd', &number.to_be_bytes()),
            Class::Bytes(_) | Class::Other(_) => tagged(value.kind, value.bytes),
        },
        Err(_malformed) => tagged(value.kind, value.bytes),
    }
}

#[derive(PartialEq)]
enum Class<'a> {
    Integer(i128),
    Float(f64),
    Bytes(&'a [u8]),
    Other(&'a FieldValue),
}

fn class(value: &FieldValue) -> Class<'_> {
    match value {
        FieldValue::Timestamp(seconds) => Class::Integer((*seconds).into()),
        FieldValue::Float(number) => Class::Float((*number).into()),
        FieldValue::Double(number) => Class::Float(*number),
        FieldValue::LongString(text) => Class::Bytes(text),
        FieldValue::ByteArray(bytes) => Class::Bytes(bytes),
        other => integer(other).map_or(Class::Other(other), |number| Class::Integer(number.into())),
    }
}

/// Refuses a redeclare whose `key` differs from what was declared first.
///
/// # Errors
/// [`BrokerError::Inequivalent`], with both values.
pub fn equivalent(
    key: &'static str,
    on: &Resource,
    received: Option<&FieldValue>,
    current: Option<&FieldValue>,
) -> Result<(), BrokerError> {
    match (received, current) {
        (None, None) => Ok(()),
        (Some(received), Some(current)) if same_to_all(received, current) => Ok(()),
        (received, current) => {
            let difference = Difference { received: received.map(shown), current: current.map(shown) };
            Err(BrokerError::Inequivalent { key, on: on.clone(), difference: difference.into() })
        }
    }
}

/// As [`equivalent`], for a flag of the method.
///
/// # Errors
/// [`BrokerError::Inequivalent`], with both values.
pub fn equivalent_flag(
    key: &'static str,
    on: &Resource,
    received: bool,
    current: bool,
) -> Result<(), BrokerError> {
    equivalent(key, on, Some(&FieldValue::Boolean(received)), Some(&FieldValue::Boolean(current)))
}

/// A value as texts show it: strings as they are, anything else as [`term`].
fn shown(value: &FieldValue) -> ShownValue {
    let text = match class(value) {
        Class::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
        _ => term(value).into(),
    };
    ShownValue { text, type_name: type_name(value) }
}

/// A value as the Erlang term that RabbitMQ prints.
#[must_use]
pub fn term(value: &FieldValue) -> String {
    match value {
        FieldValue::Boolean(flag) => flag.to_string(),
        FieldValue::Void => "undefined".to_owned(),
        FieldValue::Double(number) => format!("{number:?}"),
        FieldValue::Float(number) => format!("{:?}", f64::from(*number)),
        FieldValue::Decimal { scale, value } => format!("{{{scale},{value}}}"),
        FieldValue::Timestamp(seconds) => seconds.to_string(),
        FieldValue::LongString(bytes) | FieldValue::ByteArray(bytes) => {
            format!("<<\"{}\">>", String::from_utf8_lossy(bytes))
        }
        FieldValue::FieldArray(items) => {
            let items: Vec<_> = items
                .as_slice()
                .iter()
                .map(|item| format!("{{{},{}}}", type_name(item), term(item)))
                .collect();
            format!("[{}]", items.join(","))
        }
        FieldValue::FieldTable(table) => term_of_table(table),
        number => integer(number).unwrap_or_default().to_string(),
    }
}

fn term_of_table(table: &FieldTable) -> String {
    let items: Vec<_> = table
        .iter()
        .map(|(key, item)| format!("{{<<\"{key}\">>,{},{}}}", type_name(item), term(item)))
        .collect();
    format!("[{}]", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(received: Option<&FieldValue>, current: Option<&FieldValue>, expected: &str) {
        let on = Resource::queue(&"/".into(), "q");
        let said = equivalent("k", &on, received, current).err().map(|fault| fault.to_string());
        let said = said.unwrap_or_default();
        let head = "inequivalent arg 'k' for queue 'q' in vhost '/': ";
        assert_eq!(said.strip_prefix(head).unwrap_or(&said), expected);
    }

    #[test]
    fn whole_numbers_are_equal_by_value() {
        let ten = Some(&FieldValue::LongInt(10));
        check(ten, Some(&FieldValue::LongLongInt(10)), "");
        check(ten, Some(&FieldValue::ShortShortUInt(10)), "");
        check(ten, Some(&FieldValue::Timestamp(10)), "");
        check(ten, Some(&FieldValue::Double(10.0)), "received '10' but current is '10.0'");
        check(ten, Some(&FieldValue::LongString("10".into())), "received '10' but current is '10'");
        check(Some(&FieldValue::Float(1.5)), Some(&FieldValue::Double(1.5)), "");
        check(Some(&FieldValue::LongString("a".into())), Some(&FieldValue::ByteArray(b"a".to_vec())), "");
    }

    #[test]
    fn arrays_are_equal_item_by_item() {
        let array = |items: Vec<FieldValue>| FieldValue::FieldArray(items);
        let [short, long] = [FieldValue::ShortInt(200), FieldValue::LongLongInt(200)];
        check(Some(&array(vec![short.clone()])), Some(&array(vec![long.clone()])), "");
        let nested = |item| Some(array(vec![array(vec![item])]));
        check(nested(short.clone()).as_ref(), nested(long.clone()).as_ref(), "");
        let longer = array(vec![short.clone(), long]);
        let expected = "received '[{short,200}]' but current is '[{short,200},{long,200}]'";
        check(Some(&array(vec![short])), Some(&longer), expected);
    }

    #[test]
    fn canonical_bytes_are_those_of_equal_values() {
        let bytes = |kind: u8, bytes: &[u8]| canonical(RawValue { kind, bytes });
        assert_eq!(bytes(b'I', &7_i32.to_be_bytes()), bytes(b'l', &7_i64.to_be_bytes()));
        assert_eq!(bytes(b'b', &[0xff]), bytes(b's', &[0xff, 0xff]));
        assert_ne!(bytes(b'b', &[0xff]), bytes(b'B', &[0xff]));
        assert_eq!(bytes(b'T', &7_u64.to_be_bytes()), bytes(b'I', &7_i32.to_be_bytes()));
        assert_eq!(bytes(b'f', &1.5_f32.to_be_bytes()), bytes(b'd', &1.5_f64.to_be_bytes()));
        assert_eq!(bytes(b'S', b"7"), bytes(b'x', b"7"));
        assert_ne!(bytes(b'S', b"7"), bytes(b'I', &7_i32.to_be_bytes()));
        assert_ne!(bytes(b't', &[1]), bytes(b'B', &[1]));
        assert_ne!(bytes(b'V', &[]), bytes(b'S', &[]));
    }

    #[test]
    fn texts_are_rabbitmqs() {
        let ten = Some(&FieldValue::LongInt(10));
        check(None, ten, "received none but current is the value '10' of type 'signedint'");
        check(ten, None, "received the value '10' of type 'signedint' but current is none");
        check(Some(&FieldValue::LongInt(20)), ten, "received '20' but current is '10'");
        check(Some(&FieldValue::Void), ten, "received none but current is '10'");
        check(
            Some(&FieldValue::Void),
            None,
            "received the value 'undefined' of type 'void' but current is none",
        );
        let array = FieldValue::FieldArray(vec![FieldValue::LongInt(1)]);
        check(Some(&array), ten, "received '[{signedint,1}]' but current is '10'");
        let mut table = FieldTable::default();
        table.insert("a".into(), FieldValue::LongInt(1));
        check(
            Some(&FieldValue::FieldTable(table)),
            ten,
            "received '[{<<\"a\">>,signedint,1}]' but current is '10'",
        );
        check(
            Some(&FieldValue::Boolean(false)),
            Some(&FieldValue::Boolean(true)),
            "received 'false' but current is 'true'",
        );
    }
}
