//! The tables of what is not a message: exchanges and bindings, what was seen, users and what they
//! may do, policies, global parameters.

use super::checked::{Checked, Transaction};
use super::table::{
    BINDINGS, EXCHANGES, GLOBAL_PARAMETERS, PERMISSIONS, POLICIES, SEEN, TOPIC_PERMISSIONS, USERS, VHOSTS,
};
use crate::auth::directory::AuthChange;
use crate::auth::vhost::VHostRecord;
use crate::policy::PolicyChange;
use crate::store::change::{BindingRecord, Change, ExchangeRecord};
use crate::store::codec::auth::{self, AuthRow, KINDS, USER, VHOST};
use crate::store::codec::policy::{self, PolicyRow};
use crate::store::codec::{parameter, record, seen};
use crate::store::error::StoreError;
use crate::store::seen::SeenRecord;
use redb::{ReadTransaction, TableHandle};

/// By kind of row.
static AUTH_TABLES: [&Checked<&[u8]>; KINDS as usize] = [&USERS, &PERMISSIONS, &TOPIC_PERMISSIONS, &VHOSTS];

/// Applies the changes that are not about queues, in their order.
pub(super) fn write(tx: &Transaction, changes: &[Change]) -> Result<(), StoreError> {
    write_topology(tx, changes)?;
    write_seen(tx, changes)?;
    write_auth(tx, changes)?;
    write_policies(tx, changes)?;
    write_parameters(tx, changes)
}

fn is_of_seen(change: &Change) -> bool {
    matches!(change, Change::Seen(_) | Change::Forget(_))
}

fn write_topology(tx: &Transaction, changes: &[Change]) -> Result<(), StoreError> {
    let is_elsewhere = |change: &Change| {
        is_of_seen(change) || matches!(change, Change::Auth(_) | Change::Policy(_) | Change::Parameter { .. })
    };
    if changes.iter().all(is_elsewhere) {
        return Ok(());
    }
    let mut exchanges = tx.open(&EXCHANGES)?;
    let mut bindings = tx.open(&BINDINGS)?;
    for change in changes {
        match change {
            Change::DeclareExchange(record) => {
                let key = record::exchange_key(&record.vhost, &record.name);
                exchanges.insert(key.as_slice(), &record::encode_exchange(record))?;
            }
            Change::DeleteExchange { vhost, name } => {
                exchanges.remove(record::exchange_key(vhost, name).as_slice())?;
            }
            Change::Bind(record) => {
                bindings.insert(record::encode_binding(record).as_slice(), &[])?;
            }
            Change::Unbind(record) => {
                bindings.remove(record::encode_binding(record).as_slice())?;
            }
            Change::Publish { .. }
            | Change::Spill { .. }
            | Change::Settle { .. }
            | Change::Requeue { .. }
            | Change::Delivered { .. }
            | Change::Stream { .. }
            | Change::DeclareQueue(_)
            | Change::DeleteQueue(_)
            | Change::Seen(_)
            | Change::Forget(_)
            | Change::Auth(_)
            | Change::Policy(_)
            | Change::Parameter { .. } => {}
        }
    }
    Ok(())
}

