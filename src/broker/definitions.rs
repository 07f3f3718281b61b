//! Definitions: users, vhosts, what users may do, policies, and what is declared, taken in as one
//! (RabbitMQ: definitions.md).
//!
//! Everything is looked at first; then it is made, which cannot fail any more. Users, vhosts and
//! policies that are there become what the definitions say; queues and exchanges that are there
//! stay what they are.
//!
//! A few things are made in one atomic batch, so that they are on disk whole or not at all. Many
//! would keep everybody else from the disk: they are made in parts, each of which waits until there
//! is room in the log. A crash between two leaves those that were made, in the order in which they
//! need each other; nobody was told that all of them are there, and to make them again makes the
//! rest. So does a shortage of disk or memory that begins between two; while there is one, no more
//! is made than a little: see `scarcity`.

use super::accounts::Accounts;
use super::parameters::GlobalParameters;
use super::policies::{POLICIES_MAX, Policies, PolicyBook};
use super::users::USERS_MAX;
use super::vhost::{BrokerContext, DEFINED_AT_ONCE, Draft, VHost};
use super::vhosts::VHosts;
use crate::auth::directory::{AuthChange, Directory};
use crate::auth::permission::{Permission, TopicPermission};
use crate::auth::user::{User, check_name, tags};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::clock::Now;
use crate::error::Scarce;
use crate::ids::Ticket;
use crate::policy::{Policy, Rank};
use crate::routing::topology::Defined as Amount;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

/// Bytes that a user, a permission or a policy has, about.
const SOMETHING: usize = 512;

/// What there is to be.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// Vhosts.
    pub vhosts: Vec<VHostRecord>,
    /// Limits of vhosts, which are among them or there already.
    pub vhost_limits: Vec<(String, VHostLimits)>,
    /// Users.
    pub users: Vec<User>,
    /// What users may do.
    pub permissions: Vec<Permission>,
    /// Which keys they may use.
    pub topic_permissions: Vec<TopicPermission>,
    /// Policies of both ranks.
    pub policies: Vec<(Rank, Policy)>,
    /// Global parameters: names, and values as JSON texts.
    pub parameters: Vec<(String, String)>,
    /// What is declared, by vhost.
    pub drafts: BTreeMap<String, Draft>,
}

/// What is made of definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All that can be; what cannot is left out, if the rest does without it.
    Lenient,
    /// All of it, or nothing.
    Strict,
    /// Nothing: it is only looked whether it could be.
    Look,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    /// When it is durable, all of it is.
    pub ticket: Ticket,
    /// Queues and exchanges that are there and differ, in words.
    pub kept: Vec<String>,
    /// Bindings that lack an end and are left out, in words.
    pub skipped: Vec<String>,
    /// Why not all of it is made.
    pub stopped: Option<Scarce>,
}

/// Why nothing is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDefined {
    /// Something cannot be made, a sentence each.
    Faults(Vec<String>),
    /// It is too much while there is too little of something.
    Scarce(Scarce),
}

impl From<Vec<String>> for NotDefined {
    fn from(faults: Vec<String>) -> Self {
        Self::Faults(faults)
    }
}

