//! `leveret ctl` against a running broker: each command once as it is meant and once refused, what
//! it prints, how it ends.

use super::dialogue::{Client, connect};
use crate::support::process::{Folder, Process, leveret, leveret_in, outcome};
use serde_json::{Value, from_str};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A broker, its folder, and a client that has declared the queue
/// `q` with a message and a consumer, and `empty`.
pub(super) struct TestBroker {
    pub(super) folder: Folder,
    pub(super) broker: Process,
    client: Client,
}

/// The end of a command: status, standard output, standard error.
pub(super) type End = (i32, String, String);

fn ctl(folder: &Folder, args: &[&str]) -> Command {
    let mut command = leveret();
    command.arg("ctl").arg("--data-dir").arg(folder.at("data")).args(args);
    command
}

pub(super) fn run(command: &mut Command) -> End {
    let output = outcome(command);
    let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
    (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
}

impl TestBroker {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        let broker = Process::start(&folder);
        let mut client = Client::over(connect(broker.amqp));
        client.log_in("PLAIN guest guest");
        for (said, answer) in [
            ("1 queue.declare q durable", "1 queue.declare-ok q 0 0"),
            ("1 queue.declare empty", "1 queue.declare-ok empty 0 0"),
            ("1 basic.qos 1", "1 basic.qos-ok"),
            ("1 basic.consume q c", "1 basic.consume-ok c"),
        ] {
            client.say(&[said]);
            assert_eq!(client.hear(), answer);
        }
        client.say(&["1 basic.publish '' q one", "1 basic.publish '' q two"]);
        assert!(client.hear().starts_with("1 basic.deliver c 1"));
        Self { folder, broker, client }
    }

    fn run(&self, args: &[&str]) -> End {
        run(&mut ctl(&self.folder, args))
    }

    /// The command does what it should, and prints this.
    #[track_caller]
    fn prints(&self, args: &[&str], expected: &str) {
        assert_eq!(self.run(args), (0, expected.to_owned(), String::new()), "{args:?}");
    }

    /// The command is refused with this status and these words.
    #[track_caller]
    fn refuses(&self, args: &[&str], status: i32, words: &str) {
        assert_eq!(self.run(args), (status, String::new(), format!("leveret: {words}\n")), "{args:?}");
    }

    /// As [`Self::run`], with this on standard input.
    fn with_input(&self, args: &[&str], input: &str) -> End {
        let file = File::open(self.folder.write("input", input)).expect("it was written");
        run(ctl(&self.folder, args).stdin(file))
    }
}

const NOBODY: &str = "there is no user 'gest'; did you mean 'guest'?";

