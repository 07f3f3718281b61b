//! Works out the value of an expression. Pure: variables in, value or reason out.

use crate::protocol::method::{Method, zero};
use crate::protocol::table::MethodSpec;
use crate::protocol::value::{Value, put_integer};
use crate::script::Field;
use crate::script::expr::{ByteItem, Expr, Piece};
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
        Expr::Table(entries, _) => Value::Table(
            entries
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
