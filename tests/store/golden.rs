//! Data files that the versions of Leveret wrote, one of each format and each way to stop, and what
//! is in them.
//!
//! `golden/FORMAT-HOW.gz` is a file as the last commit with that format left it, after a clean stop
//! or a kill; the text beside it says which commit that was and all that a start must find, line by
//! line. What a client did there is in `golden/make.py`, with which a new format gets two more of
//! them.

use super::open_with;
use crate::support::disk::SimDisk;
use crate::support::folder::Folder;
use flate2::read::GzDecoder;
use leveret::ids::SeqRange;
use leveret::message::Message;
use leveret::store::change::{Recovered, RecoveredQueue};
use leveret::store::{FILE_NAME, Opened, Options, RESERVE_NAME, StoreError, open, open_backend};
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// Bodies beyond this are told by their beginning and their length.
pub(crate) const SHOWN_BYTES: usize = 40;

/// Where the state lies in a head.
const STATE: Range<usize> = 20..24;

const FORMATS: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];
const STOPS: [&str; 2] = ["clean", "killed"];

fn read(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden").join(name)).unwrap()
}

/// A file as it was left.
pub(crate) fn image(name: &str) -> Vec<u8> {
    let mut image = Vec::new();
    GzDecoder::new(&*read(&format!("{name}.gz"))).read_to_end(&mut image).unwrap();
    image
}

/// What the text says that is to be found.
pub(crate) fn expected(name: &str) -> String {
    let text = String::from_utf8(read(&format!("{name}.txt"))).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
}

/// Everything that a start found, line by line.
fn told(opened: &Opened) -> String {
    let Recovered { queues, exchanges, bindings, seen, auth, policies, parameters, .. } = &opened.recovered;
    let Recovered { damaged, clean, next_queue, ahead_ms, .. } = &opened.recovered;
    assert_eq!(parameters, &[], "there were none yet");
    let mut out = String::new();
    assert_eq!(damaged, &[]);
    writeln!(out, "clean {clean}, next queue {next_queue}").unwrap();
    assert_eq!(*ahead_ms, 0, "the clock was never set");
    for exchange in exchanges {
        let arguments = exchange.arguments.escape_ascii();
        let (vhost, name, kind) = (&exchange.vhost, &exchange.name, &exchange.kind);
        let (auto_delete, internal) = (exchange.auto_delete, exchange.internal);
        writeln!(out, "exchange {vhost} {name}: {kind}, {auto_delete} {internal}, arguments '{arguments}'")
            .unwrap();
    }
    for binding in bindings {
        let to = if binding.to_exchange { "exchange" } else { "queue" };
        let (key, arguments) = (binding.routing_key.escape_ascii(), binding.arguments.escape_ascii());
        let (vhost, source, destination) = (&binding.vhost, &binding.source, &binding.destination);
        writeln!(out, "binding {vhost} {source} to {to} {destination}: key '{key}', arguments '{arguments}'")
            .unwrap();
    }
    for record in seen {
        let value = record.value.escape_ascii();
        let (slot, number, until_ms) = (record.slot, record.number, record.until_ms);
        writeln!(out, "seen by {:?}: '{value}' in {slot} as {number} until {until_ms}", record.by).unwrap();
    }
    for change in auth.iter().flatten() {
        writeln!(out, "{change:?}").unwrap();
    }
    for change in policies {
        writeln!(out, "{change:?}").unwrap();
    }
    for queue in queues {
        tell_queue(opened, queue, &mut out);
    }
    out
}

fn tell_queue(opened: &Opened, queue: &RecoveredQueue, out: &mut String) {
    let record = &queue.record;
    let (id, vhost, name, arguments) =
        (record.id, &record.vhost, &record.name, record.arguments.escape_ascii());
    writeln!(out, "queue {vhost} {name} ({id}): {}, arguments '{arguments}'", record.auto_delete).unwrap();
    for lane in &queue.lanes {
        writeln!(out, "  lane {}: delivered to {}, next {}", lane.lane, lane.delivered_up_to, lane.next)
            .unwrap();
    }
    if let Some(stream) = &queue.stream {
        writeln!(out, "  stream from {}, offsets {:?}", stream.first, stream.offsets).unwrap();
        for chunk in &stream.chunks {
            writeln!(out, "  chunk {} since {} at {}", chunk.first, chunk.since_ms, chunk.position).unwrap();
        }
    }
    for &range in &queue.messages {
        tell_messages(opened, queue, range, out);
    }
}

fn tell_messages(opened: &Opened, queue: &RecoveredQueue, range: SeqRange, out: &mut String) {
    let mut next = range.first;
    while next < range.end {
        let wanted = SeqRange { first: next, end: range.end };
        let page = opened.pages.load(queue.record.id, wanted, 1).unwrap().swap_remove(0);
        for (seq, index) in (page.first..).zip(0..page.block.len()) {
            if seq < next || seq >= range.end {
                continue;
            }
            let Message { persistent, expires, priority, arrived_at_ms, exchange, routing_key, .. } =
                page.block.message(index);
            let (exchange, key) = (exchange.escape_ascii(), routing_key.escape_ascii());
            let Message { properties, body, .. } = page.block.message(index);
            let shown = body[..body.len().min(SHOWN_BYTES)].escape_ascii();
            let (properties, len) = (properties.escape_ascii(), body.len());
            let returned = queue.requeues.iter().find(|returned| returned.seq == seq);
            let returned = returned
                .map(|it| format!(", failed {} due {}", it.deliveries, it.due_ms))
                .unwrap_or_default();
            writeln!(
                out,
                "  {seq} '{shown}' of {len}: '{exchange}' '{key}' at {arrived_at_ms}, {persistent} {expires} \
                 {priority:?}, properties '{properties}'{returned}"
            )
            .unwrap();
        }
        next = page.first + u64::from(page.block.len());
    }
}

