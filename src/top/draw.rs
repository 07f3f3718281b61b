//! The state as cells of a screen, from the top: the views, what is listed, the list or the one
//! thing with all its parts, and a line for keys, typing and trouble.
//!
//! Rows are laid out here, without the solver of ratatui's layouts. All text that is not ours comes
//! through [`crate::ctl::text`], so that no terminal obeys a name.

use super::format::count;
use super::question::{Page, Question};
use super::sheet::{self, CHART_LINES, Part};
use super::state::{Field, List, Top, Typing};
use super::view::{Column, Kind, NAME_WIDTH, VIEWS};
use crate::ctl::text::visible;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline, Widget};
use serde_json::Value;

/// Characters between two columns.
const GAP: u16 = 1;

/// Characters of the names of facts.
const FACT_WIDTH: usize = 20;

/// Keys that sort, on a line of the help.
const SORTS_ON_A_LINE: usize = 4;

/// What the keys do.
const HELP: &[(&str, &str)] = &[
    ("1 2 3, Tab", "queues, connections, the node"),
    ("Up Down PgUp PgDn Home End", "move"),
    ("Enter, Esc", "look into what the cursor is on, and back"),
    ("Left Right, s", "sort by the next column"),
    ("r", "the other way around"),
    ("/", "only names that contain a text; Esc shows all again"),
    ("v", "only one virtual host; none for all"),
    ("p", "pause"),
    ("+ -", "look less often, more often"),
    ("Space", "look now"),
    ("q, Ctrl-C", "quit"),
];

