//! The users of a running broker, who of them is connected, and what each may do in which vhost.
//!
//! A connection keeps the [`Grants`] of its user and asks for them again once [`Accounts::epoch`]
//! is another number; there is nothing else on its way. A change is first made here, then the epoch
//! is counted up, then routes are renewed and the connections woken: whoever sees a later step sees
//! the earlier ones.
//!
//! The lock is a leaf but for the log.

use crate::auth::directory::{AuthChange, Directory};
use crate::auth::password::PasswordHash;
use crate::auth::permission::{Grants, Permission};
use crate::auth::user::{ADMINISTRATOR, User, UserLimits};
use crate::auth::vhost::VHostRecord;
use crate::broker::quotas::Quotas;
use crate::ids::{ConnectionId, Ticket};
use crate::queue::mailbox::Mailbox;
use crate::store::change::{Change, Log};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use tracing::warn;

/// The user of a broker that never had another, and its password.
pub const DEFAULT_USER: &str = "guest";

/// Why a login is refused: for the log, the client is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such user.
    UnknownUser,
    /// The password is another one, empty, or the user has none.
    WrongPassword,
    /// The user may come from this machine only.
    NotLocal,
}

impl Refusal {
    /// The reason in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::UnknownUser => "there is no such user",
            Self::WrongPassword => "the password is wrong",
            Self::NotLocal => "the user can only connect from this machine",
        }
    }
}

/// The users of a running broker, their permissions and their connections.
pub struct Accounts {
    state: RwLock<State>,
    epoch: AtomicU64,
    /// There never were users before.
    fresh: bool,
    log: Arc<dyn Log>,
    /// Users who may come from this machine only.
    local_only: RwLock<Vec<String>>,
    /// What a password is compared with when there is no user, so that this takes as long.
    nobody: PasswordHash,
}

pub(super) struct State {
    pub(super) directory: Directory,
    /// When it is durable, all of `directory` is.
    ticket: Ticket,
    /// Connections of users that are there; a connection whose user was deleted is not among them
    /// any more.
    pub(super) logins: BTreeMap<ConnectionId, Login>,
    /// By user and vhost; as many at most as there are users and vhosts that met.
    grants: BTreeMap<(String, String), Arc<Grants>>,
    /// What users have who have been there; as many at most as there are users.
    pub(super) places: BTreeMap<String, Arc<Quotas>>,
}

pub(super) struct Login {
    pub(super) user: String,
    /// The vhost it has entered.
    pub(super) vhost: Option<Arc<str>>,
    mailbox: Weak<Mailbox>,
}

impl Accounts {
    /// Starts with what was on disk; the first time with the default user, who is in memory only
    /// until [`Self::keep_default_user`].
    pub(super) fn recover(
        recovered: Option<Vec<AuthChange>>,
        log: Arc<dyn Log>,
        local_only: Vec<String>,
    ) -> Self {
        let mut directory = Directory::default();
        let fresh = recovered.is_none();
        recovered.unwrap_or_else(first_users).into_iter().for_each(|change| directory.apply(change));
        let (logins, grants, places) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let state = State { directory, ticket: Ticket(0), logins, grants, places };
        let (epoch, nobody) = (AtomicU64::new(1), PasswordHash::of(DEFAULT_USER.as_bytes()));
        Self { state: RwLock::new(state), fresh, epoch, log, local_only: RwLock::new(local_only), nobody }
    }

    /// Whether there never were users before this start, which has made the default one.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Writes the default user to disk, if this start has made it and it is still there. Until then
    /// a start that fails, or is killed, leaves data without users, and the next one is the first.
    pub fn keep_default_user(&self) {
        if !self.fresh {
            return;
        }
        let mut state = self.write();
        let user = state.directory.user(DEFAULT_USER).cloned().map(AuthChange::PutUser);
        let own = |permission: &&Permission| permission.user == DEFAULT_USER;
        let permissions = state.directory.permissions().filter(own).cloned().map(AuthChange::PutPermission);
        let mut changes: Vec<_> = user.into_iter().chain(permissions).map(Change::Auth).collect();
        if !changes.is_empty() {
            state.ticket = self.log.append(&mut changes);
        }
    }

    /// Other users may come from this machine only, from their next login on.
    pub fn set_local_only(&self, users: Vec<String>) {
        *self.local_only.write().unwrap_or_else(PoisonError::into_inner) = users;
    }

    fn local_only(&self) -> RwLockReadGuard<'_, Vec<String>> {
        self.local_only.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number after each change. Never 0.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether this is the password of that user. An empty one is what a client sends that has
    /// none.
    #[must_use]
    pub fn is_password(&self, user: &str, password: &[u8]) -> bool {
        let known = self.read().directory.user(user).and_then(|user| user.password.clone());
        known.as_ref().unwrap_or(&self.nobody).verify(password) && known.is_some() && !password.is_empty()
    }

    /// Lets a user in, or not; without a password when something else has shown who it is. From
    /// then on [`Accounts::grants`] knows the connection, which has to be logged out.
    ///
    /// # Errors
    /// Why not.
    pub fn log_in(
        &self,
        connection: ConnectionId,
        (user, password): (&str, Option<&[u8]>),
        is_local: bool,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), Refusal> {
        let known = self.identify(user, password, is_local)?;
        let mut state = self.write();
        let still = state.directory.user(user);
        if still.map(|user| &user.password) != Some(&known) {
            return Err(Refusal::WrongPassword);
        }
        let is_weak = password.is_some() && still.is_some_and(User::has_weak_password);
        state.logins.insert(
            connection,
            Login { user: user.to_owned(), vhost: None, mailbox: Arc::downgrade(mailbox) },
        );
        drop(state);
        if is_weak {
            warn!(user, "the password is hashed with MD5, which is not safe: change it");
        }
        Ok(())
    }

