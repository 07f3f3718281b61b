//! Keys change the state, and the state is what is drawn: without a terminal and without a broker.

use super::draw::draw;
use super::question::{Answer, Page, Question};
use super::state::{Next, Top};
use super::view::View;
use crate::ctl::CtlError;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

/// A screen of so many columns and lines, and what it shows.
struct Screen {
    top: Top,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new(view: View, width: u16, height: u16) -> Self {
        let mut top = Top::new(view, true);
        top.place = "leveret-data".to_owned();
        top.resize(height);
        Self { top, terminal: Terminal::new(TestBackend::new(width, height)).unwrap() }
    }

    /// Presses keys: characters, or a name in pointed brackets.
    fn press(&mut self, keys: &str) -> Next {
        let mut next = Next::GoOn;
        let mut keys = keys.chars();
        while let Some(key) = keys.next() {
            let name: String =
                if key == '<' { keys.by_ref().take_while(|&c| c != '>').collect() } else { String::new() };
            let (code, modifiers) = match name.as_str() {
                "" => (KeyCode::Char(key), KeyModifiers::NONE),
                "tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "back" => (KeyCode::BackTab, KeyModifiers::SHIFT),
                "enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "del" => (KeyCode::Backspace, KeyModifiers::NONE),
                "up" => (KeyCode::Up, KeyModifiers::NONE),
                "down" => (KeyCode::Down, KeyModifiers::NONE),
                "pgdn" => (KeyCode::PageDown, KeyModifiers::NONE),
                "pgup" => (KeyCode::PageUp, KeyModifiers::NONE),
                "end" => (KeyCode::End, KeyModifiers::NONE),
                "right" => (KeyCode::Right, KeyModifiers::NONE),
                "left" => (KeyCode::Left, KeyModifiers::NONE),
                "ctrl-c" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
                "ctrl-u" => (KeyCode::Char('u'), KeyModifiers::CONTROL),
                other => panic!("no key is called {other}"),
            };
            next = self.top.handle(KeyEvent::new(code, modifiers));
        }
        next
    }

    /// The broker answers what is asked now.
    fn answer(&mut self, told: Vec<Value>) {
        let question = self.top.question();
        self.top.take(Ok(Answer { question, told }));
    }

    /// It answers with a page of so many queues.
    fn queues(&mut self, rows: &[Value], found: usize) {
        self.answer(vec![json!({"items": rows, "filtered_count": found, "total_count": 100_000})]);
    }

