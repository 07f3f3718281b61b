//! A value as a script writes it: literals of every type, texts with variables in them, arithmetic,
//! bytes; and the fields that hold one.

use crate::protocol::table::{FieldSpec, Kind, MethodSpec, method, nearest, nearest_method};
use crate::protocol::value::{Value, fits};
use crate::script::cursor::{Cursor, Read, Wrong};
use crate::script::{Field, Relation};

/// A value that is worked out when its step is done.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// A number, boolean, timestamp, or void, as it stands.
    Literal(Value),
    /// A text with variables, and with stars where it is a pattern.
    Text(Vec<Piece>),
    /// So many times one byte.
    Fill(Box<Self>, u8),
    /// Bytes in hexadecimal and other notations.
    Bytes(Vec<ByteItem>),
    /// The value of a variable, or the place of its capture.
    Var(String),
    /// An integer worked out of two.
    Sum(Box<Self>, char, Box<Self>),
    /// An integer of the type that the letter names.
    Typed(Box<Self>, char),
    /// An array.
    Array(Vec<Self>),
    /// A table.
    Table(Table),
    /// Any value; with a letter, any of that type.
    Any(Option<char>),
    /// A property or a table's key that is not there.
    Absent,
}

/// A table as a script writes it.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Keys and their values in the order of the script. A key may be there several times.
    pub(crate) entries: Vec<(String, Expr)>,
    /// Whether other keys may come as well.
    pub(crate) is_open: bool,
    /// Whether the keys come in the order in which they are written.
    pub(crate) is_ordered: bool,
}

/// A part of a text.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// As it stands.
    Plain(Vec<u8>),
    /// A variable's or a sum's value.
    Value(Expr),
    /// `*`: anything in a pattern, a star elsewhere.
    Star,
}

/// A part of bytes.
#[derive(Debug, Clone)]
pub(crate) enum ByteItem {
    /// From hexadecimal.
    Plain(Vec<u8>),
    /// A text's or another value's bytes.
    Value(Expr),
    /// An integer of so many bytes.
    Integer(usize, Expr),
    /// A table as the wire has it: its length in four bytes, then its keys and values.
    Table(Expr),
    /// Bytes with their length before them, in so many bytes.
    Sized(usize, Vec<Self>),
    /// The payload of a method's frame.
    Method(&'static MethodSpec, Vec<Field>),
}

/// Whether `byte` may be in a variable's name.
fn is_variable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A variable's name, without its dollar.
pub(crate) fn variable<'a>(cursor: &mut Cursor<'a>) -> Read<&'a str> {
    let name = cursor.take_while(is_variable);
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        Ok(name)
    } else {
        Err(cursor.wrong(format!("a variable's name expected{}", cursor.found())))
    }
}

/// Reads a value; between brackets it may go on over lines.
pub(crate) fn expr(cursor: &mut Cursor<'_>) -> Read<Expr> {
    let mut left = product(cursor)?;
    loop {
        let mut ahead = *cursor;
        ahead.skip_spaces();
        let sign = match ahead.peek() {
            Some(b'+') => '+',
            Some(b'-') => '-',
            _ => return Ok(left),
        };
        ahead.advance();
        ahead.skip_spaces();
        *cursor = ahead;
        left = Expr::Sum(Box::new(left), sign, Box::new(product(cursor)?));
    }
}

fn product(cursor: &mut Cursor<'_>) -> Read<Expr> {
    let mut left = primary(cursor)?;
    loop {
        let mut ahead = *cursor;
        ahead.skip_spaces();
        if ahead.peek() != Some(b'*') {
            return Ok(left);
        }
        ahead.advance();
        ahead.skip_spaces();
        *cursor = ahead;
        left = Expr::Sum(Box::new(left), '*', Box::new(primary(cursor)?));
    }
}

