//! What is on the screen, as a value: keys and answers change it, `draw` shows it.
//!
//! No terminal, no broker, no clock: what is to be asked next it says as a `Question`.

use super::question::{Answer, PAGE_ROWS_MAX, Page, Question};
use super::sheet;
use super::view::{Column, Kind, VIEWS, View};
use crate::ctl::CtlError;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Lines of the screen that are no rows of a list: views, what is listed, heads, status.
const LINES_AROUND: u16 = 4;

/// Characters that can be typed into a line.
const TYPED_MAX: usize = 255;

/// The intervals that keys choose from, in seconds.
const INTERVALS_S: [u64; 7] = [1, 2, 5, 10, 30, 60, 300];

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) view: View,
    queues: List,
    connections: List,
    /// Only what is in this vhost; all, if it is empty.
    pub(super) vhost: String,
    /// One thing of a list that is looked into.
    pub(super) opened: Option<Question>,
    /// The line that is being typed.
    pub(super) typing: Option<Typing>,
    pub(super) help: bool,
    pub(super) paused: bool,
    /// Seconds between two looks.
    pub(super) interval_s: u64,
    /// Lines of a page that are above the screen.
    pub(super) scrolled: u16,
    /// Rows of a list that the screen has room for.
    page_rows: usize,
    /// What came last of what is no list.
    page: Option<Answer>,
    /// Why nothing came since.
    pub(super) trouble: Option<String>,
    /// Where the broker is.
    pub(super) place: String,
    /// The terminal may show colours.
    pub(super) colours: bool,
}

/// How a list is looked at.
#[derive(Debug)]
pub(super) struct List {
    columns: &'static [Column],
    /// The column by which it is sorted.
    sort: usize,
    /// Numbers with the smallest first, words with the last first.
    reversed: bool,
    /// Only names that contain this.
    pub(super) filter: String,
    /// The row that the cursor is on, from the start of the list.
    pub(super) selected: usize,
    /// What came of it last.
    answer: Option<Answer>,
}

/// A line that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typing {
    pub(super) into: Field,
    pub(super) text: String,
}

/// What a line is typed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Filter,
    VHost,
}

/// What a key has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// The broker is to be asked at once.
    Ask,
    Quit,
}

impl List {
    fn new(view: View, sort: &str) -> Self {
        let columns = view.columns();
        let sort = columns.iter().position(|column| column.name == sort).unwrap_or(0);
        Self { columns, sort, reversed: false, filter: String::new(), selected: 0, answer: None }
    }

    /// The column by which it is sorted.
    pub(super) fn sort(&self) -> &'static Column {
        &self.columns[self.sort]
    }

    /// Whether the largest come first.
    pub(super) fn descending(&self) -> bool {
        (self.sort().kind == Kind::Text) == self.reversed
    }

    /// Sorts by another column; the other way around, if it is that one already.
    fn sort_by(&mut self, sort: usize) {
        self.reversed = self.sort == sort && !self.reversed;
        self.sort = sort;
        self.selected = 0;
    }
}

impl Top {
    /// Looks at `view`, at first.
    pub(super) fn new(view: View, colours: bool) -> Self {
        Self {
            view,
            queues: List::new(View::Queues, "in"),
            connections: List::new(View::Connections, "in"),
            vhost: String::new(),
            opened: None,
            typing: None,
            help: false,
            paused: false,
            interval_s: INTERVALS_S[1],
            scrolled: 0,
            page_rows: 1,
            page: None,
            trouble: None,
            place: String::new(),
            colours,
        }
    }

    /// Sorts the list that is looked at by the column of this name, or by the API's for it.
    ///
    /// # Errors
    /// It has no such column.
    pub(super) fn sort(&mut self, name: &str, reversed: bool) -> Result<(), CtlError> {
        let view = self.view;
        let Some(list) = self.list_mut() else {
            return Err(CtlError::Usage("--sort has no effect on --view node".to_owned()));
        };
        let found = list.columns.iter().position(|column| column.name == name || column.field() == name);
        list.sort = found.ok_or_else(|| {
            let known: Vec<_> = view.columns().iter().map(|column| column.name).collect();
            CtlError::Usage(format!("unknown column '{name}'; the columns are {}", known.join(", ")))
        })?;
        list.reversed = reversed;
        Ok(())
    }

