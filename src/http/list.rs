//! Lists: filtered by name, sorted, cut into pages, and reduced to some columns, as RabbitMQ's
//! management API does it for each of its lists.
//!
//! A list that is not short is made aside, a row at a time; how many are made at a time is limited.
//! Rows that the page does not show are not turned into JSON, unless they are sorted by something
//! in them.

use super::answer::{self, Fault};
use super::call::Call;
use super::columns::{Columns, field};
use super::query::Query;
use super::statistics;
use crate::admin::RowFilter;
use crate::auth::pattern::Pattern;
use crate::clock;
use crate::statistics::TICK_MS;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::io::Write;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of a page, where the request does not say.
const PAGE_SIZE: usize = 100;

/// Rows of a page, at most.
const PAGE_SIZE_MAX: usize = 500;

/// Rows that are kept before they are sorted for a page.
const KEPT_MIN: usize = 1024;

/// Rows of a list that is made at once: to have another thread make it costs 30 to 40 us.
const SHORT: usize = 16;

/// How long a pattern may be looked for in all the names of a list, in microseconds: simple ones
/// take a tenth of it for 100,000 names. How many steps a name takes at most, the pattern knows.
const FIND_US_MAX: u64 = 300_000;

/// What a list has, row by row.
pub(super) trait Listed: Send + 'static {
    /// The name by which it is filtered.
    fn name(&self) -> &str;
    /// The row, as it is shown.
    fn json(&self, show: &Show) -> Value;

    /// A field of it by which lists are often sorted, as its path with points, so that not all of
    /// it has to be made.
    fn sort_key(&self, _path: &str) -> Option<Value> {
        None
    }
}

/// What every row may look at.
pub(super) struct Show {
    /// The name of the node.
    pub(super) node: String,
    /// Only what was declared is shown, and no statistics.
    pub(super) disable_stats: bool,
    /// With the numbers of messages all the same.
    pub(super) enable_queue_totals: bool,
    /// Who asks sees the broker as a whole.
    pub(super) monitors: bool,
    /// When the newest samples were taken, milliseconds since 1970.
    pub(super) sampled_at_ms: u64,
}

impl Show {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            node: call.state.node.clone(),
            disable_stats: call.query.is_true("disable_stats"),
            enable_queue_totals: call.query.is_true("enable_queue_totals"),
            monitors: call.monitors(),
            sampled_at_ms: u64::from(call.state.broker.sampling().newest()) * TICK_MS,
        }
    }

    /// Since when an object is idle that has changed last at this time, if it is.
    pub(super) fn idle_since(&self, changed_at_ms: Option<u64>) -> Option<Value> {
        // What happens now is known with the next sample.
        let is_idle = |at_ms: &u64| at_ms + 2 * TICK_MS <= self.sampled_at_ms;
        changed_at_ms.filter(is_idle).map(|at_ms| json!(statistics::time(at_ms)))
    }
}

/// Rows that are too large to be moved around.
impl<R: Listed> Listed for Box<R> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn json(&self, show: &Show) -> Value {
        (**self).json(show)
    }

    fn sort_key(&self, path: &str) -> Option<Value> {
        (**self).sort_key(path)
    }
}

/// Rows that are JSON already.
impl Listed for Value {
    fn name(&self) -> &str {
        self["name"].as_str().unwrap_or_default()
    }

    fn json(&self, _show: &Show) -> Value {
        self.clone()
    }
}

/// What the query says of a list.
struct Wanted {
    page: Option<Page>,
    filter: Filter,
    /// The path of the field by which it is sorted.
    sort: Vec<String>,
    reverse: bool,
    columns: Columns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    number: usize,
    size: usize,
}

/// Which names are wanted.
enum Filter {
    All,
    /// Those that contain this, in lower case.
    Part(String),
    /// Those in which this is found, as long as there is time.
    Found {
        pattern: Pattern,
        left_us: u64,
    },
    /// No name: the pattern makes no sense.
    None,
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, Fault> {
        let page = Page::of(query)?;
        let filter = match query.get("name").filter(|name| page.is_some() && !name.is_empty()) {
            None => Filter::All,
            Some(name) if query.is_true("use_regex") => {
                let pattern = Pattern::compile(&format!("(?i){name}"));
                pattern.map_or(Filter::None, |pattern| Filter::Found { pattern, left_us: FIND_US_MAX })
            }
            Some(name) => Filter::Part(name.to_lowercase()),
        };
        let sort = query.get("sort").unwrap_or_default();
        let sort = if sort.is_empty() { Vec::new() } else { sort.split('.').map(str::to_owned).collect() };
        Ok(Self { page, filter, sort, reverse: query.is_true("sort_reverse"), columns: Columns::of(query) })
    }
}

