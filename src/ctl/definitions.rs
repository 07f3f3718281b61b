//! Commands about definitions: everything that is declared, into a file and out of it.

use super::error::CtlError;
use super::text::visible;
use super::{Asks, Request, Shown};
use crate::admin::Operation;
use crate::admin::definitions::{DefinitionsOperation, Source};
use clap::Subcommand;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What stands for standard input and output in place of a file.
const STANDARD: &str = "-";

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Export everything that is declared, without messages, in RabbitMQ's JSON format
    ExportDefinitions {
        /// File; - is standard output
        #[arg(default_value = STANDARD)]
        file: PathBuf,
        /// Only json is supported
        #[arg(long, value_name = "FORMAT", value_parser = ["json"], hide = true)]
        format: Option<String>,
    },
    /// Import definitions (all or nothing); with -p, only into that vhost
    ImportDefinitions {
        /// File; - is standard input
        #[arg(default_value = STANDARD)]
        file: PathBuf,
        /// Refuse a document that has anything Leveret cannot use, instead of skipping that
        #[arg(long)]
        strict: bool,
        /// Do nothing if the last import was the same
        #[arg(long = "skip-if-unchanged")]
        skip_if_unchanged: bool,
        /// Only show what the import would add, change and skip
        #[arg(long, conflicts_with_all = ["strict", "skip_if_unchanged"])]
        preview: bool,
        /// Only json is supported
        #[arg(long, value_name = "FORMAT", value_parser = ["json"], hide = true)]
        format: Option<String>,
    },
    /// Export or import definitions
    #[command(subcommand)]
    Definitions(Direction),
}

/// Which way.
#[derive(Subcommand, Debug, Clone)]
pub enum Direction {
    /// Export definitions, like export_definitions
    Export {
        /// File; - is standard output
        #[arg(default_value = STANDARD)]
        file: PathBuf,
    },
    /// Import definitions, like import_definitions
    Import {
        /// File; - is standard input
        #[arg(default_value = STANDARD)]
        file: PathBuf,
        /// Refuse a document that has anything Leveret cannot use, instead of skipping that
        #[arg(long)]
        strict: bool,
        /// Do nothing if the last import was the same
        #[arg(long = "skip-if-unchanged")]
        skip_if_unchanged: bool,
        /// Only show what the import would add, change and skip
        #[arg(long, conflicts_with_all = ["strict", "skip_if_unchanged"])]
        preview: bool,
    },
}

impl Command {
    /// What it asks for, in that vhost if one was typed.
    ///
    /// # Errors
    /// The file cannot be read, or is not JSON.
    pub fn request(self, vhost: Option<String>) -> Result<Request, CtlError> {
        match self {
            Self::ExportDefinitions { file, .. } | Self::Definitions(Direction::Export { file }) => {
                Ok(Request {
                    asks: Asks::Operation(Operation::Definitions(DefinitionsOperation::ExportDefinitions)),
                    answer: Shown::File((file != Path::new(STANDARD)).then_some(file)),
                })
            }
            Self::ImportDefinitions { file, preview: true, .. }
            | Self::Definitions(Direction::Import { file, preview: true, .. }) => {
                let document = read(&file)?;
                let operation = DefinitionsOperation::PreviewDefinitions { document, vhost };
                let asks = Asks::Operation(Operation::Definitions(operation));
                Ok(Request { asks, answer: Shown::ImportPreview })
            }
            Self::ImportDefinitions { file, strict, skip_if_unchanged, .. }
            | Self::Definitions(Direction::Import { file, strict, skip_if_unchanged, .. }) => {
                let document = read(&file)?;
                let operation =
                    DefinitionsOperation::ImportDefinitions { document, vhost, strict, skip_if_unchanged };
                let asks = Asks::Operation(Operation::Definitions(operation));
                Ok(Request { asks, answer: Shown::Imported })
            }
        }
    }
}