impl Definitions {
    /// Makes what there is to be; nothing, when some of it cannot be made or there are `faults`
    /// already.
    ///
    /// # Errors
    /// All faults, or there is no room.
    pub fn make(
        mut self,
        vhosts: VHosts<'_>,
        policies: Policies<'_>,
        parameters: &GlobalParameters,
        (mut faults, mode): (Vec<String>, Mode),
        now: Now,
    ) -> Result<Defined, NotDefined> {
        let registry = vhosts.registry;
        let named = self.vhosts.iter().map(|record| &record.name).chain(self.drafts.keys());
        let _alone = vhosts.change_without(&named.map(String::as_str));
        self.limit_vhosts(vhosts, &mut faults);
        self.check(vhosts, policies, &mut faults);
        faults.extend(parameters.faults_of(&self.parameters));
        let named = self.vhosts.iter().map(|record| &record.name).chain(self.drafts.keys());
        let names: BTreeSet<String> = named.cloned().collect();
        let place = |name: &String| registry.get(name).unwrap_or_else(|| registry.prepare(name));
        let places: Vec<Arc<VHost>> = names.iter().map(place).collect();
        let is_new = |place: &Arc<VHost>| registry.get(&place.name).is_none();
        for record in &self.vhosts {
            // A new one has its default type before its queues are looked at.
            places
                .iter()
                .filter(|of| *of.name == *record.name && is_new(of))
                .for_each(|of| of.configure(record));
        }
        let records = self.vhosts.clone();
        let governed: BTreeSet<String> =
            self.policies.iter().map(|(_, policy)| policy.vhost.clone()).collect();
        let defined =
            self.make_in(&places, (vhosts.accounts, registry.context(), parameters), (faults, mode), now);
        for place in places.into_iter().filter(is_new) {
            if defined.is_ok() && mode != Mode::Look {
                registry.insert(place);
            } else {
                let _never_on_disk = place.close();
            }
        }
        let defined = defined?;
        if mode == Mode::Look {
            return Ok(defined);
        }
        for record in &records {
            if let Some(place) = registry.get(&record.name) {
                place.configure(record);
            }
        }
        for place in registry.all() {
            if governed.contains(&*place.name) {
                policies.apply(&place, now);
            } else {
                place.renew_routes();
            }
        }
        Ok(defined)
    }

    /// How many changes these are, at most.
    fn len(&self) -> usize {
        let who = self.users.len() + self.permissions.len() + self.topic_permissions.len();
        let drafts: usize = self.drafts.values().map(Draft::len).sum();
        self.vhosts.len() + self.policies.len() + self.parameters.len() + who + drafts
    }

    /// As [`Self::make`], in the vhosts concerned, in order of their names.
    fn make_in(
        mut self,
        places: &[Arc<VHost>],
        (accounts, context, parameters): (&Accounts, &BrokerContext, &GlobalParameters),
        (mut faults, mode): (Vec<String>, Mode),
        now: Now,
    ) -> Result<Defined, NotDefined> {
        let (log, scarcity, is_small) = (&context.log, &context.scarcity, self.len() <= DEFINED_AT_ONCE);
        let mut checked = Vec::with_capacity(places.len());
        for place in places {
            let draft = self.drafts.remove(&*place.name).unwrap_or_default();
            checked.push(place.definitions().check(draft, &mut faults));
        }
        if mode == Mode::Strict {
            checked.iter_mut().for_each(|checked| faults.append(&mut checked.skipped));
        }
        let (mut kept, mut skipped) = (Vec::new(), Vec::new());
        for checked in &mut checked {
            kept.append(&mut checked.kept);
            skipped.append(&mut checked.skipped);
        }
        if mode == Mode::Look {
            accounts.show(|directory| self.changes(directory, faults))?;
            return Ok(Defined { ticket: Ticket(0), kept, skipped, stopped: None });
        }
        // Under a shortage nothing begins that could not be made whole.
        let (was_scarce, stopped) = (scarcity.now().is_some(), Cell::new(None));
        if was_scarce && faults.is_empty() {
            let elsewhere = self.amount(accounts, &context.policies, parameters);
            let more = checked.iter().fold(elsewhere, |mut sum, checked| {
                sum += checked.new;
                sum
            });
            scarcity.admit(context.defined(), || more).map_err(NotDefined::Scarce)?;
            scarcity.add_elsewhere(elsewhere.all);
        }
        places.iter().for_each(|place| place.definitions().wait_for_names());
        let _batch = is_small.then(|| log.atomic_batch());
        let before_part = || {
            if !is_small && !was_scarce && stopped.get().is_none() {
                log.wait_for_room();
                stopped.set(scarcity.now());
            }
            stopped.get().is_none()
        };
        let mut ticket = self.make_users(accounts, faults, &before_part)?;
        if before_part() {
            ticket = ticket.max(context.policies.put(&self.policies));
        }
        for (place, checked) in places.iter().zip(checked) {
            ticket = ticket.max(place.definitions().make(checked, now, &before_part));
        }
        if before_part() {
            ticket = ticket.max(parameters.define(self.parameters));
        }
        Ok(Defined { ticket, kept, skipped, stopped: stopped.get() })
    }

