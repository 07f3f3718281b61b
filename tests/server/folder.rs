//! The data folder under a real process: who may look into it, and what happens when it goes or is
//! damaged.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, Process, leveret_in, outcome};
use leveret::store::{FILE_NAME, Options, StoreError, open};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_folder_that_is_open_to_others_is_told() {
    let folder = Folder::new();
    let (_status, log) = Process::start(&folder).stop();
    assert!(!log.contains("open to other users"), "{log}");
    let modes = |data: u32, file: u32| {
        for (path, mode) in [(folder.at("data"), data), (folder.at("data").join(FILE_NAME), file)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is there");
        }
        Process::start(&folder).stop().1
    };
    let log = modes(0o755, 0o600);
    assert!(log.contains("open to other users (mode 755): chmod 700 "), "{log}");
    assert_eq!(log.matches("open to other users").count(), 1, "{log}");
    let log = modes(0o700, 0o640);
    assert!(log.contains("open to other users (mode 640): chmod 600 "), "{log}");
}

/// A broker in whose folder something is done while a client is there: the client is told, and the
/// process says why it ends.
#[track_caller]
fn check_gone(what: impl FnOnce(&Path)) {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    what(&folder.at("data"));
    let said = client.hear();
    assert!(said.starts_with("0 connection.close 541 INTERNAL_ERROR - the store has failed"), "{said}");
    let (status, log) = broker.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("leveret: the store has failed: the data file ") && last.contains(" is gone: "),
        "{last}"
    );
    assert!(!log.contains("what was confirmed before is on disk"), "{log}");
}

#[test]
fn a_folder_that_is_deleted_ends_the_process() {
    check_gone(|data| fs::remove_dir_all(data).expect("it is there"));
}

#[test]
fn a_folder_that_is_moved_ends_the_process() {
    check_gone(|data| fs::rename(data, data.with_extension("away")).expect("it is there"));
}

/// Without a word of where in the code it was noticed.
#[test]
fn a_file_with_a_damaged_page_is_refused_in_one_line() {
    let folder = Folder::new();
    let (_status, _log) = Process::start(&folder).stop();
    let file = folder.at("data").join(FILE_NAME);
    let whole = fs::read(&file).expect("it is there");
    let front = 4096 + (28 << 20);
    let refused = (front..whole.len()).step_by(4096).any(|at| {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&file, damaged).expect("it can be written");
        let opened = open(&folder.at("data"), Options::default());
        matches!(opened, Err(StoreError::Damaged(_)))
    });
    assert!(refused, "there is a byte without which the file cannot be used");
    let output = outcome(&mut leveret_in(&folder));
    let text = String::from_utf8(output.stderr).expect("it is text");
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.starts_with("leveret: the data file is damaged: ") && !text.contains("backtrace"), "{text}");
}
