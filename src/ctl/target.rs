//! Which broker a command talks to: the one whose data folder is named, or one by its URL.

use super::error::CtlError;
use super::secret::password;
use crate::admin::Password;
use crate::api_client::Endpoint;
use crate::config::{Config, Flags};
use clap::Args;
use std::fs;
use std::path::PathBuf;
use url::{ParseError, Url};

/// The user, where none is named.
const USER: &str = "guest";

/// Which broker a command talks to.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Connection options")]
pub struct Location {
    /// Data folder of the broker [default: leveret-data]
    #[arg(long, value_name = "DIR", env = "LEVERET_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Settings file of the broker, which may name the data folder
    #[arg(long, value_name = "FILE", env = "LEVERET_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// A broker elsewhere, by its management API, as in http://broker:15672
    #[arg(long, value_name = "URL", env = "LEVERET_URL", global = true, value_parser = parse)]
    url: Option<Url>,
    /// User for --url [default: guest]
    #[arg(id = "url-user", long = "username", value_name = "USER", env = "LEVERET_USERNAME", global = true)]
    user: Option<String>,
    /// Its password; if omitted, it is asked for or read from standard input
    #[arg(
        id = "url-password",
        long = "password",
        value_name = "PASSWORD",
        env = "LEVERET_PASSWORD",
        hide_env_values = true,
        global = true
    )]
    password: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", env = "LEVERET_PASSWORD_FILE", global = true)]
    password_file: Option<PathBuf>,
    /// File with the certificate of the authority for an https URL [default: those of the system]
    #[arg(long, value_name = "FILE", env = "LEVERET_TLS_CA", global = true)]
    tls_ca: Option<PathBuf>,
}

/// The URL of a broker.
fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|fault| match fault {
        ParseError::RelativeUrlWithoutBase => String::new(),
        fault => format!("{fault}: "),
    });
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    let wrong = match url {
        Ok(url) if is_http(&url) => return Ok(url),
        Ok(_) => String::new(),
        Err(fault) => fault,
    };
    Err(format!("{wrong}expected a URL such as http://broker:15672"))
}

impl Location {
    /// Where that broker is.
    ///
    /// # Errors
    /// The settings file or the URL cannot be used, or there is no password.
    pub fn target(self) -> Result<Endpoint, CtlError> {
        let Self { data_dir, config, url, user, password: given, password_file, tls_ca: ca } = self;
        let Some(url) = url else {
            if user.is_some() || given.is_some() || password_file.is_some() {
                let why = "--username, --password and --password-file have no effect without --url";
                return Err(CtlError::Usage(why.to_owned()));
            }
            let flags = Flags { data_dir, config, ..Flags::default() };
            let config = Config::resolve(flags).map_err(|error| CtlError::Usage(error.to_string()))?;
            return Ok(Endpoint::Folder(config.data_dir));
        };
        let user = user.unwrap_or_else(|| USER.to_owned());
        let password = match (given, password_file) {
            (Some(given), _) => Password(given),
            (None, Some(file)) => {
                let text = fs::read_to_string(&file)
                    .map_err(|error| CtlError::File(format!("cannot read {}: {error}", file.display())))?;
                Password(text.lines().next().unwrap_or_default().to_owned())
            }
            (None, None) => password(None)?,
        };
        Ok(Endpoint::Url { url, user, password, ca })
    }
}
