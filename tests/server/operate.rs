//! What operators and their scripts do beside declaring things: checks, limits, listeners,
//! settings, the supervisor of the process, and messages where they are.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, PATIENCE, Process, leveret, leveret_in, outcome};
use serde_json::{Value, from_str};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// The end of a command: status, standard output, standard error.
type End = (i32, String, String);

fn run(command: &mut Command) -> End {
    let output = outcome(command);
    let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
    (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
}

fn ctl(folder: &Folder, args: &[&str]) -> End {
    run(leveret().arg("ctl").arg("--data-dir").arg(folder.at("data")).args(args))
}

#[track_caller]
fn prints(folder: &Folder, args: &[&str], expected: &str) {
    assert_eq!(ctl(folder, args), (0, expected.to_owned(), String::new()), "{args:?}");
}

#[track_caller]
fn refuses(folder: &Folder, args: &[&str], status: i32, words: &str) {
    assert_eq!(ctl(folder, args), (status, String::new(), format!("leveret: {words}\n")), "{args:?}");
}

fn client(broker: &Process) -> Client {
    let mut client = Client::over(connect(broker.amqp));
    client.log_in("PLAIN guest guest");
    client
}

#[track_caller]
fn declare(client: &mut Client, queue: &str, arguments: &str) {
    client.say(&[&format!("1 queue.declare {queue} durable {arguments}")]);
    assert_eq!(client.hear(), format!("1 queue.declare-ok {queue} 0 0"));
}

#[test]
fn scripts_for_rabbitmqctl_say_how_lists_are_written() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    declare(&mut client(&broker), "a,b", "");
    let list = |format: &str| ctl(&folder, &["list_queues", "name", "messages", "--formatter", format]);
    assert_eq!(list("csv").1, "name,messages\n\"a,b\",0\n");
    assert_eq!(list("table").1, "name\tmessages\na,b\t0\n");
    assert_eq!(from_str::<Value>(&list("json").1).expect("it is JSON")[0]["name"], "a,b");
    let boxes = list("pretty_table").1;
    assert!(boxes.contains("\u{2502} a,b  \u{2502} 0        \u{2502}\n"), "{boxes}");
    let args = ["-n", "rabbit@here", "-t", "5", "list_queues", "--online", "--local", "-s"];
    prints(&folder, &args, "a,b\t0\n");
    let (status, said, told) = ctl(&folder, &["-s", "list_queues", "disk_reads", "name", "leader"]);
    assert_eq!((status, said.as_str()), (0, "\ta,b\t\n"));
    assert_eq!(told, "leveret: no value here for disk_reads, leader: these columns are empty\n");
    prints(&folder, &["-s", "list_queues", "consumer_capacity", "consumer_utilisation"], "0.0\t0.0\n");
    assert_eq!(ctl(&folder, &["-t", "soon", "ping"]).0, 64);
    prints(&folder, &["version"], &format!("{}\n", env!("CARGO_PKG_VERSION")));
    prints(&folder, &["rotate_logs"], "");
}

#[test]
fn checks_end_as_the_broker_is() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    prints(&folder, &["check_running"], "The broker is running\n");
    prints(&folder, &["-s", "check_running"], "");
    prints(&folder, &["check_local_alarms"], "The broker reported no local alarms\n");
    let (status, _, told) = ctl(&folder, &["check_protocol_listener", "mqtt"]);
    let why = "leveret: No active listener for mqtt; there are listeners for amqp, http\n";
    assert_eq!((status, told.as_str()), (69, why));
    prints(&folder, &["check_virtual_hosts"], "All virtual hosts are running\n");
    prints(&folder, &["node_health_check"], "Health check passed\n");
    prints(
        &folder,
        &["check_certificate_expiration", "--within", "2", "--unit", "months"],
        "No certificate expires within 2 months\n",
    );
    let month = ["check_certificate_expiration", "--within", "1", "--unit", "months"];
    prints(&folder, &month, "No certificate expires within 1 month\n");
    let port = broker.amqp.port().to_string();
    prints(&folder, &["check_port_listener", &port], &format!("A listener on port {port} is active\n"));
    let (status, _, told) = ctl(&folder, &["check_port_listener", "1"]);
    let why = "leveret: No active listener on port 1; there is one on each of the ports ";
    assert!(status == 69 && told.starts_with(why) && told.contains(&port), "{status}: {told}");
    let (status, said, _) = ctl(&folder, &["check_port_connectivity"]);
    assert!(
        status == 0 && said.starts_with("Successfully connected to ports ") && said.contains(&port),
        "{said}"
    );
    prints(&folder, &["await_startup"], "");
    prints(&folder, &["set_disk_free_limit", "1000TB"], "");
    let mut alarms = ctl(&folder, &["check_local_alarms"]);
    while alarms.0 == 0 {
        alarms = ctl(&folder, &["check_local_alarms"]);
    }
    assert_eq!(alarms.0, 69);
    assert_eq!(alarms.2, "leveret: There are alarms in effect on the node: disk\n");
    assert_eq!(ctl(&folder, &["check_running", "-t", "5"]).0, 0);
    drop(broker);
    assert_eq!(ctl(&folder, &["check_running"]).0, 69);
    assert_eq!(ctl(&folder, &["await_startup", "--timeout", "0.1"]).0, 69);
}

