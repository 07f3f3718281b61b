//! The tables as openraft uses them.
//!
//! They keep what is applied, so a snapshot is only what a node gets that is too far behind for the
//! log; as the log is not purged yet, there is nobody of that kind, and none is made.

use super::log_store::LogStore;
use super::types::{Members, RaftId, TypeConfig, of_raft_id, to_raft_id};
use crate::blocking;
use crate::store::replica::{Outcome, Replica};
use futures_core::Stream;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

type Meta = SnapshotMeta<super::types::Leader, super::types::NodeId, super::types::Peer>;
type NoSnapshot = Snapshot<super::types::Leader, super::types::NodeId, super::types::Peer, ()>;

/// The tables, and where it is noted who the members are.
pub(super) struct StateMachine {
    replica: Replica,
    log: LogStore,
}

impl StateMachine {
    pub(super) fn new(replica: Replica, log: LogStore) -> Self {
        Self { replica, log }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = ();
    type SnapshotBuilder = NoBuilder;

    async fn applied_state(&mut self) -> Result<(Option<RaftId>, Members), io::Error> {
        Ok((self.replica.applied().map(to_raft_id), self.log.members()?))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = poll_fn(|context| Pin::new(&mut entries).poll_next(context)).await {
            let (entry, responder) = next?;
            let id = of_raft_id(&entry.log_id);
            let outcome = match entry.payload {
                EntryPayload::Blank => {
                    self.replica.pass_over(id);
                    Outcome::Applied
                }
                EntryPayload::Normal(data) => {
                    blocking::run(|| self.replica.apply(id, &data.0)).map_err(io::Error::other)?
                }
                EntryPayload::Membership(members) => {
                    // On disk before the tables may be, with this entry in them.
                    self.log.note_members(&Members::new(Some(entry.log_id), members))?;
                    self.replica.pass_over(id);
                    Outcome::Applied
                }
            };
            responder.into_iter().for_each(|responder| responder.send(outcome));
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> NoBuilder {
        NoBuilder
    }

    async fn install_snapshot(&mut self, _meta: &Meta, (): ()) -> Result<(), io::Error> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<NoSnapshot>, io::Error> {
        Ok(None)
    }
}

/// Makes no snapshots.
pub(super) struct NoBuilder;

impl RaftSnapshotBuilder<TypeConfig> for NoBuilder {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<NoSnapshot, io::Error> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this version makes and takes no snapshots")
}
