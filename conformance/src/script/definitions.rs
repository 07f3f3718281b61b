//! The head's `definitions:`: users, vhosts, permissions and policies that a case needs, as a
//! document in RabbitMQ's definitions JSON. It has no names of its own: `$reader` in a text of it
//! is a name that nobody else uses, and a variable of the body. A `$` before anything but a letter
//! or a brace is a dollar, as regular expressions have it.

use crate::script::cursor::{Read, Wrong};
use crate::script::scope::GIVEN;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a document may hold; each is an array. What is about the whole of a broker is not among it.
const SECTIONS: &[&str] = &[
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

/// The `definitions:` of a script's head, in RabbitMQ's JSON format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definitions {
    sections: Map<String, Value>,
    names: BTreeSet<String>,
}

impl Definitions {
    /// Reads `text`, whose first line has the number `line`.
    pub(crate) fn read(text: &str, line: usize) -> Read<Self> {
        let sections: Map<String, Value> = serde_json::from_str(text).map_err(|why| Wrong {
            line: line + why.line().max(1) - 1,
            reason: format!("'definitions:' is no JSON object: {why}"),
        })?;
        let wrong = |what: &str, reason: String| Wrong { line: line + line_of(text, what), reason };
        for (section, entries) in &sections {
            if !SECTIONS.contains(&section.as_str()) {
                let known = SECTIONS.join(", ");
                return Err(wrong(section, format!("the section '{section}' is not one of {known}")));
            }
            if !entries.as_array().is_some_and(|entries| entries.iter().all(Value::is_object)) {
                return Err(wrong(section, format!("the section '{section}' is not an array of objects")));
            }
        }
        let mut names = BTreeSet::new();
        for value in sections.values() {
            each_text(value, &mut |text| names.extend(pieces(text).filter_map(Piece::name)));
        }
        names.retain(|name| !GIVEN.contains(&name.as_str()));
        let read = Self { sections, names };
        for (kind, section) in [("user", "users"), ("vhost", "vhosts")] {
            if let Some(name) = read.undefined(kind, section) {
                let reason = format!("${name} is the {kind} of something, and not among '{section}'");
                return Err(wrong(&format!("${name}"), reason));
            }
        }
        Ok(read)
    }

    /// A name that stands as the
    /// `kind` of an entry anywhere and is defined in no entry of `section`.
    fn undefined(&self, kind: &str, section: &str) -> Option<&str> {
        let entries = |section: &Value| section.as_array().cloned().unwrap_or_default();
        let defined: BTreeSet<String> = self
            .sections
            .get(section)
            .into_iter()
            .flat_map(entries)
            .filter_map(|entry| only_name(&entry["name"]))
            .collect();
        let named = self.sections.values().flat_map(entries).filter_map(|entry| only_name(&entry[kind]));
        let unknown = |name: &String| self.names.contains(name) && !defined.contains(name);
        named.into_iter().find(unknown).and_then(|name| self.names.get(&name)).map(String::as_str)
    }

    /// Refuses names that `body` does not use, but those of policies and parameters, which no
    /// client names.
    pub(crate) fn check_use(&self, body: &str, line: usize) -> Read<()> {
        let mut used = BTreeSet::new();
        let steps = body.lines().filter(|line| !line.trim_start().starts_with('#'));
        steps.for_each(|line| used.extend(pieces(line).filter_map(Piece::name)));
        for section in ["policies", "parameters"] {
            let entries = self.sections.get(section).and_then(Value::as_array);
            used.extend(entries.into_iter().flatten().filter_map(|entry| only_name(&entry["name"])));
        }
        match self.names.difference(&used).next() {
            Some(name) => Err(Wrong { line, reason: format!("${name} is defined here and never used") }),
            None => Ok(()),
        }
    }

    /// The variables that it gives to the body.
    pub(crate) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// The document, with what `value` says for each variable.
    pub(crate) fn resolved(&self, value: &impl Fn(&str) -> String) -> Map<String, Value> {
        self.sections.iter().map(|(section, entries)| (section.clone(), resolved(entries, value))).collect()
    }
}

fn resolved(value: &Value, named: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => {
            let texts = pieces(text).map(|piece| match piece {
                Piece::Plain(plain) => plain.to_owned(),
                Piece::Name(name) => named(name),
            });
            Value::String(texts.collect())
        }
        Value::Array(values) => values.iter().map(|value| resolved(value, named)).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), resolved(value, named))).collect())
        }
        other => other.clone(),
    }
}

fn each_text(value: &Value, told: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => told(text),
        Value::Array(values) => values.iter().for_each(|value| each_text(value, told)),
        Value::Object(entries) => entries.values().for_each(|value| each_text(value, told)),
        _ => {}
    }
}

/// The name of the variable that is all of this text.
fn only_name(value: &Value) -> Option<String> {
    let mut pieces = pieces(value.as_str()?);
    match (pieces.next(), pieces.next()) {
        (Some(piece), None) => piece.name(),
        _ => None,
    }
}

/// How many lines of `text` come before the first with `what` in it; 0 if none has.
fn line_of(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.contains(what)).unwrap_or_default()
}

/// A part of a text.
enum Piece<'a> {
    Plain(&'a str),
    /// A variable's name, without its dollar.
    Name(&'a str),
}

impl Piece<'_> {
    fn name(self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.to_owned()),
            Self::Plain(_) => None,
        }
    }
}

/// The parts of `text`: `$name` and `${$name}` are variables, as in the texts of steps.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let Some((name, after)) = variable(rest) {
            rest = after;
            return Some(Piece::Name(name));
        }
        let first = rest.chars().next()?;
        let len = rest[first.len_utf8()..].find('$').map_or(rest.len(), |at| at + first.len_utf8());
        let (plain, after) = rest.split_at(len);
        rest = after;
        Some(Piece::Plain(plain))
    })
}

/// The variable that `text` begins with, and the text after it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('$')?;
    let inside = text.strip_prefix("{$");
    let text = inside.unwrap_or(text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, after) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    Some((name, if inside.is_some() { after.strip_prefix('}')? } else { after }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dollar_before_a_name_is_a_variable_and_any_other_is_a_dollar() {
        let shown = |text: &str| -> Vec<String> {
            pieces(text)
                .map(|piece| match piece {
                    Piece::Plain(plain) => plain.to_owned(),
                    Piece::Name(name) => format!("<{name}>"),
                })
                .collect()
        };
        assert_eq!(shown("^$q$"), ["^", "<q>", "$"]);
        assert_eq!(shown("^$"), ["^", "$"]);
        assert_eq!(shown("$a_1.${$b}c"), ["<a_1>", ".", "<b>", "c"]);
        assert_eq!(shown("$1${c}"), ["$1", "${c}"]);
        assert_eq!(shown("${$c"), ["${", "<c>"]);
        assert_eq!(shown(""), Vec::<String>::new());
    }

    #[test]
    fn names_become_what_they_stand_for_wherever_they_are() {
        let text = r#"{"users": [{"name": "$u", "limits": {"a": 1}}], "policies": [{"pattern": "^$q$"}]}"#;
        let read = Definitions::read(text, 3).unwrap();
        assert_eq!(read.names().iter().collect::<Vec<_>>(), ["q", "u"]);
        let made = Value::Object(read.resolved(&|name| format!("{name}-7")));
        let wanted = r#"{"users":[{"name":"u-7","limits":{"a":1}}],"policies":[{"pattern":"^q-7$"}]}"#;
        assert_eq!(made, serde_json::from_str::<Value>(wanted).unwrap());
    }
}
