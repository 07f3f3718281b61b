//! Global parameters: values that operators and tools keep in the broker by name, for the broker as
//! a whole (RabbitMQ: parameters.md). What they mean is known to whoever reads them.
//!
//! A change is in effect when it is made, and on disk once its ticket is durable.

use crate::auth::user::check_name;
use crate::ids::Ticket;
use crate::store::change::{Change, Log};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Parameters that there may be. RabbitMQ's own tools keep three.
pub const PARAMETERS_MAX: usize = 1000;

/// The longest value, in bytes of JSON: with [`PARAMETERS_MAX`], all of them take 64 MiB at most.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The global parameters of a running broker. The lock is a leaf but for the log.
pub struct GlobalParameters {
    values: RwLock<BTreeMap<String, String>>,
    log: Arc<dyn Log>,
}

impl GlobalParameters {
    /// Those that were on disk: names, and values as JSON texts.
    pub(super) fn recover(recovered: Vec<(String, String)>, log: Arc<dyn Log>) -> Self {
        Self { values: RwLock::new(recovered.into_iter().collect()), log }
    }

    /// All of them, in order of their names.
    #[must_use]
    pub fn list(&self) -> Vec<(String, String)> {
        self.read().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.read().get(name).cloned()
    }

    /// Gives a parameter a value; whether it is a new one.
    ///
    /// # Errors
    /// Its name or value cannot be kept, or there are too many.
    pub fn set(&self, name: &str, value: String) -> Result<(bool, Ticket), String> {
        check(name, &value)?;
        let mut values = self.write();
        let is_new = !values.contains_key(name);
        if is_new && values.len() >= PARAMETERS_MAX {
            return Err(format!("there are {PARAMETERS_MAX} global parameters already"));
        }
        Ok((is_new, self.put(&mut values, name, value)))
    }

    /// Takes a parameter away; none if there is none of that name.
    pub fn clear(&self, name: &str) -> Option<Ticket> {
        let mut values = self.write();
        values.remove(name)?;
        Some(self.log.append(&mut vec![Change::Parameter { name: name.to_owned(), value: None }]))
    }

    /// What keeps these from being set, a sentence each.
    pub(super) fn faults_of(&self, parameters: &[(String, String)]) -> Vec<String> {
        let about = |name: &str, why| format!("global parameter '{name}': {why}");
        let unfit =
            parameters.iter().filter_map(|(name, value)| Some(about(name, check(name, value).err()?)));
        let mut faults: Vec<String> = unfit.collect();
        let values = self.read();
        let mut names: BTreeSet<&str> = values.keys().map(String::as_str).collect();
        names.extend(parameters.iter().map(|(name, _)| name.as_str()));
        if names.len() > PARAMETERS_MAX {
            faults.push(format!("cannot define so many global parameters: there may be {PARAMETERS_MAX}"));
        }
        faults
    }

    /// Sets these, which were looked at before; what is so already is not changed.
    pub(super) fn define(&self, parameters: Vec<(String, String)>) -> Ticket {
        let mut values = self.write();
        let mut ticket = Ticket(0);
        for (name, value) in parameters {
            if values.get(&name) != Some(&value) {
                ticket = self.put(&mut values, &name, value);
            }
        }
        ticket
    }

    fn put(&self, values: &mut BTreeMap<String, String>, name: &str, value: String) -> Ticket {
        values.insert(name.to_owned(), value.clone());
        self.log.append(&mut vec![Change::Parameter { name: name.to_owned(), value: Some(value) }])
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, String>> {
        self.values.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, String>> {
        self.values.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    check_name("global parameter", name)?;
    if value.len() > VALUE_BYTES_MAX {
        let len = value.len();
        return Err(format!("the value of '{name}' has {len} bytes of JSON; {VALUE_BYTES_MAX} are allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fake::FakeLog;

    fn parameters() -> GlobalParameters {
        GlobalParameters::recover(Vec::new(), Arc::<FakeLog<()>>::default())
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let there = parameters();
        let refused = |name: &str, value: String| there.set(name, value).unwrap_err();
        assert_eq!(refused("", "1".into()), "the name of a global parameter has 1 to 255 bytes, not 0");
        assert_eq!(
            refused("p", "x".repeat(VALUE_BYTES_MAX + 1)),
            "the value of 'p' has 65537 bytes of JSON; 65536 are allowed"
        );
        for number in 0..PARAMETERS_MAX {
            assert!(there.set(&number.to_string(), "1".into()).unwrap().0);
        }
        assert_eq!(refused("p", "1".into()), "there are 1000 global parameters already");
        assert!(!there.set("7", "2".into()).unwrap().0, "it is there already");
        let many = "cannot define so many global parameters: there may be 1000";
        assert_eq!(there.faults_of(&[("p".into(), "1".into())]), [many]);
        assert!(there.clear("7").is_some() && there.clear("7").is_none());
        assert_eq!(there.faults_of(&[("p".into(), "1".into())]), [""; 0]);
    }
}