impl Page {
    fn of(query: &Query) -> Result<Option<Self>, Fault> {
        let Some(page) = query.get("page") else { return Ok(None) };
        let size = query.get("page_size");
        let number = |text: &str| {
            text.parse::<i64>().map_err(|_none| Fault::bad_request("Pagination parameters are invalid"))
        };
        let (page, size) = (number(page)?, size.map(number).transpose()?);
        let in_range =
            |number: i64, max: usize| usize::try_from(number).ok().filter(|n| (1..=max).contains(n));
        match (in_range(page, usize::MAX), size.map_or(Some(PAGE_SIZE), |size| in_range(size, PAGE_SIZE_MAX)))
        {
            (Some(number), Some(size)) => Ok(Some(Self { number, size })),
            _ => {
                let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
                let why = format!("Invalid pagination parameters: page number {page}, page size {size}");
                Err(Fault::new(StatusCode::BAD_REQUEST, "invalid_pagination_parameters", why))
            }
        }
    }

    /// Which rows are on it, if there are so many.
    fn rows(self) -> Range<usize> {
        let start = (self.number - 1).saturating_mul(self.size);
        start..start.saturating_add(self.size)
    }

    /// Which rows of so many are on it, if there is such a page.
    fn range(self, len: usize) -> Result<Range<usize>, Fault> {
        let Range { start, end } = self.rows();
        if start >= len && self.number > 1 {
            let Self { number, size } = self;
            let why = format!("Page out of range, page: {number} page size: {size}, len: {len}");
            return Err(Fault::new(StatusCode::BAD_REQUEST, "page_out_of_range", why));
        }
        Ok(start..end.min(len))
    }
}

impl Filter {
    /// # Errors
    /// To find out takes too long.
    fn takes(&mut self, name: &str) -> Result<bool, Fault> {
        match self {
            Self::All => Ok(true),
            Self::Part(part) => Ok(name.to_lowercase().contains(&*part)),
            Self::Found { pattern, left_us } => {
                let began_us = clock::mono_us();
                let found = pattern.find(name.as_bytes());
                *left_us = left_us.saturating_sub(clock::mono_us().saturating_sub(began_us));
                found.ok().filter(|_| *left_us > 0).ok_or_else(|| {
                    Fault::bad_request("the pattern takes too many steps to match these names: simplify it")
                })
            }
            Self::None => Ok(false),
        }
    }
}

/// The page of a list that is not sorted, whose rows can be told by their names alone, so that no
/// others are made.
#[derive(Clone)]
pub(super) struct Window(Arc<Mutex<Seen>>);

/// What has been seen of a list.
struct Seen {
    filter: Filter,
    page: Page,
    /// Rows that there are.
    total: usize,
    /// Of those, how many the filter takes.
    found: usize,
    refused: Option<Fault>,
}

impl Window {
    /// What a query wants, if that can be told by names.
    ///
    /// # Errors
    /// It makes no sense.
    pub(super) fn of(query: &Query) -> Result<Option<Self>, Fault> {
        let mut wanted = Wanted::of(query)?;
        Ok(Self::in_order(&mut wanted))
    }

    /// The page that is wanted, if it is not sorted.
    fn in_order(wanted: &mut Wanted) -> Option<Self> {
        let page = wanted.page.filter(|_| wanted.sort.is_empty())?;
        let filter = mem::replace(&mut wanted.filter, Filter::All);
        Some(Self(Arc::new(Mutex::new(Seen { filter, page, total: 0, found: 0, refused: None }))))
    }

    /// Whoever makes rows asks this of each, and makes those that are on the page.
    pub(super) fn filter(&self) -> RowFilter {
        let seen = Arc::clone(&self.0);
        RowFilter(Arc::new(move |name| seen.lock().unwrap_or_else(PoisonError::into_inner).takes(name)))
    }

