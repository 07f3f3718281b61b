//! `[cluster]`: which node of which others this is. Whether a program can be one is for whoever
//! starts it: see [`crate::node`].

use super::Flags;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Characters of a node's name: it is a label of metrics, a word in the log and on command lines.
const NAME_CHARS_MAX: usize = 64;

/// Nodes of a cluster. Each entry of the log goes to all of them.
const NODES_MAX: usize = 9;

/// The longest address: a host's name has up to 253 bytes, its port six more.
const ADDRESS_BYTES_MAX: usize = 260;

/// Bytes of a secret, without the end of its line. Shorter ones can be guessed.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=4096;

/// This node and the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// What this node is called; one of `peers`.
    pub node: String,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// All nodes by their names, this one included, and where the others reach them.
    pub peers: BTreeMap<String, String>,
    /// The file with what all of them know and nobody else.
    pub secret_file: PathBuf,
}

/// `[cluster]`, as written.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    node: Option<String>,
    listen: Option<String>,
    peers: Vec<String>,
    secret_file: Option<PathBuf>,
}

impl Cluster {
    /// What was typed, or else written; none if neither says anything of a cluster.
    pub(super) fn merge(flags: &Flags, section: Option<Section>) -> Result<Option<Self>, String> {
        let is_typed = flags.cluster_node.is_some()
            || flags.cluster_listen.is_some()
            || !flags.cluster_peers.is_empty()
            || flags.cluster_secret_file.is_some();
        if section.is_none() && !is_typed {
            return Ok(None);
        }
        let section = section.unwrap_or_default();
        let written = if flags.cluster_peers.is_empty() { &section.peers } else { &flags.cluster_peers };
        let node = flags.cluster_node.clone().or(section.node).ok_or_else(|| missing("node"))?;
        let listen = flags.cluster_listen.clone().or(section.listen);
        let secret_file = flags.cluster_secret_file.clone().or(section.secret_file);
        let secret_file = secret_file.ok_or_else(|| missing("secret_file"))?;
        if written.is_empty() {
            return Err(missing("peers"));
        }
        check_name(&node).map_err(|why| format!("cluster.node {why}"))?;
        let peers = peers(written)?;
        let Some(own) = peers.get(&node) else {
            let names: Vec<&str> = peers.keys().map(String::as_str).collect();
            return Err(format!(
                "cluster.node is '{node}', which is not among cluster.peers: {}",
                names.join(", ")
            ));
        };
        let listen = match &listen {
            Some(listen) => socket_address(listen).ok_or_else(|| {
                format!(
                    "cluster.listen is '{listen}', which is not an address and a port, as in 0.0.0.0:25671"
                )
            })?,
            None => socket_address(own).ok_or_else(|| {
                format!(
                    "cluster.listen is missing: '{own}', where the others reach this node, has a host's name"
                )
            })?,
        };
        Ok(Some(Self { node, listen, peers, secret_file }))
    }

    /// What the operator should know of how many nodes there are, if anything.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self.peers.len() {
            1 => Some("a cluster of one node survives the loss of none".to_owned()),
            2 => Some("a cluster of two nodes stops when either is gone: use three".to_owned()),
            even if even.is_multiple_of(2) => Some(format!(
                "a cluster of {even} nodes survives the loss of no more than one of {} does",
                even - 1
            )),
            _ => None,
        }
    }

    /// The secret.
    ///
    /// # Errors
    /// The file cannot be read, everybody can read it, or what it holds is no secret.
    pub fn read_secret(&self) -> Result<Vec<u8>, String> {
        let file = &self.secret_file;
        let secret = read_guarded(file);
        secret.map_err(|why| format!("cluster.secret_file {}: {why}", file.display()))
    }
}

fn missing(key: &str) -> String {
    let flag = key.replace('_', "-");
    format!("cluster.{key} is missing (--cluster-{flag})")
}

