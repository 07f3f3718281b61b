//! What of the log is written: a level, or levels by module.

use crate::near::did_you_mean;

/// What a level of the log may be.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The modules at the top of the library.
const MODULES: [&str; 31] = [
    "admin",
    "api_client",
    "arguments",
    "audit",
    "auth",
    "blocking",
    "broker",
    "client",
    "clock",
    "cluster",
    "cluster_status",
    "config",
    "ctl",
    "error",
    "http",
    "ids",
    "machine",
    "message",
    "metrics",
    "near",
    "node",
    "perf",
    "policy",
    "protocol",
    "queue",
    "routing",
    "server",
    "statistics",
    "store",
    "tls",
    "top",
];

/// The parts of a filter of the log, each a level or MODULE=LEVEL. What no module is named for is
/// logged from `info` on, unless there is a level for it.
///
/// # Errors
/// What is wrong with it: of a module that does not exist nothing is ever logged.
pub fn log_filter(filter: &str) -> Result<String, String> {
    let is_level = |word: &str| LOG_LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let parts: Vec<_> = filter.split(',').map(str::trim).collect();
    for part in &parts {
        let module = match part.split_once('=') {
            None if is_level(part) => continue,
            Some((module, level)) if is_level(level) => module,
            None | Some(_) => {
                let levels = LOG_LEVELS.join(", ");
                return Err(format!("log: '{part}' is neither a level ({levels}) nor MODULE=LEVEL"));
            }
        };
        let mut path = module.split("::");
        let known = match (path.next(), path.next()) {
            (Some("leveret"), Some(room)) => MODULES.contains(&room),
            (Some("leveret" | "openraft"), _) => true,
            _ => false,
        };
        if !known {
            let near = if module.contains(char::is_whitespace) {
                ": parts are separated by commas".to_owned()
            } else {
                did_you_mean(module, MODULES.map(|room| format!("leveret::{room}")))
            };
            return Err(format!("log: there is no module '{module}'{near}"));
        }
    }
    let default = if parts.iter().any(|part| is_level(part)) { "" } else { "info," };
    Ok(format!("{default}{}", parts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_module_is_named_for_has_a_level_too() {
        for (filter, parts) in [
            ("debug", "debug"),
            ("INFO", "INFO"),
            ("off", "off"),
            ("info, leveret::server=debug", "info,leveret::server=debug"),
            ("leveret::http=debug, warn", "leveret::http=debug,warn"),
            ("leveret::http::list=debug", "info,leveret::http::list=debug"),
            ("leveret=warn,openraft::x=off", "info,leveret=warn,openraft::x=off"),
        ] {
            assert_eq!(log_filter(filter).as_deref(), Ok(parts), "{filter}");
        }
    }

    #[test]
    fn levels_and_modules_exist() {
        let declared = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod "));
        assert_eq!(declared.map(|name| name.trim_end_matches(';')).collect::<Vec<_>>(), MODULES);
        for (filter, wrong) in [
            ("debu", "debu"),
            ("info,leveret", "leveret"),
            ("", ""),
            ("leveret=verbose", "leveret=verbose"),
            ("info,=x=y", "=x=y"),
        ] {
            let why = "is neither a level (off, error, warn, info, debug, trace) nor MODULE=LEVEL";
            assert_eq!(log_filter(filter).unwrap_err(), format!("log: '{wrong}' {why}"));
        }
        for (filter, wrong, near) in [
            ("leveret::protocl=debug", "leveret::protocl", "; did you mean 'leveret::protocol'?"),
            ("info leveret::http=debug", "info leveret::http", ": parts are separated by commas"),
            ("[span]=debug", "[span]", ""),
        ] {
            assert_eq!(log_filter(filter).unwrap_err(), format!("log: there is no module '{wrong}'{near}"));
        }
    }
}
