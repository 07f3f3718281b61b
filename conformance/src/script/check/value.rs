//! Values: of the right kind, in range, and with everything in them known where the step is done.

use super::{Check, Way};
use crate::protocol::table::Kind;
use crate::protocol::value::{Value, fits};
use crate::script::Field;
use crate::script::cursor::Read;
use crate::script::expr::{ByteItem, Expr, Piece, Table};
use crate::script::scope::Sort;

impl Check<'_> {
    /// A number or a short string that is plainly too large.
    pub(super) fn range(&self, field: &Field) -> Read<()> {
        let name = field.spec.name;
        if let (Some(letter), Some(number)) = (field.spec.kind.letter(), constant(&field.value))
            && !fits(letter, number)
        {
            return self.wrong(format!("'{name}' cannot hold {number}"));
        }
        if let Expr::Literal(Value::Int(letter, _)) = field.value
            && letter != '_'
        {
            return self.wrong(format!("'{name}' has a type of its own: write the number alone"));
        }
        let len = least_len(&field.value);
        if field.spec.kind == Kind::ShortText && len > 255 {
            return self.wrong(format!("'{name}' holds 255 bytes, not {len}"));
        }
        Ok(())
    }

    pub(super) fn of_sort(&mut self, value: &Expr, sort: Sort, what: &str) -> Read<()> {
        self.value_of(value, sort, Way::Sent, what)
    }

    pub(super) fn value_of(&mut self, value: &Expr, sort: Sort, way: Way, what: &str) -> Read<()> {
        if way == Way::Expected
            && let Expr::Var(name) = value
            && self.scope.get(name).is_none()
        {
            self.scope.set(name, sort);
            return Ok(());
        }
        self.value(value, way)?;
        let found = self.sort(value);
        let any = matches!(value, Expr::Any(_)) || (found == Sort::Other && matches!(value, Expr::Var(_)));
        let timestamp = sort == Sort::Integer && matches!(value, Expr::Literal(Value::Timestamp(_)));
        if found == sort || any || timestamp {
            Ok(())
        } else {
            self.wrong(format!("{what} wants {}, this is {}", sort.name(), found.name()))
        }
    }

    /// That everything in `value` has a value, or gets one here.
    pub(super) fn value(&mut self, value: &Expr, way: Way) -> Read<()> {
        match value {
            Expr::Literal(_) => Ok(()),
            Expr::Var(name) => match (self.scope.get(name), way) {
                (None, Way::Expected) => {
                    self.scope.set(name, Sort::Other);
                    Ok(())
                }
                (None, Way::Sent) => {
                    self.wrong(format!("${name} has no value here: nothing captured it before"))
                }
                (Some(_), _) => Ok(()),
            },
            Expr::Text(pieces) => self.pieces(pieces, way),
            Expr::Fill(times, _) => self.of_sort(times, Sort::Integer, "fill"),
            Expr::Bytes(items) => self.items(items),
            Expr::Sum(left, _, right) => {
                self.of_sort(left, Sort::Integer, "arithmetic")?;
                self.of_sort(right, Sort::Integer, "arithmetic")
            }
            Expr::Typed(inner, letter) => {
                self.of_sort(inner, Sort::Integer, &format!("':{letter}'"))?;
                match constant(inner) {
                    Some(number) if !fits(*letter, number) => {
                        self.wrong(format!("{number} does not fit into type {letter}"))
                    }
                    _ => Ok(()),
                }
            }
            Expr::Array(values) => values.iter().try_for_each(|value| self.value(value, way)),
            Expr::Table(table) => self.table(table, way),
            Expr::Any(_) if way == Way::Sent => self.wrong("'_' is for what is expected"),
            Expr::Any(_) => Ok(()),
            Expr::Absent => self
                .wrong("'none' is for what must not come: a property, or a key of a table that is expected"),
        }
    }

    fn table(&mut self, table: &Table, way: Way) -> Read<()> {
        if table.is_open && way == Way::Sent {
            return self.wrong("'...' in a table is for what is expected");
        }
        if table.is_ordered && way == Way::Sent {
            return self
                .wrong("'ordered' is for what is expected: a table is sent in the order it is written in");
        }
        for (key, value) in &table.entries {
            if key.len() > 255 {
                return self.wrong(format!("a key holds 255 bytes, not {}", key.len()));
            }
            if !matches!(value, Expr::Absent) || way == Way::Sent {
                self.value(value, way)?;
            } else if table.entries.iter().filter(|(other, _)| other == key).count() > 1 {
                return self.wrong(format!("the key '{key}' must not come, and is there twice"));
            }
        }
        Ok(())
    }

    fn pieces(&mut self, pieces: &[Piece], way: Way) -> Read<()> {
        for piece in pieces {
            match piece {
                Piece::Value(Expr::Var(name)) if way == Way::Expected && self.scope.get(name).is_none() => {
                    self.scope.set(name, Sort::Text);
                }
                Piece::Value(value) => self.value(value, Way::Sent)?,
                Piece::Plain(_) | Piece::Star => {}
            }
        }
        Ok(())
    }

    pub(super) fn items(&mut self, items: &[ByteItem]) -> Read<()> {
        for item in items {
            match item {
                ByteItem::Plain(_) => {}
                ByteItem::Value(value) => self.of_sort(value, Sort::Text, "bytes")?,
                ByteItem::Integer(bytes, value) => {
                    self.of_sort(value, Sort::Integer, &format!("u{}", bytes * 8))?;
                    let letter = [' ', 'B', 'u', ' ', 'i', ' ', ' ', ' ', 'L'][*bytes];
                    if let Some(number) = constant(value)
                        && !fits(letter, number)
                    {
                        return self.wrong(format!("u{} cannot hold {number}", bytes * 8));
                    }
                }
                ByteItem::Table(table) => self.of_sort(table, Sort::Table, "table")?,
                ByteItem::Sized(bytes, inner) => {
                    self.items(inner)?;
                    let len: usize = inner.iter().map(least_len_of_item).sum();
                    if *bytes == 1 && len > 255 {
                        return self.wrong(format!("sized8 holds 255 bytes, not {len}"));
                    }
                }
                ByteItem::Method(_, fields) => self.fields(fields, Way::Sent)?,
            }
        }
        Ok(())
    }

    pub(super) fn sort(&self, value: &Expr) -> Sort {
        match value {
            Expr::Literal(Value::Bool(_)) => Sort::Boolean,
            Expr::Literal(Value::Int(..)) | Expr::Sum(..) | Expr::Typed(..) => Sort::Integer,
            Expr::Text(_) | Expr::Fill(..) | Expr::Bytes(_) => Sort::Text,
            Expr::Table(..) => Sort::Table,
            Expr::Var(name) => self.scope.get(name).unwrap_or(Sort::Other),
            Expr::Literal(_) | Expr::Array(_) | Expr::Any(_) | Expr::Absent => Sort::Other,
        }
    }
}