/// Draws all of it.
pub(super) fn draw(top: &Top, screen: &mut Buffer) {
    let area = screen.area;
    let line = |at: u16| Rect { y: area.y + at, height: 1, ..area };
    if area.height == 0 || area.width == 0 {
        return;
    }
    views(top, screen, line(0));
    if area.height > 1 {
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area };
        match top.list() {
            _ if below.height == 0 => {}
            _ if top.help => help(top, screen, below),
            Some(list) if top.opened.is_none() => rows(top, list, screen, below),
            _ => page(top, screen, below),
        }
        status(top, screen, line(area.height - 1));
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// A style with a colour, where there may be colours.
fn coloured(top: &Top, style: Style, colour: Color) -> Style {
    if top.colours { style.fg(colour) } else { style }
}

fn views(top: &Top, screen: &mut Buffer, area: Rect) {
    let mut spans = Vec::new();
    for (number, view) in (1..).zip(VIEWS) {
        let style = if view == top.view { reversed() } else { Style::new() };
        spans.push(Span::styled(format!(" {number} {} ", view.title()), style));
    }
    let paused = if top.paused { "paused".to_owned() } else { format!("every {} s", top.interval_s) };
    spans.push(Span::raw(format!("  {paused}   ")));
    spans.push(Span::styled(visible(&top.place), Style::new().add_modifier(Modifier::DIM)));
    screen.set_line(area.x, area.y, &Line::from(spans), area.width);
}

/// What is listed, in words.
fn listed(top: &Top, list: &List) -> String {
    let mut words = match top.answer() {
        None => "...".to_owned(),
        Some(answer) => {
            let [found, all] = answer.totals().map(|number| count(number as u64));
            let found = if found == all { all } else { format!("{found} of {all}") };
            let pages = match &answer.question {
                Question::List(Page { number, rows, .. }) => {
                    format!("page {number} of {}", answer.totals()[0].div_ceil(*rows).max(1))
                }
                _ => String::new(),
            };
            format!("{found} {}, {pages}", top.view.title().to_lowercase())
        }
    };
    if !top.vhost.is_empty() {
        words.push_str(&format!(", in vhost '{}'", top.vhost));
    }
    if !list.filter.is_empty() {
        words.push_str(&format!(", names with '{}'", list.filter));
    }
    visible(&words)
}

/// The columns that there is room for, each with its place; that by which rows are sorted is one of
/// them.
fn columns(top: &Top, list: &List, width: u16) -> Vec<(&'static Column, u16, u16)> {
    let is_wanted = |column: &&Column| column.name != "vhost" || top.vhost.is_empty();
    let wanted: Vec<&Column> = top.view.columns().iter().filter(is_wanted).collect();
    let taken = |column: &Column| column.width + GAP;
    let of_name = NAME_WIDTH.max(width / 3).min(width);
    let mut left = width - of_name;
    let mut shown = vec![wanted[0]];
    let sort = list.sort();
    let is_apart = sort.name != shown[0].name && wanted.contains(&sort);
    if is_apart {
        left = left.saturating_sub(taken(sort));
    }
    for column in &wanted[1..] {
        if is_apart && *column == sort {
            shown.push(column);
        } else if let Some(rest) = left.checked_sub(taken(column)) {
            left = rest;
            shown.push(column);
        } else if shown.contains(&sort) || !is_apart {
            break;
        } else {
            left = 0;
        }
    }
    let of_others: u16 = shown[1..].iter().map(|column| taken(column)).sum();
    let mut x = width.saturating_sub(of_others);
    let mut placed = vec![(shown[0], 0, x)];
    for column in &shown[1..] {
        placed.push((column, x + GAP, column.width.min(width.saturating_sub(x + GAP))));
        x += taken(column);
    }
    placed
}

/// Writes a cell: words from the left, numbers to the right. Of what is too long the end is
/// missing, and a mark says so.
fn write(screen: &mut Buffer, (x, y, width): (u16, u16, u16), kind: Kind, text: &str, style: Style) {
    let (length, room) = (text.chars().count(), usize::from(width));
    if length > room {
        let start: String = text.chars().take(room.saturating_sub(1)).collect();
        screen.set_stringn(x, y, format!("{start}\u{2026}"), room, style);
        return;
    }
    let before = if kind == Kind::Text { 0 } else { room - length };
    let before = u16::try_from(before).unwrap_or(0);
    screen.set_stringn(x + before, y, text, room, style);
}

fn rows(top: &Top, list: &List, screen: &mut Buffer, area: Rect) {
    let columns = columns(top, list, area.width);
    screen.set_stringn(area.x, area.y, listed(top, list), usize::from(area.width), Style::new());
    let heads = area.y + 1;
    if area.height < 2 {
        return;
    }
    screen.set_style(Rect { y: heads, height: 1, ..area }, bold());
    for &(column, x, width) in &columns {
        let mark = match (column == list.sort(), list.descending()) {
            (false, _) => "",
            (true, true) => " v",
            (true, false) => " ^",
        };
        let title = format!("{}{mark}", column.title());
        write(screen, (area.x + x, heads, width), column.kind, &title, bold());
    }
    let Some(answer) = top.answer() else { return };
    for (at, row) in (0..area.height - 2).zip(answer.rows()) {
        let y = heads + 1 + at;
        let is_still = |column: &Column| column.kind == Kind::Rate && column.shown(row) == "0";
        for &(column, x, width) in &columns {
            let style = if is_still(column) {
                Style::new().add_modifier(Modifier::DIM)
            } else {
                state(top, column, row)
            };
            write(screen, (area.x + x, y, width), column.kind, &column.shown(row), style);
        }
        if usize::from(at) == top.cursor() {
            screen.set_style(Rect { y, height: 1, ..area }, reversed());
        }
    }
}

/// How a state is written: one that is not usual stands out.
fn state(top: &Top, column: &Column, row: &Value) -> Style {
    match (column.name, row["state"].as_str()) {
        ("state", Some(state)) if state != "running" => coloured(top, bold(), Color::Yellow),
        _ => Style::new(),
    }
}

/// One thing with all its parts, from the line on to which it was scrolled.
fn page(top: &Top, screen: &mut Buffer, area: Rect) {
    let waits = if top.answer().is_none() { " ..." } else { "" };
    let subject = top.question().subject();
    let title = format!("{}{waits}", visible(&subject));
    screen.set_stringn(area.x, area.y, title, usize::from(area.width), bold());
    let Some(answer) = top.answer() else {
        return;
    };
    let end = area.y + area.height;
    let (mut y, mut above) = (area.y + 1, top.scrolled);
    for part in &sheet::of(answer).0 {
        let lines = part.lines();
        if above > 0 {
            above = above.saturating_sub(lines);
            continue;
        }
        if y + lines > end {
            break;
        }
        draw_part(top, part, screen, Rect { y, height: lines, ..area });
        y += lines;
    }
}

fn draw_part(top: &Top, part: &Part, screen: &mut Buffer, area: Rect) {
    let width = usize::from(area.width);
    match part {
        Part::Fact(name, value, is_alarm) => {
            let style = if *is_alarm { coloured(top, bold(), Color::Red) } else { Style::new() };
            let name = Span::styled(format!("{name:FACT_WIDTH$}"), Style::new().add_modifier(Modifier::DIM));
            let line = Line::from(vec![name, Span::styled(value.as_str(), style)]);
            screen.set_line(area.x, area.y, &line, area.width);
        }
        Part::Chart(name, now, values) => {
            let most = values.iter().max().copied().unwrap_or(0);
            let title = format!("{name}: {now}   at most {} in ten minutes", count(most));
            screen.set_stringn(area.x, area.y, title, width, Style::new());
            let bars = Rect { y: area.y + 1, height: CHART_LINES - 1, ..area };
            let style = coloured(top, Style::new(), Color::Cyan);
            let newest = values.iter().copied().take(width);
            let chart = Sparkline::default().data(newest).max(most.max(1)).style(style);
            chart.direction(RenderDirection::RightToLeft).render(bars, screen);
        }
        Part::Head(text) => drop(screen.set_stringn(area.x, area.y, text, width, bold())),
        Part::Line(text) => drop(screen.set_stringn(area.x, area.y, text, width, Style::new())),
    }
}

fn help(top: &Top, screen: &mut Buffer, area: Rect) {
    let sorts =
        top.view.columns().iter().filter_map(|column| Some(format!("{} {}", column.key?, column.name)));
    let sorts: Vec<String> = sorts.collect();
    let titles = std::iter::once("sort by").chain(std::iter::repeat(""));
    let sorts = titles.zip(sorts.chunks(SORTS_ON_A_LINE)).map(|(keys, sorts)| (keys, sorts.join(", ")));
    let lines = HELP.iter().map(|&(keys, what)| (keys, what.to_owned())).chain(sorts);
    for (y, (keys, what)) in (area.y..area.y + area.height).zip(lines) {
        let line = Line::from(vec![Span::styled(format!(" {keys:27}"), bold()), Span::raw(what)]);
        screen.set_line(area.x, y, &line, area.width);
    }
}

fn status(top: &Top, screen: &mut Buffer, area: Rect) {
    let width = usize::from(area.width);
    if let Some(Typing { into, text }) = &top.typing {
        let asked = match into {
            Field::Filter => "names with",
            Field::VHost => "vhost",
        };
        // The end of it is what is being typed.
        let line = format!("{asked}: {}", visible(text));
        let hidden = (line.chars().count() + 1).saturating_sub(width);
        let line: String = line.chars().skip(hidden).collect();
        let (x, y) = screen.set_stringn(area.x, area.y, line, width, bold());
        screen.set_stringn(x, y, " ", usize::from(area.right() - x), reversed());
    } else if let Some(trouble) = &top.trouble {
        let style = coloured(top, bold().add_modifier(Modifier::REVERSED), Color::Red);
        screen.set_style(area, style);
        screen.set_stringn(area.x, area.y, visible(trouble), width, style);
    } else {
        let keys = match (top.help, top.opened.is_some(), top.list()) {
            (true, ..) => "any key: back   q quit",
            (_, true, _) => "Esc back   Up Down scroll   p pause   q quit",
            (_, _, Some(_)) => {
                "Enter open   Left Right sort   r reverse   / filter   v vhost   ? help   q quit"
            }
            (_, _, None) => "Tab next   Up Down scroll   p pause   ? help   q quit",
        };
        screen.set_stringn(area.x, area.y, keys, width, Style::new().add_modifier(Modifier::DIM));
    }
}