    /// The page that is asked for.
    #[track_caller]
    fn page(&self) -> Page {
        match self.top.question() {
            Question::List(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// What is on the screen, line by line, without spaces at their ends.
    fn lines(&mut self) -> Vec<String> {
        let top = &self.top;
        self.terminal.draw(|frame| draw(top, frame.buffer_mut())).unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let lines = buffer.content.chunks(width);
        let text = |cells: &[ratatui::buffer::Cell]| {
            cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
        };
        lines.map(text).collect()
    }

    #[track_caller]
    fn shows(&mut self, part: &str) {
        let lines = self.lines();
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }

    #[track_caller]
    fn hides(&mut self, part: &str) {
        let lines = self.lines();
        assert!(!lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }
}

fn queue(name: &str, depth: u64) -> Value {
    json!({
        "name": name, "vhost": "/", "state": "running", "type": "classic", "consumers": 2,
        "messages": depth, "messages_ready": depth, "messages_unacknowledged": 0,
        "oldest_message_age_ms": 61_000, "message_bytes": depth * 1024, "memory": 10_240,
        "message_stats": {"publish_details": {"rate": 1234.5}, "deliver_get_details": {"rate": 0.0}},
    })
}

#[test]
fn a_page_of_queues_is_drawn() {
    let mut screen = Screen::new(View::Queues, 100, 7);
    screen.queues(&[queue("orders", 1_234_567), queue("mail", 0)], 2);
    screen.press("<down>");
    assert_eq!(
        screen.lines(),
        [
            " 1 Queues  2 Connections  3 Node   every 2 s   leveret-data",
            "2 of 100,000 queues, page 1 of 1",
            "name                                     vhost       in/s v     out/s      depth     age   consumers",
            "orders                                   /            1,234         0  1,234,567  1m 01s           2",
            "mail                                     /            1,234         0          0  1m 01s           2",
            "",
            "Enter open   Left Right sort   r reverse   / filter   v vhost   ? help   q quit",
        ]
    );
    let reversed = |x, y| screen.terminal.backend().buffer()[(x, y)].modifier.contains(Modifier::REVERSED);
    assert!(reversed(0, 4) && reversed(99, 4) && !reversed(0, 3));
}

/// However many there are, what is asked for is what the screen has room for.
#[test]
fn a_long_list_is_asked_for_page_by_page() {
    let mut screen = Screen::new(View::Queues, 80, 14);
    let first = screen.page();
    assert_eq!((first.number, first.rows, first.descending), (1, 10, true));
    assert_eq!(
        screen.top.question().paths(),
        [
            "/api/queues?page=1&page_size=10&sort=message_stats.publish_details.rate&sort_reverse=true&columns=\
          name,vhost,message_stats.publish_details.rate,message_stats.deliver_get_details.rate,messages,\
          oldest_message_age_ms,consumers,messages_ready,messages_unacknowledged,\
          message_stats.ack_details.rate,message_stats.redeliver_details.rate,message_bytes,\
          messages_delayed,messages_parked,average_message_wait_ms,memory,type,state"
        ]
    );
    screen.queues(&(0..10).map(|n| queue(&format!("q{n}"), n)).collect::<Vec<_>>(), 100_000);
    screen.shows("100,000 queues, page 1 of 10000");
    screen.press("<pgdn><down>");
    assert_eq!((screen.page().number, screen.top.cursor()), (2, 1));
    // Until it comes, the page before is shown.
    screen.shows("page 1 of 10000");
    screen.press("G");
    assert_eq!((screen.page().number, screen.top.cursor()), (10_000, 9));
    screen.press("<down>");
    assert_eq!(screen.page().number, 10_000);
    // A page that is gone is refused: the first is asked for.
    screen.top.take(Err(CtlError::Check("queues: Page out of range".to_owned())));
    assert_eq!(screen.page().number, 1);
    // The row stays where it is when the room changes.
    screen.queues(&[queue("q", 1)], 100);
    screen.press("<pgdn><pgdn>");
    screen.top.resize(9);
    assert_eq!((screen.page().rows, screen.page().number), (5, 5));
    screen.press("g<up>");
    assert_eq!((screen.page().number, screen.top.cursor()), (1, 0));
    screen.top.resize(0);
    assert_eq!(screen.page().rows, 1);
    screen.top.resize(u16::MAX);
    assert_eq!(screen.page().rows, 500);
}

#[test]
fn keys_sort_and_turn_the_order_around() {
    let mut screen = Screen::new(View::Queues, 80, 14);
    let sorted = |screen: &Screen| (screen.page().sort, screen.page().descending);
    screen.press("d");
    assert_eq!(sorted(&screen), ("messages", true));
    screen.press("d");
    assert_eq!(sorted(&screen), ("messages", false));
    screen.press("r");
    assert_eq!(sorted(&screen), ("messages", true));
    screen.press("<right>");
    assert_eq!(sorted(&screen), ("oldest_message_age_ms", true));
    screen.press("<left><left><left><left><left>");
    assert_eq!(sorted(&screen), ("name", false));
    screen.press("<left>");
    assert_eq!(sorted(&screen), ("state", false));
    // The column is shown, however far to the right it is.
    screen.queues(&[queue("q", 1)], 1);
    screen.shows("state ^");
    screen.press("s");
    assert_eq!(sorted(&screen).0, "name");
    // Each list has an order of its own.
    screen.press("2c");
    assert_eq!(sorted(&screen), ("channels", true));
    screen.press("1");
    assert_eq!(sorted(&screen), ("name", false));
}

#[test]
fn the_command_line_sorts_by_both_names_of_a_column() {
    let mut top = Top::new(View::Queues, true);
    for (name, path) in
        [("age", "oldest_message_age_ms"), ("deliver_get_rate", "message_stats.deliver_get_details.rate")]
    {
        top.sort(name, true).unwrap();
        let Question::List(page) = top.question() else { panic!("it is a list") };
        assert_eq!((page.sort, page.descending), (path, false));
    }
    let refused = top.sort("depht", false).unwrap_err().to_string();
    assert!(
        refused.starts_with("unknown column 'depht'; the columns are name, vhost, in, out, "),
        "{refused}"
    );
    assert!(Top::new(View::Node, true).sort("in", false).is_err());
}

#[test]
fn lists_are_filtered_by_names_and_vhosts() {
    let mut screen = Screen::new(View::Queues, 80, 14);
    screen.press("/orxx<del><del>ders q");
    screen.shows("names with: orders q");
    // Nothing is asked while it is typed.
    assert_eq!(screen.page().filter, "");
    screen.press("<enter>");
    assert_eq!(screen.page().filter, "orders q");
    assert!(screen.top.question().paths()[0].ends_with("&name=orders%20q"));
    screen.press("v/a&b<enter>");
    assert!(screen.top.question().paths()[0].starts_with("/api/queues/%2Fa%26b?page=1&"));
    screen.queues(&[queue("orders q", 1)], 1);
    screen.shows("1 of 100,000 queues, page 1 of 1, in vhost '/a&b', names with 'orders q'");
    assert!(!screen.lines()[2].contains("vhost"));
    // The vhost stays, the filter is of its list.
    screen.press("2");
    assert!(screen.top.question().paths()[0].starts_with("/api/vhosts/%2Fa%26b/connections?page=1&"));
    assert_eq!(screen.page().filter, "");
    screen.press("1v<ctrl-u><enter><esc>");
    assert_eq!((screen.page().vhost.as_str(), screen.page().filter.as_str()), ("", ""));
    // What is given up changes nothing.
    screen.press("/x<esc>");
    assert_eq!(screen.page().filter, "");
    // A line has an end.
    screen.press(&format!("/{}<enter>", "\u{e9}".repeat(300)));
    assert_eq!(screen.page().filter.len(), 254);
}

#[test]
fn views_are_switched_and_keys_end_it() {
    let mut screen = Screen::new(View::Queues, 80, 14);
    let views = ["<tab>", "<tab>", "<tab>", "<back>", "<back>", "1", "3"].map(|key| {
        screen.press(key);
        screen.top.view
    });
    assert_eq!(
        views,
        [
            View::Connections,
            View::Node,
            View::Queues,
            View::Node,
            View::Connections,
            View::Queues,
            View::Node
        ]
    );
    assert_eq!(
        [screen.press("q"), screen.press("<ctrl-c>"), screen.press(" ")],
        [Next::Quit, Next::Quit, Next::Ask]
    );
    // While a line is typed, q is a letter.
    assert_eq!([screen.press("1/q"), screen.press("<ctrl-c>")], [Next::GoOn, Next::Quit]);
}

#[test]
fn it_can_be_paused_and_slowed_down() {
    let mut screen = Screen::new(View::Queues, 80, 14);
    screen.press("+");
    screen.shows("every 5 s");
    screen.press("+++++++++");
    screen.shows("every 300 s");
    screen.press("----------");
    screen.shows("every 1 s");
    screen.top.interval_s = 7;
    screen.press("-");
    assert_eq!(screen.top.interval_s, 5);
    screen.press("p");
    screen.shows("paused");
    screen.press("p");
    screen.hides("paused");
}

#[test]
fn help_lists_the_keys() {
    let mut screen = Screen::new(View::Queues, 100, 20);
    screen.press("?");
    screen.shows("sort by                    n name, i in, o out, d depth");
    screen.shows("only names that contain a text");
    // The key that ends it does nothing else.
    screen.press("2");
    assert_eq!(screen.top.view, View::Queues);
    screen.hides("only names that contain a text");
}

/// The parts of a screen of a queue.
fn described() -> Value {
    let samples: Vec<Value> = (0..10).map(|n| json!({"sample": n * n, "timestamp": n * 5_000})).collect();
    json!({
        "name": "orders", "vhost": "/", "state": "running", "type": "quorum", "durable": true,
        "messages": 7, "messages_details": {"rate": 0.0, "samples": samples},
        "messages_ready": 5, "messages_unacknowledged": 2, "messages_delayed": 3, "messages_parked": 1,
        "oldest_message_age_ms": 500, "average_message_wait_ms": 1234.5, "message_bytes": 2048,
        "message_stats": {"publish": 9, "publish_details": {"rate": 3.4, "samples": samples}},
        "policy": "limits", "effective_policy_definition": {"max-length": 5},
        "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"},
        "consumer_capacity": 0.5, "consumers": 1,
        "consumer_details": [{"consumer_tag": "worker\u{1b}[2J", "prefetch_count": 10, "activity_status": "up",
            "channel_details": {"name": "127.0.0.1:5 -> 127.0.0.1:6 (1)"}}],
    })
}

#[test]
fn a_queue_is_looked_into() {
    let mut screen = Screen::new(View::Queues, 80, 30);
    screen.press("<enter>");
    // There is nothing under the cursor.
    assert!(screen.top.opened.is_none());
    screen.queues(&[queue("mail", 0), queue("orders", 7)], 2);
    screen.press("<down><enter>");
    let path = &screen.top.question().paths()[0];
    assert!(path.starts_with("/api/queues/%2F/orders?lengths_age=600&"), "{path}");
    // What was asked before is not what is looked at.
    screen.shows("...");
    screen.answer(vec![described()]);
    for part in [
        "queue 'orders' in vhost '/'",
        "type                quorum   durable",
        "messages            5 ready   2 unacked   3 delayed   1 parked",
        "oldest              0.5s",
        "average wait        1.2s",
        "messages a second   3.4 in",
        "dead letters        to exchange '' with the key 'dead'",
        "policy              limits",
        "of policies         {\"max-length\":5}",
        "consumers have room 50 % of the time",
        "in a second: 3.4   at most 3 in ten minutes",
        "messages: 7   at most 81 in ten minutes",
        "consumers: 1",
        "tag              channel                         prefetch  state",
        r"worker\u{1b}[2J  127.0.0.1:5 -> 127.0.0.1:6 (1)  10        up",
    ] {
        screen.shows(part);
    }
    screen.shows("\u{2588}");
    screen.press("<down><down>");
    screen.hides("quorum   durable");
    screen.press("<pgdn><pgdn><pgdn><pgdn>");
    screen.shows(r"worker\u{1b}");
    // What was listed is there at once, and the cursor where it was.
    screen.press("<esc>");
    screen.shows("mail");
    assert_eq!((screen.page().number, screen.top.cursor()), (1, 1));
}

#[test]
fn a_connection_is_looked_into() {
    let mut screen = Screen::new(View::Connections, 100, 24);
    let row = json!({"name": "127.0.0.1:5 -> 127.0.0.1:6", "user": "guest", "vhost": "/", "state": "flow",
        "channels": 1, "recv_oct_details": {"rate": 2048.0}, "send_oct_details": {"rate": 0.0}});
    screen.answer(vec![json!({"items": [row], "filtered_count": 1, "total_count": 1})]);
    screen.shows("127.0.0.1:5 -> 127.0.0.1:6");
    screen.shows("2.0 KiB");
    screen.press("<enter>");
    let paths = screen.top.question().paths();
    assert!(
        paths[0].starts_with("/api/connections/127%2E0%2E0%2E1%3A5%20%2D%3E%20127%2E0%2E0%2E1%3A6?"),
        "{paths:?}"
    );
    assert!(paths[1].contains("%3A6/channels?page=1&page_size=500&"), "{paths:?}");
    let connection = json!({"user": "guest", "vhost": "/", "protocol": "AMQP 0-9-1", "auth_mechanism": "PLAIN", "ssl": true,
        "timeout": 60, "recv_oct": 4096, "client_properties": {"product": "pika", "version": "1"}});
    let channels = json!({"items": [{"number": 1, "consumer_count": 2, "prefetch_count": 3}]});
    screen.answer(vec![connection, channels]);
    for part in
        ["AMQP 0-9-1   PLAIN   TLS", "pika 1", "4.0 KiB came", "channels: 1", "number  consumers  prefetch"]
    {
        screen.shows(part);
    }
}

fn nodes(alarm: bool) -> Vec<Value> {
    let overview = json!({"product_name": "Leveret", "product_version": "0.1.0",
        "object_totals": {"queues": 3}, "queue_totals": {"messages_ready": 4},
        "message_stats": {"publish_details": {"rate": 12.0}}});
    let node = json!([{"name": "rabbit@host", "uptime": 90_000_000, "os_pid": "7", "processors": 2, "running": true,
        "mem_used": 1_073_741_824, "mem_limit": 2_147_483_648_u64, "mem_alarm": alarm,
        "disk_free": 5_000_000_000_u64, "disk_free_limit": 50_000_000, "disk_free_alarm": false}]);
    vec![overview, node]
}

#[test]
fn the_node_is_shown_with_its_alarms() {
    let mut screen = Screen::new(View::Node, 80, 24);
    screen.answer(nodes(true));
    for part in [
        "Leveret 0.1.0",
        "1d 01h   pid 7   2 processors",
        "4.7 GiB free, limit 47.7 MiB",
        "3 queues",
        "4 ready",
        "12.0 in",
    ] {
        screen.shows(part);
    }
    let line = "memory              1.0 GiB of 2.0 GiB (50 %)   ALARM: publishers wait";
    let lines = screen.lines();
    let y = lines.iter().position(|shown| shown == line).unwrap_or_else(|| panic!("{lines:#?}"));
    let cell = |screen: &Screen| screen.terminal.backend().buffer()[(30, u16::try_from(y).unwrap())].clone();
    assert_eq!(cell(&screen).fg, Color::Red);
    screen.top.colours = false;
    screen.lines();
    assert_eq!((cell(&screen).fg, cell(&screen).modifier), (Color::Reset, Modifier::BOLD));
    screen.answer(nodes(false));
    screen.hides("ALARM");
    // Who may not see the node sees the rest.
    screen.answer(vec![nodes(false).remove(0), Value::Null]);
    screen.shows("shown to users with the tag monitoring");
    screen.shows("3 queues");
}

/// Without colours there are none at all, whatever is shown.
#[test]
fn nothing_is_coloured_where_it_may_not_be() {
    let mut screen = Screen::new(View::Queues, 80, 30);
    screen.top.colours = false;
    let mut damaged = queue("q", 1);
    damaged["state"] = json!("flow");
    screen.queues(&[damaged], 1);
    screen.top.sort("state", false).unwrap();
    screen.top.trouble = Some("gone".to_owned());
    let check = |screen: &mut Screen| {
        screen.lines();
        let cells = &screen.terminal.backend().buffer().content;
        assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    };
    check(&mut screen);
    screen.press("n");
    screen.queues(&[queue("orders", 7)], 1);
    screen.press("<enter>");
    screen.answer(vec![described()]);
    check(&mut screen);
}

#[test]
fn a_broker_that_is_gone_is_said_until_it_is_back() {
    let mut screen = Screen::new(View::Queues, 80, 10);
    screen.queues(&[queue("orders", 7)], 1);
    screen.top.take(Err(CtlError::NotRunning("no broker is running there\u{1b}[2J".to_owned())));
    screen.shows(r"no broker is running there\u{1b}[2J");
    // What was known stays.
    screen.shows("orders");
    screen.queues(&[queue("orders", 7)], 1);
    screen.hides("no broker");
    // Late, for something else.
    let question = Question::Node;
    screen.top.take(Ok(Answer { question, told: nodes(false) }));
    screen.shows("orders");
}

/// A queue may be called anything: no terminal obeys its name.
#[test]
fn names_reach_no_terminal_as_commands() {
    let mut screen = Screen::new(View::Queues, 120, 10);
    let name = "evil\u{1b}]0;title\u{7}\n\u{9b}31m\u{202e}wide\u{4e2d}\u{6587}";
    screen.queues(&[queue(name, 7)], 1);
    screen.top.vhost = "\u{1b}c".to_owned();
    screen.press("/\u{1b}");
    let lines = screen.lines();
    assert!(
        lines.iter().all(|line| !line.contains(|c: char| c.is_control() || c == '\u{202e}')),
        "{lines:?}"
    );
    screen.shows(r"evil\u{1b}]0;title\u{7}\n\u{9b}31m");
    screen.press("<esc>");
    screen.press("<enter>");
    screen.shows(r"queue 'evil\u{1b}]0;title");
}

/// No size of a terminal is too small to be drawn on.
#[test]
fn every_size_is_drawn() {
    for (width, height) in (0..30).flat_map(|width| (0..12).map(move |height| (width, height))) {
        let mut screen = Screen::new(View::Queues, width, height);
        screen.queues(&[queue("a rather long name of a queue \u{4e2d}\u{6587}", 7)], 1);
        let frames: [fn(&mut Screen); 7] = [
            |_| {},
            |screen| drop(screen.top.sort("memory", false)),
            |screen| assert_eq!(screen.press("/some text that is long"), Next::GoOn),
            |screen| assert_eq!(screen.press("<esc>?"), Next::GoOn),
            |screen| assert_eq!(screen.press("?<enter>"), Next::GoOn),
            |screen| screen.answer(vec![described()]),
            |screen| {
                screen.press("3");
                screen.answer(nodes(true));
            },
        ];
        for frame in frames {
            frame(&mut screen);
            let top = &screen.top;
            screen.terminal.draw(|frame| draw(top, frame.buffer_mut())).unwrap();
        }
    }
    let mut screen = Screen::new(View::Queues, 40, 8);
    screen.queues(&[queue("orders", 7)], 1);
    screen.press("m");
    screen.shows("orders");
    screen.shows("memory v");
}
