//! Works out the value of an expression. Pure: variables in, value or reason out.

use crate::protocol::content::Header;
use crate::protocol::method::{Method, zero};
use crate::protocol::table::MethodSpec;
use crate::protocol::value::{Value, encode_table, put_integer};
use crate::script::expr::{ByteItem, Expr, Piece};
use crate::script::{Call, Field};
use std::collections::BTreeMap;

/// How long a text that `fill` makes may be, bytes.
const FILL_MAX: usize = 1 << 30;

/// The variables of a running script.
pub(crate) type Variables = BTreeMap<String, Value>;

/// The value of `expr`.
///
/// # Errors
/// A variable has no value or one that does not go there.
pub(crate) fn value(expr: &Expr, variables: &Variables) -> Result<Value, String> {
    Ok(match expr {
        Expr::Literal(value) => value.clone(),
        Expr::Var(name) => variables.get(name).cloned().ok_or_else(|| format!("${name} has no value"))?,
        Expr::Text(pieces) => Value::Text(text_of(pieces, variables)?),
        Expr::Fill(times, with) => {
            let times = usize::try_from(integer(times, variables)?).map_err(|why| format!("fill: {why}"))?;
            if times > FILL_MAX {
                return Err(format!("fill makes {FILL_MAX} bytes at most"));
            }
            Value::Text(vec![*with; times])
        }
        Expr::Bytes(items) => Value::Bytes(bytes(items, variables)?),
        Expr::Sum(left, sign, right) => {
            let (left, right) = (integer(left, variables)?, integer(right, variables)?);
            let result = match sign {
                '+' => left.checked_add(right),
                '-' => left.checked_sub(right),
                _ => left.checked_mul(right),
            };
            Value::Int('_', result.ok_or("the number is too large")?)
        }
        Expr::Typed(inner, letter) => Value::Int(*letter, integer(inner, variables)?),
        Expr::Array(values) => {
            Value::Array(values.iter().map(|item| value(item, variables)).collect::<Result<_, _>>()?)
        }
        Expr::Table(table) => Value::Table(
            table
                .entries
                .iter()
                .map(|(key, item)| Ok((key.clone().into_bytes(), value(item, variables)?)))
                .collect::<Result<_, String>>()?,
        ),
        Expr::Any(_) | Expr::Absent => return Err("'_' and 'none' have no value".into()),
    })
}

/// The integer that `expr` is.
///
/// # Errors
/// It is none.
pub(crate) fn integer(expr: &Expr, variables: &Variables) -> Result<i128, String> {
    match value(expr, variables)? {
        Value::Int(_, number) => Ok(number),
        Value::Timestamp(seconds) => Ok(seconds.into()),
        other => Err(format!("{} is no integer", other.show(true))),
    }
}

/// The bytes of the text that `expr` is.
///
/// # Errors
/// It is none.
pub(crate) fn text(expr: &Expr, variables: &Variables) -> Result<Vec<u8>, String> {
    match value(expr, variables)? {
        Value::Text(text) | Value::Bytes(text) => Ok(text),
        other => Err(format!("{} is no text", other.show(true))),
    }
}

fn text_of(pieces: &[Piece], variables: &Variables) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Plain(plain) => out.extend_from_slice(plain),
            Piece::Star => out.push(b'*'),
            Piece::Value(inner) => out.extend(inserted(&value(inner, variables)?)),
        }
    }
    Ok(out)
}

/// A value inside a text.
pub(crate) fn inserted(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) | Value::Bytes(text) => text.clone(),
        other => other.show(false).into_bytes(),
    }
}

/// The bytes that `items` are.
///
/// # Errors
/// One has no value or does not fit.
pub(crate) fn bytes(items: &[ByteItem], variables: &Variables) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for item in items {
        match item {
            ByteItem::Plain(plain) => out.extend_from_slice(plain),
            ByteItem::Value(inner) => out.extend(text(inner, variables)?),
            ByteItem::Integer(len, inner) => put_integer(&mut out, *len, integer(inner, variables)?),
            ByteItem::Table(inner) => match value(inner, variables)? {
                Value::Table(entries) => encode_table(&entries, &mut out),
                other => return Err(format!("{} is no table", other.show(true))),
            },
            ByteItem::Sized(len, inner) => {
                let inner = bytes(inner, variables)?;
                if *len == 1 && inner.len() > 255 {
                    return Err(format!("sized8 holds 255 bytes, not {}", inner.len()));
                }
                put_integer(&mut out, *len, i128::try_from(inner.len()).unwrap_or(i128::MAX));
                out.extend(inner);
            }
            ByteItem::Method(spec, fields) => out.extend(method(spec, fields, variables)?.encode()?),
        }
    }
    Ok(out)
}

/// The value that is sent for `field`.
///
/// # Errors
/// It has none, or one of another type.
pub(crate) fn sent(field: &Field, variables: &Variables) -> Result<Value, String> {
    let found = value(&field.value, variables).map_err(|why| format!("{}: {why}", field.spec.name))?;
    // A method's text has no type of its own: bytes do as well.
    Ok(match found {
        Value::Bytes(bytes) => Value::Text(bytes),
        other => other,
    })
}

