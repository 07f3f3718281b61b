//! A user: a name, a password, tags, limits.

use super::password::{Algorithm, PasswordHash};

/// The longest name, in bytes: it is shown in reply texts and travels as a short string.
pub const NAME_MAX: usize = 255;

/// Tags of one user or vhost, at most.
const TAGS_MAX: usize = 64;

/// The tag of those who may set `user-id` to anybody's name (RabbitMQ: validated-user-id.md).
pub const IMPERSONATOR: &str = "impersonator";

/// The tag of those who may manage what is their own (RabbitMQ: management.md, of this and the
/// next three).
pub const MANAGEMENT: &str = "management";

/// The tag of those who may set policies, too.
pub const POLICYMAKER: &str = "policymaker";

/// The tag of those who may see what is others', too.
pub const MONITORING: &str = "monitoring";

/// The tag of those who may do everything to the broker.
pub const ADMINISTRATOR: &str = "administrator";

/// The tags that give rights.
const WITH_MEANING: [&str; 5] = [ADMINISTRATOR, MONITORING, POLICYMAKER, MANAGEMENT, IMPERSONATOR];

/// What tools write for no tag at all.
const NO_TAG: &str = "none";

/// What one user may have at a time; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections.
    pub connections_max: Option<u32>,
    /// Channels of all its connections.
    pub channels_max: Option<u32>,
}

/// A user as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password; without one it cannot log in with any.
    pub password: Option<PasswordHash>,
    /// `administrator`, `monitoring`, `policymaker`, `management`, `impersonator`, or whatever the
    /// operator likes; each once.
    pub tags: Vec<String>,
    /// What it may have at a time.
    pub limits: UserLimits,
}

impl User {
    /// Whether its password is kept in a way that is not safe any more.
    #[must_use]
    pub fn has_weak_password(&self) -> bool {
        self.password.as_ref().is_some_and(|hash| hash.algorithm() == Algorithm::Md5)
    }

    /// Whether the user has a tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

/// The tags of something, each once, in order.
///
/// # Errors
/// There are too many, or one is empty or too long.
pub fn tags(what: &str, given: &[&str]) -> Result<Vec<String>, String> {
    let mut tags: Vec<String> = given.iter().map(|&tag| tag.to_owned()).collect();
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > TAGS_MAX {
        return Err(format!("a {what} has {} tags; {TAGS_MAX} are allowed", tags.len()));
    }
    tags.iter().try_for_each(|tag| check_name("tag", tag))?;
    Ok(tags)
}

/// Which of a user's tags give no rights, if any, in a sentence for whoever sets them.
#[must_use]
pub fn tags_without_meaning(user: &str, tags: &[impl AsRef<str>]) -> Option<String> {
    let has_none = |tag: &&str| !WITH_MEANING.contains(tag) && *tag != NO_TAG && !tag.is_empty();
    let shown: Vec<String> =
        tags.iter().map(AsRef::as_ref).filter(has_none).map(|tag| format!("'{tag}'")).collect();
    if shown.is_empty() {
        return None;
    }
    let (tags, give) = if shown.len() == 1 { ("tag", "gives") } else { ("tags", "give") };
    let (shown, known) = (shown.join(", "), WITH_MEANING.join(", "));
    Some(format!("the {tags} {shown} of user '{user}' {give} no rights; those that do: {known}"))
}

/// Whether something may be called that.
///
/// # Errors
/// The name is empty, or too long.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("the name of a {what} has 1 to {NAME_MAX} bytes, not {}", name.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_each_there_once() {
        assert_eq!(
            tags("user", &["monitoring", "administrator", "monitoring"]).unwrap(),
            ["administrator", "monitoring"]
        );
        assert!(tags("user", &[""]).is_err());
        let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
        assert!(tags("user", &many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn tags_that_give_no_rights_are_named() {
        let said = |tags: &[&str]| tags_without_meaning("ann", tags);
        assert_eq!(said(&["administrator", "monitoring", "policymaker"]), None);
        assert_eq!(said(&["management", "impersonator", "none", ""]), None);
        let known = "those that do: administrator, monitoring, policymaker, management, impersonator";
        let one = format!("the tag 'adminstrator' of user 'ann' gives no rights; {known}");
        assert_eq!(said(&["adminstrator", "monitoring"]), Some(one));
        let two = format!("the tags 'a', 'Management' of user 'ann' give no rights; {known}");
        assert_eq!(said(&["a", "Management"]), Some(two));
    }

    #[test]
    fn a_name_has_a_length() {
        assert_eq!(check_name("user", "u"), Ok(()));
        assert_eq!(check_name("user", "").unwrap_err(), "the name of a user has 1 to 255 bytes, not 0");
        assert!(check_name("user", &"u".repeat(256)).is_err());
    }
}