    /// About how much that is of what is in no vhost and not so already.
    fn amount(&self, accounts: &Accounts, policies: &PolicyBook, parameters: &GlobalParameters) -> Amount {
        let mut amount = Amount::default();
        let who = accounts.show(|directory| self.changes(directory, Vec::new()).unwrap_or_default().len());
        let put = self.policies.iter().filter(|(rank, policy)| !policies.has(*rank, policy)).count();
        (0..who + put).for_each(|_| amount += Amount::of(SOMETHING, true));
        for (name, value) in &self.parameters {
            if parameters.get(name).as_ref() != Some(value) {
                amount += Amount::of(name.len() + value.len(), true);
            }
        }
        amount
    }

    /// Makes users and vhosts, and what users may do, a part at a time.
    ///
    /// # Errors
    /// There are `faults`, or some are found; nothing is made then.
    fn make_users(
        &self,
        accounts: &Accounts,
        faults: Vec<String>,
        before_part: &dyn Fn() -> bool,
    ) -> Result<Ticket, Vec<String>> {
        let mut changes = Vec::new();
        let (mut ticket, _nobody) = accounts.change(|directory| {
            changes = self.changes(directory, faults)?;
            Ok::<_, Vec<String>>(Vec::new())
        })?;
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(DEFINED_AT_ONCE));
            let part = mem::replace(&mut changes, rest);
            if !before_part() {
                break;
            }
            let Ok((made, _nobody)) = accounts.change(|directory| {
                // Somebody may have deleted the user since.
                let new: BTreeSet<String> = part.iter().filter_map(put_user).map(str::to_owned).collect();
                let is_there = |user: &str| new.contains(user) || directory.user(user).is_some();
                let part = part.into_iter().filter(|change| subject(change).is_none_or(is_there));
                Ok::<_, Infallible>(part.collect())
            });
            ticket = made;
        }
        Ok(ticket)
    }

    /// Gives vhosts their limits; one that is there already stays otherwise as it is.
    fn limit_vhosts(&mut self, vhosts: VHosts<'_>, faults: &mut Vec<String>) {
        for (name, limits) in mem::take(&mut self.vhost_limits) {
            if let Some(record) = self.vhosts.iter_mut().find(|record| record.name == name) {
                record.limits = limits;
            } else if let Some(record) = vhosts.record(&name) {
                self.vhosts.push(VHostRecord { limits, ..record });
            } else {
                faults.push(format!("limits of vhost '{name}': there is no vhost '{name}'"));
            }
        }
    }

    /// Looks at all that does not depend on what is in the vhosts, and puts tags in order.
    fn check(&mut self, there: VHosts<'_>, policies: Policies<'_>, faults: &mut Vec<String>) {
        let mut vhosts: BTreeSet<String> = there.all().iter().map(|vhost| vhost.name.to_string()).collect();
        for record in &mut self.vhosts {
            vhosts.insert(record.name.clone());
            match record.clone().checked() {
                Ok(checked) => *record = checked,
                Err(why) => faults.push(format!("vhost '{}': {why}", record.name)),
            }
        }
        let max = there.registry.context().limits.get().vhosts_max;
        if vhosts.len() > max as usize {
            faults.push(format!("cannot define so many vhosts: vhost limit of {max} is reached"));
        }
        for user in &mut self.users {
            let own: Vec<&str> = user.tags.iter().map(String::as_str).collect();
            faults.extend(check_name("user", &user.name).err());
            match tags("user", &own) {
                Ok(tags) => user.tags = tags,
                Err(why) => faults.push(format!("user '{}': {why}", user.name)),
            }
        }
        let mut check = |what: String, vhost: &str, checked: Result<(), String>| {
            faults.extend(checked.err().map(|why| format!("{what}: {why}")));
            if !vhosts.contains(vhost) {
                faults.push(format!("{what}: there is no vhost '{vhost}'"));
            }
        };
        for permission in &self.permissions {
            let what = format!("permission of user '{}' in vhost '{}'", permission.user, permission.vhost);
            check(what, &permission.vhost, permission.check());
        }
        for topic in &self.topic_permissions {
            let what = format!("topic permission of user '{}' in vhost '{}'", topic.user, topic.vhost);
            check(what, &topic.vhost, topic.check());
        }
        for (rank, policy) in &self.policies {
            let what = format!("policy '{}' in vhost '{}'", policy.name, policy.vhost);
            check(what, &policy.vhost, policy.check(*rank));
        }
        for (vhost, draft) in &self.drafts {
            check(draft.first_name(), vhost, Ok(()));
        }
        self.drafts.retain(|vhost, _| vhosts.contains(vhost));
        faults.extend(self.check_policies(policies).err());
    }

    fn check_policies(&self, there: Policies<'_>) -> Result<(), String> {
        let mut all = BTreeSet::new();
        for rank in [Rank::User, Rank::Operator] {
            all.extend(there.list(rank).into_iter().map(|policy| (rank, policy.vhost, policy.name)));
        }
        all.extend(self.policies.iter().map(|(rank, of)| (*rank, of.vhost.clone(), of.name.clone())));
        if all.len() > POLICIES_MAX {
            return Err(format!("cannot define so many policies: there may be {POLICIES_MAX}"));
        }
        Ok(())
    }

    /// How users, vhosts and permissions become what is defined; what is so already is not changed.
    ///
    /// # Errors
    /// There are `faults`, or some are found.
    fn changes(
        &self,
        directory: &Directory,
        mut faults: Vec<String>,
    ) -> Result<Vec<AuthChange>, Vec<String>> {
        let mut users: BTreeSet<&str> = directory.users().map(|user| user.name.as_str()).collect();
        users.extend(self.users.iter().map(|user| user.name.as_str()));
        if users.len() > USERS_MAX {
            faults.push(format!("cannot define so many users: there may be {USERS_MAX}"));
        }
        let named = self.permissions.iter().map(|permission| &permission.user);
        for user in named.chain(self.topic_permissions.iter().map(|topic| &topic.user)) {
            if !users.contains(user.as_str()) {
                faults.push(format!("permission of user '{user}': there is no such user"));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut changes = Vec::new();
        for record in self.vhosts.iter().filter(|record| directory.vhost(&record.name) != Some(*record)) {
            changes.push(AuthChange::PutVHost(record.clone()));
        }
        for user in self.users.iter().filter(|user| directory.user(&user.name) != Some(*user)) {
            changes.push(AuthChange::PutUser(user.clone()));
        }
        let known: BTreeMap<_, _> = directory.permissions().map(|of| ((&of.user, &of.vhost), of)).collect();
        let new = self.permissions.iter().filter(|of| known.get(&(&of.user, &of.vhost)) != Some(of));
        changes.extend(new.cloned().map(AuthChange::PutPermission));
        let place = |of: &TopicPermission| (of.user.clone(), of.vhost.clone(), of.exchange.clone());
        let known: BTreeMap<_, _> = directory.topic_permissions().map(|of| (place(of), of)).collect();
        let new = self.topic_permissions.iter().filter(|of| known.get(&place(of)) != Some(of));
        changes.extend(new.cloned().map(AuthChange::PutTopicPermission));
        Ok(changes)
    }
}

/// The user whom a change makes.
fn put_user(change: &AuthChange) -> Option<&str> {
    if let AuthChange::PutUser(user) = change { Some(&user.name) } else { None }
}

/// The user to whom a change lets something.
fn subject(change: &AuthChange) -> Option<&str> {
    match change {
        AuthChange::PutPermission(permission) => Some(&permission.user),
        AuthChange::PutTopicPermission(topic) => Some(&topic.user),
        _ => None,
    }
}
