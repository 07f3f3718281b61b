//! Which files are opened, and which are left exactly as they are.

use super::golden::image;
use super::{commit, declare, nobody, publish, wait_until};
use crate::support::folder::Folder;
use leveret::ids::Ticket;
use leveret::store::change::Health;
use leveret::store::{FILE_NAME, Opened, Options, StoreError, open};
use redb::{Database, TableDefinition};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn open_folder(dir: &Path) -> Result<Opened, StoreError> {
    open(dir, Options::default())
}

/// Opening `dir` must fail, with this text, and leave the file alone.
#[track_caller]
fn check_refused(dir: &Path, text: &str) {
    let file = dir.join(FILE_NAME);
    let count = || fs::read_dir(dir).unwrap().count();
    let (before, beside) = (fs::read(&file).unwrap(), count());
    let error = open_folder(dir).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(fs::read(&file).unwrap() == before, "the file was touched");
    assert_eq!(count(), beside, "nothing was added");
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

/// It is on disk when the call returns, whether the broker stops in order after that or not, and
/// alone: no message depends on it.
#[test]
fn how_far_the_calendar_is_ahead_is_kept() {
    let folder = Folder::new();
    let check = |expected: i64, next: i64, in_order: bool| {
        let opened = open_folder(&folder.at("")).unwrap();
        assert_eq!(opened.recovered.ahead_ms, expected);
        commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
        opened.log.keep_ahead(next).unwrap();
        if in_order {
            opened.log.close().unwrap();
        }
    };
    check(0, -20_000, false);
    check(-20_000, i64::MAX, true);
    check(i64::MAX, 0, false);
    check(0, 0, true);
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
    // A database of somebody else's: once closed in order, once with its writer still there in a
    // copy.
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
    bytes[19] = 9;
    let checksum = crc32fast::hash(&[&bytes[..20], &bytes[24..32]].concat());
    bytes[32..36].copy_from_slice(&checksum.to_be_bytes());
    fs::write(&file, bytes).unwrap();
    let text = format!(
        "{} has data format 9, and this version of Leveret reads the formats 1 to 8: start the version that wrote it, or a \
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

/// What the owner, the group and others may do with what is at `path`.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_made_is_the_owners_alone() {
    let folder = Folder::new();
    let dir = folder.at("some/where");
    drop(open_folder(&dir).unwrap());
    assert_eq!([mode(&dir), mode(&folder.at("some"))], [0o700; 2]);
    let files = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
    let modes: Vec<_> = files.map(|file| (mode(&file), file)).collect();
    assert!(!modes.is_empty() && modes.iter().all(|(mode, _)| *mode == 0o600), "{modes:?}");
    // So is the file that takes the place of an older one.
    let file = dir.join(FILE_NAME);
    fs::write(&file, image("1-clean")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open_folder(&dir).unwrap());
    assert_eq!(mode(&file), 0o600);
}

/// Appends `body` to queue 1 as message `seq`, for somebody who waits.
fn append(opened: &Opened, seq: u64, body: &[u8]) -> Ticket {
    let ticket = opened.log.append(&mut vec![publish(1, seq, &[body])]);
    opened.log.notify(ticket, &nobody());
    ticket
}

#[track_caller]
fn check_gone(opened: &Opened, ticket: Ticket) {
    wait_until("failed", || opened.log.health() == Health::Failed);
    assert!(opened.log.durable() < ticket, "it was confirmed");
    let error = opened.log.close().unwrap_err();
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    assert!(!error.keeps_what_was_confirmed());
}

#[test]
fn nothing_is_confirmed_into_a_file_that_was_deleted() {
    let folder = Folder::new();
    let opened = open_folder(&folder.at("data")).unwrap();
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    fs::remove_dir_all(folder.at("data")).unwrap();
    let ticket = append(&opened, 1, b"b");
    check_gone(&opened, ticket);
}

#[test]
fn a_folder_that_was_replaced_is_noticed_when_the_file_grows() {
    let folder = Folder::new();
    let opened = open_folder(&folder.at("data")).unwrap();
    commit(&opened.log, [declare(1)]);
    fs::rename(folder.at("data"), folder.at("away")).unwrap();
    drop(open_folder(&folder.at("data")).unwrap());
    let large = vec![7; 300_000];
    let mut ticket = Ticket(0);
    for seq in 0..100 {
        ticket = append(&opened, seq, &large);
        wait_until("durable or failed", || {
            opened.log.durable() >= ticket || opened.log.health() == Health::Failed
        });
        if opened.log.health() == Health::Failed {
            break;
        }
    }
    check_gone(&opened, ticket);
}

#[test]
fn a_folder_that_was_moved_is_noticed_by_whoever_looks() {
    let folder = Folder::new();
    let opened = open_folder(&folder.at("data")).unwrap();
    commit(&opened.log, [declare(1)]);
    opened.log.check_place();
    assert_eq!(opened.log.health(), Health::Good);
    fs::rename(folder.at("data"), folder.at("away")).unwrap();
    opened.log.check_place();
    assert_eq!(opened.log.health(), Health::Failed);
    let ticket = append(&opened, 0, b"a");
    check_gone(&opened, ticket);
}

#[test]
fn a_file_that_was_cut_short_is_noticed_by_whoever_looks() {
    let folder = Folder::new();
    let opened = open_folder(&folder.at("data")).unwrap();
    commit(&opened.log, [declare(1), publish(1, 0, &["a"])]);
    opened.log.check_place();
    assert_eq!(opened.log.health(), Health::Good);
    let file = File::options().write(true).open(folder.at("data/leveret.redb")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    opened.log.check_place();
    assert_eq!(opened.log.health(), Health::Failed);
    let error = opened.log.close().unwrap_err();
    assert!(error.to_string().contains("cut short while it was in use"), "{error}");
    assert!(!error.keeps_what_was_confirmed());
}

/// Something else may be in the way of the folder instead of nothing.
#[test]
fn a_file_in_the_place_of_the_folder_is_not_the_folder() {
    let folder = Folder::new();
    let opened = open_folder(&folder.at("data")).unwrap();
    fs::rename(folder.at("data"), folder.at("away")).unwrap();
    fs::write(folder.at("data"), "").unwrap();
    opened.log.check_place();
    assert_eq!(opened.log.health(), Health::Failed);
}
