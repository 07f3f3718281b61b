//! What the name of a command says by itself: whether it takes `-p`, and what to do instead of a
//! command of rabbitmqctl that Leveret does not have.

use super::Command;
use clap::{Arg, ArgMatches, FromArgMatches, Subcommand};

/// Commands that are about one vhost, which `-p` names. As in rabbitmqctl, `-p` is refused where it
/// has no effect.
const IN_A_VHOST: &[&str] = &[
    "set_permissions",
    "clear_permissions",
    "list_permissions",
    "set_topic_permissions",
    "clear_topic_permissions",
    "list_topic_permissions",
    "trace_on",
    "trace_off",
    "set_vhost_limits",
    "clear_vhost_limits",
    "list_vhost_limits",
    "set_policy",
    "clear_policy",
    "list_policies",
    "set_operator_policy",
    "clear_operator_policy",
    "list_operator_policies",
    "list_policies_that_match",
    "list_queues",
    "list_exchanges",
    "list_bindings",
    "list_consumers",
    "describe_queue",
    "describe_exchange",
    "purge_queue",
    "delete_queue",
    "peek",
    "delete_message",
    "requeue_message",
    "move",
    "redrive",
    "list_parked",
    "requeue_parked",
    "drop_parked",
    "close_all_connections",
    "list_parameters",
    "set_parameter",
    "clear_parameter",
    "import_definitions",
    "definitions",
];

/// Commands of rabbitmqctl and rabbitmq-diagnostics that do not exist here, and why.
const OF_RABBITMQ: &[(&[&str], &str)] = &[
    (
        &[
            "join_cluster",
            "forget_cluster_node",
            "change_cluster_node_type",
            "rename_cluster_node",
            "force_standalone_boot",
            "await_online_nodes",
            "force_boot",
        ],
        "the nodes of a cluster are those that its settings name, and cannot be changed yet",
    ),
    (
        &["sync_queue", "cancel_sync_queue", "add_member", "delete_member", "grow", "shrink", "rebalance"],
        "a queue has no replicas here",
    ),
    (&["stop", "stop_app", "shutdown"], "to stop the broker, send SIGTERM to its process"),
    (&["start_app"], "leveret serve starts the broker"),
    (&["wait"], "use leveret ctl await_startup instead"),
    (&["reset", "force_reset"], "to begin anew, stop the broker and remove its data folder"),
    (&["environment"], "use leveret config, which prints all settings with their defaults"),
    (
        &["report", "observer", "memory_breakdown", "listeners"],
        "use leveret ctl status and list_queues instead",
    ),
    (&["is_running", "is_booting"], "use leveret ctl check_running instead"),
    (
        &["list_feature_flags", "enable_feature_flag", "list_deprecated_features", "enable_all_stable"],
        "all features are always enabled",
    ),
    (
        &["eval", "eval_file", "exec", "remote_shell", "erlang_version", "erlang_cookie_sources", "force_gc"],
        "there is no Erlang in Leveret",
    ),
    (&["encode", "decode"], "no value of the settings is encrypted: a password can be in a file of its own"),
    (&["log_tail", "log_tail_stream", "log_location"], "the log goes to standard error"),
    (&["set_permissions_globally"], "set_permissions sets them in one vhost"),
    (&["restart_vhost"], "a vhost runs as long as the broker does"),
];

/// What to do instead of a command of rabbitmqctl that does not exist here; nothing for a name that
/// rabbitmqctl does not have either.
#[must_use]
pub fn instead_of(name: &str) -> Option<&'static str> {
    OF_RABBITMQ.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}

/// A command, with its name.
#[derive(Debug, Clone)]
pub(super) struct Named {
    name: String,
    pub(super) command: Command,
}

impl Named {
    /// Whether it is about one vhost.
    pub(super) fn has_vhost(&self) -> bool {
        IN_A_VHOST.contains(&self.name.as_str())
    }
}

impl FromArgMatches for Named {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let name = matches.subcommand_name().unwrap_or_default().to_owned();
        Command::from_arg_matches(matches).map(|command| Self { name, command })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Named {
    fn augment_subcommands(program: clap::Command) -> clap::Command {
        let program = Command::augment_subcommands(program);
        let names: Vec<String> =
            program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let others = names.iter().filter(|name| !IN_A_VHOST.contains(&name.as_str()));
        // One of the same id stands in for the one that all have, and is not in the help.
        let hidden =
            || Arg::new("vhost").short('p').long("vhost").value_name("VHOST").global(true).hide(true);
        others.fold(program, |program, name| program.mut_subcommand(name, |command| command.arg(hidden())))
    }

    fn augment_subcommands_for_update(program: clap::Command) -> clap::Command {
        Self::augment_subcommands(program)
    }

    fn has_subcommand(name: &str) -> bool {
        Command::has_subcommand(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> clap::Command {
        Named::augment_subcommands(clap::Command::new("ctl"))
    }

    #[test]
    fn names_are_those_of_commands() {
        for name in IN_A_VHOST {
            assert!(program().find_subcommand(name).is_some(), "{name}");
        }
        for name in OF_RABBITMQ.iter().flat_map(|(names, _)| *names) {
            assert!(program().find_subcommand(name).is_none(), "{name} exists");
        }
        let instead = "the nodes of a cluster are those that its settings name, and cannot be changed yet";
        assert_eq!(instead_of("join_cluster"), Some(instead));
        assert_eq!(instead_of("list_queue"), None);
    }
}
