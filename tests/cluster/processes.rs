//! Three real processes on loopback addresses of their own: a cluster that is founded in any order,
//! and that loses nothing confirmed when a node is killed, stopped, or all of them are.

use crate::support::process::{Folder, PATIENCE, Process, leveret, leveret_in, outcome};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret::clock;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client waits for anything before it comes again.
const CLIENT_WAIT: Duration = Duration::from_secs(20);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three folders, and the processes that are at work in them.
struct Trio {
    folder: Folder,
    folders: BTreeMap<&'static str, Folder>,
    peers: String,
    at_work: BTreeMap<&'static str, Process>,
}

impl Trio {
    /// None of them is at work yet.
    fn new() -> Self {
        // Of the addresses of this machine there are enough for each test of each process.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let test = NEXT.fetch_add(1, Ordering::Relaxed);
        let [.., high, low] = std::process::id().to_be_bytes();
        let peer = |(name, node)| {
            format!("{name}=127.{}.{low}.{node}:25671", 64 + (high ^ test.rotate_left(4)) % 128)
        };
        let peers = NAMES.into_iter().zip(1 + 3 * (test % 80)..).map(peer).collect::<Vec<_>>().join(",");
        let folder = Folder::new();
        let secret = folder.write("secret", "known to all nodes of the test\n");
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        let folders = NAMES.map(|name| (name, Folder::new())).into();
        Self { folder, folders, peers, at_work: BTreeMap::new() }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = leveret_in(&self.folders[name]);
        command.args(["--cluster-node", name, "--cluster-peers", &self.peers, "--cluster-secret-file"]);
        command.arg(self.folder.at("secret"));
        command
    }

    fn start(&mut self, name: &'static str) {
        let process = Process::spawn(&mut self.command(name));
        self.at_work.insert(name, process);
    }

    fn take(&mut self, name: &str) -> Process {
        self.at_work.remove(name).expect("it is at work")
    }

    /// How a node says that all stand; none if it has begun or ceased to lead while it was asked.
    fn status(&self, name: &str) -> Option<Value> {
        let mut ctl = leveret();
        ctl.args(["ctl", "--json", "--data-dir"]).arg(self.folders[name].at("data")).arg("cluster_status");
        let output = outcome(&mut ctl);
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("lost the connection to the broker") {
            return None;
        }
        assert!(output.status.success(), "{said}");
        Some(serde_json::from_slice(&output.stdout).expect("it is JSON"))
    }

    /// Asks all nodes that are at work until one says what is looked for.
    #[track_caller]
    fn until<T>(&self, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let until_ms = clock::mono_ms() + u64::try_from(PATIENCE.as_millis()).expect("a minute");
        loop {
            for name in self.at_work.keys() {
                let status = self.status(name);
                if let Some(found) = status.as_ref().and_then(&found) {
                    return found;
                }
                assert!(clock::mono_ms() < until_ms, "{what}: {status:?}");
            }
        }
    }

    /// The node that leads, once one of those does that are at work.
    fn leader(&self) -> &'static str {
        let leader = |status: &Value| {
            let leader = status["leader"].as_str()?;
            self.at_work.keys().copied().find(|name| *name == leader)
        };
        self.until("nobody leads", leader)
    }

    /// Waits until a node has all that the leader has.
    fn until_caught_up(&self, name: &str) {
        self.until("it does not catch up", |status| {
            let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == name)?;
            (node["running"] == true && node["lag"] == 0).then_some(())
        });
    }

    /// A channel to the node that leads, which may be another one before long.
    async fn channel(&self) -> (&'static str, Channel) {
        loop {
            let leader = self.leader();
            let url = format!("amqp://guest:guest@{}/%2F", self.at_work[leader].amqp);
            let opened = timeout(CLIENT_WAIT, async {
                let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await.map(|()| channel)
            });
            if let Ok(Ok(channel)) = opened.await {
                return (leader, channel);
            }
        }
    }
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("tasks".into(), durable, FieldTable::default()).await.map(drop)
}

