//! How two nodes make sure of each other before anything else: both know the secret of the cluster,
//! which neither tells, speak a common version, and belong to the same cluster. No I/O.
//!
//! Integers are big-endian, `str` is a u16 length and that many bytes.
//!
//! ```text
//! client  magic 16 bytes | u16 oldest | u16 newest version that it speaks | 32 random bytes
//! server  magic 16 bytes | u16 version, the newest in common, or 0 | 32 random bytes
//! client  introduction | 32 bytes HMAC-SHA256
//! server  u8 1 | introduction | 32 bytes HMAC-SHA256, or: u8 0 | str why it refuses
//!
//! introduction   u64 node | u64 process | u8 whether it belongs to a cluster | 16 bytes which | str name
//! ```
//!
//! The secret is the key of both HMACs, over the word `client` or `server` and all that was sent
//! before in both directions, the sender's introduction included. So one is of no use in another
//! connection, nor in the other direction. What comes later on a connection is not authenticated:
//! the secret keeps strangers out, not somebody who can change what others send.

use super::types::{NodeId, beginning, put_text, take, take_text, take_u64};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ring::hmac::{self, HMAC_SHA256};
use std::fmt;

/// Versions of what nodes ask each other.
const VERSION_OLDEST: u16 = 1;
const VERSION_NEWEST: u16 = 1;

const MAGIC: [u8; 16] = *b"Leveret cluster\n";

/// Random bytes of each side, which make a connection unlike any other.
pub const NONCE_BYTES: usize = 32;

/// A secret shorter than this could be guessed.
const SECRET_BYTES_MIN: usize = 16;

const MAC_BYTES: usize = 32;

/// No message of a handshake is longer.
pub const HANDSHAKE_BYTES_MAX: usize = 1024;

/// Names are no longer: see [`HANDSHAKE_BYTES_MAX`].
const NAME_BYTES_MAX: usize = 255;

/// Which cluster; drawn when it is founded.
pub type ClusterId = [u8; 16];

/// What all nodes of a cluster know, and nobody else.
#[derive(Clone)]
pub struct SharedSecret(hmac::Key);

impl SharedSecret {
    /// The secret with these bytes; none if they are too few.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= SECRET_BYTES_MIN).then(|| Self(hmac::Key::new(HMAC_SHA256, bytes)))
    }

    fn sign(&self, role: &[u8], sent: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(role);
        context.update(sent);
        context.sign()
    }

    fn verify(&self, role: &[u8], sent: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, &[role, sent].concat(), mac).is_ok()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret")
    }
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Which node.
    pub node: NodeId,
    /// A number that its process has drawn: who has the same node and another one is a copy.
    pub process: u64,
    /// To which cluster it belongs, if to any yet.
    pub cluster: Option<ClusterId>,
    /// What it is called.
    pub name: String,
}

/// Why a connection ends before it begins: one line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The other side speaks something else.
    NoNode,
    /// There is no common version.
    Versions {
        /// The oldest and the newest that the other side speaks; 0 if it has not said.
        theirs: (u16, u16),
    },
    /// The other side does not know the secret.
    Secret,
    /// The other side belongs to another cluster.
    OtherCluster {
        /// What it is called.
        name: String,
    },
    /// The other side has refused, and says why.
    Refused(String),
}

impl Introduction {
    /// Whether these are two processes with the data of one node.
    #[must_use]
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.node == other.node && self.process != other.process
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode => write!(f, "this is no connection of a Leveret node"),
            Self::Versions { theirs: (0, _) } => write!(
                f,
                "the other node does not speak the cluster's protocol in a version from {VERSION_OLDEST} to \
                 {VERSION_NEWEST}"
            ),
            Self::Versions { theirs: (oldest, newest) } => write!(
                f,
                "the other node speaks versions {oldest} to {newest} of the cluster's protocol, this one \
                 {VERSION_OLDEST} to {VERSION_NEWEST}"
            ),
            Self::Secret => write!(f, "the secrets of the two nodes differ"),
            Self::OtherCluster { name } => write!(f, "node '{name}' belongs to another cluster"),
            Self::Refused(why) => write!(f, "the other node refuses: {why}"),
        }
    }
}

