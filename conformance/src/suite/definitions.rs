//! Has all that the scripts of a run want defined imported by one command, before the first of them
//! runs.

use crate::clock;
use crate::run::target::Target;
use serde_json::{Map, Value};
use std::env;
use std::fs;
use std::process;

/// Joins `documents`, section by section, and has them imported.
///
/// # Errors
/// The file cannot be written, or the import fails.
pub(super) fn import(
    target: &Target,
    documents: impl Iterator<Item = Map<String, Value>>,
) -> Result<(), String> {
    let mut all: Map<String, Value> = Map::new();
    for (section, entries) in documents.flatten() {
        let joined = all.entry(section).or_insert_with(|| Value::Array(Vec::new()));
        if let (Value::Array(joined), Value::Array(entries)) = (joined, entries) {
            joined.extend(entries);
        }
    }
    let Some(import) = target.import.as_ref().filter(|_| !all.is_empty()) else { return Ok(()) };
    let file = env::temp_dir().join(format!("conformance-{}-{:x}.json", process::id(), clock::stamp()));
    let shown = file.display().to_string();
    fs::write(&file, format!("{:#}\n", Value::Object(all))).map_err(|why| format!("{shown}: {why}"))?;
    let outcome = import.run(&[shown]);
    // It is in a folder for such things.
    let _removed = fs::remove_file(&file);
    outcome.map_err(|why| format!("the definitions of the scripts were not imported: {why}"))
}