/// Publishes so many of the numbers that come next; those that are confirmed before the channel
/// ends.
async fn publish(channel: &Channel, next: &mut u32, count: u32) -> BTreeSet<u32> {
    let (mut sent, mut confirmed) = (Vec::new(), BTreeSet::new());
    for number in *next..*next + count {
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let persistent = BasicProperties::default().with_delivery_mode(2);
        match channel.basic_publish("".into(), "tasks".into(), options, body.as_bytes(), persistent).await {
            Ok(confirm) => sent.push((number, confirm)),
            Err(_ended) => break,
        }
    }
    *next += count;
    for (number, confirm) in sent {
        let confirm = timeout(CLIENT_WAIT, confirm).await;
        if confirm.is_ok_and(|confirm| confirm.is_ok_and(|confirm| confirm.is_ack())) {
            confirmed.insert(number);
        }
    }
    confirmed
}

/// Takes everything out of the queue, and puts it back; the numbers, which are in order.
async fn browse(channel: &Channel) -> lapin::Result<BTreeSet<u32>> {
    let (mut found, mut last) = (BTreeSet::new(), None);
    while let Some(got) = channel.basic_get("tasks".into(), BasicGetOptions::default()).await? {
        let number = std::str::from_utf8(&got.delivery.data).ok().and_then(|text| text.parse().ok());
        let number: u32 = number.expect("a body is a number");
        assert!(last.replace(number) < Some(number), "{number} is out of order, or there twice");
        found.insert(number);
    }
    // With the channel all of them go back.
    channel.close(200, "done".into()).await?;
    Ok(found)
}

impl Trio {
    /// Looks whether all that was confirmed is there. Whoever leads may cease to meanwhile, on a
    /// machine that does much else.
    async fn check_all(&self, confirmed: &BTreeSet<u32>) {
        let found = loop {
            let (_, channel) = self.channel().await;
            if let Ok(Ok(found)) = timeout(CLIENT_WAIT, browse(&channel)).await {
                break found;
            }
        };
        assert!(found.is_superset(confirmed), "lost: {:?}", confirmed.difference(&found));
    }

    /// Publishes until so many are confirmed.
    async fn publish(&self, next: &mut u32, count: usize, confirmed: &mut BTreeSet<u32>) {
        let wanted = confirmed.len() + count;
        while confirmed.len() < wanted {
            let (_, channel) = self.channel().await;
            if declare(&channel).await.is_ok() {
                confirmed.extend(publish(&channel, next, 50).await);
            }
        }
    }
}

#[track_caller]
fn check(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let outcome = runtime.block_on(async { timeout(4 * PATIENCE, scenario).await });
    assert!(outcome.is_ok(), "not done within {:?}", 4 * PATIENCE);
}

#[test]
fn three_processes_lose_nothing_that_was_confirmed() {
    check(async {
        let mut trio = Trio::new();
        ["c", "a", "b"].into_iter().for_each(|name| trio.start(name));
        let (mut next, mut confirmed) = (0, BTreeSet::new());
        trio.publish(&mut next, 100, &mut confirmed).await;

        // Killed in the middle of it.
        let (leader, channel) = trio.channel().await;
        let killed = trio.take(leader);
        let (more, ()) = tokio::join!(publish(&channel, &mut next, 200), async { killed.signal("KILL") });
        confirmed.extend(more);
        drop(killed);
        assert_ne!(trio.leader(), leader);
        trio.check_all(&confirmed).await;

        // It comes back and catches up.
        trio.start(leader);
        trio.until_caught_up(leader);
        trio.publish(&mut next, 50, &mut confirmed).await;

        // Another one is stopped in order, and hands over.
        let leader = trio.leader();
        let (status, log) = trio.take(leader).stop();
        assert!(status.success(), "{log}");
        trio.check_all(&confirmed).await;

        // All of them are: what was founded is founded.
        for name in NAMES {
            trio.at_work.remove(name).into_iter().for_each(|process| drop(process.stop()));
        }
        NAMES.into_iter().for_each(|name| trio.start(name));
        trio.check_all(&confirmed).await;
    });
}