    /// The rows that were made, and of how many.
    ///
    /// # Errors
    /// To tell which are wanted takes too long.
    fn selected<R>(&self, rows: impl Iterator<Item = R>) -> Result<(Selected<R>, usize), Fault> {
        let rows = rows.collect();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.page.rows().start.min(seen.found);
        let (found, total) = (seen.found, seen.total);
        seen.refused.take().map_or(Ok((Selected { first, rows, found }, total)), Err)
    }
}

impl Seen {
    fn takes(&mut self, name: &str) -> bool {
        self.total += 1;
        let taken = self.refused.is_none()
            && self.filter.takes(name).unwrap_or_else(|fault| {
                self.refused = Some(fault);
                false
            });
        self.found += usize::from(taken);
        taken && self.page.rows().contains(&(self.found - 1))
    }
}

/// Answers with a list, as the query wants it.
pub(super) fn answer<R: Listed>(
    call: &Call,
    rows: impl Iterator<Item = R> + Send + 'static,
) -> impl Future<Output = Result<Response, Fault>> + Send {
    answer_in(call, rows, None)
}

/// Answers with a list whose rows were made as the window takes them, if there is one.
pub(super) fn answer_in<R: Listed>(
    call: &Call,
    rows: impl Iterator<Item = R> + Send + 'static,
    window: Option<Window>,
) -> impl Future<Output = Result<Response, Fault>> + Send {
    // So that all below is compiled once for rows of a kind, and not for each path.
    answer_with(call, Box::new(rows), window)
}

async fn answer_with<R: Listed>(
    call: &Call,
    rows: Box<dyn Iterator<Item = R> + Send>,
    window: Option<Window>,
) -> Result<Response, Fault> {
    let wanted = Wanted::of(&call.query)?;
    let show = Show::of(call);
    let is_short = rows.size_hint().1.is_some_and(|most| most <= SHORT);
    if is_short && !matches!(wanted.filter, Filter::Found { .. }) {
        return call.answer(make(rows, wanted, window, &show)?).await;
    }
    // Nobody closes it.
    let turn = Arc::clone(&call.state.lists).acquire_owned().await;
    let text = answer::aside(move || {
        let _turn = turn;
        make(rows, wanted, window, &show)
    });
    call.answer(text.await??).await
}

/// The list as JSON.
fn make<R: Listed>(
    rows: impl Iterator<Item = R>,
    mut wanted: Wanted,
    window: Option<Window>,
    show: &Show,
) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    if wanted.page.is_none() && wanted.sort.is_empty() {
        write_all(rows.map(|row| row.json(show)), &wanted.columns, &mut text);
        return Ok(text);
    }
    let (Selected { first, rows, found }, total) = match window {
        Some(window) => window.selected(rows)?,
        None => match Window::in_order(&mut wanted) {
            Some(window) => {
                let is_on_page = window.filter().0;
                window.selected(rows.filter(|row| is_on_page(row.name())))?
            }
            None => find(rows, &mut wanted, show)?,
        },
    };
    let Some(page) = wanted.page else {
        write_all(rows.iter().map(|row| row.json(show)), &wanted.columns, &mut text);
        return Ok(text);
    };
    let range = page.range(found)?;
    let head = json!({
        "filtered_count": found,
        "item_count": range.len(),
        "page": page.number,
        "page_count": found.div_ceil(page.size),
        "page_size": page.size,
        "total_count": total,
    });
    // The object stays open for its items.
    text.extend_from_slice(head.to_string().trim_end_matches('}').as_bytes());
    text.extend_from_slice(b",\"items\":");
    let items = &rows[range.start - first..range.end - first];
    write_all(items.iter().map(|row| row.json(show)), &wanted.columns, &mut text);
    text.push(b'}');
    Ok(text)
}

/// The rows that are wanted of all, and how many there are in all.
fn find<R: Listed>(
    rows: impl Iterator<Item = R>,
    wanted: &mut Wanted,
    show: &Show,
) -> Result<(Selected<R>, usize), Fault> {
    let (mut total, mut refused) = (0, None);
    let mut filter = mem::replace(&mut wanted.filter, Filter::All);
    let rows = rows.map_while(|row| {
        total += 1;
        let taken = filter.takes(row.name()).map_err(|fault| refused = Some(fault)).ok()?;
        Some(taken.then_some(row))
    });
    let selected = select(rows.flatten(), wanted, show);
    refused.map_or(Ok((selected, total)), Err)
}

