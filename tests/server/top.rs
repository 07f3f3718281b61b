//! `leveret top` against a running broker: once on a pipe, and on a terminal until it is ended, in
//! each way.

use super::ctl::{TestBroker, run};
use crate::support::process::{Folder, PATIENCE, Process, leveret};
use conformance::api::http::ask;
use leveret::clock::mono_ms;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, from_str};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};

/// guest, as a header of HTTP.
const GUEST: (&str, &str) = ("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=");

/// How the terminal is told to show its other screen, and the first one again.
const OTHER_SCREEN: &str = "\u{1b}[?1049h";
const FIRST_SCREEN: &str = "\u{1b}[?1049l";

fn top(folder: &Folder, args: &[&str]) -> Command {
    let mut command = leveret();
    command.arg("top").arg("--data-dir").arg(folder.at("data")).args(args);
    command
}

fn declare(broker: &Process, queue: &str) {
    let path = format!("/api/queues/%2F/{queue}");
    let answer = ask(broker.http, ("PUT", &path), &[GUEST], Some(b"{\"durable\":true}"));
    assert_eq!(answer.expect("the broker answers").status, 201);
}

#[test]
fn on_a_pipe_it_prints_a_table_once() {
    let fixture = TestBroker::new();
    declare(&fixture.broker, "evil%1B%5D0%3Bx%07");
    let prints = |args: &[&str]| {
        let (status, printed, said) = run(&mut top(&fixture.folder, args));
        assert_eq!((status, said.as_str()), (0, ""), "{args:?}");
        printed
    };
    let queues = prints(&["--sort", "depth"]);
    let rows: Vec<Vec<&str>> = queues.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(&rows[0][..5], ["name", "vhost", "publish_rate", "deliver_get_rate", "messages"], "{queues}");
    assert_eq!((rows[1][0], rows[1][1], rows[1][4]), ("q", "/", "2"), "{queues}");
    assert_eq!(rows.len(), 4, "{queues}");
    let names = |args: &[&str]| {
        let printed = prints(args);
        printed.lines().map(|row| row.split('\t').next().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["-s", "--sort=name"]), ["empty", r"evil\u{1b}]0;x\u{7}", "q"]);
    assert_eq!(names(&["-s", "--sort=name", "--reverse", "--limit", "1"]), ["q"]);
    assert_eq!(names(&["-s", "--filter", "MPT", "-p", "/"]), ["empty"]);
    let json: Value = from_str(&prints(&["--json", "--sort=messages", "--once"])).expect("it is JSON");
    assert_eq!((&json[0]["name"], &json[0]["messages_unacknowledged"]), (&"q".into(), &1.into()));
    let node = prints(&["--view", "node"]);
    assert!(node.contains("queues\t3\n") && node.contains("mem_alarm\tfalse\n"), "{node}");
    let connections = prints(&["-s", "--view", "connections"]);
    assert!(connections.contains(" -> 127.0.0.1:") && connections.contains("\tguest\t"), "{connections}");
}

#[test]
fn what_cannot_be_shown_ends_as_in_ctl() {
    let fixture = TestBroker::new();
    let refuses = |command: &mut Command, status: i32, words: &str| {
        let (ended, printed, said) = run(command);
        assert_eq!((ended, printed.as_str()), (status, ""), "{said}");
        assert!(said.starts_with("leveret: ") && said.contains(words), "{said}");
    };
    let top = |args: &[&str]| top(&fixture.folder, args);
    refuses(&mut top(&["--sort", "depht"]), 64, "unknown column 'depht'; the columns are name, vhost, in");
    refuses(&mut top(&["--view", "queue"]), 64, "queues, connections, node");
    refuses(&mut top(&["--limit", "501"]), 64, "501 is not in 1..=500");
    refuses(&mut top(&["--vhost", "nowhere"]), 65, "there is no vhost 'nowhere'");
    let url = format!("http://{}", fixture.broker.http);
    let by = |password: &str| {
        let mut command = leveret();
        command.args(["top", "-s", "--sort=name", "--url", &url, "--password", password]);
        command
    };
    assert_eq!(run(&mut by("guest")).1.lines().count(), 2);
    refuses(&mut by("wrong"), 77, "the broker refuses user");
    let mut nowhere = leveret();
    refuses(nowhere.args(["top", "--data-dir"]).arg(fixture.folder.at("none")), 69, "no broker is running");
}

