//! What is asked of the broker: for a list one page, sorted there, of the columns that are shown,
//! so that it costs as much with a hundred thousand queues as with ten.

use super::view::{View, at};
use crate::api_client::{Method, encoded};
use crate::ctl::broker::{Broker, Reply};
use crate::ctl::{Asks, CtlError};
use serde_json::Value;

/// Rows that the API has on a page, at most.
pub(super) const PAGE_ROWS_MAX: usize = 500;

/// The samples of the last ten minutes that charts are made of, one in five seconds.
const SAMPLES: &str = "lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5\
                       &data_rates_age=600&data_rates_incr=5";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A page of a list.
    List(Page),
    /// The broker as a whole.
    Node,
    /// A queue.
    Queue {
        /// Its vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
    /// A connection.
    Connection {
        /// Its name.
        name: String,
    },
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) view: View,
    /// Of this vhost alone; of all, if it is empty.
    pub(super) vhost: String,
    /// Of names that contain this.
    pub(super) filter: String,
    /// The path of the field by which it is sorted.
    pub(super) sort: &'static str,
    /// The largest first.
    pub(super) descending: bool,
    /// From 1.
    pub(super) number: usize,
    /// Rows of it.
    pub(super) rows: usize,
}

/// What came: for each path of the question what is there, or null where who asks may not look.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) question: Question,
    pub(super) told: Vec<Value>,
}

impl Question {
    /// The paths of the API that are asked.
    pub(super) fn paths(&self) -> Vec<String> {
        match self {
            Self::List(page) => vec![page.path()],
            Self::Node => vec![format!("/api/overview?{SAMPLES}"), "/api/nodes".to_owned()],
            Self::Queue { vhost, name } => {
                vec![format!("/api/queues/{}/{}?{SAMPLES}", encoded(vhost), encoded(name))]
            }
            Self::Connection { name } => {
                let path = format!("/api/connections/{}", encoded(name));
                // As many channels as anybody scrolls through.
                let channels = "channels?page=1&page_size=500&sort=number&columns=number,consumer_count,\
                                prefetch_count,messages_unacknowledged,messages_unconfirmed,message_stats";
                vec![format!("{path}?{SAMPLES}"), format!("{path}/{channels}")]
            }
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// The broker is gone, or refuses; then it says what was asked for.
    pub(super) fn ask(&self, broker: &mut Broker) -> Result<Answer, CtlError> {
        let mut told = Vec::new();
        for path in self.paths() {
            let asked = broker.ask(&Asks::Path(Method::GET, path, None));
            told.push(match (asked, self) {
                (Ok(Reply::One(value)), _) => value,
                (Ok(Reply::Many(_) | Reply::Copy(_)), _) => {
                    return Err(CtlError::Garbled("something else was asked for".to_owned()));
                }
                // Usage of the node is for who may see all of it.
                (Err(CtlError::NoRight(_)), Self::Node) if !told.is_empty() => Value::Null,
                (Err(CtlError::Check(why)), _) => {
                    return Err(CtlError::Check(format!("{}: {why}", self.subject())));
                }
                (Err(error), _) => return Err(error),
            });
        }
        Ok(Answer { question: self.clone(), told })
    }

    /// What is asked about, in words.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::List(Page { view, vhost, .. }) if vhost.is_empty() => view.title().to_lowercase(),
            Self::List(Page { view, vhost, .. }) => {
                format!("{} in vhost '{vhost}'", view.title().to_lowercase())
            }
            Self::Node => "the node".to_owned(),
            Self::Queue { vhost, name } => format!("queue '{name}' in vhost '{vhost}'"),
            Self::Connection { name } => format!("connection '{name}'"),
        }
    }
}

impl Page {
    fn path(&self) -> String {
        let list = match (self.view, self.vhost.as_str()) {
            (View::Connections, "") => "/api/connections".to_owned(),
            (View::Connections, vhost) => format!("/api/vhosts/{}/connections", encoded(vhost)),
            (_, "") => "/api/queues".to_owned(),
            (_, vhost) => format!("/api/queues/{}", encoded(vhost)),
        };
        let columns: Vec<&str> = self.view.columns().iter().map(|column| column.path).collect();
        let filter =
            if self.filter.is_empty() { String::new() } else { format!("&name={}", encoded(&self.filter)) };
        format!(
            "{list}?page={}&page_size={}&sort={}&sort_reverse={}&columns={}{filter}",
            self.number,
            self.rows,
            self.sort,
            self.descending,
            columns.join(",")
        )
    }
}

impl Answer {
    /// The rows of a list.
    pub(super) fn rows(&self) -> &[Value] {
        self.both()[0]["items"].as_array().map_or(&[], Vec::as_slice)
    }

    /// What the first path has, and the second; null, where there is none.
    pub(super) fn both(&self) -> [&Value; 2] {
        [0, 1].map(|at| self.told.get(at).unwrap_or(&Value::Null))
    }

    /// How many rows the list has on all its pages, and how many there are without the filter.
    pub(super) fn totals(&self) -> [usize; 2] {
        let [page, _] = self.both();
        ["filtered_count", "total_count"]
            .map(|name| at(page, name).as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
    }
}