/// Reads one value, no arithmetic.
pub(crate) fn primary(cursor: &mut Cursor<'_>) -> Read<Expr> {
    let value = match cursor.peek() {
        Some(b'"') => Expr::Text(text(cursor)?),
        Some(b'$') => {
            cursor.advance();
            Expr::Var(variable(cursor)?.to_owned())
        }
        Some(b'[') => array(cursor)?,
        Some(b'{') => Expr::Table(table(cursor, false)?),
        Some(b'(') => {
            cursor.advance();
            cursor.skip_blank();
            let inner = expr(cursor)?;
            cursor.skip_blank();
            cursor.expect(")")?;
            inner
        }
        Some(b'_') => any(cursor)?,
        Some(b'-' | b'0'..=b'9') => return number(cursor),
        _ => word(cursor)?,
    };
    let typed = cursor.peek() == Some(b':')
        && cursor.peek_second().is_some_and(|byte| fits(char::from(byte), 0))
        && !cursor.rest().as_bytes().get(2).copied().is_some_and(is_variable);
    if !typed {
        return Ok(value);
    }
    cursor.advance();
    let letter = char::from(cursor.peek().unwrap_or_default());
    cursor.advance();
    Ok(Expr::Typed(Box::new(value), letter))
}

fn word(cursor: &mut Cursor<'_>) -> Read<Expr> {
    let start = *cursor;
    Ok(match cursor.name("a value")? {
        "true" => Expr::Literal(Value::Bool(true)),
        "false" => Expr::Literal(Value::Bool(false)),
        "void" => Expr::Literal(Value::Void),
        "none" => Expr::Absent,
        "fill" => {
            cursor.expect("(")?;
            cursor.skip_blank();
            let times = expr(cursor)?;
            cursor.skip_blank();
            let mut with = b'x';
            if cursor.eat(",") {
                cursor.skip_blank();
                match text(cursor)?.as_slice() {
                    [Piece::Plain(one)] if one.len() == 1 => with = one[0],
                    _ => return Err(cursor.wrong("fill repeats one byte: fill(100, \"y\")")),
                }
            }
            cursor.skip_blank();
            cursor.expect(")")?;
            Expr::Fill(Box::new(times), with)
        }
        "bytes" => {
            cursor.expect("(")?;
            let items = byte_items(cursor, true)?;
            cursor.expect(")")?;
            Expr::Bytes(items)
        }
        "ordered" => {
            cursor.skip_blank();
            Expr::Table(table(cursor, true)?)
        }
        name => {
            return Err(start.wrong(format!(
                "'{name}' is not a value; a text is in quotes, a variable has a $ before it"
            )));
        }
    })
}

fn any(cursor: &mut Cursor<'_>) -> Read<Expr> {
    cursor.advance();
    match cursor.take_while(is_variable) {
        "" => Ok(Expr::Any(None)),
        letter if letter.len() == 1 && "tbBsuIilLfdDSxTAFV".contains(letter) => {
            Ok(Expr::Any(letter.chars().next()))
        }
        other => {
            Err(cursor.wrong(format!("'_{other}' is no type; any text of a table is _S, any timestamp _T")))
        }
    }
}

fn number(cursor: &mut Cursor<'_>) -> Read<Expr> {
    let negative = cursor.eat("-");
    if negative && !cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        let inner = primary(cursor)?;
        return Ok(Expr::Sum(Box::new(Expr::Literal(Value::Int('_', 0))), '-', Box::new(inner)));
    }
    let hexadecimal = cursor.eat("0x");
    let digits =
        cursor.take_while(|byte| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() });
    let part =
        if cursor.peek() == Some(b'.') && cursor.peek_second().is_some_and(|byte| byte.is_ascii_digit()) {
            cursor.advance();
            cursor.take_while(|byte| byte.is_ascii_digit())
        } else {
            ""
        };
    let suffix = if hexadecimal { "" } else { cursor.take_while(is_variable) };
    let written = format!(
        "{}{digits}{}{part}{suffix}",
        if negative { "-" } else { "" },
        if part.is_empty() { "" } else { "." }
    );
    let radix = if hexadecimal { 16 } else { 10 };
    let whole = i128::from_str_radix(digits, radix)
        .map(|number| if negative { -number } else { number })
        .map_err(|why| cursor.wrong(format!("'{written}': {why}")))?;
    let real = || {
        format!("{whole}.{part}0").parse::<f64>().map_err(|why| cursor.wrong(format!("'{written}': {why}")))
    };
    let negative_fraction = negative && whole == 0;
    let value = match suffix {
        "" if part.is_empty() => Value::Int('_', whole),
        "" | "d" => Value::Double(if negative_fraction { -real()? } else { real()? }),
        "f" => {
            let text = format!("{}{whole}.{part}0", if negative_fraction { "-" } else { "" });
            Value::Float(text.parse().map_err(|why| cursor.wrong(format!("'{written}': {why}")))?)
        }
        "D" => {
            let unscaled = format!("{digits}{part}")
                .parse()
                .map_err(|why| cursor.wrong(format!("'{written}': {why}")))?;
            Value::Decimal(u8::try_from(part.len()).unwrap_or(u8::MAX), unscaled)
        }
        "T" if part.is_empty() => {
            Value::Timestamp(u64::try_from(whole).map_err(|why| cursor.wrong(format!("'{written}': {why}")))?)
        }
        letter if part.is_empty() && letter.len() == 1 && fits(letter.chars().next().unwrap_or('_'), 0) => {
            let letter = letter.chars().next().unwrap_or('_');
            if !fits(letter, whole) {
                return Err(cursor.wrong(format!("{whole} does not fit into type {letter}")));
            }
            Value::Int(letter, whole)
        }
        _ => return Err(cursor.wrong(format!("'{written}' ends with a type that does not exist"))),
    };
    Ok(Expr::Literal(value))
}

