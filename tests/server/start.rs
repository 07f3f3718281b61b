//! The ready line, where settings come from, and a clean stop.

use crate::support::certificates::Authority;
use crate::support::process::{Folder, Process, leveret, leveret_in};
use std::net::TcpStream;

#[test]
fn the_ready_line_names_ports_that_answer_and_the_data() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let expected = format!(
        "leveret {} ready amqp={} http={} data={}\n",
        env!("CARGO_PKG_VERSION"),
        broker.amqp,
        broker.http,
        folder.at("data").display()
    );
    assert_eq!(broker.ready, expected);
    assert_ne!(broker.amqp.port(), 0);
    TcpStream::connect(broker.amqp).unwrap();
    TcpStream::connect(broker.http).unwrap();
    assert!(folder.at("data").is_dir());
}

#[test]
fn several_ports_may_be_asked_for() {
    let folder = Folder::new();
    let broker = Process::spawn(leveret_in(&folder).args(["--amqp", "[::1]:0"]));
    let listed = broker.ready.split(" amqp=").nth(1).unwrap().split(' ').next().unwrap();
    let addresses: Vec<_> = listed.split(',').collect();
    assert_eq!(addresses.len(), 2, "{listed}");
    assert!(addresses[1].starts_with("[::1]:"), "{listed}");
    TcpStream::connect(addresses[1]).unwrap();
}

/// Flags win over the environment, the environment over the file, the file over the defaults.
#[test]
fn each_source_of_settings_wins_over_the_next() {
    let folder = Folder::new();
    let data = |name: &str| folder.at(name).display().to_string();
    let file = format!("data_dir = '{}'\namqp = ['127.0.0.1:0']\nhttp = '127.0.0.1:0'\n", data("of-file"));
    let file = folder.write("leveret.toml", &file);
    let told = |broker: &Process| broker.ready.trim_end().rsplit_once("data=").unwrap().1.to_owned();

    let broker = Process::spawn(leveret().args(["serve", "--config"]).arg(&file));
    assert_eq!(told(&broker), data("of-file"));
    let mut by_environment = leveret();
    by_environment.env("LEVERET_CONFIG", &file).env("LEVERET_DATA_DIR", data("of-environment"));
    let broker = Process::spawn(&mut by_environment);
    assert_eq!(told(&broker), data("of-environment"));
    let broker = Process::spawn(by_environment.args(["--data-dir", &data("of-flag")]));
    assert_eq!(told(&broker), data("of-flag"));
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly() {
    let folder = Folder::new();
    for signal in ["TERM", "INT"] {
        let broker = Process::start(&folder);
        broker.signal(signal);
        let (status, log) = broker.ended();
        assert_eq!(status.code(), Some(0), "{signal}: {log}");
        assert!(log.contains("stopped"), "{signal}: {log}");
    }
}

/// Sends SIGHUP, waits until this is logged, and stops the broker: all that it logged.
fn hang_up(broker: Process, answer: &str) -> String {
    broker.signal("HUP");
    broker.until_logged(answer);
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

#[test]
fn sighup_reads_the_log_filter_again() {
    let folder = Folder::new();
    let check = |before: &str, after: &str, answer: &str| {
        let file = folder.write("leveret.toml", before);
        let broker = Process::spawn(leveret_in(&folder).arg("--config").arg(file));
        folder.write("leveret.toml", after);
        hang_up(broker, answer)
    };
    let log = check("log = 'error'", "log = 'info'", "log filter reloaded filter=\"info\"");
    assert!(log.contains("stopped"), "the filter is in effect: {log}");
    let log = check("log = 'info'", "log = 'info,=x=y'", "'=x=y' is neither a level");
    assert!(log.contains("stopped"), "{log}");
    let more = "log = 'warn'\n[advertise]\nproduct = 'x'\n";
    let log = check("", more, "changed settings that take effect at the next start keys=\"advertise\"");
    assert!(!log.contains("stopped"), "{log}");
    let log = check("", "logs = 'warn'", "settings not reloaded error=");
    assert!(log.contains("there is no key 'logs'") && log.contains("stopped"), "{log}");
}

#[test]
fn sighup_reads_certificates_again() {
    let folder = Folder::new();
    let authority = Authority::new();
    let files = authority.sign("localhost", &["localhost"]).write(&folder, "server");
    let config = folder.write("leveret.toml", format!("[tls]\n{files}"));
    let start =
        || Process::spawn(leveret_in(&folder).args(["--amqps", "127.0.0.1:0", "--config"]).arg(&config));
    hang_up(start(), "certificates reloaded");
    let broker = start();
    let other = authority.sign("localhost", &["localhost"]).write(&folder, "other");
    let mixed: String =
        files.lines().take(1).chain(other.lines().skip(1)).map(|line| format!("{line}\n")).collect();
    folder.write("leveret.toml", format!("[tls]\n{mixed}"));
    hang_up(broker, "the next start would be refused with these settings");
    folder.write("leveret.toml", format!("[tls]\n{files}"));
    let broker = start();
    folder.write("server.pem", "");
    let log = hang_up(broker, "certificates not reloaded error=");
    assert!(log.contains("server.pem"), "{log}");
}

#[test]
fn an_anonymous_user_who_does_not_exist_is_warned_of() {
    let folder = Folder::new();
    let (_status, log) = Process::spawn(leveret_in(&folder).args(["--anonymous-user", "ghost"])).stop();
    assert!(log.contains("the user for ANONYMOUS logins does not exist"), "{log}");
    assert!(log.contains("user=\"ghost\""), "{log}");
}

#[test]
fn the_folder_is_free_again_after_kill() {
    let folder = Folder::new();
    Process::start(&folder).kill();
    let (status, log) = Process::start(&folder).stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn the_log_is_json_on_request() {
    let folder = Folder::new();
    let (_status, log) = Process::spawn(leveret_in(&folder).args(["--log-format", "json"])).stop();
    assert!(log.lines().count() > 1, "{log}");
    for line in log.lines() {
        assert!(line.starts_with('{') && line.ends_with('}') && line.contains("\"level\":"), "{line}");
    }
}
