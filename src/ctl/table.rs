//! Answers on standard output: columns under each other for a terminal, separated by tabs for
//! everybody else, or JSON.

use super::error::CtlError;
use super::text::cell;
use crate::clock::date_and_time;
use crate::near::did_you_mean;
use serde_json::{Map, Value};

/// Rows that are looked at before the width of columns is settled; longer cells further down stick
/// out.
const MEASURED_ROWS: usize = 10_000;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Columns under each other.
    Aligned,
    /// Tabs between columns.
    Tabs,
    /// An array of objects.
    Json,
    /// Commas between columns, and quotes where they are needed (RFC 4180).
    Csv,
    /// Lines around all cells.
    Boxes,
}

/// How a value is written in a cell.
type Written = fn(&Value) -> Value;

/// Which columns a list has.
#[derive(Debug)]
pub struct Columns {
    shown: Vec<String>,
    /// They were asked for, so that JSON has no others.
    chosen: bool,
    /// How the values of some of them are written in a cell.
    special: Vec<(&'static str, Written)>,
    /// Those that have no meaning here, and no values.
    empty: Vec<String>,
}

impl Columns {
    /// Always these.
    #[must_use]
    pub fn fixed(names: &[&str]) -> Self {
        Self {
            shown: names.iter().map(|&name| name.to_owned()).collect(),
            chosen: false,
            special: Vec::new(),
            empty: Vec::new(),
        }
    }

    /// Those of `known` that are asked for; if none is, `usual`. What RabbitMQ calls `pid` is here
    /// a name; `foreign` it has and we do not.
    ///
    /// # Errors
    /// One is asked for that is not known.
    pub fn chosen(
        asked: &[String],
        usual: &[&str],
        known: &[&str],
        foreign: &[&str],
    ) -> Result<Self, CtlError> {
        if asked.is_empty() {
            return Ok(Self::fixed(usual));
        }
        let (mut shown, mut empty) = (Vec::new(), Vec::new());
        for name in asked.iter().flat_map(|asked| asked.split(',')).filter(|name| !name.is_empty()) {
            let meant = if name == "pid" { "name" } else { name };
            if foreign.contains(&meant) && !known.contains(&meant) {
                empty.push(meant.to_owned());
            } else if !known.contains(&meant) {
                let (near, known) = (did_you_mean(name, known), known.join(", "));
                let the = if near.is_empty() { "; the" } else { " The" };
                let why = format!("unknown column '{name}'{near}{the} columns are {known}");
                return Err(CtlError::Usage(why));
            }
            shown.push(meant.to_owned());
        }
        Ok(Self { shown, chosen: true, special: Vec::new(), empty })
    }

    /// These, with the values of one of them as they would be typed: as JSON.
    #[must_use]
    pub fn with_json(mut self, name: &'static str) -> Self {
        self.special.push((name, |value| Value::from(value.to_string())));
        self
    }

    /// These, with the values of one of them, milliseconds since 1970, as a date and time; in JSON
    /// they are numbers.
    #[must_use]
    pub fn with_time(mut self, name: &'static str) -> Self {
        let written =
            |value: &Value| value.as_u64().map_or_else(|| value.clone(), |ms| date_and_time(ms).into());
        self.special.push((name, written));
        self
    }

    /// Those that have no meaning here.
    #[must_use]
    pub fn empty(&self) -> &[String] {
        &self.empty
    }