fn write_seen(tx: &Transaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut changes = changes.iter().filter(|change| is_of_seen(change)).peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let mut table = tx.open(&SEEN)?;
    for change in changes {
        match change {
            Change::Seen(record) => {
                table.insert(seen::encode_key(record).as_slice(), &seen::encode_row(record))?;
            }
            Change::Forget(by) => {
                let owner = seen::encode_owner(by);
                let keys = [owner.as_slice(), &[0; 8]].concat()..=[owner.as_slice(), &[0xff; 8]].concat();
                let keys = keys.start().as_slice()..=keys.end().as_slice();
                table.remove_in::<&[u8]>(keys)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_auth(tx: &Transaction, changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        let Change::Auth(change) = change else { continue };
        let AuthRow { kind, key, value } = auth::encode(change);
        let mut table = tx.open(AUTH_TABLES[usize::from(kind)])?;
        match value {
            Some(value) => table.insert(key.as_slice(), &value)?,
            None => table.remove(key.as_slice())?,
        };
    }
    Ok(())
}

fn write_policies(tx: &Transaction, changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        let Change::Policy(change) = change else { continue };
        let PolicyRow { key, value } = policy::encode(change);
        let mut table = tx.open(&POLICIES)?;
        match value {
            Some(value) => table.insert(key.as_slice(), &value)?,
            None => table.remove(key.as_slice())?,
        };
    }
    Ok(())
}

fn write_parameters(tx: &Transaction, changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        let Change::Parameter { name, value } = change else { continue };
        let mut table = tx.open(&GLOBAL_PARAMETERS)?;
        match value {
            Some(value) => table.insert(name.as_bytes(), value.as_bytes())?,
            None => table.remove(name.as_bytes())?,
        };
    }
    Ok(())
}

/// All exchanges.
pub(super) fn read_exchanges(tx: &ReadTransaction) -> Result<Vec<ExchangeRecord>, StoreError> {
    let mut exchanges = Vec::new();
    EXCHANGES.read(tx, |key, value| {
        exchanges.push(record::decode_exchange(key, value)?);
        Ok(())
    })?;
    Ok(exchanges)
}

/// All bindings.
pub(super) fn read_bindings(tx: &ReadTransaction) -> Result<Vec<BindingRecord>, StoreError> {
    let mut bindings = Vec::new();
    BINDINGS.read(tx, |key, _| {
        bindings.push(record::decode_binding(key)?);
        Ok(())
    })?;
    Ok(bindings)
}

/// Everything that was seen and counts; of each owner in ascending order of numbers.
pub(super) fn read_seen(tx: &ReadTransaction) -> Result<Vec<SeenRecord>, StoreError> {
    let mut found = Vec::new();
    SEEN.read(tx, |key, value| {
        found.push(seen::decode(key, value)?);
        Ok(())
    })?;
    found.sort_unstable_by(|one, other| (&one.by, one.number).cmp(&(&other.by, other.number)));
    Ok(found)
}

/// The changes that make all users and permissions there are; none if there never was a user.
pub(super) fn read_auth(tx: &ReadTransaction) -> Result<Option<Vec<AuthChange>>, StoreError> {
    let mut found = Vec::new();
    for (kind, table) in (0..KINDS).zip(AUTH_TABLES) {
        let is_there = table.read(tx, |key, value| {
            found.push(auth::decode(kind, key, Some(value))?);
            Ok(())
        })?;
        match kind {
            USER if !is_there => return Ok(None),
            VHOST if !is_there => found.push(AuthChange::PutVHost(VHostRecord::root())),
            _ => {}
        }
    }
    Ok(Some(found))
}

/// Makes the table of vhosts, with the one that is always there in the beginning, if the file has
/// none.
pub(super) fn make_vhosts(tx: &Transaction) -> Result<(), StoreError> {
    if tx.unchecked().list_tables()?.any(|table| table.name() == VHOSTS.name) {
        return Ok(());
    }
    write_auth(tx, &[Change::Auth(AuthChange::PutVHost(VHostRecord::root()))])
}

/// The changes that make all policies there are.
pub(super) fn read_policies(tx: &ReadTransaction) -> Result<Vec<PolicyChange>, StoreError> {
    let mut found = Vec::new();
    POLICIES.read(tx, |key, value| {
        found.push(policy::decode(key, Some(value))?);
        Ok(())
    })?;
    Ok(found)
}

/// All global parameters: names and values.
pub(super) fn read_parameters(tx: &ReadTransaction) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = Vec::new();
    GLOBAL_PARAMETERS.read(tx, |name, value| {
        found.push((parameter::decode(name)?, parameter::decode(value)?));
        Ok(())
    })?;
    Ok(found)
}