fn read_guarded(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("cannot read it: {error}");
    let mut file = fs::File::open(path).map_err(told)?;
    let mode = file.metadata().map_err(told)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!(
            "every user of this machine can read it (mode {:04o}): chmod o= it",
            mode & 0o7777
        ));
    }
    let (mut secret, most) = (Vec::new(), *SECRET_BYTES.end());
    file.by_ref().take(most as u64 + 3).read_to_end(&mut secret).map_err(told)?;
    while matches!(secret.last(), Some(b'\n' | b'\r')) {
        secret.pop();
    }
    match secret.len() {
        0 => Err("it is empty".to_owned()),
        len if SECRET_BYTES.contains(&len) => Ok(secret),
        len if len > most => Err(format!("it has more than {most} bytes")),
        len => Err(format!("a secret has {} bytes at least, and it has {len}", SECRET_BYTES.start())),
    }
}

/// The peers, as they are written.
fn peers(written: &[String]) -> Result<BTreeMap<String, String>, String> {
    if written.len() > NODES_MAX {
        return Err(format!("cluster.peers has {} nodes, and there may be {NODES_MAX}", written.len()));
    }
    let mut peers = BTreeMap::new();
    for peer in written {
        let wrong = |why: &str| format!("cluster.peers: '{peer}' {why}");
        let (name, address) = peer.split_once('=').ok_or_else(|| wrong("is not NAME=HOST:PORT"))?;
        check_name(name).map_err(|why| wrong(&format!("is not NAME=HOST:PORT: the name {why}")))?;
        check_address(address).map_err(|why| wrong(&why))?;
        if let Some((other, _)) = peers.iter().find(|(_, taken)| *taken == address) {
            return Err(format!("cluster.peers: '{other}' and '{name}' have the same address {address}"));
        }
        if peers.insert(name.to_owned(), address.to_owned()).is_some() {
            return Err(format!("cluster.peers: '{name}' is there twice"));
        }
    }
    Ok(peers)
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        Err("is empty".to_owned())
    } else if name.len() > NAME_CHARS_MAX {
        Err(format!("has more than {NAME_CHARS_MAX} characters"))
    } else if !name.chars().all(is_plain) {
        Err(format!("is '{name}', and may have letters of ASCII, digits, '-', '_' and '.'"))
    } else {
        Ok(())
    }
}

/// Whether that is a host, by its name or address, and a port that can be connected to.
fn check_address(address: &str) -> Result<(), String> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let port_of = |address: &str| match address.parse::<SocketAddr>() {
        Ok(address) => Some(address.port()),
        Err(_name) => {
            let (host, port) = address.rsplit_once(':')?;
            (!host.is_empty() && host.chars().all(is_host)).then(|| port.parse().ok())?
        }
    };
    match port_of(address) {
        _ if address.len() > ADDRESS_BYTES_MAX => Err("has an address that is too long".to_owned()),
        None => Err("is not NAME=HOST:PORT, as in a=10.0.0.1:25671".to_owned()),
        Some(0) => Err("has the port 0, to which nobody can connect".to_owned()),
        Some(_) => Ok(()),
    }
}

