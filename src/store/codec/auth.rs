//! Users, vhosts and what users may do in them: the rows of `users`, `permissions`,
//! `topic_permissions` and `vhosts`.
//!
//! The table `users` comes into being with the first user that is kept: a file without one has
//! never had any. The table `vhosts` is made with the vhost `/` in it, when a file is new and when
//! it is from a time that knew no other. Strings are a u32 length and that many bytes, integers are
//! big-endian.
//!
//! ```text
//! users              key: str name                          value: flags (1 SHA-256, 2 SHA-512, 16 MD5, 4 connections are
//!                                                                  limited, 8 channels are) | str salt and hash, or nothing
//!                                                                  | u32 connections | u32 channels | str tag ...
//! permissions        key: str user | str vhost              value: str configure | str write | str read
//! topic_permissions  key: str user | str vhost | str exchange      str write | str read
//! vhosts             key: str name                          value: flags (1 connections are limited, 2 queues are, 4 has a default
//!                                                                  queue type, 8 cannot be deleted) | u32 connections | u32 queues | str description
//!                                                                  | str default queue type | str tag ...
//!                                                                  or 16 alone: it is deleted, but not all that was in it
//! ```

use super::record::{Reader, put};
use crate::auth::directory::AuthChange;
use crate::auth::password::{Algorithm, PasswordHash};
use crate::auth::permission::{Permission, TopicPermission};
use crate::auth::user::{User, UserLimits};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::store::error::StoreError;

const SHA256: u8 = 1;
const SHA512: u8 = 2;
const CONNECTIONS: u8 = 4;
const CHANNELS: u8 = 8;
const MD5: u8 = 16;
const ALGORITHMS: u8 = SHA256 | SHA512 | MD5;

const VHOST_CONNECTIONS: u8 = 1;
const VHOST_QUEUES: u8 = 2;
const VHOST_QUEUE_TYPE: u8 = 4;
const VHOST_PROTECTED: u8 = 8;

/// The value of a vhost that is deleted, while there are rows yet of what was in it.
const VHOST_DELETING: [u8; 1] = [16];

/// What a row is about: which table has it.
pub(in crate::store) type Kind = u8;

pub(in crate::store) const USER: Kind = 0;
const PERMISSION: Kind = 1;
const TOPIC_PERMISSION: Kind = 2;
pub(in crate::store) const VHOST: Kind = 3;

/// How many kinds of rows there are.
pub(in crate::store) const KINDS: Kind = 4;

/// A change as bytes.
pub(in crate::store) struct AuthRow {
    pub(in crate::store) kind: Kind,
    pub(in crate::store) key: Vec<u8>,
    /// None takes the row away.
    pub(in crate::store) value: Option<Vec<u8>>,
}

pub(in crate::store) fn encode(change: &AuthChange) -> AuthRow {
    let (kind, key, value) = match change {
        AuthChange::PutUser(user) => (USER, strings(&[&user.name]), Some(encode_user(user))),
        AuthChange::DeleteUser { name } => (USER, strings(&[name]), None),
        AuthChange::PutPermission(Permission { user, vhost, configure, write, read }) => {
            (PERMISSION, strings(&[user, vhost]), Some(strings(&[configure, write, read])))
        }
        AuthChange::DeletePermission { user, vhost } => (PERMISSION, strings(&[user, vhost]), None),
        AuthChange::PutTopicPermission(TopicPermission { user, vhost, exchange, write, read }) => {
            (TOPIC_PERMISSION, strings(&[user, vhost, exchange]), Some(strings(&[write, read])))
        }
        AuthChange::DeleteTopicPermission { user, vhost, exchange } => {
            (TOPIC_PERMISSION, strings(&[user, vhost, exchange]), None)
        }
        AuthChange::PutVHost(record) => (VHOST, strings(&[&record.name]), Some(encode_vhost(record))),
        AuthChange::BeginVHostDeletion { name } => (VHOST, strings(&[name]), Some(VHOST_DELETING.to_vec())),
        AuthChange::DeleteVHost { name } => (VHOST, strings(&[name]), None),
    };
    AuthRow { kind, key, value }
}

