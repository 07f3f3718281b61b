//! The vhosts of a running broker, by name.
//!
//! Sessions look theirs up once and keep it. What else asks all of them (gauges, a stop, a change
//! of permissions) sees those that are there when it begins. The lock is a leaf.

use super::sweeps::Order;
use super::vhost::{BrokerContext, RecoveredVHost, VHost};
use crate::auth::vhost::{ROOT, VHostRecord};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The virtual hosts of a running broker, by name.
pub(super) struct Registry {
    vhosts: RwLock<BTreeMap<Arc<str>, Arc<VHost>>>,
    context: Arc<BrokerContext>,
    nowhere: Arc<VHost>,
    /// Those that are deleted, but not all that was in them.
    leaving: Mutex<BTreeMap<Arc<str>, Arc<VHost>>>,
    /// Held by who adds, alters or deletes one, over all of its steps.
    changing: Mutex<()>,
}

impl Registry {
    /// No vhost yet.
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        let nowhere = VHost::new("", &context);
        let _never_on_disk = nowhere.close();
        let (vhosts, leaving, changing) = Default::default();
        Self { vhosts, context, nowhere, leaving, changing }
    }

    /// What they share.
    pub(super) fn context(&self) -> &BrokerContext {
        &self.context
    }

    /// Adds a vhost in which there is what was on disk.
    pub(super) fn restore(&self, name: &str, part: &RecoveredVHost<'_>) -> Arc<VHost> {
        self.insert(VHost::recover(name, part, &self.context))
    }

    /// A vhost that is deleted, with what is left of it.
    pub(super) fn restore_leaving(&self, name: &str, part: &RecoveredVHost<'_>) {
        let vhost = VHost::recover(name, part, &self.context);
        vhost.shut();
        self.leave(vhost);
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

    /// Forgets a vhost of which there is something left: no other has its name before
    /// [`Self::let_go`].
    pub(super) fn leave(&self, vhost: Arc<VHost>) {
        self.leaving().insert(Arc::clone(&vhost.name), Arc::clone(&vhost));
        self.remove(&vhost.name);
        self.context.sweeps.order(Order::VHost(vhost));
    }

    /// The vhost that had this name, if there is something left of it.
    pub(super) fn leaving_from(&self, name: &str) -> Option<Arc<VHost>> {
        self.leaving().get(name).cloned()
    }

    /// Whether there is something left of a vhost that had this name, or of any.
    pub(super) fn is_leaving(&self, name: Option<&str>) -> bool {
        let leaving = self.leaving();
        name.map_or(!leaving.is_empty(), |name| leaving.contains_key(name))
    }

    /// Nothing is left of a vhost: `tell` says so to the log, the first time.
    pub(super) fn let_go(&self, vhost: &Arc<VHost>, tell: impl FnOnce()) {
        let mut leaving = self.leaving();
        if leaving.get(&vhost.name).is_some_and(|found| Arc::ptr_eq(found, vhost)) {
            tell();
            leaving.remove(&vhost.name);
        }
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<VHost>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
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