    /// Turns the order of the list that is looked at around.
    pub(super) fn reverse(&mut self) {
        if let Some(list) = self.list_mut() {
            list.reversed = !list.reversed;
            list.selected = 0;
        }
    }

    /// Leaves only names that contain this in the list that is looked at.
    pub(super) fn filter(&mut self, text: String) {
        if let Some(list) = self.list_mut() {
            list.filter = text;
            list.selected = 0;
        }
    }

    /// Has room for this many rows of a list.
    pub(super) fn room(&mut self, rows: usize) {
        self.page_rows = rows.clamp(1, PAGE_ROWS_MAX);
    }

    /// The screen has this many lines.
    pub(super) fn resize(&mut self, lines: u16) {
        self.room(usize::from(lines.saturating_sub(LINES_AROUND)));
    }

    /// The list that is looked at, if it is one.
    pub(super) fn list(&self) -> Option<&List> {
        match self.view {
            View::Queues => Some(&self.queues),
            View::Connections => Some(&self.connections),
            View::Node => None,
        }
    }

    fn list_mut(&mut self) -> Option<&mut List> {
        match self.view {
            View::Queues => Some(&mut self.queues),
            View::Connections => Some(&mut self.connections),
            View::Node => None,
        }
    }

    /// What is to be asked.
    pub(super) fn question(&self) -> Question {
        match (&self.opened, self.list()) {
            (Some(opened), _) => opened.clone(),
            (None, None) => Question::Node,
            (None, Some(list)) => Question::List(Page {
                view: self.view,
                vhost: self.vhost.clone(),
                filter: list.filter.clone(),
                sort: list.sort().path,
                descending: list.descending(),
                number: list.selected / self.page_rows + 1,
                rows: self.page_rows,
            }),
        }
    }

    /// Takes in what came; what was asked before something else was looked at is of no use.
    pub(super) fn take(&mut self, answer: Result<Answer, CtlError>) {
        let question = self.question();
        let list = self.list_mut().filter(|_| matches!(question, Question::List(_)));
        match (answer, list) {
            (Ok(answer), _) if answer.question != question => self.trouble = None,
            (Ok(answer), Some(list)) => {
                list.selected = list.selected.min(answer.totals()[0].saturating_sub(1));
                list.answer = Some(answer);
                self.trouble = None;
            }
            (Ok(answer), None) => (self.page, self.trouble) = (Some(answer), None),
            (Err(error), list) => {
                // A page that there is no longer is refused, as is a vhost: what was listed is not
                // of what is asked for. The first page is always there.
                if let (CtlError::Check(_), Some(list)) = (&error, list) {
                    (list.selected, list.answer) = (0, None);
                }
                self.trouble = Some(error.to_string());
            }
        }
    }

    /// What came last of what is looked at; of a list it may be another page, until the next
    /// answer.
    pub(super) fn answer(&self) -> Option<&Answer> {
        match (self.question(), self.list()) {
            (Question::List(_), Some(list)) => list.answer.as_ref(),
            (question, _) => self.page.as_ref().filter(|answer| answer.question == question),
        }
    }

    /// The row on the screen that the cursor is on.
    pub(super) fn cursor(&self) -> usize {
        self.list().map_or(0, |list| list.selected % self.page_rows)
    }