fn socket_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(node: &str, peers: &[&str]) -> Flags {
        Flags {
            cluster_node: Some(node.to_owned()),
            cluster_peers: peers.iter().map(|&peer| peer.to_owned()).collect(),
            cluster_secret_file: Some("secret".into()),
            ..Flags::default()
        }
    }

    #[track_caller]
    fn refused(flags: &Flags, why: &str) {
        assert_eq!(Cluster::merge(flags, None).unwrap_err(), why);
    }

    const THREE: [&str; 3] = ["a=127.0.0.1:1", "b=[::1]:2", "c=host-3.example:3"];

    #[test]
    fn a_node_listens_where_the_others_reach_it() {
        let cluster = Cluster::merge(&flags("a", &THREE), None).unwrap().unwrap();
        assert_eq!(cluster.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!(cluster.peers["c"], "host-3.example:3");
        assert_eq!(cluster.advice(), None);
        refused(
            &flags("c", &THREE),
            "cluster.listen is missing: 'host-3.example:3', where the others reach this node, has a host's name",
        );
        let listen = Some("0.0.0.0:7".to_owned());
        let cluster = Flags { cluster_listen: listen, ..flags("c", &THREE) };
        let cluster = Cluster::merge(&cluster, None).unwrap().unwrap();
        assert_eq!(cluster.listen, "0.0.0.0:7".parse().unwrap());
        assert_eq!(Cluster::merge(&Flags::default(), None), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_name_and_the_value() {
        refused(&flags("d", &THREE), "cluster.node is 'd', which is not among cluster.peers: a, b, c");
        refused(&flags("a", &[]), "cluster.peers is missing (--cluster-peers)");
        let none = Flags { cluster_secret_file: None, ..flags("a", &THREE) };
        refused(&none, "cluster.secret_file is missing (--cluster-secret-file)");
        let none = Flags { cluster_node: None, ..flags("a", &THREE) };
        refused(&none, "cluster.node is missing (--cluster-node)");
        refused(&flags("a", &["a=h:1", "a=h:2"]), "cluster.peers: 'a' is there twice");
        let same = "cluster.peers: 'a' and 'b' have the same address h:1";
        refused(&flags("a", &["a=h:1", "b=h:1"]), same);
        refused(&flags("a", &["a"]), "cluster.peers: 'a' is not NAME=HOST:PORT");
        let form = "is not NAME=HOST:PORT, as in a=10.0.0.1:25671";
        for peer in ["a=h", "a=:1", "a=h:x", "a=h:65536", "a=h h:1", "a=::1:7"] {
            refused(&flags("a", &[peer]), &format!("cluster.peers: '{peer}' {form}"));
        }
        refused(
            &flags("a", &["a=h:0"]),
            "cluster.peers: 'a=h:0' has the port 0, to which nobody can connect",
        );
        let chars = "and may have letters of ASCII, digits, '-', '_' and '.'";
        refused(&flags("a b", &THREE), &format!("cluster.node is 'a b', {chars}"));
        let listen = Flags { cluster_listen: Some("localhost:1".to_owned()), ..flags("a", &THREE) };
        refused(
            &listen,
            "cluster.listen is 'localhost:1', which is not an address and a port, as in 0.0.0.0:25671",
        );
        let many: Vec<String> = (0..10).map(|node| format!("n{node}=h:{}", node + 1)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        refused(&flags("n1", &many), "cluster.peers has 10 nodes, and there may be 9");
    }

    #[test]
    fn how_many_nodes_make_sense_is_said_and_not_enforced() {
        let advice = |peers: &[&str]| Cluster::merge(&flags("a", peers), None).unwrap().unwrap().advice();
        let one = ["a=127.0.0.1:1", "b=h:2", "c=h:3", "d=h:4"];
        assert_eq!(advice(&one[..1]).unwrap(), "a cluster of one node survives the loss of none");
        assert_eq!(advice(&one[..2]).unwrap(), "a cluster of two nodes stops when either is gone: use three");
        let four = "a cluster of 4 nodes survives the loss of no more than one of 3 does";
        assert_eq!(advice(&one).unwrap(), four);
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let path = std::env::temp_dir().join(format!("leveret-secret-{}", std::process::id()));
        let cluster = Flags { cluster_secret_file: Some(path.clone()), ..flags("a", &THREE) };
        let cluster = Cluster::merge(&cluster, None).unwrap().unwrap();
        let check = |text: Option<&str>, mode, expected: Result<&str, &str>| {
            let _none = fs::remove_file(&path);
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            let read = cluster.read_secret();
            match expected {
                Ok(secret) => assert_eq!(read.unwrap(), secret.as_bytes()),
                Err(why) => {
                    assert_eq!(read.unwrap_err(), format!("cluster.secret_file {}: {why}", path.display()))
                }
            }
        };
        check(Some("sixteen bytes or more\n"), 0o640, Ok("sixteen bytes or more"));
        check(None, 0, Err("cannot read it: No such file or directory (os error 2)"));
        check(Some("\n"), 0o600, Err("it is empty"));
        check(Some("short\n"), 0o600, Err("a secret has 16 bytes at least, and it has 5"));
        check(Some(&"x".repeat(5000)), 0o600, Err("it has more than 4096 bytes"));
        let open = "every user of this machine can read it (mode 0644): chmod o= it";
        check(Some("sixteen bytes or more\n"), 0o644, Err(open));
        fs::remove_file(&path).unwrap();
    }
}
