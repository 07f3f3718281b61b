//! What nodes ask each other beside Raft, as bytes.
//!
//! ```text
//! 16 state    answer: as `founding` draws it
//! 17 status   answer: str node | u8 1, str leader | u8 0 | u16 count of nodes, each
//!             str name | str address | u8 role | u8 running | u8 1, u64 lag | u8 0
//!
//! role     0 leader | 1 follower | 2 outside
//! running  0 no | 1 yes | 2 nobody knows
//! ```

use super::types::{malformed, put_optional, put_text, take, take_optional, take_text, take_u64};
use crate::cluster_status::{ClusterStatus, NodeStatus, Role};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;

/// Asks for what a node knows of itself and of the cluster that it belongs to.
pub(super) const STATE: u8 = 16;

/// Asks the leader how all nodes stand.
pub(super) const STATUS: u8 = 17;

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
