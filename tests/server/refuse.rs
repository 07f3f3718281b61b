//! What cannot be served is refused: one clear line, a status other than 0, nothing touched.

use crate::support::certificates::Authority;
use crate::support::process::{Folder, Process, leveret, leveret_in, outcome};
use std::fs;
use std::net::TcpListener;
use std::process::Command;

/// Holds that `command` is refused in one line with `why` in it; the exit status.
#[track_caller]
fn refused(command: &mut Command, why: &str) -> Option<i32> {
    let output = outcome(command);
    let text = String::from_utf8(output.stderr).expect("it is text");
    assert!(text.contains(why), "'{why}' is not in: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("leveret: "), "{text}");
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?}", output.status);
    assert_eq!(output.stdout, b"", "it never said that it was ready");
    output.status.code()
}

#[test]
fn flags_that_are_not_known() {
    let folder = Folder::new();
    refused(leveret_in(&folder).arg("--bogus"), "unexpected argument '--bogus'");
    let near = "unexpected argument '--ampq'; did you mean '--amqp' or '--amqps'? (see leveret serve --help)";
    refused(leveret_in(&folder).args(["--ampq", "127.0.0.1:0"]), near);
    refused(leveret_in(&folder).args(["--amqp", "localhost"]), "'localhost' is not an address and a port");
    refused(leveret_in(&folder).args(["--log", "info,=x=y"]), "is neither a level");
    refused(leveret().env("LEVERET_HTTP", "nowhere"), "'nowhere' is not an address and a port");
    refused(leveret().arg("sreve"), "unrecognized subcommand 'sreve'; did you mean 'serve'?");
    refused(leveret_in(&folder).args(["--log", "debu"]), "'debu' is neither a level");
    refused(leveret_in(&folder).args(["--memory-limit", "1"]), "memory_limit is 1 byte");
    let share =
        "invalid value '5%' for '--disk-free-limit <BYTES>': '5%' is not an amount of bytes, as in 256MiB";
    refused(leveret_in(&folder).args(["--disk-free-limit", "5%"]), share);
    refused(leveret().args(["ctl", "set_policy", "x"]), "(see leveret ctl set_policy --help)");
    refused(leveret().arg("ctl"), "a command is missing (see leveret ctl --help)");
    refused(leveret().args(["perf", "--consumers", "x"]), "not a whole number (see leveret perf --help)");
    refused(leveret().args(["ctl", "list_queue"]), "'list_queues'? (see leveret ctl --help)");
    let stop = "there is no command 'stop': to stop the broker, send SIGTERM to its process (see leveret ctl --help)";
    refused(leveret().args(["ctl", "stop"]), stop);
    refused(leveret().arg("eval"), "unrecognized subcommand 'eval' (see leveret --help)");
    refused(leveret().args(["ctl", "help", "list_queue"]), "'list_queues'? (see leveret ctl --help)");
    assert!(!folder.at("data").exists());
}

#[test]
fn files_that_are_not_understood() {
    let folder = Folder::new();
    let file = folder.write("leveret.toml", "log = 'info'\n[limits]\nframes_max = 1\n");
    refused(
        leveret_in(&folder).arg("--config").arg(&file),
        "leveret.toml line 3: there is no key 'limits.frames_max'; did you mean 'frame_max'?",
    );
    folder.write("leveret.toml", "default_user = 'ann'\n");
    refused(
        leveret_in(&folder).arg("--config").arg(&file),
        "leveret.toml line 1: there is no key 'default_user'; did you mean 'users.default_user'?",
    );
    refused(leveret_in(&folder).arg("--config").arg(folder.at("none.toml")), "none.toml: No such file");
    assert!(!folder.at("data").exists());
}