/// All there are.
pub(crate) fn names() -> impl Iterator<Item = String> {
    FORMATS.into_iter().flat_map(|format| STOPS.map(|stop| format!("{format}-{stop}")))
}

#[track_caller]
fn check(name: &str, found: &str) {
    let expected = expected(name);
    let differs = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(found == expected, "{name}: {differs:?}, all of it:\n{found}");
}

/// Twice: as it comes, and as it is left.
#[test]
fn every_format_there_has_been_is_read() {
    for name in names() {
        let folder = Folder::new();
        let file = folder.at(FILE_NAME);
        fs::write(&file, image(&name)).unwrap();
        let opened = open(&folder.at(""), Options::default()).unwrap();
        check(&name, &told(&opened));
        opened.log.close().unwrap();
        drop(opened);
        assert_eq!(fs::read(&file).unwrap()[..20], *b"Leveret data\r\n\x1a\n\0\0\0\x08");
        let left = fs::read_dir(folder.at("")).unwrap().map(|entry| entry.unwrap().file_name());
        let others: Vec<_> = left.filter(|name| name != FILE_NAME && name != RESERVE_NAME).collect();
        assert!(others.is_empty(), "left of {name}: {others:?}");
        let again = told(&open(&folder.at(""), Options::default()).unwrap());
        // What had been delivered before the kill is not said of a run that delivered nothing.
        let of_both = |text: &str| -> Vec<String> {
            let lasting = |line: &&str| !line.starts_with("clean") && !line.starts_with("  lane");
            text.lines().filter(lasting).map(str::to_owned).collect()
        };
        assert_eq!(of_both(&again), of_both(&expected(&name)), "{name}");
    }
}

/// What a copy that was cut short left is no hindrance.
#[test]
fn a_file_without_a_head_is_copied_anew() {
    let folder = Folder::new();
    fs::write(folder.at(FILE_NAME), image("1-killed")).unwrap();
    fs::write(folder.at("leveret.redb.new"), vec![7; 100_000]).unwrap();
    let opened = open(&folder.at(""), Options::default()).unwrap();
    check("1-killed", &told(&opened));
    let refused = open(&folder.at(""), Options::default());
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
}

/// A power cut at any time of an older file's first start leaves a file in which all is found.
#[test]
fn a_power_cut_while_a_file_becomes_newer_costs_nothing() {
    for name in names().filter(|name| !name.starts_with('1') && !name.starts_with('8')) {
        let image = image(&name);
        for call in (1..).step_by(3) {
            let disk = SimDisk::holding(image.clone()).cut_at(call, call);
            drop(open_with(&disk, 0));
            let Some(cut) = disk.take_cuts().pop() else {
                assert!(call > 10, "{name}: only {call} calls");
                break;
            };
            let found = told(&open_with(&SimDisk::holding(cut.image), 0));
            // A cut after the start itself is a kill.
            let (clean, killed) = (expected(&name), expected(&name).replace("clean true", "clean false"));
            let lasting = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.starts_with("  lane")).map(str::to_owned).collect()
            };
            assert!(
                found == clean || lasting(&found) == lasting(&killed),
                "{name}, cut at call {call}: {found}"
            );
        }
    }
}

/// Whatever bit of a head is turned and wherever the file ends: it is refused, or says the same as
/// before.
#[test]
fn a_damaged_head_is_never_misread() {
    for name in ["2-killed", "3-killed", "4-killed", "5-killed", "6-killed", "7-killed", "8-killed"] {
        let (image, expected) = (image(name), expected(name));
        // What is in the state but its being 0 says nothing: a bit of each byte stands for all.
        let (head_len, front) = match name {
            "2-killed" | "3-killed" => (32, 4096 + (8 << 20)),
            "4-killed" | "5-killed" | "6-killed" => (36, 4096 + (8 << 20)),
            _ => (48, 4096 + (28 << 20)),
        };
        // Most of those with a second head are opened all the same, which takes a while.
        let step = if name < "5" { 1 } else { 5 };
        for bit in (0..head_len * 8).step_by(step).filter(|bit| !STATE.contains(&(bit / 8)) || bit % 8 == 0) {
            let mut turned = image.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            if let Ok(opened) = open_backend(SimDisk::holding(turned), Options::default()) {
                assert!(told(&opened) == expected, "{name}, bit {bit}");
            }
        }
        for len in (24..80).chain([4095, 4096, 4097, front - 1, front, front + 1, front + 4096]) {
            let cut = open_backend(SimDisk::holding(image[..len].to_vec()), Options::default());
            assert!(cut.is_err(), "{name}, {len} bytes: {:?}", cut.map(|opened| told(&opened)));
        }
    }
}
