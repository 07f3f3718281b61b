//! The fields of a step: `name=value`, `name~"pattern"`, a bit by its name alone; over several
//! lines where a line begins with one.

use crate::protocol::table::{FieldSpec, Kind, MethodSpec, properties, property};
use crate::protocol::value::Value;
use crate::script::cursor::{Cursor, Read};
use crate::script::expr::{Expr, field, field_value, method_named, unknown_field};
use crate::script::{Call, Field, Relation};

/// The body of a content, beside its properties.
const BODY: FieldSpec = FieldSpec { name: "body", kind: Kind::LongText };

/// What `open` takes.
pub(crate) const OPEN: &[FieldSpec] = &[
    FieldSpec { name: "user", kind: Kind::LongText },
    FieldSpec { name: "password", kind: Kind::LongText },
    FieldSpec { name: "vhost", kind: Kind::ShortText },
    FieldSpec { name: "mechanism", kind: Kind::ShortText },
    FieldSpec { name: "response", kind: Kind::LongText },
    FieldSpec { name: "locale", kind: Kind::ShortText },
    FieldSpec { name: "channel-max", kind: Kind::Short },
    FieldSpec { name: "frame-max", kind: Kind::Long },
    FieldSpec { name: "heartbeat", kind: Kind::Short },
    FieldSpec { name: "client-properties", kind: Kind::Table },
    FieldSpec { name: "capabilities", kind: Kind::Table },
];

/// What `frame` takes.
pub(crate) const FRAME: &[FieldSpec] = &[
    FieldSpec { name: "type", kind: Kind::Octet },
    FieldSpec { name: "channel", kind: Kind::Short },
    FieldSpec { name: "payload", kind: Kind::LongText },
    FieldSpec { name: "size", kind: Kind::Long },
    FieldSpec { name: "end", kind: Kind::Octet },
];

/// What `header` takes beside the properties.
const HEADER: &[FieldSpec] = &[
    FieldSpec { name: "class", kind: Kind::Short },
    FieldSpec { name: "weight", kind: Kind::Short },
    FieldSpec { name: "size", kind: Kind::LongLong },
];

/// Reads what is said about `spec`; `whole` with its content.
pub(crate) fn call(cursor: &mut Cursor<'_>, spec: &'static MethodSpec, whole: bool) -> Read<Call> {
    let mut call = Call { spec, fields: Vec::new(), properties: Vec::new(), body: None, only: false };
    let content = whole && spec.content;
    while next(cursor) {
        let start = *cursor;
        let name = cursor.name("a field")?;
        if content && name == "only" {
            call.only = true;
        } else if name == "method" && spec.field("class-id").is_some() {
            cursor.expect("=")?;
            let failed = method_named(cursor)?;
            call.fields.extend([("class-id", failed.class), ("method-id", failed.id)].map(
                |(name, number)| {
                    let value = Expr::Literal(Value::Int('_', number.into()));
                    let spec = FieldSpec { name, kind: Kind::Short };
                    Field { spec, relation: Relation::Is, value }
                },
            ));
        } else if let Some(known) = spec.field(name) {
            call.fields.push(field_value(cursor, known)?);
        } else if let Some(property) = property(name).filter(|_| content) {
            call.properties.push(field_value(cursor, property)?);
        } else if content && name == "body" {
            call.body = Some(field_value(cursor, BODY)?);
        } else {
            let known = spec.fields.iter().chain(properties().iter().filter(|_| content));
            return Err(unknown_field(&start, name, spec.name, known.map(|field| field.name)));
        }
    }
    Ok(call)
}

/// Reads fields that are among `known`, for `what`.
pub(crate) fn list(cursor: &mut Cursor<'_>, what: &str, known: &[FieldSpec]) -> Read<Vec<Field>> {
    let mut fields = Vec::new();
    while next(cursor) {
        fields.push(field(cursor, what, known)?);
    }
    Ok(fields)
}

/// Reads the fields of a content header frame.
pub(crate) fn header(cursor: &mut Cursor<'_>) -> Read<Vec<Field>> {
    let known: Vec<_> = HEADER.iter().chain(properties()).copied().collect();
    list(cursor, "header", &known)
}

/// Whether another field follows, in this line or a continuation.
fn next(cursor: &mut Cursor<'_>) -> bool {
    cursor.skip_spaces();
    !(cursor.at_line_end() || cursor.peek() == Some(b'}')) || cursor.skip_to_continuation()
}