#[test]
fn limits_and_the_log_change_while_the_broker_runs() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let status =
        || from_str::<Value>(&ctl(&folder, &["--json", "status"]).1).expect("it is JSON")["status"].clone();
    prints(&folder, &["set_vm_memory_high_watermark", "absolute", "3GiB"], "");
    prints(&folder, &["set_disk_free_limit", "5MB"], "");
    assert_eq!(status()["memory_limit_bytes"], 3_u64 << 30);
    assert_eq!(status()["disk_free_limit_bytes"], 5_000_000);
    prints(&folder, &["set_vm_memory_high_watermark", "0.000000001"], "");
    assert_eq!(status()["memory_limit_bytes"], 0);
    prints(&folder, &["set_vm_memory_high_watermark", "1"], "");
    assert!(status()["memory_limit_bytes"].as_u64() > Some(1 << 20), "all memory, not one byte");
    prints(&folder, &["set_disk_free_limit", "mem_relative", "1.5"], "");
    assert_ne!(status()["disk_free_limit_bytes"], 5_000_000);
    assert_eq!(ctl(&folder, &["set_disk_free_limit", "mem_relative", "much"]).0, 69);
    assert_eq!(ctl(&folder, &["set_disk_free_limit", "relative", "1.5"]).0, 64);
    assert_eq!(ctl(&folder, &["set_vm_memory_high_watermark", "much"]).0, 69);
    prints(&folder, &["set_log_level", "debug"], "");
    assert_eq!(ctl(&folder, &["set_log_level", "loud"]).0, 69);
    drop(TcpStream::connect(broker.amqp).expect("it listens"));
    broker.until_logged("DEBUG");
}

#[test]
fn the_status_says_where_the_broker_is() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let (status, said, _) = ctl(&folder, &["status"]);
    let data = folder.at("data").canonicalize().expect("it is there");
    assert!(status == 0 && said.contains(&format!("data_dir\t{}\n", data.display())), "{said}");
    assert!(said.contains("\nnode\tleveret@"), "{said}");
    let listener = format!("\namqp\t127.0.0.1\t{}\n", broker.amqp.port());
    assert!(said.contains("\nlisteners: 2\nprotocol\taddress\tport\n") && said.contains(&listener), "{said}");
}

#[test]
fn listeners_are_closed_and_opened_again() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut there = client(&broker);
    prints(&folder, &["suspend_listeners"], "");
    broker.until_logged("listener suspended");
    assert!(TcpStream::connect(broker.amqp).is_err(), "nothing listens there");
    declare(&mut there, "q", "");
    prints(&folder, &["resume_listeners"], "");
    broker.until_logged("listener resumed");
    client(&broker);
    let (status, said, _) = ctl(&folder, &["close_all_user_connections", "guest", "maintenance"]);
    assert!(status == 0 && said.starts_with("connections closed: "), "{said}");
    assert!(there.hear().contains("maintenance"), "it is told why");
    prints(&folder, &["close_all_connections", "--limit", "5", "maintenance"], "connections closed: 0\n");
}