/// The rows that a page shows, and some of those around them.
struct Selected<R> {
    /// How many rows are before the first one.
    first: usize,
    rows: Vec<R>,
    /// How many rows there are in all.
    found: usize,
}

/// A row, and by what it is sorted.
struct Keyed<R> {
    key: Value,
    /// How many rows came before it.
    at: usize,
    row: R,
}

/// The rows of the page that is wanted, in the order that is wanted; all of them without a page. No
/// more are kept meanwhile than it takes.
fn select<R: Listed>(rows: impl Iterator<Item = R>, wanted: &Wanted, show: &Show) -> Selected<R> {
    let page = wanted.page.map_or(0..usize::MAX, Page::rows);
    let mut found = 0;
    let path = wanted.sort.join(".");
    let key = |row: &R| row.sort_key(&path);
    let made = |row: &R| field(&row.json(show), &wanted.sort).cloned().unwrap_or_default();
    // Those with the same key stay as they come, and are reversed with the others.
    let in_order = |one: &Keyed<R>, other: &Keyed<R>| {
        let order = order(&one.key, &other.key).then(one.at.cmp(&other.at));
        if wanted.reverse { order.reverse() } else { order }
    };
    let enough = page.end.saturating_mul(2).max(KEPT_MIN);
    let mut kept: Vec<Keyed<R>> = Vec::new();
    for row in rows {
        kept.push(Keyed { key: key(&row).unwrap_or_else(|| made(&row)), at: found, row });
        found += 1;
        if kept.len() >= enough {
            kept.sort_unstable_by(in_order);
            kept.truncate(page.end);
        }
    }
    kept.sort_unstable_by(in_order);
    kept.truncate(page.end);
    Selected { first: 0, rows: kept.into_iter().map(|keyed| keyed.row).collect(), found }
}

fn write_all(rows: impl Iterator<Item = Value>, columns: &Columns, text: &mut Vec<u8>) {
    text.push(b'[');
    for (at, mut row) in rows.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        columns.pick(&mut row);
        // Writing to memory does not fail.
        let _always = write!(text, "{row}");
    }
    text.push(b']');
}