/// A node that does not lead forwards clients of AMQP, and says who leads whatever else it is
/// asked.
#[test]
fn a_node_that_does_not_lead_forwards_clients() {
    check(async {
        let mut trio = Trio::new();
        trio.start("b");
        let waits = trio.status("b").expect("it cannot lead");
        assert_eq!(waits["leader"], Value::Null);
        assert_eq!(waits["nodes"][0]["role"], "outside", "{waits}");
        ["a", "c"].into_iter().for_each(|name| trio.start(name));
        let leader = trio.leader();
        let follower = NAMES.into_iter().find(|name| *name != leader).expect("there are three");
        trio.until_caught_up(follower);
        let told = trio.until("it does not know who leads", |status| {
            (status["node"] == follower && status["leader"] == leader).then(|| status.clone())
        });
        let roles: Vec<&str> = told["nodes"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|node| node["role"].as_str())
            .collect();
        assert_eq!(roles.iter().filter(|role| **role == "leader").count(), 1, "{told}");
        assert_eq!(roles.iter().filter(|role| **role == "follower").count(), 2, "{told}");
        // The leader serves whoever comes, and knows where from and where to. Another one may lead
        // by then, on a machine that does much else.
        while !is_forwarded(&trio).await {}
        for name in NAMES {
            let Some(told) = trio.status(name) else { continue };
            let http = trio.at_work[name].http;
            for path in ["/livez", "/metrics"] {
                assert_eq!(get(http, path).await.0, 200, "{path}");
            }
            let (status, body) = get(http, "/readyz").await;
            let leads = told["leader"] == name;
            if trio.status(name).as_ref() == Some(&told) && !leads {
                assert_eq!(status, 503, "{body}");
                let why = format!("node '{name}' does not lead the cluster");
                assert!(body.contains(&why) || body.contains("no node leads the cluster"), "{body}");
            }
        }
    });
}

/// Whether a client that comes to a node that does not lead is served by the one that does, and is
/// listed there with where it has connected to.
async fn is_forwarded(trio: &Trio) -> bool {
    let leader = trio.leader();
    let follower = NAMES.into_iter().find(|name| *name != leader).expect("there are three");
    let process = &trio.at_work[follower];
    let url = format!("amqp://guest:guest@{}/%2F", process.amqp);
    let Ok(connection) = Connection::connect(&url, ConnectionProperties::default()).await else {
        return false;
    };
    let Ok(channel) = connection.create_channel().await else { return false };
    if channel.confirm_select(ConfirmSelectOptions::default()).await.is_err() {
        return false;
    }
    if declare(&channel).await.is_err() || publish(&channel, &mut 0, 20).await.len() < 20 {
        return false;
    }
    let mut ctl = leveret();
    ctl.args(["ctl", "-s", "--data-dir"]).arg(trio.folders[leader].at("data"));
    let listed = outcome(ctl.args(["list_connections", "peer_host", "port"])).stdout;
    String::from_utf8(listed).expect("it is text") == format!("127.0.0.1\t{}\n", process.amqp.port())
}

/// The status and the body of what is answered.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer is text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("an answer has a status"), answer)
}

#[test]
fn what_keeps_a_node_from_starting_is_told() {
    let refused = |command: &mut Command, why: &str| {
        let output = outcome(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    };
    let trio = Trio::new();
    refused(trio.command("a").args(["--cluster-node", "d"]), "cannot be used multiple times");
    let mut command = leveret_in(&trio.folders["a"]);
    command.args(["--cluster-node", "d", "--cluster-peers", &trio.peers, "--cluster-secret-file", "x"]);
    refused(&mut command, "cluster.node is 'd', which is not among cluster.peers: a, b, c");
    let secret = trio.folder.at("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    refused(&mut trio.command("a"), "every user of this machine can read it (mode 0644)");
    fs::remove_file(&secret).expect("the file is ours");
    refused(&mut trio.command("a"), "cannot read it: No such file or directory");
}

/// The data of a node is that of no other one, nor of a broker without a cluster.
#[test]
fn data_stay_with_their_node() {
    let mut trio = Trio::new();
    trio.start("a");
    drop(trio.take("a").stop());
    let mut other = leveret_in(&trio.folders["a"]);
    other.args(["--cluster-node", "b", "--cluster-peers", &trio.peers, "--cluster-secret-file"]);
    let output = outcome(other.arg(trio.folder.at("secret")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the data is that of node 'a', and cluster.node is 'b'"), "{said}");
    let output = outcome(&mut leveret_in(&trio.folders["a"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is that of a node of a cluster"), "{said}");
}
