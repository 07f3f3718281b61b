//! The columns of a list: the names of the fields of its rows, taken from the rows themselves.

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The columns of a list with such rows, in order.
#[must_use]
pub fn columns_of<'de, R: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names = Names(&[]);
    // A row tells its fields when it is to be read; then there is nothing to read.
    let _nothing = R::deserialize(&mut names);
    names.0
}

/// Hears which fields a structure has.
struct Names(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Names {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("no structure"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.0 = fields;
        Err(Error::custom("nothing to read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::exchanges::ExchangeRow;

    #[test]
    fn columns_have_the_names_that_rows_are_written_with() {
        let names = ["name", "vhost", "type", "durable", "auto_delete", "internal", "arguments", "policy"];
        assert_eq!(columns_of::<ExchangeRow>(), names);
        assert_eq!(columns_of::<String>(), [""; 0]);
    }
}