#[test]
fn users_come_with_hashes_and_policies_tell_what_they_match() {
    let folder = Folder::new();
    let _broker = Process::start(&folder);
    let (_, hash, _) = ctl(&folder, &["hash_password", "secret"]);
    assert_eq!(ctl(&folder, &["add_user", "ann", hash.trim(), "--pre-hashed-password"]).0, 0);
    assert_eq!(ctl(&folder, &["add_user", "ann", hash.trim(), "--pre-hashed-password"]).0, 70);
    assert_eq!(ctl(&folder, &["add_user", "bob", "!", "--pre-hashed-password"]).0, 65);
    prints(&folder, &["authenticate_user", "ann", "secret"], "Success\n");
    for (name, pattern, priority) in [("low", "^a", "1"), ("high", "^ab", "2"), ("other", "^b", "3")] {
        let args = ["set_policy", name, pattern, r#"{"max-length":5}"#, "--priority", priority];
        prints(&folder, &args, "");
    }
    let (_, said, _) = ctl(&folder, &["-s", "list_policies_that_match", "abc"]);
    let names: Vec<&str> = said.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(names, ["high", "low"]);
    prints(
        &folder,
        &["set_parameter", "operator_policy", "o", r#"{"pattern":"^q","definition":{"max-length":3}}"#],
        "",
    );
    let (_, said, _) = ctl(&folder, &["-s", "list_parameters"]);
    assert!(said.starts_with("operator_policy\to\t{") && said.contains("\"max-length\":3"), "{said}");
    prints(&folder, &["clear_parameter", "operator_policy", "o"], "");
    prints(&folder, &["-s", "list_parameters"], "");
    for limits in [r#"{"max-connections":7}"#, r#"{"max-queues":5}"#] {
        prints(&folder, &["set_parameter", "vhost-limits", "limits", limits], "");
        prints(&folder, &["-s", "list_parameters"], &format!("vhost-limits\tlimits\t{limits}\n"));
    }
    let (status, _, told) = ctl(&folder, &["set_parameter", "vhost-limits", "limits", r#"{"max-queue":5}"#]);
    assert!(status == 69 && told.contains("invalid limits: unknown limit 'max-queue'"), "{status}: {told}");
    assert_eq!(ctl(&folder, &["set_parameter", "vhost-limits", "other", "{}"]).0, 69);
    prints(&folder, &["clear_parameter", "vhost-limits", "limits"], "");
    prints(&folder, &["-s", "list_parameters"], "");
    assert_eq!(ctl(&folder, &["-s", "list_global_parameters"]).0, 0);
    let limits = ["vhost-limits", "limits"];
    let nowhere = "there is no vhost 'nope'";
    let nothing = "there is no parameter 'limits' of component 'vhost-limits'";
    refuses(&folder, &["list_parameters", "-p", "nope"], 65, nowhere);
    refuses(&folder, &["set_parameter", "-p", "nope", limits[0], limits[1], "{}"], 65, nowhere);
    refuses(&folder, &["clear_parameter", "-p", "nope", limits[0], limits[1]], 69, nowhere);
    refuses(
        &folder,
        &["clear_parameter", "none", "limits"],
        69,
        "there is no parameter 'limits' of component 'none'",
    );
    prints(&folder, &["set_parameter", limits[0], limits[1], r#"{"max-queues":5}"#], "");
    prints(&folder, &["clear_parameter", limits[0], limits[1]], "");
    // As `clear_vhost_limits`.
    refuses(&folder, &["clear_parameter", limits[0], limits[1]], 69, nothing);
    refuses(&folder, &["clear_global_parameter", "nope"], 69, "there is no global parameter 'nope'");
}

#[test]
fn global_parameters_and_the_name_of_the_cluster_last_over_a_restart() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let listed = |folder: &Folder| ctl(folder, &["-s", "--no-table-headers", "list_global_parameters"]).1;
    assert_eq!(listed(&folder), "");
    prints(&folder, &["set_global_parameter", "seen", "[1,{\"b\":null}]"], "");
    prints(&folder, &["set_global_parameter", "gone", "5"], "");
    prints(&folder, &["clear_global_parameter", "gone"], "");
    prints(&folder, &["set_cluster_name", "hares"], "");
    assert_eq!(ctl(&folder, &["clear_global_parameter", "gone"]).0, 69);
    assert_eq!(ctl(&folder, &["set_global_parameter", "bad", "{bad"]).0, 69);
    let (status, _, told) = ctl(&folder, &["set_global_parameter", "cluster_name", "5"]);
    assert!(status == 69 && told.contains("the name of the cluster is a text, not 5"), "{status}: {told}");
    let (status, _, told) = ctl(&folder, &["set_cluster_name", ""]);
    assert!(status == 69 && told.contains("the name of a cluster has 1 to 255 bytes, not 0"), "{told}");
    let (status, _, told) =
        ctl(&folder, &["set_global_parameter", "big", &format!("\"{}\"", "x".repeat(65_535))]);
    assert!(status == 69 && told.contains("the value of 'big' has 65537 bytes of JSON"), "{status}: {told}");
    let all = "cluster_name\t\"hares\"\nseen\t[1,{\"b\":null}]\n";
    assert_eq!(listed(&folder), all);
    broker.stop();
    let broker = Process::start(&folder);
    assert_eq!(listed(&folder), all);
    let (mut socket, mut head) = (connect(broker.amqp), [0; 7]);
    socket.write_all(b"AMQP\0\0\x09\x01").expect("the broker reads");
    socket.read_exact(&mut head).expect("the broker answers");
    let mut start = vec![0; usize::from(u16::from_be_bytes([head[5], head[6]]))];
    socket.read_exact(&mut start).expect("the broker answers");
    assert!(start.windows(5).any(|part| part == b"hares"), "clients are told");
}

#[test]
fn messages_are_seen_deleted_and_moved() {
    let folder = Folder::new();
    let broker = Process::start(&folder);
    let mut client = client(&broker);
    declare(&mut client, "q", "");
    declare(&mut client, "other", "");
    for body in ["one", "two", "three"] {
        client.say(&[&format!("1 basic.publish '' q {body} persistent")]);
    }
    let peek = |queue: &str| ctl(&folder, &["-s", "peek", queue, "id,payload"]).1;
    while peek("q").lines().count() < 3 {}
    for (args, why) in [
        (
            &["peek", "q", "pyload"][..],
            "unknown column 'pyload'; did you mean 'payload'? The columns are id, state,",
        ),
        (&["peek", "q", "--count", "501"], "501 is not in 0..=500"),
        (&["redrive", "q", "--reason", "nope"], "there is no reason 'nope'; the reasons are rejected,"),
    ] {
        let (status, _, told) = ctl(&folder, args);
        assert!(status == 64 && told.contains(why), "{status}: {told}");
    }
    let (_, json, _) = ctl(&folder, &["--json", "peek", "q", "id", "--count", "1"]);
    assert_eq!(json, "[\n{\"id\":\"0\"}\n]\n");
    prints(&folder, &["-s", "peek", "q", "id", "message_id", "--count", "1"], "0\t\n");
    let said = peek("q");
    let rows: Vec<(&str, &str)> = said.lines().filter_map(|line| line.split_once('\t')).collect();
    let bodies: Vec<&str> = rows.iter().map(|(_, body)| *body).collect();
    assert_eq!(bodies, ["one", "two", "three"]);
    let (status, _, told) = ctl(&folder, &["move", "q", "--to", "", "other", "--state", "unacknowledged"]);
    assert!(status == 64 && told.contains("[possible values: ready, delayed, parked]"), "{told}");
    prints(&folder, &["delete_message", "q", rows[0].0], "");
    assert_eq!(ctl(&folder, &["delete_message", "q", rows[0].0]).0, 65, "it is gone");
    prints(&folder, &["move", "q", "--to", "", "other", "--text", "tw"], "messages moved: 1\n");
    prints(&folder, &["move", "q", "--to", "", "other"], "messages moved: 1\n");
    assert_eq!(peek("q"), "");
    assert_eq!(peek("other").lines().count(), 2);
    let (status, _, told) = ctl(&folder, &["move", "other", "--to", "", "nowhere"]);
    assert!(status == 65 && told.contains("there is no queue 'nowhere'"), "{status}: {told}");
    let (status, _, told) = ctl(&folder, &["move", "other", "--to", "amq.direct", "nowhere"]);
    assert!(status == 69 && told.contains("0 moved, 2 left"), "{status}: {told}");
    let (_, said, _) = ctl(&folder, &["-s", "list_jobs"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    let job = said.split('\t').next().expect("it has a number");
    let (status, _, told) = ctl(&folder, &["stop_job", job]);
    assert!(status == 69 && told.contains(&format!("job {job} has ended already: it is ")), "{told}");
}

#[test]
fn a_settings_file_is_checked_and_printed() {
    let folder = Folder::new();
    let good = folder.write("good.toml", "log = 'info'\n");
    let bad = folder.write("bad.toml", "logg = 'info'\n");
    let check = |file| run(leveret().args(["serve", "--check-config"]).arg(file));
    assert_eq!(check(&good), (0, format!("{} can be used\n", good.display()), String::new()));
    let (status, said, told) = check(&bad);
    assert!(status == 2 && said.is_empty() && told.contains("line 1: there is no key 'logg'"), "{told}");
    let cert =
        folder.write("tls.toml", "amqps = ['127.0.0.1:0']\n[tls]\ncert = 'none.pem'\nkey = 'none.pem'\n");
    let (status, _, told) = check(&cert);
    assert!(status == 2 && told.contains("none.pem"), "{told}");
    let (status, printed, _) = run(leveret().arg("config"));
    assert!(status == 0 && printed.contains("#heartbeat_s = 60\n"), "{printed}");
    assert_eq!(check(&folder.write("all.toml", printed)).0, 0);
    let conf = folder.write("rabbitmq.conf", "heartbeat = 30\ncluster_name = x\n");
    let imported = run(leveret().arg("import-config").arg(&conf));
    let left = "not taken over: line 2: cluster_name = x: set it with leveret ctl set_cluster_name\n";
    assert_eq!(imported, (0, "\n[limits]\nheartbeat_s = 30\n".to_owned(), left.to_owned()));
    let faulty = folder.write("faulty.conf", "cluster_name = x\nframe_max = 5\n");
    let (status, printed, told) = run(leveret().arg("import-config").arg(&faulty));
    assert!(status == 2 && printed.is_empty() && told.starts_with("not taken over: line 1: "), "{told}");
    assert!(told.contains("faulty.conf: line 2: limits.frame_max is 5"), "{told}");
    assert_eq!(run(leveret().arg("import-config").arg(folder.at("nothing"))).0, 2);
}

#[test]
fn new_data_has_the_user_that_was_asked_for() {
    let folder = Folder::new();
    let start = || {
        let mut command = leveret_in(&folder);
        command.env("LEVERET_DEFAULT_USER", "ann").env("LEVERET_DEFAULT_PASS", "secret");
        Process::spawn(command.env("LEVERET_DEFAULT_VHOST", "/own"))
    };
    let broker = start();
    prints(&folder, &["-s", "list_users"], "ann\t[administrator]\n");
    prints(&folder, &["authenticate_user", "ann", "secret"], "Success\n");
    prints(&folder, &["-s", "list_user_permissions", "ann"], "/own\t.*\t.*\t.*\n");
    prints(&folder, &["change_password", "ann", "other"], "");
    let (_, log) = broker.stop();
    assert!(!log.contains("secret"), "{log}");
    assert!(log.contains("added the administrator 'ann'"), "{log}");
    let again = start();
    prints(&folder, &["authenticate_user", "ann", "other"], "Success\n");
    assert!(!again.stop().1.contains("added the administrator"));
}

#[test]
fn guest_of_new_data_has_the_password_that_was_asked_for() {
    let folder = Folder::new();
    let broker = Process::spawn(leveret_in(&folder).args(["--default-pass", "secret"]));
    prints(&folder, &["-s", "list_users"], "guest\t[administrator]\n");
    prints(&folder, &["authenticate_user", "guest", "secret"], "Success\n");
    drop(broker);
}

#[test]
fn a_user_is_not_ignored_without_a_url() {
    let folder = Folder::new();
    for [flag, value] in [["--username", "ann"], ["--password", "x"], ["--password-file", "x"]] {
        let (status, said, told) = ctl(&folder, &[flag, value, "list_users"]);
        assert_eq!((status, said.as_str()), (64, ""), "{flag}");
        assert!(told.ends_with("have no effect without --url\n"), "{told}");
    }
}

#[test]
fn a_log_in_json_makes_all_that_is_said_json() {
    let folder = Folder::new();
    let mut command = leveret_in(&folder);
    command.args(["--log-format", "json"]).env("LEVERET_DEFINITIONS", "nowhere.json");
    let (status, said, told) = run(&mut command);
    let line: Value = from_str(told.lines().last().unwrap_or_default()).expect("the fault is JSON");
    assert!(line["fields"]["message"].as_str().is_some_and(|text| text.contains("nowhere.json")), "{line}");
    assert_eq!((status, said.as_str()), (1, ""));
}

#[test]
fn limits_are_read_again_on_sighup() {
    let folder = Folder::new();
    let limits = |more: &str| format!("[limits]\nconnections_max = 1\nhandshakes_max = 1\n{more}");
    let config = folder.write("leveret.toml", limits(""));
    let broker = Process::spawn(leveret_in(&folder).arg("--config").arg(&config));
    let mut one = client(&broker);
    declare(&mut one, "q", "");
    let more = "[limits]\nconnections_max = 3\nqueues_max = 1\nheartbeat_s = 7\nmessage_bytes_max = 1024\n";
    folder.write("leveret.toml", more);
    broker.signal("HUP");
    let changed = "heartbeat_s=7,message_bytes_max=1024,connections_max=3,handshakes_max=4096,queues_max=1";
    broker.until_logged(&format!("limits of clients reloaded limits=\"{changed}\""));
    // As many sockets as that could not come before.
    let mut others: Vec<Client> = (0..2).map(|_| Client::over(connect(broker.amqp))).collect();
    for other in &mut others {
        other.greet();
        other.say(&["0 connection.start-ok PLAIN guest guest"]);
        assert_eq!(other.hear(), "0 connection.tune 2047 131072 7");
        other.say(&["0 connection.tune-ok 2047 131072 0", "0 connection.open /"]);
        assert_eq!(other.hear(), "0 connection.open-ok");
    }
    one.say(&["1 queue.declare r durable"]);
    let refused = one.hear();
    assert!(refused.contains("cannot declare queue 'r': queue limit in cluster (1) is reached"), "{refused}");
    // Nothing of a file with a limit that cannot be is taken over.
    folder.write("leveret.toml", limits("queues_max = 0\n"));
    broker.signal("HUP");
    broker.until_logged("settings not reloaded error=");
    let status = from_str::<Value>(&ctl(&folder, &["--json", "status"]).1).expect("it is JSON");
    assert_eq!(status["status"]["connections"], 3);
    // Fewer than there are: they stay, and nobody else comes.
    folder.write("leveret.toml", limits(""));
    broker.signal("HUP");
    broker.until_logged("connections_max=1,handshakes_max=1,queues_max=200000");
    one.say(&["1 channel.close-ok", "2 channel.open"]);
    assert_eq!(one.hear(), "2 channel.open-ok");
    let (status, log) = broker.stop();
    assert!(status.success() && !log.contains("take effect at the next start"), "{log}");
}

#[test]
fn settings_are_read_again_on_sighup_and_systemd_is_told() {
    let folder = Folder::new();
    let config = folder.write("leveret.toml", "memory_limit = '3GiB'\n");
    let socket = UnixDatagram::bind(folder.at("notify")).expect("the folder is ours");
    socket.set_read_timeout(Some(PATIENCE)).expect("a minute is a timeout");
    let mut command = leveret_in(&folder);
    command.arg("--config").arg(&config).env("NOTIFY_SOCKET", folder.at("notify"));
    let broker = Process::spawn(command.env("WATCHDOG_USEC", "400000"));
    let hear = |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let read = socket.recv(&mut buffer).expect("it tells before the minute is over");
            if String::from_utf8_lossy(&buffer[..read]).contains(wanted) {
                break;
            }
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    folder.write("leveret.toml", "memory_limit = '2GiB'\nlog = 'debug'\n[users]\nlocal_only = []\n");
    broker.signal("HUP");
    hear("RELOADING=1");
    broker.until_logged("local users reloaded memory_limit=2147483648 disk_free_limit=268435456 local_only=");
    let status = from_str::<Value>(&ctl(&folder, &["--json", "status"]).1).expect("it is JSON");
    assert_eq!(status["status"]["memory_limit_bytes"], 2_u64 << 30);
    broker.signal("TERM");
    hear("STOPPING=1");
    let (status, log) = broker.ended();
    assert!(status.success() && !log.contains("take effect at the next start"), "{log}");
}