#[test]
fn certificates_that_are_of_no_use() {
    let folder = Folder::new();
    let good = Authority::new().sign("localhost", &["localhost"]).write(&folder, "good");
    Authority::new().sign("localhost", &["localhost"]).write(&folder, "other");
    let other = |name: &str| format!("'{}'", folder.at(name).display());
    let good_cert = format!("cert = {}\n", other("good.pem"));
    folder.write("empty", "");
    folder.write("garbage", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    let check = |tls: &str, why: &str| {
        let file = folder.write("leveret.toml", format!("[tls]\n{tls}"));
        let status = refused(leveret_in(&folder).args(["--amqps", "127.0.0.1:0", "--config"]).arg(file), why);
        assert_eq!(status, Some(2), "{why}");
    };
    check(&format!("cert = {}\nkey = 'x'", other("none.pem")), "none.pem for TLS: No such file");
    check(&format!("cert = {}\nkey = 'x'", other("empty")), "empty for TLS: there is no certificate in it");
    check(&format!("cert = {}\nkey = 'x'", other("garbage")), "garbage for TLS: ");
    check(&format!("{good_cert}key = {}", other("none.key")), "none.key for TLS: No such file");
    check(&format!("{good_cert}key = 'x'"), "leveret.toml: tls.key: cannot use x for TLS: No such file");
    let sni = format!("{good}[tls.sni.'a.example']\ncert = 'x'\nkey = 'x'");
    check(&sni, "leveret.toml: tls.sni.\"a.example\".cert: cannot use x for TLS: No such file");
    check(&format!("{good_cert}key = {}", other("")), "for TLS: Is a directory");
    check(
        &format!("{good_cert}key = {}", other("good.pem")),
        "good.pem for TLS: there is no private key in it",
    );
    check(&format!("{good_cert}key = {}", other("other.key")), "other.key for TLS: it is not the key of");
    check(&format!("{good}verify = 'required'\nca = {}", other("empty")), "empty for TLS: there is no cert");
    check(&format!("{good}verify = 'required'"), "line 1: tls: the key 'ca' is missing");
    refused(leveret_in(&folder).args(["--amqps", "127.0.0.1:0"]), "amqps needs a certificate");
    assert!(!folder.at("data").exists());
}

#[test]
fn a_port_that_is_taken() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--amqp", "--http"] {
        let mut command = leveret();
        let other = if flag == "--amqp" { "--http" } else { "--amqp" };
        command.args([flag, &address, other, "127.0.0.1:0", "--data-dir"]).arg(folder.at("data"));
        let status = refused(&mut command, &format!("cannot listen on {address}: Address already in use"));
        assert_eq!(status, Some(1));
        refused(&mut command, "; stop what listens there, or choose another address (--amqp, --http)");
    }
    assert!(!folder.at("data").exists(), "the data is not touched when the ports cannot be had");
}

#[test]
fn a_folder_that_another_process_uses() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    refused(&mut leveret_in(&folder), "in use");
    let (status, log) = broker.stop();
    assert_eq!(status.code(), Some(0), "the first process was not disturbed: {log}");
}

#[test]
fn a_file_that_is_not_ours() {
    let folder = Folder::new();
    fs::create_dir(folder.at("data")).unwrap();
    let file = folder.write("data/leveret.redb", "a shopping list");
    refused(&mut leveret_in(&folder), "leveret.redb");
    assert_eq!(fs::read(file).unwrap(), b"a shopping list");
}

#[test]
fn a_copy_that_is_no_data_file() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let copy = folder.at("copy");
    let made = outcome(leveret().args(["ctl", "backup"]).arg(&copy).arg("--data-dir").arg(folder.at("data")));
    assert!(made.status.success(), "{made:?}");
    assert!(broker.stop().0.success());
    fs::rename(&copy, folder.at("data/leveret.redb")).unwrap();
    let why = "leveret.redb is a copy that leveret ctl backup made: move it away and run leveret restore";
    refused(&mut leveret_in(&folder), why);
    refused(leveret_in(&folder).arg("--repair"), why);
}

#[test]
fn a_folder_that_is_a_file() {
    let folder = Folder::new();
    folder.write("data", "x");
    refused(&mut leveret_in(&folder), "data: it is a file, not a folder");
}

#[test]
fn an_administrator_without_a_password() {
    let folder = Folder::new();
    let why = "users.default_user needs users.default_pass";
    assert_eq!(refused(leveret_in(&folder).args(["--default-user", "alice"]), why), Some(2));
    assert_eq!(refused(leveret_in(&folder).env("LEVERET_DEFAULT_USER", "alice"), why), Some(2));
    let file = folder.write("leveret.toml", "[users]\ndefault_user = 'alice'\n");
    let named = format!("leveret.toml: {why}");
    for flag in ["--config", "--check-config"] {
        assert_eq!(refused(leveret_in(&folder).arg(flag).arg(&file), &named), Some(2), "{flag}");
    }
    assert!(!folder.at("data").exists());
}

#[test]
fn a_public_address_while_everybody_knows_the_only_password() {
    let folder = Folder::new();
    let files = Authority::new().sign("localhost", &["localhost"]).write(&folder, "server");
    let config = folder.write("tls.toml", format!("[tls]\n{files}"));
    let public = |flag: &str| {
        let mut command = leveret_in(&folder);
        command.arg("--config").arg(&config);
        if flag == "--http" {
            // A flag may be given once where there is one address.
            command = leveret();
            command.args(["--amqp", "127.0.0.1:0", "--data-dir"]).arg(folder.at("data"));
        }
        command.args([flag, "0.0.0.0:0"]);
        command
    };
    let why = "will not listen on 0.0.0.0:0 while guest with the password guest is the only user";
    for flag in ["--amqp", "--amqp", "--amqps", "--http"] {
        refused(&mut public(flag), why);
    }
    let allowed = folder.write("leveret.toml", "[users]\nallow_default = true\n");
    let mut command = leveret_in(&folder);
    command.args(["--amqp", "0.0.0.0:0", "--config"]).arg(allowed);
    assert!(Process::spawn(&mut command).stop().0.success());
}