fn array(cursor: &mut Cursor<'_>) -> Read<Expr> {
    cursor.expect("[")?;
    let mut values = Vec::new();
    loop {
        cursor.skip_blank();
        if cursor.eat("]") {
            return Ok(Expr::Array(values));
        }
        if !values.is_empty() {
            cursor.expect(",")?;
            cursor.skip_blank();
            if cursor.eat("]") {
                return Ok(Expr::Array(values));
            }
        }
        values.push(expr(cursor)?);
    }
}

fn table(cursor: &mut Cursor<'_>, is_ordered: bool) -> Read<Table> {
    cursor.expect("{")?;
    let mut table = Table { entries: Vec::new(), is_open: false, is_ordered };
    loop {
        cursor.skip_blank();
        if cursor.eat("}") {
            return Ok(table);
        }
        if !table.entries.is_empty() {
            cursor.expect(",")?;
            cursor.skip_blank();
            if cursor.eat("}") {
                return Ok(table);
            }
        }
        if cursor.eat("...") {
            cursor.skip_blank();
            cursor.expect("}")?;
            table.is_open = true;
            return Ok(table);
        }
        let key = if cursor.peek() == Some(b'"') {
            match text(cursor)?.as_slice() {
                [] => String::new(),
                [Piece::Plain(key)] => String::from_utf8_lossy(key).into_owned(),
                _ => return Err(cursor.wrong("a key is a plain text")),
            }
        } else {
            cursor.name("a key")?.to_owned()
        };
        cursor.skip_blank();
        cursor.expect(":")?;
        cursor.skip_blank();
        table.entries.push((key, expr(cursor)?));
    }
}

/// Reads a text in quotes.
pub(crate) fn text(cursor: &mut Cursor<'_>) -> Read<Vec<Piece>> {
    cursor.expect("\"")?;
    let (mut pieces, mut plain) = (Vec::new(), Vec::new());
    loop {
        let Some(byte) = cursor.peek().filter(|&byte| byte != b'\n') else {
            return Err(cursor.wrong("a text has no closing quote in its line"));
        };
        cursor.advance();
        let piece = match byte {
            b'"' => {
                if !plain.is_empty() {
                    pieces.push(Piece::Plain(plain));
                }
                return Ok(pieces);
            }
            b'\\' => {
                plain.push(escape(cursor)?);
                continue;
            }
            b'$' if cursor.eat("{") => {
                cursor.skip_spaces();
                let inner = expr(cursor)?;
                cursor.skip_spaces();
                cursor.expect("}")?;
                Piece::Value(inner)
            }
            b'$' => Piece::Value(Expr::Var(variable(cursor)?.to_owned())),
            b'*' => Piece::Star,
            _ => {
                plain.push(byte);
                continue;
            }
        };
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(piece);
    }
}

fn escape(cursor: &mut Cursor<'_>) -> Read<u8> {
    let byte = cursor.peek().unwrap_or_default();
    let plain = match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'"' | b'\\' | b'$' | b'*' => byte,
        b'x' => {
            cursor.advance();
            let digits = cursor.rest().get(..2).unwrap_or_default();
            let value = u8::from_str_radix(digits, 16)
                .map_err(|_not_hex| cursor.wrong("two hexadecimal digits follow \\x"))?;
            cursor.advance();
            value
        }
        _ => return Err(cursor.wrong(format!("'\\{}' is no escape", char::from(byte)))),
    };
    cursor.advance();
    Ok(plain)
}

