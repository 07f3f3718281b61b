//! Commands that say whether a broker is well, as scripts and container platforms ask it: by their
//! exit status.

use super::error::CtlError;
use super::{Asks, Request, Shown};
use crate::api_client::{Method, encoded};
use clap::Subcommand;
use serde_json::Value;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a listener may take to be connected to.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Check that the broker runs and serves clients
    CheckRunning,
    /// Check that no memory or disk alarm is in effect
    #[command(alias = "check_alarms")]
    CheckLocalAlarms,
    /// Check that every listener can be connected to
    CheckPortConnectivity {
        /// Address to connect to, instead of that of each listener
        #[arg(long, value_name = "ADDRESS")]
        address: Option<String>,
    },
    /// Check that something listens on a port
    CheckPortListener {
        /// Number of the port
        port: u16,
    },
    /// Check that a protocol is spoken: amqp, amqp/ssl, http, https
    CheckProtocolListener {
        /// Name of the protocol
        protocol: String,
    },
    /// Check that all vhosts run
    CheckVirtualHosts,
    /// Check that no certificate expires soon
    CheckCertificateExpiration {
        /// How far to look ahead, in the unit of --unit
        #[arg(long, value_name = "NUMBER", default_value_t = 4)]
        within: u32,
        /// Unit of --within: days, weeks, months, years
        #[arg(long, value_name = "UNIT", default_value = "weeks")]
        unit: String,
    },
    /// Check that the broker works; alarms do not fail it: see check_local_alarms
    NodeHealthCheck,
}

impl Command {
    /// What it asks for.
    #[must_use]
    pub fn request(self) -> Request {
        let check = |path: &str, words: String| Request {
            asks: Asks::Path(Method::GET, format!("/api/{path}"), None),
            answer: Shown::Checked(words),
        };
        match self {
            Self::CheckRunning => check("health/checks/is-in-service", "The broker is running".to_owned()),
            Self::CheckLocalAlarms => {
                check("health/checks/local-alarms", "The broker reported no local alarms".to_owned())
            }
            Self::CheckPortConnectivity { address } => Request {
                asks: Asks::Path(Method::GET, "/api/overview".to_owned(), None),
                answer: Shown::Listeners(address),
            },
            Self::CheckPortListener { port } => check(
                &format!("health/checks/port-listener/{port}"),
                format!("A listener on port {port} is active"),
            ),
            Self::CheckProtocolListener { protocol } => check(
                &format!("health/checks/protocol-listener/{}", encoded(&protocol)),
                format!("A listener for protocol {protocol} is active"),
            ),
            Self::CheckVirtualHosts => {
                check("health/checks/virtual-hosts", "All virtual hosts are running".to_owned())
            }
            Self::CheckCertificateExpiration { within, unit } => check(
                &format!("health/checks/certificate-expiration/{within}/{unit}"),
                format!("No certificate expires within {within} {}", counted(within, &unit)),
            ),
            Self::NodeHealthCheck => check("healthchecks/node", "Health check passed".to_owned()),
        }
    }
}

/// A unit as it is said of so many.
fn counted(number: u32, unit: &str) -> &str {
    if number == 1 { unit.strip_suffix('s').unwrap_or(unit) } else { unit }
}

/// Connects to each listener that an overview names; which ports these are.
///
/// # Errors
/// One cannot be connected to.
pub fn connect(overview: &Value, address: Option<&str>) -> Result<String, CtlError> {
    let listeners = overview["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ports = Vec::new();
    for listener in listeners {
        let port = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
        let own = match listener["ip_address"].as_str() {
            Some("0.0.0.0") | None => "127.0.0.1",
            Some("::") => "::1",
            Some(own) => own,
        };
        let host = address.unwrap_or(own);
        let refused = |why: String| CtlError::Check(format!("cannot connect to {host}, port {port}: {why}"));
        let resolved = (host, port).to_socket_addrs().map_err(|error| refused(error.to_string()))?;
        let connected = resolved.into_iter().try_fold("it has no address".to_owned(), |_, at: SocketAddr| {
            match TcpStream::connect_timeout(&at, CONNECT_WAIT) {
                Ok(_connected) => Err(()),
                Err(error) => Ok(error.to_string()),
            }
        });
        // The fold ends early where one of the addresses answers.
        if let Ok(why) = connected {
            return Err(refused(why));
        }
        ports.push(port.to_string());
    }
    Ok(format!("Successfully connected to ports {}", ports.join(", ")))
}