#[test]
fn users_are_managed() {
    let fixture = TestBroker::new();
    let hint = "The user has no permissions yet: see leveret ctl set_permissions --help\n";
    fixture.prints(&["ping"], "Ping succeeded\n");
    fixture.prints(&["add_user", "ann", "secret"], hint);
    fixture.refuses(&["add_user", "ann", "secret"], 70, "user 'ann' already exists");
    fixture.prints(&["authenticate_user", "ann", "secret"], "Success\n");
    fixture.refuses(&["authenticate_user", "ann", "x"], 65, "wrong password for user 'ann'");
    fixture.prints(&["change_password", "ann", "other"], "");
    fixture.refuses(&["change_password", "gest", "other"], 67, NOBODY);
    fixture.prints(&["clear_password", "ann"], "");
    fixture.refuses(&["clear_password", "gest"], 69, NOBODY);
    fixture.refuses(&["authenticate_user", "gest", "x"], 65, NOBODY);
    fixture.refuses(&["add_user", "", "x"], 65, "the name of a user has 1 to 255 bytes, not 0");
    let note = "leveret: the tag 'b' of user 'ann' gives no rights; those that do: administrator, monitoring, \
                policymaker, management, impersonator\n";
    let noted = fixture.run(&["set_user_tags", "ann", "monitoring", "b"]);
    assert_eq!(noted, (0, String::new(), note.to_owned()));
    fixture.prints(&["set_user_tags", "guest", "administrator"], "");
    fixture.refuses(&["set_user_tags", "gest"], 67, NOBODY);
    fixture.prints(&["list_users"], "user\ttags\nann\t[b, monitoring]\nguest\t[administrator]\n");
    let (names, rows) = ("user\ttags\n", "ann\t[b, monitoring]\nguest\t[administrator]\n");
    fixture.prints(&["list_users", "-q"], &format!("{names}{rows}"));
    fixture.prints(&["list_users", "--no-table-headers"], rows);
    fixture.prints(&["list_users", "-q", "-s"], rows);
    fixture.prints(&["set_user_limits", "ann", r#"{"max-connections": 5}"#], "");
    let (status, _, words) = fixture.run(&["set_user_limits", "ann", r#"{"foo": 5}"#]);
    assert!(status == 69 && words.contains("invalid limits: unknown limit 'foo', expected "), "{words}");
    fixture.refuses(&["set_user_limits", "gest", "{}"], 69, NOBODY);
    fixture.prints(&["list_user_limits"], "user\tmax-connections\tmax-channels\nann\t5\t\n");
    fixture.refuses(&["list_user_limits", "--user", "gest"], 69, NOBODY);
    fixture.prints(&["clear_user_limits", "ann", "all"], "");
    fixture.refuses(&["clear_user_limits", "gest", "max-channels"], 69, NOBODY);
    fixture.prints(&["-s", "list_user_limits"], "");
    fixture.prints(&["delete_user", "ann"], "");
    // What is to be gone is gone.
    fixture.prints(&["delete_user", "ann"], "there is no user 'ann'\n");
    fixture.prints(&["delete_user", "ann", "--quiet"], "");
    let (_status, log) = fixture.broker.stop();
    assert_eq!(log.matches("the tag 'b' of user 'ann' gives no rights").count(), 1, "{log}");
}

/// Over the network a user may what its tags and permissions say.
#[test]
fn a_broker_elsewhere_is_asked_by_its_url() {
    let fixture = TestBroker::new();
    fixture.run(&["add_user", "ann", "secret"]);
    fixture.run(&["set_user_tags", "ann", "monitoring"]);
    fixture.run(&["set_permissions", "ann", "", "", ""]);
    let url = format!("http://{}", fixture.broker.http);
    let file = fixture.folder.write("password", "secret\n");
    let by = |args: &[&str]| {
        run(leveret()
            .args(["ctl", "--url", &url, "--username", "ann", "--password-file"])
            .arg(&file)
            .args(args))
    };
    assert_eq!(by(&["-s", "list_queues"]), (0, "empty\t0\nq\t2\n".to_owned(), String::new()));
    let (status, _, words) = by(&["purge_queue", "q"]);
    assert!(status == 69 && words.contains("read access to queue 'q' in vhost '/' refused"), "{words}");
    let (status, _, words) = by(&["--password", "x", "ping"]);
    assert_eq!(
        (status, words.as_str()),
        (77, "leveret: the broker refuses user 'ann': the name or the password is wrong\n")
    );
    let (status, _, words) = run(leveret().args(["ctl", "ping", "--url", "amqp://x", "--password", "x"]));
    assert!(status == 64 && words.contains("expected a URL such as http://broker:15672"), "{words}");
    for command in ["list_parameters", "ping"] {
        let args = ["ctl", command, "--url", &format!("{url}/api"), "--username", "ann", "--password-file"];
        let (status, _, words) = run(leveret().args(args).arg(&file));
        assert!(
            status == 70 && words.contains("the URL has to be that of Leveret, without a path"),
            "{words}"
        );
    }
    let (status, printed, _) = run(leveret().args(["ctl", "--version"]));
    assert!(status == 0 && printed.contains(env!("CARGO_PKG_VERSION")), "{printed}");
    drop(fixture.broker);
    let (status, _, words) = by(&["ping"]);
    assert!(status == 69 && words.contains("cannot reach the broker at http://127.0.0.1"), "{words}");
}

#[test]
fn permissions_are_managed() {
    let fixture = TestBroker::new();
    let nowhere = "there is no vhost '/x'; did you mean '/'?";
    fixture.run(&["add_user", "ann", "secret"]);
    fixture.prints(&["set_permissions", "-p", "/", "ann", "^a", "-b", ".*"], "");
    fixture.refuses(&["set_permissions", "gest", "", "", ""], 67, NOBODY);
    fixture.refuses(&["set_permissions", "-p", "/x", "ann", "", "", ""], 69, nowhere);
    let bad = "'(' is not a pattern: missing closing parenthesis";
    fixture.refuses(&["set_permissions", "ann", "(", "", ""], 69, bad);
    fixture
        .prints(&["list_permissions"], "user\tconfigure\twrite\tread\nann\t^a\t-b\t.*\nguest\t.*\t.*\t.*\n");
    fixture.refuses(&["list_permissions", "-p", "/x"], 65, nowhere);
    fixture.prints(&["list_user_permissions", "ann"], "vhost\tconfigure\twrite\tread\n/\t^a\t-b\t.*\n");
    fixture.refuses(&["list_user_permissions", "gest"], 69, NOBODY);
    fixture.prints(&["clear_permissions", "ann"], "");
    fixture.prints(&["clear_permissions", "gest"], &format!("{NOBODY}\n"));
    fixture.prints(&["clear_permissions", "-p", "/x", "ann"], &format!("{nowhere}\n"));
    fixture.prints(&["set_topic_permissions", "ann", "amq.topic", "w", "r"], "");
    fixture.refuses(&["set_topic_permissions", "gest", "amq.topic", "w", "r"], 67, NOBODY);
    fixture.prints(&["list_topic_permissions"], "user\texchange\twrite\tread\nann\tamq.topic\tw\tr\n");
    fixture.refuses(&["list_topic_permissions", "-p", "/x"], 65, nowhere);
    let own = "vhost\texchange\twrite\tread\n/\tamq.topic\tw\tr\n";
    fixture.prints(&["list_user_topic_permissions", "ann"], own);
    fixture.refuses(&["list_user_topic_permissions", "gest"], 69, NOBODY);
    fixture.prints(&["clear_topic_permissions", "ann", "amq.topic"], "");
    fixture.prints(&["-s", "clear_topic_permissions", "gest"], "");
    fixture.prints(&["list_topic_permissions", "--quiet", "--no-table-headers"], "");
    fixture.prints(&["-s", "list_topic_permissions", "-s", "--silent"], "");
}

#[test]
fn vhosts_are_managed() {
    let fixture = TestBroker::new();
    let nowhere = "there is no vhost 'stagin'; did you mean 'staging'?";
    let add = [
        "add_vhost",
        "staging",
        "--description",
        "try it",
        "--tags",
        "b,a",
        "--default-queue-type",
        "quorum",
    ];
    fixture.prints(&add, "");
    let bogus = "the default queue type is classic, quorum or stream, not 'bogus'";
    fixture.refuses(&["add_vhost", "x", "--default-queue-type", "bogus"], 65, bogus);
    fixture.prints(&["add_vhost", "staging"], "");
    fixture.prints(&["list_vhosts"], "name\n/\nstaging\n");
    let columns = ["list_vhosts", "-s", "name", "description", "tags", "default_queue_type"];
    fixture.prints(&columns, "/\tDefault virtual host\t[]\tclassic\nstaging\ttry it\t[a, b]\tquorum\n");
    assert_eq!(fixture.run(&["list_vhosts", "nonsense"]).0, 64);
    fixture.prints(&["update_vhost_metadata", "staging", "--description", "other"], "");
    fixture.refuses(&["update_vhost_metadata", "stagin"], 65, nowhere);
    fixture.prints(&["-s", "list_vhosts", "description"], "Default virtual host\nother\n");
    fixture.prints(&["-p", "staging", "set_vhost_limits", r#"{"max-queues": 3}"#], "");
    fixture.prints(&["-p", "staging", "set_vhost_limits", r#"{"max-connections": 5}"#], "");
    fixture.refuses(&["-p", "stagin", "set_vhost_limits", "{}"], 65, nowhere);
    assert_eq!(fixture.run(&["set_vhost_limits", "{"]).0, 69);
    fixture.prints(&["list_vhost_limits"], "vhost\tmax-connections\tmax-queues\nstaging\t5\t3\n");
    fixture.prints(&["-s", "list_vhost_limits", "-p", "/"], "");
    fixture.prints(&["-s", "list_vhost_limits", "-p", "staging"], "staging\t5\t3\n");
    fixture.prints(&["-s", "list_vhost_limits", "-p", "/", "--global"], "staging\t5\t3\n");
    fixture.refuses(&["list_vhost_limits", "-p", "stagin"], 65, nowhere);
    fixture.prints(&["-p", "staging", "clear_vhost_limits"], "");
    fixture.refuses(&["-p", "stagin", "clear_vhost_limits"], 69, nowhere);
    fixture.refuses(&["clear_vhost_limits"], 69, "vhost '/' has no limits");
    fixture.prints(&["-s", "list_vhost_limits"], "");
    fixture.prints(&["list_queues", "-p", "staging"], "");
    fixture.refuses(&["delete_vhost", "stagin"], 65, nowhere);
    fixture.prints(&["delete_vhost", "staging"], "");
    fixture.prints(&["-s", "list_vhosts"], "/\n");
}

#[test]
fn policies_are_managed() {
    let mut fixture = TestBroker::new();
    let head = "vhost\tname\tpattern\tapply-to\tdefinition\tpriority\n";
    let definition = r#"{"max-length": 5, "dead-letter-exchange": "x"}"#;
    fixture.prints(&["set_policy", "p1", "^q", definition, "--priority", "-3", "--apply-to", "queues"], "");
    fixture.prints(
        &["-p", "/", "set_policy", "--apply-to=exchanges", "p0", "", r#"{"alternate-exchange":"x"}"#],
        "",
    );
    let row = "/\tp1\t^q\tqueues\t{\"dead-letter-exchange\":\"x\",\"max-length\":5}\t-3\n";
    let alternate = "/\tp0\t\texchanges\t{\"alternate-exchange\":\"x\"}\t0\n";
    fixture.prints(&["list_policies"], &format!("{head}{alternate}{row}"));
    fixture.prints(&["set_operator_policy", "o1", "^q", r#"{"max-length": 3}"#], "");
    fixture.prints(&["list_operator_policies"], &format!("{head}/\to1\t^q\tall\t{{\"max-length\":3}}\t0\n"));
    let columns = ["-s", "list_queues", "name", "policy", "operator_policy", "effective_policy_definition"];
    let effective = r#"[{"dead-letter-exchange","x"},{"max-length",3}]"#;
    fixture.prints(&columns, &format!("empty\t\t\t[]\nq\tp1\to1\t{effective}\n"));
    let (_, exchanges, _) = fixture.run(&["-s", "list_exchanges", "name", "policy"]);
    assert!(exchanges.starts_with("\t\namq.direct\tp0\n"), "{exchanges}");
    for (one, all) in [("policy", "policies"), ("operator_policy", "operator_policies")] {
        let set = format!("set_{one}");
        fixture.refuses(&[&set, "p2", "^q", r#"{"max-length":-5}"#], 69, "-5 is not a valid maximum length");
        let (status, _, words) = fixture.run(&[&set, "p2", "^q", "{\"max-length\":"]);
        assert!(status == 69 && words.contains("invalid policy definition: "), "{words}");
        let unknown =
            r#"[{<<"max-lenght">>,5}] are not recognised policy settings; did you mean 'max-length'?"#;
        fixture.refuses(&[&set, "p2", "^q", r#"{"max-lenght":5}"#], 69, unknown);
        assert_eq!(fixture.run(&[&set, "p2", "^q"]).0, 64);
        assert_eq!(fixture.run(&[&set, "p2", "^q", "{}", "--priority", "x"]).0, 64);
        let nowhere = "there is no vhost '/x'; did you mean '/'?";
        fixture.refuses(&[&format!("list_{all}"), "-p", "/x"], 65, nowhere);
        fixture.refuses(&[&set, "-p", "/x", "p2", "^q", r#"{"max-length":5}"#], 65, nowhere);
        let nothing = format!("there is no {} 'none'", one.replace('_', " "));
        fixture.refuses(&[&format!("clear_{one}"), "none"], 69, &nothing);
        fixture.refuses(&[&format!("clear_{one}"), "-p", "/x", "none"], 69, nowhere);
    }
    fixture.client.say(&["1 basic.publish '' q three", "1 basic.publish '' q four"]);
    while fixture.run(&["-s", "list_queues", "messages"]).1 != "0\n4\n" {}
    fixture.prints(&["clear_policy", "p1"], "");
    fixture.prints(&["clear_operator_policy", "o1"], "");
    fixture.prints(&["-s", "list_operator_policies"], "");
    fixture.prints(&["-s", "list_policies"], alternate);
}

#[test]
fn queues_and_what_belongs_to_them_are_managed() {
    let mut fixture = TestBroker::new();
    let nowhere = "there is no vhost '/x'; did you mean '/'?";
    for list in ["list_queues", "list_exchanges", "list_bindings", "list_consumers"] {
        fixture.refuses(&[list, "-p", "/x"], 65, nowhere);
        let (status, _, words) = fixture.run(&[list, "nonsense"]);
        assert!(status == 64 && words.contains("unknown column 'nonsense'; the columns are "), "{words}");
    }
    fixture.prints(&["list_queues"], "name\tmessages\nempty\t0\nq\t2\n");
    fixture.prints(
        &["list_queues", "name", "durable", "messages_ready,messages_unacknowledged", "-s"],
        "empty\tfalse\t0\t0\nq\ttrue\t1\t1\n",
    );
    let (_, exchanges, _) = fixture.run(&["list_exchanges"]);
    assert!(exchanges.starts_with("name\ttype\n\tdirect\namq.direct\tdirect\n"), "{exchanges}");
    fixture.prints(&["list_bindings", "destination_name", "-s"], "empty\nq\n");
    fixture.prints(&["list_consumers", "queue_name", "consumer_tag", "prefetch_count", "-s"], "q\tc\t1\n");
    let (_, told, _) = fixture.run(&["describe_queue", "q"]);
    assert!(told.starts_with("name\tq\n") && told.contains("\nconsumers: 1\nqueue_name\t"), "{told}");
    fixture.refuses(&["describe_queue", "empt"], 65, "there is no queue 'empt'; did you mean 'empty'?");
    let (_, told, _) = fixture.run(&["describe_exchange", ""]);
    assert!(told.contains("type\tdirect\n") && told.contains("\nbindings: 2\n"), "{told}");
    fixture.refuses(&["describe_exchange", "x"], 65, "there is no exchange 'x'");
    fixture.prints(&["purge_queue", "q"], "messages purged: 1\n");
    fixture.refuses(&["purge_queue", "qq"], 65, "there is no queue 'qq'; did you mean 'q'?");
    fixture.refuses(&["delete_queue", "qq"], 64, "there is no queue 'qq'; did you mean 'q'?");
    fixture.refuses(&["delete_queue", "-p", "/x", "q"], 64, nowhere);
    fixture.refuses(&["delete_queue", "q", "--if-unused"], 69, "queue 'q' in vhost '/' in use");
    fixture.client.say(&["1 basic.publish '' empty one"]);
    while fixture.run(&["-s", "list_queues", "messages"]).1 != "1\n1\n" {}
    fixture.refuses(&["delete_queue", "empty", "--if-empty"], 69, "queue 'empty' in vhost '/' not empty");
    fixture.prints(&["delete_queue", "empty"], "queue deleted, messages ready in it: 1\n");
    fixture.prints(&["list_queues", "name", "-s"], "q\n");
}

#[test]
fn parked_messages_that_find_no_way_are_an_error() {
    let mut fixture = TestBroker::new();
    fixture.client.say(&["1 queue.declare p durable x-dead-letter-exchange=gone"]);
    assert_eq!(fixture.client.hear(), "1 queue.declare-ok p 0 0");
    for _ in 0..2 {
        fixture.client.say(&["1 basic.publish '' p one", "1 basic.get p"]);
        assert!(fixture.client.hear().starts_with("1 basic.get-ok"));
    }
    fixture.client.say(&["1 basic.reject 2", "1 basic.reject 3"]);
    while fixture.run(&["-s", "list_queues", "messages_parked"]).1 != "0\n2\n0\n" {}
    fixture.refuses(&["requeue_parked", "p", "--to", "nowhere", "k"], 65, "there is no exchange 'nowhere'");
    let stay = "leveret: 2 messages stay parked: no queue took them from exchange '' with key 'none'\n";
    let (status, told, words) = fixture.run(&["requeue_parked", "p", "--to", "", "none"]);
    assert_eq!((status, told.as_str(), words.as_str()), (69, "messages moved: 0\n", stay));
    fixture.prints(&["requeue_parked", "p", "--to", "", "empty"], "messages moved: 2\n");
    fixture.prints(&["drop_parked", "p"], "messages dropped: 0\n");
    fixture.client.say(&["1 basic.get empty", "1 basic.get empty"]);
    assert!(fixture.client.hear().starts_with("1 basic.get-ok"));
}

#[test]
fn connections_are_listed_and_closed() {
    let mut fixture = TestBroker::new();
    let (_, name, _) = fixture.run(&["-s", "list_connections", "name"]);
    let name = name.trim_end();
    assert!(
        name.starts_with("127.0.0.1:") && name.ends_with(&format!(" -> {}", fixture.broker.amqp)),
        "{name}"
    );
    let (_, usual, _) = fixture.run(&["list_connections"]);
    assert!(usual.starts_with("user\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t"), "{usual}");
    let channel = format!("name\tuser\tconsumer_count\tmessages_unacknowledged\n{name} (1)\tguest\t1\t1\n");
    fixture.prints(&["list_channels"], &channel);
    let (status, told, _) = fixture.run(&["describe_connection", name]);
    assert!(status == 0 && told.contains("user\tguest\n") && told.contains("\nchannels: 1\n"), "{told}");
    fixture.refuses(&["close_connection", "x", "why"], 69, "there is no connection 'x'");
    fixture.refuses(&["describe_connection", "x"], 65, "there is no connection 'x'");
    for list in ["list_connections", "list_channels"] {
        assert_eq!(fixture.run(&[list, "nonsense"]).0, 64);
        fixture.refuses(&["-p", "/", list], 64, "--vhost has no effect on this command");
    }
    fixture.prints(&["close_connection", name, "go away"], "");
    assert_eq!(fixture.client.hear(), "0 connection.close 320 CONNECTION_FORCED - go away (0,0)");
    fixture.prints(&["-s", "list_connections"], "");
}

/// What was typed is told from what is there, and both from a broker that is not.
#[test]
fn how_a_command_ends_tells_what_was_wrong() {
    let folder = Folder::new();
    let (status, _, words) = run(&mut ctl(&folder, &["ping"]));
    let expected = format!("leveret: no broker is running on the data in {}", folder.at("data").display());
    assert!(status == 69 && words.starts_with(&expected), "{words}");
    let broker = Process::start(&folder);
    for usage in [&["nonsense"][..], &[], &["add_user"], &["ping", "x"], &["clear_user_limits", "a", "b"]] {
        assert_eq!(run(&mut ctl(&folder, usage)).0, 64, "{usage:?}");
    }
    broker.kill();
    let (status, _, words) = run(&mut ctl(&folder, &["ping"]));
    assert!(status == 69 && words.contains("nothing listens on"), "{words}");
}

#[test]
fn passwords_come_from_standard_input_and_are_not_in_the_log() {
    let fixture = TestBroker::new();
    assert_eq!(fixture.with_input(&["add_user", "ann"], "hush-hush\nrest").0, 0);
    assert_eq!(fixture.with_input(&["authenticate_user", "ann"], "hush-hush\n").0, 0);
    assert_eq!(fixture.with_input(&["authenticate_user", "ann"], "other\n").0, 65);
    assert_eq!(fixture.with_input(&["change_password", "ann"], "").0, 70);
    let (_status, log) = fixture.broker.stop();
    assert!(log.contains(r#"changed: add_user user=ann password=*** tags=[] by="ctl, uid "#), "{log}");
    assert!(!log.contains("hush"), "{log}");
    assert!(!log.contains("authenticate_user"), "a question is no change: {log}");
}

#[test]
fn what_a_command_did_outlives_the_process() {
    let TestBroker { folder, broker, .. } = TestBroker::new();
    assert_eq!(run(&mut ctl(&folder, &["add_user", "ann", "secret"])).0, 0);
    assert_eq!(run(&mut ctl(&folder, &["delete_queue", "q"])).0, 0);
    broker.kill();
    let _broker = Process::start(&folder);
    assert_eq!(run(&mut ctl(&folder, &["-s", "list_users", "--json"])).1.matches("\"user\"").count(), 2);
    assert_eq!(run(&mut ctl(&folder, &["-s", "list_queues"])).1, "");
}

/// Whatever clients call things.
#[test]
fn json_is_json_and_a_line_is_a_line() {
    let mut fixture = TestBroker::new();
    fixture.client.say(&["1 queue.declare a\t\"b'\u{e9}\u{1b}[2J x-max-priority=3"]);
    assert!(fixture.client.hear().starts_with("1 queue.declare-ok"));
    for command in [
        &["list_queues", "--json"][..],
        &["--json", "list_exchanges"],
        &["--json", "list_bindings"],
        &["--json", "list_consumers"],
        &["--json", "list_connections"],
        &["--json", "list_channels"],
        &["--json", "list_users"],
        &["--json", "list_permissions"],
        &["--json", "list_topic_permissions"],
        &["--json", "list_user_limits"],
        &["--json", "list_policies"],
        &["--json", "list_operator_policies"],
        &["--json", "list_queues", "name", "arguments"],
        &["--json", "status"],
        &["--json", "ping"],
        &["--json", "describe_queue", "q"],
        &["--json", "purge_queue", "q"],
    ] {
        let (status, text, _) = fixture.run(command);
        assert!(status == 0 && from_str::<Value>(&text).is_ok(), "{command:?}: {text}");
    }
    let rows: Value = from_str(&fixture.run(&["--json", "list_queues"]).1).expect("it is JSON");
    assert_eq!(
        (&rows[0]["name"], rows[0]["arguments"]["x-max-priority"].as_i64()),
        (&Value::from("a\t\"b'\u{e9}\u{1b}[2J"), Some(3))
    );
    fixture.prints(&["-s", "list_queues", "name"], "a\\t\"b'\u{e9}\\u{1b}[2J\nempty\nq\n");
}

/// Each command shows its own options apart from those that all have, and `-p` where it is of use.
#[test]
fn help_is_about_one_command() {
    let folder = Folder::new();
    let help = |args: &[&str]| run(leveret().args(args)).1;
    for args in [&["ctl", "help", "peek"][..], &["help", "ctl", "peek"], &["ctl", "peek", "--help"]] {
        let text = help(args);
        let (own, common) = text.split_once("\nConnection options:\n").expect("it has both");
        assert!(own.contains("--from") && !own.contains("--data-dir"), "{text}");
        let common_has = |what: &str| common.contains(what);
        assert!(common_has("--data-dir") && common_has("-p, --vhost"), "{text}");
        assert!(common_has("Output options:\n      --json"), "{text}");
    }
    for without in ["add_user", "backup", "set_disk_free_limit", "close_connection", "list_jobs"] {
        assert!(!help(&["ctl", without, "--help"]).contains("--vhost"), "{without}");
        let (status, _, words) = run(&mut ctl(&folder, &[without, "-p", "x", "a", "b"]));
        assert_eq!(status, 64, "{without}: {words}");
    }
}

#[test]
fn shells_can_complete_commands() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let (status, script, _) = run(&mut ctl(&folder, &["completions", shell]));
        assert!(status == 0 && script.contains("set_topic_permissions"), "{shell}: {script}");
    }
    assert_eq!(run(&mut ctl(&folder, &["completions", "tcl"])).0, 64);
}

#[test]
fn a_policy_is_previewed() {
    let fixture = TestBroker::new();
    let preview = ["set_policy", "--preview", "p", "^q", r#"{"max-length": 5}"#];
    let head = "kind\tname\tpolicy_before\tpolicy_after\tbefore\tafter\n";
    fixture.prints(&preview, &format!("{head}queue\tq\t\tp\t[]\t[{{\"max-length\",5}}]\n"));
    fixture.prints(&["-q", "list_policies"], "");
    fixture.prints(&["set_policy", "p", "^q", r#"{"max-length": 5}"#], "");
    fixture.prints(&preview, "");
    let (status, listed, _) =
        fixture.run(&[&["--json"], &preview[..3], &["^e", r#"{"max-length": 4}"#]].concat());
    let listed: Value = from_str(&listed).expect("it is JSON");
    let mut names: Vec<_> = listed.as_array().into_iter().flatten().map(|row| row["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!((status, names), (0, vec![Some("empty"), Some("q")]), "'q' has no policy any more");
    fixture.refuses(
        &["set_policy", "--preview", "p", "^q", r#"{"max-lengt": 5}"#],
        69,
        "[{<<\"max-lengt\">>,5}] are not recognised policy settings; did you mean 'max-length'?",
    );
}

#[test]
fn an_import_is_previewed() {
    let fixture = TestBroker::new();
    fixture.prints(&["set_policy", "p", "^q", r#"{"max-length": 5}"#], "");
    let document = r#"{
        "queues": [{"vhost": "/", "name": "q", "durable": true, "auto_delete": false, "arguments": {}},
                   {"vhost": "/", "name": "new", "durable": true, "auto_delete": false, "arguments": {}}],
        "policies": [{"vhost": "/", "name": "p", "pattern": "^q", "apply-to": "all", "priority": 0,
                      "definition": {"max-length": 6}}]
    }"#;
    let told = "add: queue 'new' in vhost '/'\n\
                change: policy 'p' in vhost '/' from {\"definition\":{\"max-length\":5}} to \
                {\"definition\":{\"max-length\":6}}\n";
    let same = "Definitions that are already there: 1\n";
    let import = ["import_definitions", "--preview"];
    assert_eq!(fixture.with_input(&import, document), (0, format!("{told}{same}"), String::new()));
    let quiet = ["-q", "definitions", "import", "--preview"];
    assert_eq!(fixture.with_input(&quiet, document), (0, told.to_owned(), String::new()));
    let (status, listed, _) = fixture.with_input(&["--json", "import_definitions", "--preview"], document);
    let listed: Value = from_str(&listed).expect("it is JSON");
    assert_eq!((status, &listed["definitions_preview"]["add"][0]["name"]), (0, &Value::from("new")));
    fixture.prints(&["-s", "list_queues", "name"], "empty\nq\n");
    let bad = r#"{"queues": [{"name": "r", "vhost": "/"}, {"name": "s", "vhost": "/x"}]}"#;
    let (status, listed, why) = fixture.with_input(&import, bad);
    assert!(listed.contains("problem: queue 's': there is no vhost '/x'\n"), "{listed}");
    assert_eq!((status, why.as_str()), (69, "leveret: the import would be refused: 1 problem\n"));
    assert_eq!(fixture.run(&["import_definitions", "--preview", "--strict"]).0, 64);
}

#[test]
fn definitions_go_from_one_broker_to_another() {
    let fixture = TestBroker::new();
    fixture.run(&["add_user", "ann", "secret"]);
    let (status, exported, _) = fixture.run(&["export_definitions"]);
    let document: Value = from_str(&exported).expect("it is JSON");
    assert_eq!((status, &document["queues"][0]["name"]), (0, &Value::from("q")));
    assert_eq!(document["queues"].as_array().map(Vec::len), Some(1), "'empty' is not durable");
    let file = fixture.folder.at("all.json");
    let name = file.to_str().expect("a path of ours");
    fixture.prints(&["definitions", "export", name], "");
    let mode = std::fs::metadata(&file).expect("it was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has hashes of passwords");

    let other = TestBroker::new();
    other.run(&["delete_queue", "q"]);
    let words = "Definitions imported: 3\nDefinitions that are already there: 2\n";
    assert_eq!(other.with_input(&["import_definitions"], &exported), (0, words.to_owned(), String::new()));
    other.prints(&["-s", "definitions", "import", name], "");
    other.prints(&["-s", "list_queues", "name", "durable"], "empty\tfalse\nq\ttrue\n");
    other.prints(&["authenticate_user", "ann", "secret"], "Success\n");
    other.refuses(
        &["import_definitions", "no/such"],
        65,
        "cannot read no/such: No such file or directory (os error 2)",
    );
    let (status, _, words) = other.with_input(&["import_definitions"], "{");
    assert!(status == 65 && words.starts_with("leveret: -: not JSON"), "{words}");
    let extra = r#"{"vhost_limits": [], "queues": []}"#;
    let (status, _, words) = other.with_input(&["import_definitions", "--strict"], extra);
    let left_out = "leveret: unknown key 'vhost_limits' in the document\n";
    assert_eq!((status, words.as_str()), (69, left_out));
    let told = "skipped: unknown key 'vhost_limits' in the document\n";
    assert_eq!(other.with_input(&["-s", "import_definitions"], extra), (0, told.to_owned(), String::new()));
    other.prints(&["add_vhost", "v"], "");
    let one = r#"{"queues": [{"name": "there"}]}"#;
    assert_eq!(other.with_input(&["-p", "v", "definitions", "import"], one).0, 0);
    other.prints(&["-s", "list_queues", "-p", "v", "name"], "there\n");
    let bad = r#"{"queues": [{"name": "r", "vhost": "/"}, {"name": "s", "vhost": "/x"}]}"#;
    let refused = (69, String::new(), "leveret: queue 's': there is no vhost '/x'\n".to_owned());
    assert_eq!(other.with_input(&["import_definitions"], bad), refused);
    other.prints(&["-s", "list_queues", "name"], "empty\nq\n");
}

#[test]
fn an_argument_that_is_nearly_called_right_is_told_in_the_log_once() {
    let mut fixture = TestBroker::new();
    for queue in ["a", "b"] {
        fixture.client.say(&[&format!("1 queue.declare {queue} x-retry-delay=3 mine=4")]);
        assert_eq!(fixture.client.hear(), format!("1 queue.declare-ok {queue} 0 0"));
    }
    fixture.client.say(&["1 basic.consume a t x-priorty=3"]);
    assert_eq!(fixture.client.hear(), "1 basic.consume-ok t");
    fixture.client.say(&["2 channel.open", "2 queue.declare refused x-retry-jitter=101"]);
    assert_eq!(fixture.client.hear(), "2 channel.open-ok");
    assert!(fixture.client.hear().starts_with("2 channel.close 406"));
    for queue in ["c", "d"] {
        fixture.client.say(&[&format!("1 queue.declare {queue} x-retry-jitter=20")]);
        assert_eq!(fixture.client.hear(), format!("1 queue.declare-ok {queue} 0 0"));
    }
    let (_status, log) = fixture.broker.stop();
    let jitter = "queue 'c' in vhost '/' has the argument 'x-retry-jitter' without 'x-retry-delays'";
    assert_eq!(
        (log.matches(jitter).count(), log.matches("has the argument 'x-retry-jitter'").count()),
        (1, 1),
        "{log}"
    );
    let of_consumer = "consumer 't' of queue 'a' in vhost '/' has the unknown argument 'x-priorty', which has no effect; did you mean 'x-priority'?";
    assert_eq!(log.matches(of_consumer).count(), 1, "{log}");
    let told = "queue 'a' in vhost '/' has the unknown argument 'x-retry-delay', which has no effect; did you mean 'x-retry-delays'?";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert_eq!(log.matches("has the unknown argument").count(), 2, "{log}");
}

#[test]
fn a_delay_that_is_no_number_is_told_in_the_log_once() {
    let mut fixture = TestBroker::new();
    for (said, answer) in [
        ("1 exchange.declare later x-delayed-message x-delayed-type=fanout", "1 exchange.declare-ok"),
        ("1 queue.bind empty later k", "1 queue.bind-ok"),
    ] {
        fixture.client.say(&[said]);
        assert_eq!(fixture.client.hear(), answer);
    }
    for delay in ["soon", "never", "-5"] {
        fixture.client.say(&[&format!("1 basic.publish later k now x-delay={delay}"), "1 basic.get empty"]);
        assert!(fixture.client.hear().starts_with("1 basic.get-ok"), "{delay}");
    }
    let (_status, log) = fixture.broker.stop();
    let told = "a message was not delayed: its header 'x-delay' is not a number of milliseconds";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    let line = log.lines().find(|line| line.contains(told)).expect("it is there");
    assert!(line.contains("later") && line.contains("soon") && line.contains("longstr"), "{line}");
}

/// RabbitMQ hashed like this before 3.6, and an export does not say so.
#[test]
fn a_password_hashed_by_md5_lets_in_and_the_log_asks_to_change_it() {
    let fixture = TestBroker::new();
    let old = r#"{"users": [{"name": "old", "password_hash": "AQIDBDgk9ci8Lfh6CKE9Y0AUfmU=", "tags": ""}],
                  "permissions": [{"user": "old", "vhost": "/", "configure": "", "write": "", "read": ""}]}"#;
    let weak = "hashed with MD5, which is not safe: change it";
    let told = format!("warning: the password of user 'old' is {weak}\n");
    assert_eq!(fixture.with_input(&["-s", "import_definitions"], old), (0, told, String::new()));
    Client::over(connect(fixture.broker.amqp)).log_in("PLAIN old secret");
    let (_status, log) = fixture.broker.stop();
    assert!(log.contains(&format!("the password is {weak} user=\"old\"")), "{log}");
}

#[test]
fn a_broker_starts_with_definitions_or_not_at_all() {
    let folder = Folder::new();
    let users = r#"{"users": [{"name": "ann", "password": "secret", "tags": "administrator"}],
                    "permissions": [{"user": "ann", "vhost": "/", "configure": "", "write": "", "read": ""}]}"#;
    let file = folder.write("users.json", users);
    for _again in 0..2 {
        // Nobody knows a password of its users, so it may be where others can reach it.
        let mut command = leveret_in(&folder);
        let broker = Process::spawn(command.args(["--amqp", "0.0.0.0:0", "--definitions"]).arg(&file));
        assert_eq!(run(&mut ctl(&folder, &["-s", "list_users"])).1, "ann\t[administrator]\n");
        broker.signal("TERM");
        assert!(broker.ended().0.success());
    }
    let bad = folder.write("bad.json", r#"{"permissions": [{"user": "bob", "vhost": "/"}]}"#);
    let output = outcome(leveret_in(&folder).arg("--definitions").arg(&bad));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("bad.json: entry 1 of permissions: 'configure' is missing"), "{words}");
}

/// Everybody knows the password of the default user.
#[test]
fn a_first_start_that_is_refused_leaves_no_default_user_behind() {
    let folder = Folder::new();
    let users = |permissions: &str| {
        format!(
            r#"{{"users": [{{"name": "ann", "password": "secret", "tags": ""}}], "permissions": [{permissions}]}}"#
        )
    };
    let bad = folder.write("bad.json", users(r#"{"user": "ann", "vhost": "/"}"#));
    let output = outcome(leveret_in(&folder).arg("--definitions").arg(&bad));
    assert_eq!(output.status.code(), Some(1));
    let good = folder.write("good.json", users(""));
    let broker = Process::spawn(leveret_in(&folder).arg("--definitions").arg(&good));
    assert_eq!(run(&mut ctl(&folder, &["-s", "list_users"])).1, "ann\t[]\n");
    broker.signal("TERM");
    assert!(broker.ended().0.success());
}
