//! Which files are opened, and which are left exactly as they are.

use super::{commit, declare, publish};
use crate::support::folder::Folder;
use leveret::store::{FILE_NAME, Opened, Options, StoreError, open};
use redb::{Database, TableDefinition};
use std::fs;
use std::path::Path;

fn open_folder(dir: &Path) -> Result<Opened, StoreError> {
    open(dir, Options::default())
}

/// Opening `dir` must fail, with this text, and leave the file alone.
#[track_caller]
fn check_refused(dir: &Path, text: &str) {
    let file = dir.join(FILE_NAME);
    let before = fs::read(&file).unwrap();
    let error = open_folder(dir).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(fs::read(&file).unwrap() == before, "the file was touched");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "nothing was added");
}

#[test]
fn a_folder_is_made_and_found_again() {
    let folder = Folder::new();
    let dir = folder.at("some/where");
    let opened = open_folder(&dir).unwrap();
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    opened.log.close().unwrap();
    drop(opened);
    let opened = open_folder(&dir).unwrap();
    assert_eq!(opened.recovered.queues[0].record.name, "q1");
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = Folder::new();
    let opened = open_folder(&folder.at("")).unwrap();
    commit(&opened.log, [declare(1)]);
    let text = format!("the data folder {} is in use by another process", folder.at("").display());
    check_refused(&folder.at(""), &text);
    opened.log.close().unwrap();
    drop(opened);
    open_folder(&folder.at("")).unwrap();
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let folder = Folder::new();
    let file = folder.at(FILE_NAME);
    let not_ours = format!("{} is not a Leveret data file; it was left as it is", file.display());
    for text in ["short", &"somebody's letters ".repeat(10_000)] {
        fs::write(&file, text).unwrap();
        check_refused(&folder.at(""), &not_ours);
    }
    // A database of somebody else's: once closed in order, once with its writer still there in a copy.
    fs::remove_file(&file).unwrap();
    let database = Database::create(&file).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(TableDefinition::<u64, &str>::new("letters")).unwrap().insert(1, "dear").unwrap();
    tx.commit().unwrap();
    let unclean = fs::read(&file).unwrap();
    drop(database);
    check_refused(&folder.at(""), &not_ours);
    fs::write(&file, unclean).unwrap();
    check_refused(&folder.at(""), &not_ours);
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let folder = Folder::new();
    let file = folder.at(FILE_NAME);
    open_folder(&folder.at("")).unwrap().log.close().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[19] = 5;
    fs::write(&file, bytes).unwrap();
    let text = format!(
        "{} has data format 5, and this version of Leveret reads the formats 1 to 4: start the version that wrote it, or a \
         newer one; the file was left as it is",
        file.display()
    );
    check_refused(&folder.at(""), &text);
}

#[test]
fn a_place_that_cannot_be_a_folder_is_named() {
    let folder = Folder::new();
    let file = folder.at("file");
    fs::write(&file, "").unwrap();
    let error = open_folder(&file).unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    assert!(matches!(error, StoreError::Io(_)));
}
