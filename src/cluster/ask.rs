//! What nodes ask each other beside Raft, as bytes.
//!
//! ```text
//! 16 state    answer: as `founding` draws it
//! 17 status   answer: str node | u8 1, str leader | u8 0 | u16 count of nodes, each
//!             str name | str address | u8 role | u8 running | u8 1, u64 lag | u8 0
//! 18 forward  u8 whether by TLS | str client's address | str where it has connected to, or empty
//!             answer: u8 1, and the connection is the client's from then on | u8 0
//!
//! role     0 leader | 1 follower | 2 outside
//! running  0 no | 1 yes | 2 nobody knows
//! ```

use super::types::{malformed, put_optional, put_text, take, take_optional, take_text, take_u64};
use crate::cluster_status::{ClusterStatus, NodeStatus, Role};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use std::net::SocketAddr;

/// Asks for what a node knows of itself and of the cluster that it belongs to.
pub(super) const STATE: u8 = 16;

/// Asks the leader how all nodes stand.
pub(super) const STATUS: u8 = 17;

/// Hands a client over to the leader.
pub(super) const FORWARD: u8 = 18;

/// A client that is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// Whether it has come to a port of TLS, which it still has to speak.
    pub by_tls: bool,
    /// Where it is.
    pub client: SocketAddr,
    /// Where it has connected to.
    pub local: Option<SocketAddr>,
}

impl Forwarded {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(FORWARD);
        out.put_u8(self.by_tls.into());
        put_text(&mut out, &self.client.to_string());
        put_text(&mut out, &self.local.map(|local| local.to_string()).unwrap_or_default());
        out.freeze()
    }

    /// Reads what follows the kind of the request.
    pub(super) fn decode(mut bytes: Bytes) -> io::Result<Self> {
        let by_tls = take(&mut bytes, 1)?[0] == 1;
        let client = take_text(&mut bytes)?.parse().map_err(|_no_address| malformed())?;
        let local = match take_text(&mut bytes)? {
            empty if empty.is_empty() => None,
            local => Some(local.parse().map_err(|_no_address| malformed())?),
        };
        Ok(Self { by_tls, client, local })
    }
}

pub(super) fn encode_status(status: &ClusterStatus) -> Bytes {
    let mut out = BytesMut::new();
    put_text(&mut out, &status.node);
    put_optional(&mut out, status.leader.as_deref(), put_text);
    out.put_u16(u16::try_from(status.nodes.len()).expect("settings bound the nodes of a cluster"));
    for node in &status.nodes {
        put_text(&mut out, &node.name);
        put_text(&mut out, &node.address);
        out.put_u8(match node.role {
            Role::Leader => 0,
            Role::Follower => 1,
            Role::Outside => 2,
        });
        out.put_u8(node.running.map_or(2, u8::from));
        put_optional(&mut out, node.lag, BytesMut::put_u64);
    }
    out.freeze()
}

pub(super) fn decode_status(mut bytes: Bytes) -> io::Result<ClusterStatus> {
    let node = take_text(&mut bytes)?;
    let leader = take_optional(&mut bytes, take_text)?;
    let count = take(&mut bytes, 2)?.get_u16();
    let nodes = (0..count).map(|_| {
        Ok(NodeStatus {
            name: take_text(&mut bytes)?,
            address: take_text(&mut bytes)?,
            role: match take(&mut bytes, 1)?[0] {
                0 => Role::Leader,
                1 => Role::Follower,
                2 => Role::Outside,
                _ => return Err(malformed()),
            },
            running: match take(&mut bytes, 1)?[0] {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
            lag: take_optional(&mut bytes, take_u64)?,
        })
    });
    let nodes = nodes.collect::<io::Result<_>>()?;
    Ok(ClusterStatus { node, leader, nodes, waits_for: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_client_is_read_again() {
        for (by_tls, local) in [(true, None), (false, Some("[::1]:5672"))] {
            let local = local.map(|local| local.parse().unwrap());
            let client = Forwarded { by_tls, client: "10.0.0.1:4711".parse().unwrap(), local };
            let bytes = client.encode();
            assert_eq!((bytes[0], Forwarded::decode(bytes.slice(1..)).unwrap()), (FORWARD, client));
            (1..bytes.len()).for_each(|end| assert!(Forwarded::decode(bytes.slice(1..end)).is_err()));
        }
        assert!(Forwarded::decode(Bytes::from_static(b"\x00\x00\x01x\x00\x00")).is_err());
    }

    #[test]
    fn a_status_is_read_again() {
        let node = |name: &str, role, running, lag| {
            let (name, address) = (name.to_owned(), format!("{name}:1"));
            NodeStatus { name, address, role, running, lag }
        };
        let nodes = vec![
            node("a", Role::Leader, Some(true), Some(0)),
            node("b", Role::Follower, Some(false), Some(u64::MAX)),
            node("c", Role::Outside, None, None),
        ];
        let status =
            ClusterStatus { node: "a".to_owned(), leader: Some("a".to_owned()), nodes, waits_for: None };
        let bytes = encode_status(&status);
        assert_eq!(decode_status(bytes.clone()).unwrap(), status);
        (0..bytes.len()).for_each(|end| assert!(decode_status(bytes.slice(..end)).is_err()));
    }
}