    /// The cells of a row.
    fn cells(&self, row: &Value) -> Vec<String> {
        let written = |name: &str| self.special.iter().find(|(special, _)| *special == name);
        let shown = |name: &String| match (row.get(name), written(name)) {
            (None, _) => String::new(),
            (Some(value), Some((_, written))) => cell(&written(value)),
            (Some(value), None) => cell(value),
        };
        self.shown.iter().map(shown).collect()
    }
}

/// A list on its way out.
#[derive(Debug)]
pub struct Table {
    columns: Columns,
    style: Style,
    header: bool,
    /// Nothing is written yet.
    is_new: bool,
    /// A row is, or the names of the columns.
    has_line: bool,
    /// Rows that wait for their columns' widths.
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Table {
    /// A list without rows so far; with the names of its columns at its head, or without.
    #[must_use]
    pub fn new(columns: Columns, style: Style, header: bool) -> Self {
        Self {
            columns,
            style,
            header,
            is_new: true,
            has_line: false,
            waiting: Vec::new(),
            widths: None,
            rows: 0,
        }
    }

    /// Takes a row; what can be written of the list now.
    pub fn row(&mut self, row: Value) -> Vec<u8> {
        self.rows += 1;
        if self.style == Style::Json {
            let shown = if self.columns.chosen { self.pick(&row) } else { row };
            let before = if self.rows == 1 { "[\n" } else { ",\n" };
            return format!("{before}{shown}").into_bytes();
        }
        let cells = self.columns.cells(&row);
        if matches!(self.style, Style::Aligned | Style::Boxes) && self.widths.is_none() {
            self.waiting.push(cells);
            return if self.waiting.len() < MEASURED_ROWS { Vec::new() } else { self.settle() };
        }
        let mut text = String::new();
        self.begin(&mut text);
        self.line(&cells, &mut text);
        text.into_bytes()
    }

    /// What is left to write when there are no more rows.
    pub fn end(&mut self) -> Vec<u8> {
        match self.style {
            Style::Json if self.rows == 0 => b"[]\n".to_vec(),
            Style::Json => b"\n]\n".to_vec(),
            Style::Aligned | Style::Boxes => {
                let mut text = if self.widths.is_none() { self.settle() } else { Vec::new() };
                text.extend(self.rule(['\u{2514}', '\u{2534}', '\u{2518}']).into_bytes());
                text
            }
            // As rabbitmqctl, for scripts that count lines.
            Style::Tabs => Vec::new(),
            Style::Csv => {
                let mut text = String::new();
                self.rows += 1;
                self.begin(&mut text);
                text.into_bytes()
            }
        }
    }

    fn pick(&self, row: &Value) -> Value {
        let column = |name: &String| (name.clone(), row.get(name).cloned().unwrap_or_default());
        Value::Object(self.columns.shown.iter().map(column).collect::<Map<_, _>>())
    }

    /// Knows the widths of the columns: everything that waited for them.
    fn settle(&mut self) -> Vec<u8> {
        let waiting = std::mem::take(&mut self.waiting);
        let names = self.columns.shown.iter().map(|name| if self.header { name.chars().count() } else { 0 });
        let mut widths: Vec<usize> = names.collect();
        for cells in &waiting {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        self.widths = Some(widths);
        let mut text = String::new();
        self.begin(&mut text);
        for cells in &waiting {
            self.line(cells, &mut text);
        }
        text.into_bytes()
    }

    /// What is before the first row, once.
    fn begin(&mut self, text: &mut String) {
        if std::mem::take(&mut self.is_new) {
            text.push_str(&self.rule(['\u{250c}', '\u{252c}', '\u{2510}']));
            if self.header {
                let names = self.columns.shown.clone();
                self.line(&names, text);
            }
        }
    }

    /// A line between rows: how it begins, what is between columns, how it ends.
    fn rule(&self, [left, middle, right]: [char; 3]) -> String {
        let Some(widths) = self.widths.as_ref().filter(|_| self.style == Style::Boxes) else {
            return String::new();
        };
        let parts: Vec<String> = widths.iter().map(|width| "\u{2500}".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(&middle.to_string()))
    }

    fn line(&mut self, cells: &[String], text: &mut String) {
        if std::mem::replace(&mut self.has_line, true) {
            text.push_str(&self.rule(['\u{251c}', '\u{253c}', '\u{2524}']));
        }
        if self.style == Style::Csv {
            return text.push_str(&csv(cells));
        }
        let (before, between, after) = match self.style {
            Style::Boxes => ("\u{2502} ", " \u{2502} ", " \u{2502}"),
            Style::Aligned => ("", "  ", ""),
            Style::Tabs | Style::Json | Style::Csv => ("", "\t", ""),
        };
        text.push_str(before);
        for (at, cell) in cells.iter().enumerate() {
            let last = at + 1 == cells.len();
            text.push_str(cell);
            if let Some(widths) = self.widths.as_ref().filter(|_| !last || self.style == Style::Boxes) {
                let width = widths.get(at).copied().unwrap_or_default();
                text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
            text.push_str(if last { after } else { between });
        }
        text.push('\n');
    }
}

/// A line of a file of comma-separated values.
fn csv(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        let plain = !cell.contains(['"', ',', '\n', '\r']);
        if plain { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
    };
    format!("{}\n", cells.iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// A thing with its parts: each field a line, each list of parts a table under its name.
#[must_use]
pub fn thing(told: &Value, style: Style, header: bool) -> String {
    let mut text = String::new();
    let Some(parts) = told.as_object().and_then(|told| told.values().next()).and_then(Value::as_object)
    else {
        return text;
    };
    let mut fields = Table::new(Columns::fixed(&["field", "value"]), style, false);
    let mut field = |name: &str, value: &Value| {
        let line = Value::from_iter([("field", Value::from(name)), ("value", Value::from(cell(value)))]);
        String::from_utf8_lossy(&fields.row(line)).into_owned()
    };
    let mut lists = Vec::new();
    for (name, value) in parts {
        match value {
            Value::Object(own) => own.iter().for_each(|(name, value)| text.push_str(&field(name, value))),
            Value::Array(list) if list.iter().all(Value::is_object) && name != "alarms" => {
                lists.push((name, list));
            }
            _ => text.push_str(&field(name, value)),
        }
    }
    text.push_str(&String::from_utf8_lossy(&fields.end()));
    for (name, list) in lists {
        if header {
            text.push_str(&format!("\n{name}: {}\n", list.len()));
        }
        let Some(first) = list.first().and_then(Value::as_object) else { continue };
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        let mut table = Table::new(Columns::fixed(&names), style, header);
        for row in list {
            text.push_str(&String::from_utf8_lossy(&table.row(row.clone())));
        }
        text.push_str(&String::from_utf8_lossy(&table.end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [&str; 2] =
        [r#"{"name":"a","messages":10,"x":1}"#, r#"{"name":"longer","messages":2,"x":2}"#];

    fn written(columns: Columns, style: Style, header: bool, rows: &[&str]) -> String {
        let mut table = Table::new(columns, style, header);
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend(table.row(serde_json::from_str(row).unwrap()));
        }
        bytes.extend(table.end());
        String::from_utf8(bytes).unwrap()
    }

    fn columns() -> Columns {
        Columns::fixed(&["name", "messages"])
    }

    #[test]
    fn a_terminal_gets_columns_and_a_pipe_gets_tabs() {
        assert_eq!(
            written(columns(), Style::Aligned, true, &ROWS),
            "name    messages\na       10\nlonger  2\n"
        );
        assert_eq!(written(columns(), Style::Aligned, false, &ROWS), "a       10\nlonger  2\n");
        assert_eq!(written(columns(), Style::Tabs, true, &ROWS), "name\tmessages\na\t10\nlonger\t2\n");
        assert_eq!(written(columns(), Style::Tabs, false, &ROWS), "a\t10\nlonger\t2\n");
        assert_eq!(written(columns(), Style::Aligned, true, &[]), "name  messages\n");
        assert_eq!(written(columns(), Style::Tabs, true, &[]), "");
    }

    #[test]
    fn a_table_may_have_lines_and_commas_are_quoted() {
        let boxes = "\
\u{250c}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{252c}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2510}
\u{2502} name   \u{2502} messages \u{2502}
\u{251c}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{253c}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2524}
\u{2502} a      \u{2502} 10       \u{2502}
\u{251c}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{253c}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2524}
\u{2502} longer \u{2502} 2        \u{2502}
\u{2514}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2534}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2518}
";
        assert_eq!(written(columns(), Style::Boxes, true, &ROWS), boxes);
        let row = [r#"{"name":"a,\"b\"","messages":1}"#];
        assert_eq!(written(columns(), Style::Csv, true, &row), "name,messages\n\"a,\"\"b\"\"\",1\n");
    }

    #[test]
    fn json_is_an_array_with_all_fields_or_those_asked_for() {
        let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(parse(written(columns(), Style::Json, true, &[])), Value::Array(Vec::new()));
        assert_eq!(parse(written(columns(), Style::Json, true, &ROWS))[1]["x"], 2);
        let chosen = Columns::chosen(&["name".to_owned()], &[], &["name", "x"], &[]).unwrap();
        assert_eq!(parse(written(chosen, Style::Json, true, &ROWS))[1].to_string(), r#"{"name":"longer"}"#);
    }

    #[test]
    fn a_column_can_be_as_it_is_typed() {
        let row = [r#"{"name":{"a":["b",1]},"messages":{"a":["b",1]}}"#];
        let columns = Columns::fixed(&["name", "messages"]).with_json("name");
        assert_eq!(written(columns, Style::Tabs, false, &row), "{\"a\":[\"b\",1]}\t[{\"a\",[\"b\",1]}]\n");
    }

    #[test]
    fn a_column_can_be_a_time_but_in_json() {
        let row = [r#"{"name":"a","messages":1795000000123}"#];
        let columns = || columns().with_json("name").with_time("messages");
        assert_eq!(written(columns(), Style::Tabs, false, &row), "\"a\"\t2026-11-18T11:06:40.123Z\n");
        assert!(written(columns(), Style::Json, false, &row).contains("\"messages\":1795000000123"));
    }

    #[test]
    fn columns_are_checked() {
        let chosen =
            |asked: &str| Columns::chosen(&[asked.to_owned()], &["name"], &["name", "state"], &["memory"]);
        assert_eq!(chosen("state,pid").unwrap().shown, ["state", "name"]);
        let foreign = chosen("memory,name").unwrap();
        assert_eq!(
            (foreign.shown.as_slice(), foreign.empty()),
            (["memory", "name"].map(str::to_owned).as_slice(), ["memory".to_owned()].as_slice())
        );
        let refused = chosen("nme").unwrap_err().to_string();
        assert_eq!(refused, "unknown column 'nme'; did you mean 'name'? The columns are name, state");
    }
}