/// The side that connects.
#[derive(Debug)]
pub struct Client {
    secret: SharedSecret,
    me: Introduction,
    sent: Vec<u8>,
}

impl Client {
    /// Begins, with random bytes; what to send first.
    #[must_use]
    pub fn begin(secret: SharedSecret, me: Introduction, nonce: [u8; NONCE_BYTES]) -> (Self, Bytes) {
        let mut hello = BytesMut::from(&MAGIC[..]);
        hello.put_u16(VERSION_OLDEST);
        hello.put_u16(VERSION_NEWEST);
        hello.extend_from_slice(&nonce);
        (Self { secret, me, sent: hello.to_vec() }, hello.freeze())
    }

    /// Takes the server's first message; what to send then.
    ///
    /// # Errors
    /// It is no server for this node.
    pub fn introduce(&mut self, hello: &Bytes) -> Result<Bytes, Refusal> {
        let mut rest = hello.clone();
        if take(&mut rest, MAGIC.len()).map_err(no_node)? != MAGIC[..] {
            return Err(Refusal::NoNode);
        }
        let version = take(&mut rest, 2).map_err(no_node)?.get_u16();
        if !(VERSION_OLDEST..=VERSION_NEWEST).contains(&version) {
            return Err(Refusal::Versions { theirs: (0, 0) });
        }
        if rest.len() != NONCE_BYTES {
            return Err(Refusal::NoNode);
        }
        self.sent.extend_from_slice(hello);
        let mut out = BytesMut::new();
        put_introduction(&mut out, &self.me);
        self.sent.extend_from_slice(&out);
        out.extend_from_slice(self.secret.sign(CLIENT, &self.sent).as_ref());
        Ok(out.freeze())
    }

    /// Takes the server's second message: who it is.
    ///
    /// # Errors
    /// It refuses, or is none of the cluster.
    pub fn finish(mut self, answer: &Bytes) -> Result<Introduction, Refusal> {
        let mut rest = answer.clone();
        if take(&mut rest, 1).map_err(no_node)?[0] == 0 {
            return Err(Refusal::Refused(take_text(&mut rest).map_err(no_node)?));
        }
        let them = check(&self.secret, SERVER, &mut self.sent, rest)?;
        check_cluster(&self.me, &them)?;
        Ok(them)
    }
}

/// The side that is connected to.
#[derive(Debug)]
pub struct Server {
    secret: SharedSecret,
    me: Introduction,
    sent: Vec<u8>,
}