pub(in crate::store) fn decode(
    kind: Kind,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<AuthChange, StoreError> {
    match kind {
        USER => {
            let [name] = texts("users", key)?;
            Ok(match value {
                Some(value) => AuthChange::PutUser(decode_user(name, value)?),
                None => AuthChange::DeleteUser { name },
            })
        }
        PERMISSION => {
            let [user, vhost] = texts("permissions", key)?;
            let Some(value) = value else { return Ok(AuthChange::DeletePermission { user, vhost }) };
            let [configure, write, read] = texts("permissions", value)?;
            Ok(AuthChange::PutPermission(Permission { user, vhost, configure, write, read }))
        }
        VHOST => {
            let [name] = texts("vhosts", key)?;
            Ok(match value {
                Some(value) if value == VHOST_DELETING => AuthChange::BeginVHostDeletion { name },
                Some(value) => AuthChange::PutVHost(decode_vhost(name, value)?),
                None => AuthChange::DeleteVHost { name },
            })
        }
        _ => {
            let [user, vhost, exchange] = texts("topic_permissions", key)?;
            let Some(value) = value else {
                return Ok(AuthChange::DeleteTopicPermission { user, vhost, exchange });
            };
            let [write, read] = texts("topic_permissions", value)?;
            Ok(AuthChange::PutTopicPermission(TopicPermission { user, vhost, exchange, write, read }))
        }
    }
}

fn encode_user(user: &User) -> Vec<u8> {
    let algorithm = user.password.as_ref().map_or(0, |password| match password.algorithm() {
        Algorithm::Sha256 => SHA256,
        Algorithm::Sha512 => SHA512,
        Algorithm::Md5 => MD5,
    });
    let UserLimits { connections_max, channels_max } = user.limits;
    let connections = if connections_max.is_some() { CONNECTIONS } else { 0 };
    let channels = if channels_max.is_some() { CHANNELS } else { 0 };
    let mut row = vec![algorithm | connections | channels];
    put(&mut row, user.password.as_ref().map_or(&[], |password| password.as_bytes()));
    row.extend_from_slice(&connections_max.unwrap_or_default().to_be_bytes());
    row.extend_from_slice(&channels_max.unwrap_or_default().to_be_bytes());
    user.tags.iter().for_each(|tag| put(&mut row, tag.as_bytes()));
    row
}

fn decode_user(name: String, row: &[u8]) -> Result<User, StoreError> {
    let mut reader = Reader { table: "users", rest: row };
    let flags = reader.flags(ALGORITHMS | CONNECTIONS | CHANNELS)?;
    let hash = reader.bytes()?;
    let password = match flags & ALGORITHMS {
        0 if hash.is_empty() => None,
        SHA256 => PasswordHash::from_bytes(Algorithm::Sha256, &hash),
        SHA512 => PasswordHash::from_bytes(Algorithm::Sha512, &hash),
        MD5 => PasswordHash::from_bytes(Algorithm::Md5, &hash),
        _ => return Err(reader.malformed()),
    };
    if password.is_none() && !hash.is_empty() || flags & ALGORITHMS != 0 && password.is_none() {
        return Err(reader.malformed());
    }
    let (connections, channels) = (reader.u32()?, reader.u32()?);
    let limit = |flag, value| match (flags & flag, value) {
        (0, 0) => Ok(None),
        (0, _) => Err(reader.malformed()),
        _ => Ok(Some(value)),
    };
    let limits = UserLimits {
        connections_max: limit(CONNECTIONS, connections)?,
        channels_max: limit(CHANNELS, channels)?,
    };
    let mut tags = Vec::new();
    while !reader.rest.is_empty() {
        tags.push(reader.text()?);
    }
    Ok(User { name, password, tags, limits })
}

fn encode_vhost(record: &VHostRecord) -> Vec<u8> {
    let VHostLimits { connections_max, queues_max } = record.limits;
    let connections = if connections_max.is_some() { VHOST_CONNECTIONS } else { 0 };
    let queues = if queues_max.is_some() { VHOST_QUEUES } else { 0 };
    let kind = if record.default_queue_type.is_some() { VHOST_QUEUE_TYPE } else { 0 };
    let protected = if record.protected { VHOST_PROTECTED } else { 0 };
    let mut row = vec![connections | queues | kind | protected];
    row.extend_from_slice(&connections_max.unwrap_or_default().to_be_bytes());
    row.extend_from_slice(&queues_max.unwrap_or_default().to_be_bytes());
    put(&mut row, record.description.as_bytes());
    put(&mut row, record.default_queue_type.as_deref().unwrap_or_default().as_bytes());
    record.tags.iter().for_each(|tag| put(&mut row, tag.as_bytes()));
    row
}

fn decode_vhost(name: String, row: &[u8]) -> Result<VHostRecord, StoreError> {
    let mut reader = Reader { table: "vhosts", rest: row };
    let flags = reader.flags(VHOST_CONNECTIONS | VHOST_QUEUES | VHOST_QUEUE_TYPE | VHOST_PROTECTED)?;
    let (connections, queues) = (reader.u32()?, reader.u32()?);
    let (description, kind) = (reader.text()?, reader.text()?);
    let has = |flag| flags & flag != 0;
    let unsaid = !has(VHOST_CONNECTIONS) && connections != 0
        || !has(VHOST_QUEUES) && queues != 0
        || has(VHOST_QUEUE_TYPE) == kind.is_empty();
    if unsaid {
        return Err(reader.malformed());
    }
    let limits = VHostLimits {
        connections_max: has(VHOST_CONNECTIONS).then_some(connections),
        queues_max: has(VHOST_QUEUES).then_some(queues),
    };
    let default_queue_type = has(VHOST_QUEUE_TYPE).then_some(kind);
    let mut tags = Vec::new();
    while !reader.rest.is_empty() {
        tags.push(reader.text()?);
    }
    let protected = has(VHOST_PROTECTED);
    Ok(VHostRecord { name, description, tags, default_queue_type, limits, protected })
}

fn strings(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    parts.iter().for_each(|part| put(&mut bytes, part.as_bytes()));
    bytes
}

fn texts<const N: usize>(table: &'static str, bytes: &[u8]) -> Result<[String; N], StoreError> {
    let mut reader = Reader { table, rest: bytes };
    let mut texts = [const { String::new() }; N];
    for text in &mut texts {
        *text = reader.text()?;
    }
    reader.end()?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        let hash = [&b"salt"[..], &[7; 32]].concat();
        User {
            name: "u".to_owned(),
            password: PasswordHash::from_bytes(Algorithm::Sha256, &hash),
            tags: vec!["administrator".to_owned()],
            limits: UserLimits { connections_max: None, channels_max: Some(9) },
        }
    }

    fn permission() -> Permission {
        let [user, vhost, configure, write, read] = ["u", "/", ".*", "", "^q"].map(str::to_owned);
        Permission { user, vhost, configure, write, read }
    }

    fn topic() -> TopicPermission {
        let [user, vhost, exchange, write, read] = ["u", "/", "t", "a", "b"].map(str::to_owned);
        TopicPermission { user, vhost, exchange, write, read }
    }

    fn vhost() -> VHostRecord {
        VHostRecord {
            description: "d".to_owned(),
            tags: vec!["t".to_owned()],
            default_queue_type: Some("quorum".to_owned()),
            limits: VHostLimits { connections_max: Some(7), queues_max: None },
            protected: true,
            ..VHostRecord::named("v")
        }
    }

    fn changes() -> [AuthChange; 9] {
        let [user, vhost, exchange] = ["u", "/", "t"].map(str::to_owned);
        [
            AuthChange::PutUser(self::user()),
            AuthChange::DeleteUser { name: "u".to_owned() },
            AuthChange::PutPermission(permission()),
            AuthChange::DeletePermission { user: user.clone(), vhost: vhost.clone() },
            AuthChange::PutTopicPermission(topic()),
            AuthChange::DeleteTopicPermission { user, vhost, exchange },
            AuthChange::PutVHost(self::vhost()),
            AuthChange::BeginVHostDeletion { name: "v".to_owned() },
            AuthChange::DeleteVHost { name: "v".to_owned() },
        ]
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn rows_are_as_drawn() {
        let row = encode(&AuthChange::PutUser(user()));
        assert_eq!((row.kind, row.key.as_slice()), (USER, &b"\0\0\0\x01u"[..]));
        let value = row.value.unwrap();
        assert_eq!(value[..9], *b"\x09\0\0\0\x24salt");
        assert_eq!(value[41..], *b"\0\0\0\0\0\0\0\x09\0\0\0\x0dadministrator");
        let row = encode(&AuthChange::PutPermission(permission()));
        assert_eq!((row.kind, row.key.as_slice()), (PERMISSION, &b"\0\0\0\x01u\0\0\0\x01/"[..]));
        assert_eq!(row.value.unwrap(), b"\0\0\0\x02.*\0\0\0\0\0\0\0\x02^q");
        let row = encode(&AuthChange::PutTopicPermission(topic()));
        assert_eq!(
            (row.kind, row.key.as_slice()),
            (TOPIC_PERMISSION, &b"\0\0\0\x01u\0\0\0\x01/\0\0\0\x01t"[..])
        );
        assert_eq!(row.value.unwrap(), b"\0\0\0\x01a\0\0\0\x01b");
        let row = encode(&AuthChange::PutVHost(vhost()));
        assert_eq!((row.kind, row.key.as_slice()), (VHOST, &b"\0\0\0\x01v"[..]));
        let value = b"\x0d\0\0\0\x07\0\0\0\0\0\0\0\x01d\0\0\0\x06quorum\0\0\0\x01t";
        assert_eq!(row.value.unwrap(), value);
    }

    #[test]
    fn every_change_comes_back() {
        for change in changes() {
            let AuthRow { kind, key, value } = encode(&change);
            assert_eq!(decode(kind, &key, value.as_deref()).unwrap(), change);
        }
        let bare = User { password: None, tags: Vec::new(), limits: UserLimits::default(), ..user() };
        let old = PasswordHash::from_bytes(Algorithm::Md5, b"saltsixteen bytes ..");
        for user in [User { password: old, ..user() }, bare] {
            let AuthRow { kind, key, value } = encode(&AuthChange::PutUser(user.clone()));
            assert_eq!(decode(kind, &key, value.as_deref()).unwrap(), AuthChange::PutUser(user));
        }
    }

    #[test]
    fn malformed_rows_are_refused() {
        for change in changes() {
            let AuthRow { kind, key, value } = encode(&change);
            for end in 0..key.len() {
                assert!(decode(kind, &key[..end], value.as_deref()).is_err(), "cut at {end}");
            }
            let Some(value) = value else { continue };
            // A user without its last tag is a user, and so it is with vhosts.
            let whole = (kind == USER).then_some(49).or((kind == VHOST).then_some(24));
            let cuts = (0..value.len()).filter(|&end| Some(end) != whole);
            for end in cuts {
                assert!(decode(kind, &key, Some(&value[..end])).is_err(), "cut at {end}");
            }
        }
        let AuthRow { key, value, .. } = encode(&AuthChange::PutUser(user()));
        let mut value = value.unwrap();
        for flags in [0, 1, 2, 3, 0x0a, 0x10] {
            value[0] = flags;
            assert!(decode(USER, &key, Some(&value)).is_err(), "flags {flags}");
        }
        let AuthRow { key, value, .. } = encode(&AuthChange::PutVHost(vhost()));
        let mut value = value.unwrap();
        for flags in [0, 1, 4, 8, 21] {
            value[0] = flags;
            assert!(decode(VHOST, &key, Some(&value)).is_err(), "flags {flags}");
        }
        let bare = AuthChange::PutVHost(VHostRecord::named("v"));
        let AuthRow { key, value, .. } = encode(&bare);
        assert_eq!(decode(VHOST, &key, value.as_deref()).unwrap(), bare);
    }
}