/// The kind of value that a field of this type wants.
pub(super) fn sort_of(kind: Kind) -> Sort {
    match kind {
        Kind::Bit => Sort::Boolean,
        Kind::Octet | Kind::Short | Kind::Long | Kind::LongLong | Kind::Timestamp => Sort::Integer,
        Kind::ShortText | Kind::LongText => Sort::Text,
        Kind::Table => Sort::Table,
    }
}

/// How many bytes a text has at least, as far as that shows without running.
fn least_len(value: &Expr) -> usize {
    match value {
        Expr::Text(pieces) => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Plain(plain) => plain.len(),
                Piece::Value(_) => 0,
                Piece::Star => 1,
            })
            .sum(),
        Expr::Fill(times, _) => constant(times).and_then(|times| usize::try_from(times).ok()).unwrap_or(0),
        _ => 0,
    }
}

fn least_len_of_item(item: &ByteItem) -> usize {
    match item {
        ByteItem::Plain(plain) => plain.len(),
        ByteItem::Value(value) => least_len(value),
        ByteItem::Integer(bytes, _) => *bytes,
        ByteItem::Table(_) | ByteItem::Method(..) => 4,
        ByteItem::Sized(bytes, inner) => bytes + inner.iter().map(least_len_of_item).sum::<usize>(),
    }
}

/// The number that `value` is, when it shows without running.
fn constant(value: &Expr) -> Option<i128> {
    match value {
        Expr::Literal(Value::Int(_, number)) => Some(*number),
        Expr::Typed(inner, _) => constant(inner),
        Expr::Sum(left, sign, right) => {
            let (left, right) = (constant(left)?, constant(right)?);
            match sign {
                '+' => left.checked_add(right),
                '-' => left.checked_sub(right),
                _ => left.checked_mul(right),
            }
        }
        _ => None,
    }
}