/// A terminal in which a program runs.
struct Terminal {
    /// Where keys are pressed and the screen is seen.
    screen: File,
    /// The program's end of it.
    line: OwnedFd,
    child: Child,
    /// All that was shown, and how much of it was waited for.
    shown: String,
    waited: usize,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("it is ours");
        let name = ptsname(&screen, Vec::new()).expect("it has a name");
        let line = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
        let size = Winsize { ws_row: 20, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).expect("it has a size");
        let end = || line.try_clone().expect("there are descriptors");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary was built");
        Self { screen: screen.into(), line, child, shown: String::new(), waited: 0 }
    }

    /// Whether keys are shown as they are typed, as in a shell.
    fn echoes(&self) -> bool {
        tcgetattr(&self.line).expect("it is a terminal").local_modes.contains(LocalModes::ECHO)
    }

    /// Takes in what is shown next; whether there was something in so many milliseconds.
    fn look(&mut self, ms: i64) -> bool {
        let wait = Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
        let mut polled = [PollFd::new(&self.screen, PollFlags::IN)];
        if poll(&mut polled, Some(&wait)).expect("it can be waited for") == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let read = self.screen.read(&mut bytes).expect("its other end is open");
        self.shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
        true
    }

    /// Waits until this is shown, after what was waited for before.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let patience_ms = u64::try_from(PATIENCE.as_millis()).expect("it is short");
        let end_ms = mono_ms() + patience_ms;
        let end = loop {
            if let Some(at) = self.shown[self.waited..].find(text) {
                break at + text.len();
            }
            self.look(100);
            assert!(mono_ms() < end_ms, "'{text}' is not shown: {:?}", self.shown);
        };
        self.waited += end;
    }

    fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).expect("its other end is open");
    }

    /// Waits until the program has ended; how, and whether the terminal is as it was.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child of ours") {
                break status;
            }
            self.look(10);
        };
        while self.look(0) {}
        assert!(self.echoes(), "keys are not shown");
        assert!(self.shown.contains(FIRST_SCREEN), "{:?}", self.shown);
        assert!(self.shown.contains("\u{1b}[?25h"), "there is no cursor: {:?}", self.shown);
        (status, std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_terminal_is_as_it_was_after_q() {
    let fixture = TestBroker::new();
    declare(&fixture.broker, "evil%1B%5D0%3Btitle%07");
    let mut command = top(&fixture.folder, &["--sort", "name"]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    assert!(terminal.echoes());
    terminal.until(OTHER_SCREEN);
    terminal.until("empty");
    terminal.until(r"evil\u{1b}]0;title");
    assert!(!terminal.echoes());
    terminal.press("\r");
    terminal.until("queue 'empty' in vhost '/'");
    terminal.press("3");
    terminal.until("objects");
    terminal.press("q");
    let (status, shown) = terminal.ended();
    assert!(status.success());
    assert!(!shown.contains("\u{1b}]"), "{shown:?}");
    assert!(!["\u{1b}[38;", "\u{1b}[48;"].iter().any(|colour| shown.contains(colour)), "{shown:?}");
}

#[test]
fn a_terminal_is_as_it_was_after_a_signal() {
    let fixture = TestBroker::new();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut terminal = Terminal::start(top(&fixture.folder, &[]));
        terminal.until("empty");
        let pid = Pid::from_child(&terminal.child);
        kill_process(pid, signal).expect("it runs");
        terminal.ended();
    }
}

#[test]
fn a_broker_that_comes_back_is_shown_again() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    declare(&broker, "before");
    let mut terminal = Terminal::start(top(&folder, &["--interval", "1", "--sort", "name"]));
    terminal.until("before");
    broker.stop();
    // The connection to the broker is lost, or there is no broker.
    terminal.until(" broker");
    let broker = Process::start(&folder);
    declare(&broker, "later");
    terminal.until("later");
    terminal.press("\u{3}");
    assert!(terminal.ended().0.success());
}

/// Where there is no broker at first, the terminal is left alone.
#[test]
fn a_terminal_is_told_that_there_is_no_broker() {
    let mut terminal = Terminal::start(top(&Folder::new(), &[]));
    terminal.until("no broker is running");
    assert_eq!(terminal.child.wait().expect("it is a child of ours").code(), Some(69));
    assert!(!terminal.shown.contains(OTHER_SCREEN));
}
