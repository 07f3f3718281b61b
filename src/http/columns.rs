//! Which fields of a row or an object are shown.

use super::query::Query;
use serde_json::{Map, Value};

/// Which fields are shown.
pub(super) struct Columns(Vec<Vec<String>>);

impl Columns {
    pub(super) fn of(query: &Query) -> Self {
        let names = query.all("columns").flat_map(|columns| columns.split(','));
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        Self(names.map(|name| name.split('.').map(str::to_owned).collect()).collect())
    }

    /// Leaves only those of them; all, if none are named.
    pub(super) fn pick(&self, row: &mut Value) {
        if self.0.is_empty() || !row.is_object() {
            return;
        }
        let mut picked = Map::new();
        for path in &self.0 {
            if let Some(value) = field(row, path) {
                put(&mut picked, path, value.clone());
            }
        }
        *row = Value::Object(picked);
    }
}

/// The field at a path of names.
pub(super) fn field<'a>(row: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(row, |value, name| value.get(name.as_str()))
}

fn put(object: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            object.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = object.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