    /// Takes in a key.
    pub(super) fn handle(&mut self, key: KeyEvent) -> Next {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Next::Quit;
        }
        if let Some(typing) = self.typing.take() {
            self.typed(typing, key.code, control);
            return Next::GoOn;
        }
        if key.code == KeyCode::Char('q') {
            return Next::Quit;
        }
        if std::mem::take(&mut self.help) {
            return Next::GoOn;
        }
        match key.code {
            KeyCode::Tab => self.go_to(self.view as usize + 1),
            KeyCode::BackTab => self.go_to(self.view as usize + VIEWS.len() - 1),
            KeyCode::Char('1') => self.go_to(0),
            KeyCode::Char('2') => self.go_to(1),
            KeyCode::Char('3') => self.go_to(2),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('+' | '=') => self.slower(),
            KeyCode::Char('-') => self.faster(),
            KeyCode::Char(' ') => return Next::Ask,
            code if self.opened.is_none() && self.list().is_some() => self.in_list(code),
            code => self.in_page(code),
        }
        Next::GoOn
    }

    fn go_to(&mut self, view: usize) {
        self.view = VIEWS[view % VIEWS.len()];
        self.opened = None;
        self.scrolled = 0;
    }

    fn slower(&mut self) {
        let longer = INTERVALS_S.into_iter().find(|&interval| interval > self.interval_s);
        self.interval_s = longer.unwrap_or(self.interval_s);
    }

    fn faster(&mut self) {
        let shorter = INTERVALS_S.into_iter().rev().find(|&interval| interval < self.interval_s);
        self.interval_s = shorter.unwrap_or(self.interval_s);
    }

    /// A key while a line is typed.
    fn typed(&mut self, mut typing: Typing, code: KeyCode, control: bool) {
        match code {
            KeyCode::Esc => return,
            KeyCode::Enter => return self.accept(typing),
            KeyCode::Backspace => drop(typing.text.pop()),
            KeyCode::Char('u') if control => typing.text.clear(),
            KeyCode::Char(c) if !control && typing.text.len() + c.len_utf8() <= TYPED_MAX => {
                typing.text.push(c);
            }
            _ => {}
        }
        self.typing = Some(typing);
    }

    fn accept(&mut self, Typing { into, text }: Typing) {
        match into {
            Field::Filter => self.filter(text),
            Field::VHost => {
                self.vhost = text;
                (self.queues.selected, self.connections.selected) = (0, 0);
            }
        }
    }

    /// A key while a list is looked at.
    fn in_list(&mut self, code: KeyCode) {
        let (page, vhost) = (self.page_rows, self.vhost.clone());
        let Some(list) = self.list_mut() else { return };
        let columns = list.columns.len();
        let rows = list.answer.as_ref().map(|answer| answer.totals()[0]);
        let last = rows.map_or(list.selected, |rows| rows.saturating_sub(1));
        match code {
            KeyCode::Up | KeyCode::Char('k') => list.selected = list.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => list.selected = (list.selected + 1).min(last),
            KeyCode::PageUp => list.selected = list.selected.saturating_sub(page),
            KeyCode::PageDown => list.selected = (list.selected + page).min(last),
            KeyCode::Home | KeyCode::Char('g') => list.selected = 0,
            KeyCode::End | KeyCode::Char('G') => list.selected = last,
            KeyCode::Right | KeyCode::Char('>' | 's') => list.sort_by((list.sort + 1) % columns),
            KeyCode::Left | KeyCode::Char('<') => list.sort_by((list.sort + columns - 1) % columns),
            KeyCode::Char('r') => self.reverse(),
            KeyCode::Char('/') => {
                self.typing = Some(Typing { into: Field::Filter, text: list.filter.clone() });
            }
            KeyCode::Char('v') => self.typing = Some(Typing { into: Field::VHost, text: vhost }),
            KeyCode::Esc => self.filter(String::new()),
            KeyCode::Enter => self.open(),
            KeyCode::Char(c) => {
                if let Some(sort) = list.columns.iter().position(|column| column.key == Some(c)) {
                    list.sort_by(sort);
                }
            }
            _ => {}
        }
    }

    /// Looks into what the cursor is on.
    fn open(&mut self) {
        let Some(row) = self.answer().and_then(|answer| answer.rows().get(self.cursor())) else { return };
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        let (Some(name), vhost) = (text("name"), text("vhost")) else { return };
        self.opened = match (self.view, vhost) {
            (View::Queues, Some(vhost)) => Some(Question::Queue { vhost, name }),
            _ => Some(Question::Connection { name }),
        };
        self.scrolled = 0;
    }

    /// A key while one thing is looked at.
    fn in_page(&mut self, code: KeyCode) {
        match code {
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => (self.opened, self.scrolled) = (None, 0),
            KeyCode::Up | KeyCode::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(self.page_lines()),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_add(self.page_lines()),
            KeyCode::Home | KeyCode::Char('g') => self.scrolled = 0,
            _ => {}
        }
        self.scrolled = self.scrolled.min(self.lines().saturating_sub(1));
    }

    fn page_lines(&self) -> u16 {
        u16::try_from(self.page_rows).unwrap_or(u16::MAX)
    }

    /// Lines that all of what is looked at takes.
    fn lines(&self) -> u16 {
        self.answer().map_or(0, |answer| sheet::of(answer).lines())
    }
}