impl Server {
    /// Takes the client's first message, with random bytes; what to send, also in case it is
    /// refused.
    ///
    /// # Errors
    /// Nothing is to be sent.
    pub fn begin(
        secret: SharedSecret,
        me: Introduction,
        hello: &Bytes,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<(Result<Self, Refusal>, Bytes), Refusal> {
        let mut rest = hello.clone();
        if take(&mut rest, MAGIC.len()).map_err(no_node)? != MAGIC[..] {
            return Err(Refusal::NoNode);
        }
        let mut versions = take(&mut rest, 4).map_err(no_node)?;
        let (oldest, newest) = (versions.get_u16(), versions.get_u16());
        let version = newest.min(VERSION_NEWEST);
        let is_common = version >= oldest.max(VERSION_OLDEST);
        let mut out = BytesMut::from(&MAGIC[..]);
        out.put_u16(if is_common { version } else { 0 });
        out.extend_from_slice(&nonce);
        let sent = [hello, &out[..]].concat();
        let begun = if is_common {
            Ok(Self { secret, me, sent })
        } else {
            Err(Refusal::Versions { theirs: (oldest, newest) })
        };
        Ok((begun, out.freeze()))
    }

    /// Takes the client's second message: what to send, and who it is, or why it is refused.
    pub fn finish(mut self, introduction: Bytes) -> (Bytes, Result<Introduction, Refusal>) {
        let them = check(&self.secret, CLIENT, &mut self.sent, introduction);
        let them = them.and_then(|them| check_cluster(&self.me, &them).map(|()| them));
        let mut out = BytesMut::new();
        match &them {
            Ok(_) => {
                let mut mine = BytesMut::new();
                put_introduction(&mut mine, &self.me);
                self.sent.extend_from_slice(&mine);
                out.put_u8(1);
                out.extend_from_slice(&mine);
                out.extend_from_slice(self.secret.sign(SERVER, &self.sent).as_ref());
            }
            Err(refusal) => {
                out.put_u8(0);
                put_text(&mut out, &told(refusal, &self.me));
            }
        }
        (out.freeze(), them)
    }
}

const CLIENT: &[u8] = b"client";
const SERVER: &[u8] = b"server";

/// What the other side is told: to a stranger no more than that it is one.
fn told(refusal: &Refusal, me: &Introduction) -> String {
    match refusal {
        Refusal::OtherCluster { .. } => Refusal::OtherCluster { name: me.name.clone() }.to_string(),
        other => other.to_string(),
    }
}

/// Reads an introduction with its proof, which follow what was `sent` so far.
fn check(
    secret: &SharedSecret,
    role: &[u8],
    sent: &mut Vec<u8>,
    mut introduction: Bytes,
) -> Result<Introduction, Refusal> {
    let len = introduction.len().checked_sub(MAC_BYTES).ok_or(Refusal::NoNode)?;
    let mac = introduction.split_off(len);
    sent.extend_from_slice(&introduction);
    if !secret.verify(role, sent, &mac) {
        return Err(Refusal::Secret);
    }
    let node = take_u64(&mut introduction).map_err(no_node)?;
    let process = take_u64(&mut introduction).map_err(no_node)?;
    let has_cluster = take(&mut introduction, 1).map_err(no_node)?[0] == 1;
    let mut cluster = ClusterId::default();
    take(&mut introduction, cluster.len()).map_err(no_node)?.copy_to_slice(&mut cluster);
    let name = take_text(&mut introduction).map_err(no_node)?;
    Ok(Introduction { node, process, cluster: has_cluster.then_some(cluster), name })
}

fn check_cluster(me: &Introduction, them: &Introduction) -> Result<(), Refusal> {
    match (me.cluster, them.cluster) {
        (Some(mine), Some(theirs)) if mine != theirs => {
            Err(Refusal::OtherCluster { name: them.name.clone() })
        }
        _ => Ok(()),
    }
}

fn put_introduction(out: &mut BytesMut, who: &Introduction) {
    out.put_u64(who.node);
    out.put_u64(who.process);
    out.put_u8(who.cluster.is_some().into());
    out.extend_from_slice(&who.cluster.unwrap_or_default());
    put_text(out, beginning(&who.name, NAME_BYTES_MAX));
}

fn no_node(_too_short: std::io::Error) -> Refusal {
    Refusal::NoNode
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SharedSecret {
        SharedSecret::new(text.as_bytes()).unwrap()
    }

    fn node(node: NodeId, cluster: Option<u8>) -> Introduction {
        let (cluster, name) = (cluster.map(|id| [id; 16]), format!("node {node}"));
        Introduction { node, process: node, cluster, name }
    }

    /// What the client and the server make of each other.
    fn meet(
        (client, of_client): (Introduction, &str),
        (server, of_server): (Introduction, &str),
    ) -> (Result<Introduction, Refusal>, Result<Introduction, Refusal>) {
        let (mut client, hello) = Client::begin(secret(of_client), client, [1; 32]);
        let (server, answer) = Server::begin(secret(of_server), server, &hello, [2; 32]).unwrap();
        let (answer, seen_by_server) = server.unwrap().finish(client.introduce(&answer).unwrap());
        (client.finish(&answer), seen_by_server)
    }

    const SECRET: &str = "a secret of many bytes";

    #[test]
    fn two_nodes_of_a_cluster_know_each_other() {
        for clusters in [(Some(1), Some(1)), (None, Some(1)), (Some(1), None), (None, None)] {
            let (one, other) = (node(7, clusters.0), node(8, clusters.1));
            let (server, client) = meet((one.clone(), SECRET), (other.clone(), SECRET));
            assert_eq!((server, client), (Ok(other), Ok(one)));
        }
    }

    #[test]
    fn a_stranger_is_refused_in_one_line_on_both_sides() {
        let (server, client) = meet((node(7, None), "another secret there"), (node(8, Some(1)), SECRET));
        assert_eq!(client, Err(Refusal::Secret));
        let line = "the other node refuses: the secrets of the two nodes differ";
        assert_eq!(server.unwrap_err().to_string(), line);
        assert!(SharedSecret::new(b"too short").is_none());
    }

    #[test]
    fn a_node_of_another_cluster_is_refused_in_one_line_on_both_sides() {
        let (server, client) = meet((node(7, Some(2)), SECRET), (node(8, Some(1)), SECRET));
        assert_eq!(client.unwrap_err().to_string(), "node 'node 7' belongs to another cluster");
        let line = "the other node refuses: node 'node 8' belongs to another cluster";
        assert_eq!(server.unwrap_err().to_string(), line);
    }

    #[test]
    fn without_a_common_version_both_say_so() {
        let (mut client, hello) = Client::begin(secret(SECRET), node(7, None), [1; 32]);
        let mut newer = BytesMut::from(&hello[..]);
        newer[16..20].copy_from_slice(&[0, 8, 0, 9]);
        let (server, answer) =
            Server::begin(secret(SECRET), node(8, None), &newer.freeze(), [2; 32]).unwrap();
        let line = "the other node speaks versions 8 to 9 of the cluster's protocol, this one 1 to 1";
        assert_eq!(server.unwrap_err().to_string(), line);
        let line = "the other node does not speak the cluster's protocol in a version from 1 to 1";
        assert_eq!(client.introduce(&answer).unwrap_err().to_string(), line);
    }

    /// A client cannot be had by its own messages, nor a server by those of another connection.
    #[test]
    fn what_was_sent_before_is_of_no_use() {
        let (mut client, hello) = Client::begin(secret(SECRET), node(7, None), [1; 32]);
        let introduction = client.introduce(&reply(&hello)).unwrap();
        let mut mirrored = BytesMut::from(&[1][..]);
        mirrored.extend_from_slice(&introduction);
        assert_eq!(client.finish(&mirrored.freeze()), Err(Refusal::Secret));
        let (server, _) = Server::begin(secret(SECRET), node(8, None), &hello, [3; 32]).unwrap();
        let (answer, seen) = server.unwrap().finish(introduction);
        assert_eq!((answer[0], seen), (0, Err(Refusal::Secret)));
    }

    /// What a server says first, whoever it is.
    fn reply(hello: &Bytes) -> Bytes {
        let (_, reply) = Server::begin(secret("of somebody else"), node(9, None), hello, [2; 32]).unwrap();
        reply
    }

    #[test]
    fn whatever_else_comes_is_refused() {
        let (mut client, hello) = Client::begin(secret(SECRET), node(7, None), [1; 32]);
        let (server, answer) = Server::begin(secret(SECRET), node(8, None), &hello, [2; 32]).unwrap();
        drop(server);
        for end in 0..hello.len() {
            let part = hello.slice(..end);
            let begun = Server::begin(secret(SECRET), node(8, None), &part, [2; 32]);
            assert_eq!(begun.is_ok(), end >= 20, "its random bytes may be fewer: they are its own loss");
        }
        for end in 0..answer.len() {
            assert_eq!(client.introduce(&answer.slice(..end)), Err(Refusal::NoNode));
        }
        let http = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.introduce(&http), Err(Refusal::NoNode));
        assert!(Server::begin(secret(SECRET), node(8, None), &http, [2; 32]).is_err());
        let introduction = client.introduce(&answer).unwrap();
        for end in 0..introduction.len() {
            let (server, _) = Server::begin(secret(SECRET), node(8, None), &hello, [2; 32]).unwrap();
            let (_, seen) = server.unwrap().finish(introduction.slice(..end));
            assert!(seen.is_err(), "{seen:?}");
        }
        assert!(hello.len().max(introduction.len()) <= HANDSHAKE_BYTES_MAX);
    }
}