/// Reads hexadecimal words, texts and the rest of what makes bytes, up to `)` or the end of the
/// line.
pub(crate) fn byte_items(cursor: &mut Cursor<'_>, bracketed: bool) -> Read<Vec<ByteItem>> {
    let mut items = Vec::new();
    loop {
        if bracketed {
            cursor.skip_blank();
        } else {
            cursor.skip_spaces();
        }
        let over = if bracketed { cursor.peek() == Some(b')') } else { cursor.at_line_end() };
        if over {
            return Ok(items);
        }
        items.push(byte_item(cursor)?);
    }
}

fn byte_item(cursor: &mut Cursor<'_>) -> Read<ByteItem> {
    if cursor.peek().is_some_and(|byte| byte == b'"' || byte == b'$') {
        return primary(cursor).map(ByteItem::Value);
    }
    let start = *cursor;
    let name = cursor.name("bytes")?;
    let width = match name {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        "fill" => {
            *cursor = start;
            return primary(cursor).map(ByteItem::Value);
        }
        "method" => {
            cursor.expect("(")?;
            cursor.skip_blank();
            let spec = method_named(cursor)?;
            let fields = fields_in_brackets(cursor, spec)?;
            cursor.expect(")")?;
            return Ok(ByteItem::Method(spec, fields));
        }
        "sized" | "sized8" => {
            cursor.expect("(")?;
            let items = byte_items(cursor, true)?;
            cursor.expect(")")?;
            return Ok(ByteItem::Sized(if name == "sized" { 4 } else { 1 }, items));
        }
        "table" => 0,
        digits => {
            let byte = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
            let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
            return bytes.map(ByteItem::Plain).ok_or_else(|| {
                start.wrong(format!("'{digits}' is not an even number of hexadecimal digits"))
            });
        }
    };
    cursor.expect("(")?;
    cursor.skip_blank();
    let value = expr(cursor)?;
    cursor.skip_blank();
    cursor.expect(")")?;
    Ok(if width == 0 { ByteItem::Table(value) } else { ByteItem::Integer(width, value) })
}

/// Reads the name of a method that exists.
pub(crate) fn method_named(cursor: &mut Cursor<'_>) -> Read<&'static MethodSpec> {
    let start = *cursor;
    let name = cursor.name("a method")?;
    method(name).ok_or_else(|| {
        let hint = nearest_method(name).map_or(String::new(), |near| format!("; is it {near}?"));
        start.wrong(format!("there is no method '{name}'{hint}"))
    })
}

/// Reads the fields of a method inside `method( )`.
fn fields_in_brackets(cursor: &mut Cursor<'_>, spec: &'static MethodSpec) -> Read<Vec<Field>> {
    let mut fields = Vec::new();
    loop {
        cursor.skip_blank();
        if cursor.peek() == Some(b')') {
            return Ok(fields);
        }
        fields.push(field(cursor, spec.name, &spec.fields)?);
    }
}

/// Reads a field of `what`, which has those of `known`.
pub(crate) fn field(cursor: &mut Cursor<'_>, what: &str, known: &[FieldSpec]) -> Read<Field> {
    let start = *cursor;
    let name = cursor.name("a field")?;
    let spec = known.iter().find(|field| field.name == name);
    let Some(spec) = spec else {
        return Err(unknown_field(&start, name, what, known.iter().map(|field| field.name)));
    };
    field_value(cursor, *spec)
}

/// The fault of a field that there is not.
pub(crate) fn unknown_field<'a>(
    start: &Cursor<'_>,
    name: &str,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Wrong {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("is it {near}?"),
        None => format!("it has: {}", known.collect::<Vec<_>>().join(", ")),
    };
    start.wrong(format!("{what} has no field '{name}'; {hint}"))
}

/// Reads what comes after a field's name.
pub(crate) fn field_value(cursor: &mut Cursor<'_>, spec: FieldSpec) -> Read<Field> {
    let signs = [Relation::IsNot, Relation::AtLeast, Relation::AtMost, Relation::Is, Relation::Like];
    for relation in signs {
        if cursor.eat(relation.sign()) {
            return Ok(Field { spec, relation, value: expr(cursor)? });
        }
    }
    if spec.kind == Kind::Bit {
        return Ok(Field { spec, relation: Relation::Is, value: Expr::Literal(Value::Bool(true)) });
    }
    Err(cursor.wrong(format!("'{}' wants a value: {}=...", spec.name, spec.name)))
}