/// The method that is sent: what `fields` say, zero for the rest.
///
/// # Errors
/// As [`sent`].
pub(crate) fn method(
    spec: &'static MethodSpec,
    fields: &[Field],
    variables: &Variables,
) -> Result<Method, String> {
    let mut arguments: Vec<Value> = spec.fields.iter().map(|field| zero(field.kind)).collect();
    for field in fields {
        if let Some(at) = spec.fields.iter().position(|known| known.name == field.spec.name) {
            arguments[at] = sent(field, variables)?;
        }
    }
    Ok(Method { spec, arguments })
}

/// A method that is sent with its content, if it has any.
pub(crate) type Sent = (Method, Option<(Header, Vec<u8>)>);

/// All that `call` sends.
///
/// # Errors
/// As [`sent`].
pub(crate) fn call(call: &Call, variables: &Variables) -> Result<Sent, String> {
    let method = method(call.spec, &call.fields, variables)?;
    if !call.spec.content {
        return Ok((method, None));
    }
    let body = call.body.as_ref().map_or(Ok(Vec::new()), |field| text(&field.value, variables))?;
    let mut properties = Vec::new();
    for field in &call.properties {
        properties.push((field.spec.name, sent(field, variables)?));
    }
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    Ok((method, Some((Header::new(size, properties), body))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::step;
    use crate::run::samples::{let_value, variables};
    use crate::script::{Action, Sent as Sends};

    /// That `written` has a value which is `shown` so, with the type that it has in a table.
    #[track_caller]
    fn check(written: &str, shown: &str) {
        let value = value(&let_value(written), &variables(&[]));
        assert_eq!(value.map(|value| value.show(true)), Ok(shown.to_owned()), "{written}");
    }

    #[track_caller]
    fn fails(written: &str, why: &str) {
        let fault = value(&let_value(written), &variables(&[])).unwrap_err();
        assert!(fault.contains(why), "{written}: {fault}");
    }

    #[test]
    fn literals_are_what_they_say() {
        check("-1", "-1I");
        check("0xff", "255I");
        check("10l", "10l");
        check("1.5", "1.5d");
        check("-0.5f", "-0.5f");
        check("3.14D", "3.14D");
        check("7T", "7T");
        check("void", "void");
        check("[1I, \"a\"]", "[1I, \"a\"]");
        check("{a: true, \"odd key\": {}}", "{a: true, odd key: {}}");
    }

    #[test]
    fn arithmetic_multiplies_first_and_gives_no_type() {
        check("1 + 2 * 3 - 4", "3I");
        check("(1 + 2) * -3", "-9I");
        check("$n + 1", "8I");
        check("-$n", "-7I");
        check("($n * 2):B", "14B");
        fails("0x7fffffffffffffffffffffffffffffff + 1", "too large");
        fails("$q + 1", "no integer");
        fails("$none", "$none has no value");
    }

    #[test]
    fn texts_and_bytes_take_values_in() {
        check("\"a $q ${$n + 1} \\$ *\"", "\"a hare 8 \\$ *\"");
        check("fill(3)", "\"xxx\"");
        check("fill($n - 5, \"y\")", "\"yy\"");
        fails("fill(0 - 1)", "fill");
        fails("fill(0x7fffffff)", "at most");
        let items = "bytes(00 ff01 \"a\" $q fill(1) u8(1) u16(2) u32($n) u64(4))";
        let bytes = text(&let_value(items), &variables(&[])).unwrap();
        let wanted = [
            &b"\x00\xff\x01ahare"[..],
            b"x\x01\x00\x02\x00\x00\x00\x07",
            b"\x00\x00\x00\x00\x00\x00\x00\x04",
        ];
        assert_eq!(bytes, wanted.concat());
        let sized = text(&let_value("bytes(sized(sized8($q) \"V\") sized() 00)"), &variables(&[]));
        assert_eq!(sized.unwrap(), b"\0\0\0\x06\x04hareV\0\0\0\0\0");
        let table = text(&let_value("bytes(table({a: true, a: $q, b: {}}))"), &variables(&[]));
        assert_eq!(table.unwrap(), b"\0\0\0\x16\x01at\x01\x01aS\0\0\0\x04hare\x01bF\0\0\0\0");
        fails("bytes(sized8(fill($n * 100)))", "sized8 holds 255 bytes, not 700");
        let method = text(&let_value("bytes(method(basic.qos prefetch-count=$n))"), &variables(&[]));
        assert_eq!(method.unwrap(), b"\x00\x3c\x00\x0a\x00\x00\x00\x00\x00\x07\x00");
    }

    #[test]
    fn what_is_not_named_is_sent_as_zero() {
        let Action::Send(_, Sends::Method(said)) =
            step("a.1 > basic.publish routing-key=$q priority=3 body=bytes(00)").action
        else {
            panic!("it is sent");
        };
        let (method, content) = call(&said, &variables(&[])).unwrap();
        assert_eq!((method.text("exchange"), method.text("routing-key")), (&b""[..], &b"hare"[..]));
        let (header, body) = content.unwrap();
        assert_eq!((header.size, header.properties.len(), body), (1, 1, vec![0]));
    }
}