    /// Whether somebody without a connection is let in: the password is that of the user, who may
    /// come from there.
    ///
    /// # Errors
    /// Why not.
    pub fn authenticate(&self, user: &str, password: &[u8], is_local: bool) -> Result<(), Refusal> {
        self.identify(user, Some(password), is_local).map(|_hash| ())
    }

    /// The hash of the user's password, for which `password` is right if there is one, and the user
    /// may come from there.
    fn identify(
        &self,
        user: &str,
        password: Option<&[u8]>,
        is_local: bool,
    ) -> Result<Option<PasswordHash>, Refusal> {
        let known = self.read().directory.user(user).map(|user| user.password.clone());
        let right = password.is_none_or(|password| self.is_password(user, password));
        let known = known.ok_or(Refusal::UnknownUser)?;
        if !right {
            return Err(Refusal::WrongPassword);
        }
        if !is_local && self.local_only().iter().any(|local| local == user) {
            return Err(Refusal::NotLocal);
        }
        Ok(known)
    }

    /// A connection is gone.
    pub fn log_out(&self, connection: ConnectionId) {
        self.write().logins.remove(&connection);
    }

    /// What the user of a connection may do in a vhost; none once the user was deleted.
    #[must_use]
    pub fn grants(&self, connection: ConnectionId, vhost: &str) -> Option<Arc<Grants>> {
        self.grants_for(vhost, |state| Some(&state.logins.get(&connection)?.user))
    }

    /// What a user may do in a vhost that exists; none if there is no such user.
    #[must_use]
    pub fn grants_of(&self, user: &str, vhost: &str) -> Option<Arc<Grants>> {
        self.grants_for(vhost, |state| Some(&state.directory.user(user)?.name))
    }

    fn grants_for(&self, vhost: &str, user: impl Fn(&State) -> Option<&String>) -> Option<Arc<Grants>> {
        let state = self.read();
        let place = (user(&state)?.clone(), vhost.to_owned());
        if let Some(grants) = state.grants.get(&place) {
            return Some(Arc::clone(grants));
        }
        drop(state);
        let mut state = self.write();
        // It may have been deleted meanwhile.
        user(&state)?;
        let grants = Arc::new(state.directory.grants(&place.0, vhost));
        Some(Arc::clone(state.grants.entry(place).or_insert(grants)))
    }

    /// Shows all users and permissions.
    pub(super) fn show<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        look(&self.read().directory)
    }

    /// Makes the changes that `decide` wants, and returns what it returns; when that is an error,
    /// none. The mailboxes are of the connections to be woken once routes are renewed.
    pub(super) fn change<E>(
        &self,
        decide: impl FnOnce(&Directory) -> Result<Vec<AuthChange>, E>,
    ) -> Result<(Ticket, Vec<Arc<Mailbox>>), E> {
        let mut state = self.write();
        let changes = decide(&state.directory)?;
        Ok(self.make(&mut state, changes))
    }

    /// Makes these changes, as [`Self::change`] does. Apart from it, as that is compiled anew for
    /// each way to decide.
    fn make(&self, state: &mut State, changes: Vec<AuthChange>) -> (Ticket, Vec<Arc<Mailbox>>) {
        if changes.is_empty() {
            return (state.ticket, Vec::new());
        }
        let mut woken = Vec::new();
        for change in &changes {
            state.directory.apply(change.clone());
            match change {
                AuthChange::PutUser(user) => {
                    state.places.get(&user.name).iter().for_each(|places| places.set_limits(user.limits));
                }
                AuthChange::DeleteUser { name } => {
                    // Those who are still there give their places back to nobody: another user of
                    // that name begins anew.
                    state.places.remove(name);
                    woken.extend(state.leaving(|login| login.user == *name));
                    state.logins.retain(|_, login| login.user != *name);
                }
                AuthChange::BeginVHostDeletion { name } | AuthChange::DeleteVHost { name } => {
                    woken.extend(state.leaving(|login| login.vhost.as_deref() == Some(name)));
                }
                _ => {}
            }
        }
        state.grants.clear();
        state.ticket = self.log.append(&mut changes.into_iter().map(Change::Auth).collect());
        self.epoch.fetch_add(1, Ordering::Release);
        (state.ticket, woken)
    }

    /// Whether nobody can log in but the default user with its default password.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        let state = self.read();
        let mut able = state.directory.users().filter(|user| user.password.is_some());
        let first = able.next();
        let is_default = |user: &User| {
            user.name == DEFAULT_USER
                && user.password.as_ref().is_some_and(|hash| hash.verify(DEFAULT_USER.as_bytes()))
        };
        first.is_some_and(is_default) && able.next().is_none()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The mailboxes of those connections that `goes` picks.
    fn leaving(&self, goes: impl Fn(&Login) -> bool) -> Vec<Arc<Mailbox>> {
        let leaving = self.logins.values().filter(|login| goes(login));
        leaving.filter_map(|login| login.mailbox.upgrade()).collect()
    }
}

/// Who there is when nobody ever was: one who may do everything, for a start.
fn first_users() -> Vec<AuthChange> {
    let user = User {
        name: DEFAULT_USER.to_owned(),
        password: Some(PasswordHash::of(DEFAULT_USER.as_bytes())),
        tags: vec![ADMINISTRATOR.to_owned()],
        limits: UserLimits::default(),
    };
    let [user_name, vhost, configure, write, read] = [DEFAULT_USER, "/", ".*", ".*", ".*"].map(str::to_owned);
    let permission = Permission { user: user_name, vhost, configure, write, read };
    let root = AuthChange::PutVHost(VHostRecord::root());
    vec![root, AuthChange::PutUser(user), AuthChange::PutPermission(permission)]
}
