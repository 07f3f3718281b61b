//! Which variables have a value at a place of a script, and what kind of value.

use std::collections::BTreeMap;

/// A value's kind, as far as it shows before the script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Text or bytes.
    Text,
    /// An integer of any type.
    Integer,
    /// True or false.
    Boolean,
    /// A table.
    Table,
    /// Something else, or not known.
    Other,
}

impl Sort {
    /// For a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::Table => "a table",
            Self::Other => "a value",
        }
    }
}

/// The variables that are set at one place of a script, and their types.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    variables: BTreeMap<String, Sort>,
}

/// Variables that the runner gives to each script.
pub(crate) const GIVEN: &[&str] = &["vhost", "user", "password", "product", "version"];

impl Scope {
    /// With the variables that the runner gives.
    pub(crate) fn new() -> Self {
        Self { variables: GIVEN.iter().map(|name| ((*name).to_owned(), Sort::Text)).collect() }
    }

    /// The kind of `name`, if it has a value.
    pub(crate) fn get(&self, name: &str) -> Option<Sort> {
        self.variables.get(name).copied()
    }

    /// `name` has a value from here on.
    pub(crate) fn set(&mut self, name: &str, sort: Sort) {
        self.variables.insert(name.to_owned(), sort);
    }

    /// What has a value in both.
    pub(crate) fn common(mut self, other: &Self) -> Self {
        self.variables.retain(|name, _| other.variables.contains_key(name));
        self
    }
}