fn read(file: &Path) -> Result<Source, CtlError> {
    let mut text = Vec::new();
    let done = if file == Path::new(STANDARD) {
        io::stdin().lock().read_to_end(&mut text)
    } else {
        File::open(file).and_then(|mut file| file.read_to_end(&mut text))
    };
    done.map_err(|error| CtlError::File(format!("cannot read {}: {error}", file.display())))?;
    Source::parse(&text).map_err(|why| CtlError::File(format!("{}: {why}", file.display())))
}

/// Writes what was exported. It has hashes of passwords: a new file is for its owner alone.
///
/// # Errors
/// It cannot be written.
pub fn write(told: &Value, file: Option<&Path>) -> Result<(), CtlError> {
    let document = told.get("definitions").unwrap_or(told);
    let mut text =
        serde_json::to_vec_pretty(document).map_err(|error| CtlError::Garbled(error.to_string()))?;
    text.push(b'\n');
    let Some(file) = file else { return super::print(&text) };
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| opened.write_all(&text))
        .map_err(|error| CtlError::File(format!("cannot write {}: {error}", file.display())))
}

/// What an import came to, in words; what was left out is told in any case.
#[must_use]
pub fn imported(told: &Value, words: bool) -> String {
    let of = |key: &str| told.get("imported").and_then(|imported| imported.get(key));
    let mut text = String::new();
    if words && of("unchanged").is_some() {
        text.push_str("Definitions are unchanged since the last import\n");
    } else if words {
        let count = |key: &str| of(key).and_then(Value::as_u64).unwrap_or_default();
        text.push_str(&format!("Definitions imported: {}\n", count("added") + count("changed")));
        text.push_str(&format!("{THERE}: {}\n", count("same")));
    }
    text + &notes(&told["imported"], &NOTES)
}

/// What is noted of a document: names in the answer, and words in front of each sentence.
const NOTES: [(&str, &str); 3] = [("kept", "kept"), ("skipped", "skipped"), ("warnings", "warning")];

/// In front of the number of those that need nothing.
const THERE: &str = "Definitions that are already there";

/// Sentences of an answer, a line each.
fn notes(of: &Value, names: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (key, word) in names {
        for what in of[*key].as_array().into_iter().flatten().filter_map(Value::as_str) {
            text.push_str(&format!("{word}: {}\n", visible(what)));
        }
    }
    text
}

/// What an import would do, a line each.
#[must_use]
pub fn previewed(told: &Value, words: bool) -> String {
    let preview = &told["definitions_preview"];
    let list = |key: &str| preview[key].as_array().into_iter().flatten();
    let name = |what: &Value| {
        let of = |key: &str| visible(what[key].as_str().unwrap_or_default());
        let vhost =
            if what["vhost"].is_null() { String::new() } else { format!(" in vhost '{}'", of("vhost")) };
        format!("{} '{}'{vhost}", of("kind"), of("name"))
    };
    let mut text = String::new();
    for what in list("add") {
        text.push_str(&format!("add: {}\n", name(what)));
    }
    for what in list("change") {
        text.push_str(&format!("change: {} from {} to {}\n", name(what), what["before"], what["after"]));
    }
    text.push_str(&notes(preview, &NOTES));
    text.push_str(&notes(preview, &[("problems", "problem")]));
    if words {
        text.push_str(&format!("{THERE}: {}\n", preview["same"]));
    }
    text
}

/// Whether a preview found nothing that keeps the document from being imported.
///
/// # Errors
/// It did.
pub fn check_no_problems(told: &Value) -> Result<(), CtlError> {
    match told["definitions_preview"]["problems"].as_array().map_or(0, Vec::len) {
        0 => Ok(()),
        1 => Err(CtlError::Check("the import would be refused: 1 problem".to_owned())),
        count => Err(CtlError::Check(format!("the import would be refused: {count} problems"))),
    }
}
