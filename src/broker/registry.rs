//! The vhosts of a running broker, by name.
//!
//! Sessions look theirs up once and keep it. What else asks all of them (gauges, a stop, a change
//! of permissions) sees those that are there when it begins. The lock is a leaf.

use super::vhost::{BrokerContext, RecoveredVHost, VHost};
use crate::auth::vhost::{ROOT, VHostRecord};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The virtual hosts of a running broker, by name.
pub(super) struct Registry {
    vhosts: RwLock<BTreeMap<Arc<str>, Arc<VHost>>>,
    context: Arc<BrokerContext>,
    nowhere: Arc<VHost>,
    /// Held by who adds, alters or deletes one, over all of its steps.
    changing: Mutex<()>,
}

impl Registry {
    /// No vhost yet.
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        let nowhere = VHost::new("", &context);
        let _never_on_disk = nowhere.close();
        Self { vhosts: RwLock::default(), context, nowhere, changing: Mutex::new(()) }
    }

    /// What they share.
    pub(super) fn context(&self) -> &BrokerContext {
        &self.context
    }

    /// Adds a vhost in which there is what was on disk.
    pub(super) fn restore(&self, name: &str, part: &RecoveredVHost<'_>) -> Arc<VHost> {
        self.insert(VHost::recover(name, part, &self.context))
    }

    /// Adds an empty vhost, which is as the operator wants it before anybody finds it.
    pub(super) fn add(&self, record: &VHostRecord) {
        let vhost = self.prepare(&record.name);
        vhost.configure(record);
        self.insert(vhost);
    }

    /// An empty vhost that nobody finds yet: see [`Self::insert`].
    pub(super) fn prepare(&self, name: &str) -> Arc<VHost> {
        VHost::new(name, &self.context)
    }

    /// Lets everybody find a vhost.
    pub(super) fn insert(&self, vhost: Arc<VHost>) -> Arc<VHost> {
        let mut vhosts = self.vhosts.write().unwrap_or_else(PoisonError::into_inner);
        vhosts.insert(Arc::clone(&vhost.name), Arc::clone(&vhost));
        vhost
    }

    /// Forgets a vhost.
    pub(super) fn remove(&self, name: &str) {
        self.vhosts.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The vhost of that name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<VHost>> {
        self.vhosts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The vhost that is there from the beginning; [`Self::nowhere`] once that was deleted.
    pub(super) fn root(&self) -> Arc<VHost> {
        self.get(ROOT).unwrap_or_else(|| Arc::clone(&self.nowhere))
    }

    /// A vhost that no client finds, in which nothing is and nothing can be declared.
    pub(super) fn nowhere(&self) -> &Arc<VHost> {
        &self.nowhere
    }

    /// All of them, in order of their names.
    pub(super) fn all(&self) -> Vec<Arc<VHost>> {
        self.vhosts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Keeps others from adding, altering and deleting until it is dropped.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
