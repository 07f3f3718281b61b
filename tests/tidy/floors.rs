//! Floors inside a room: its modules from the bottom up. One imports only from those in rows above
//! its own, and from its own row.
//!
//! The file of the room itself, which holds what all of it shares, may be imported by all; it and
//! what is in no row may import everything.

use super::circles::{imports, module, modules};
use super::source::{File, files};

/// Rooms that have floors: the names of their modules, lowest first.
const FLOORS: &[(&str, &[&[&str]])] = &[(
    "store",
    &[&["change", "error", "guard", "mark", "seen"], &["codec"], &["commit"], &["redb", "replica"]],
)];

/// The row of a file in its room, if that has floors and the file is on one.
fn floor(path: &str) -> Option<(&'static str, usize)> {
    let module = module(path)?;
    let &[_, room, name, ..] = module.as_slice() else { return None };
    let (room, rows) = FLOORS.iter().find(|(floored, _)| *floored == room)?;
    Some((room, rows.iter().position(|row| row.contains(&name))?))
}

/// What is imported from a higher floor.
fn offences(files: &[(&str, &str)]) -> Vec<String> {
    let modules = modules(files);
    let mut offences = Vec::new();
    for &(path, text) in files {
        let (Some((room, row)), Some(module)) = (floor(path), module(path)) else { continue };
        let is_higher = |file: &&str| floor(file).is_some_and(|(of, of_row)| of == room && of_row > row);
        let higher = imports(&module, text, &modules).into_iter().filter(is_higher);
        offences.extend(higher.map(|file| format!("{path} may not import from {file}, a floor above")));
    }
    offences
}

#[test]
fn modules_of_a_room_import_only_from_floors_below() {
    let group = ("src/store/commit/group.rs", "use crate::store::codec::record;\nuse super::super::mark;");
    let record = ("src/store/codec/record.rs", "use crate::store::{Options, error::StoreError};");
    let table = |text| ("src/store/redb/table.rs", text);
    let of_room = [("src/store/mod.rs", "use self::redb::open;"), ("src/store/error.rs", "")];
    let found = |more: &[(&str, &str)]| offences(&[&of_room, more].concat()).len();
    assert_eq!(found(&[group, record, table("use crate::store::commit::group::Group;")]), 0);
    let upwards = ("src/store/commit/log.rs", "use crate::store::redb::table::Rows;");
    assert_eq!(found(&[record, table("use super::journal;"), upwards]), 1);

    let files = files();
    let files: Vec<_> = files.iter().map(|File { path, text }| (path.as_str(), text.as_str())).collect();
    let offences = offences(&files);
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
    for (room, rows) in FLOORS {
        for name in rows.iter().copied().flatten() {
            let is_there = files.iter().any(|(path, _)| {
                module(path).is_some_and(|module| module.get(1..3) == Some(&[*room, *name]))
            });
            assert!(is_there, "`{room}` has no module `{name}`");
        }
    }
}