/// Numbers before texts, and what is not there first.
fn order(one: &Value, other: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
        },
        _ => rank(one).cmp(&rank(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show() -> Show {
        Show {
            node: String::new(),
            disable_stats: false,
            enable_queue_totals: false,
            monitors: true,
            sampled_at_ms: 0,
        }
    }

    #[track_caller]
    fn check(query: &str, expected: &Value) {
        let rows = [("b", 2, 1.5), ("A", 10, 0.5), ("ab", 1, 0.0)];
        let rows =
            rows.map(|(name, count, rate)| json!({"name": name, "count": count, "in": {"rate": rate}}));
        let answer = |made: Result<Vec<u8>, Fault>| match made {
            Ok(text) => serde_json::from_slice(&text).unwrap(),
            Err(fault) => json!(format!("{fault:?}")),
        };
        let query = Query::parse(query);
        let made =
            Wanted::of(&query).and_then(|wanted| make(rows.clone().into_iter(), wanted, None, &show()));
        assert_eq!(&answer(made), expected, "{query:?}");
        let Some(window) = Window::of(&query).unwrap() else { return };
        let only = window.filter();
        let rows = rows.into_iter().filter(move |row| only.0(row.name()));
        let made = Wanted::of(&query).and_then(|wanted| make(rows, wanted, Some(window), &show()));
        assert_eq!(&answer(made), expected, "{query:?} in a window");
    }

    #[test]
    fn a_page_of_many_rows_is_that_of_all_of_them_sorted() {
        const COUNT: usize = 5000;
        let row = |at: usize| json!({"name": at.to_string(), "count": at * 7919 % 100});
        for reverse in [false, true] {
            let mut all: Vec<_> = (0..COUNT).collect();
            all.sort_by_key(|at| at * 7919 % 100);
            if reverse {
                all.reverse();
            }
            for (page, size) in [(1, 3), (1, 500), (7, 500), (10, 500), (13, 17)] {
                let query = format!("sort=count&sort_reverse={reverse}&page={page}&page_size={size}");
                let wanted = Wanted::of(&Query::parse(&query)).unwrap();
                let made: Value =
                    serde_json::from_slice(&make((0..COUNT).map(row), wanted, None, &show()).unwrap())
                        .unwrap();
                let expected: Vec<_> =
                    all.iter().skip((page - 1) * size).take(size).map(|&at| row(at)).collect();
                assert_eq!(made["items"], json!(expected), "{query}");
                assert_eq!((&made["total_count"], &made["filtered_count"]), (&json!(COUNT), &json!(COUNT)));
            }
        }
    }

    #[test]
    fn rows_are_sorted_and_reduced() {
        check("columns=name", &json!([{"name": "b"}, {"name": "A"}, {"name": "ab"}]));
        check("columns=name&sort=name", &json!([{"name": "A"}, {"name": "ab"}, {"name": "b"}]));
        check(
            "columns=count,none&sort=count&sort_reverse=true",
            &json!([{"count": 10}, {"count": 2}, {"count": 1}]),
        );
        check(
            "columns=in.rate&sort=in.rate",
            &json!([{"in": {"rate": 0.0}}, {"in": {"rate": 0.5}}, {"in": {"rate": 1.5}}]),
        );
        check("columns=name&sort=none", &json!([{"name": "b"}, {"name": "A"}, {"name": "ab"}]));
        check("columns=name&name=b", &json!([{"name": "b"}, {"name": "A"}, {"name": "ab"}]));
    }

    #[test]
    fn rows_come_in_pages() {
        let page = |items: Value, counts: [usize; 6]| {
            let [filtered, item, page, pages, size, total] = counts;
            json!({"filtered_count": filtered, "item_count": item, "items": items, "page": page,
                   "page_count": pages, "page_size": size, "total_count": total})
        };
        check(
            "page=1&page_size=2&columns=name",
            &page(json!([{"name": "b"}, {"name": "A"}]), [3, 2, 1, 2, 2, 3]),
        );
        check("page=2&page_size=2&columns=name&sort=name", &page(json!([{"name": "b"}]), [3, 1, 2, 2, 2, 3]));
        check(
            "page=1&name=a&columns=name",
            &page(json!([{"name": "A"}, {"name": "ab"}]), [2, 2, 1, 1, 100, 3]),
        );
        let first = page(json!([{"name": "A"}]), [1, 1, 1, 1, 100, 3]);
        check("page=1&name=%5Ea%24&use_regex=true&columns=name", &first);
        check("page=1&name=(&use_regex=true", &page(json!([]), [0, 0, 1, 0, 100, 3]));
        check("page=1&name=zz", &page(json!([]), [0, 0, 1, 0, 100, 3]));
    }

    #[track_caller]
    fn check_refused(query: &str, words: &str) {
        let wanted = Wanted::of(&Query::parse(query));
        let rows = std::iter::repeat_n(json!({"name": "a"}), 5);
        let fault = wanted.and_then(|wanted| make(rows, wanted, None, &show())).unwrap_err();
        assert!(format!("{fault:?}").contains(words), "{query}: {fault:?}");
    }

    /// Each name is within what a pattern may take for one.
    #[test]
    fn a_pattern_has_so_much_time_for_all_names() {
        let rows = |count| std::iter::repeat_n(json!({"name": "a".repeat(250)}), count);
        let query = "page=1&use_regex=true&name=(?=a)b";
        let find = |count| {
            let wanted = Wanted::of(&Query::parse(query)).unwrap();
            make(rows(count), wanted, None, &show())
        };
        assert!(find(1).is_ok());
        let fault = find(10_000_000).unwrap_err();
        assert!(format!("{fault:?}").contains("too many steps"), "{fault:?}");
    }

    #[test]
    fn pages_that_there_cannot_be_are_refused() {
        check_refused("page=x", "Pagination parameters are invalid");
        check_refused("page=0", "page number 0, page size undefined");
        check_refused("page=-1&page_size=7", "page number -1, page size 7");
        check_refused("page=1&page_size=501", "page number 1, page size 501");
        check_refused("page=9&page_size=2", "Page out of range, page: 9 page size: 2, len: 5");
        check_refused("page=9223372036854775807", "Page out of range");
        check_refused("page=9223372036854775808", "Pagination parameters are invalid");
    }
}
