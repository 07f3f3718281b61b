//! What is found where. What RabbitMQ 4.3.6 says was asked of its own Erlang 29, by
//! `re:run(Name, Pattern, [{capture, none}])`, which is how it asks for permissions and policies.

use super::{LEN_MAX, Pattern};

/// Patterns that people use, and what about them differs from engine to engine: names in which
/// RabbitMQ finds each, and names in which it does not.
type Case = (&'static str, &'static [&'static [u8]], &'static [&'static [u8]]);

const PLAIN: &[Case] = &[
    ("job", &[b"job", b"jobs", b"my job"], &[b"jo", b"JOB", b""]),
    ("^job", &[b"job", b"jobs"], &[b"my job"]),
    (r"^(jobs|logs\..*)$", &[b"jobs", b"logs.", b"logs.x"], &[b"jobs.x", b"logs"]),
    ("(?i)job", &[b"Job", b"JOB"], &[b"jo"]),
    (r"^amq\.gen.*|amq\.default", &[b"amq.gen-x", b"amq.default"], &[b"amq.topic"]),
    ("^app-{env}-", &[b"app-{env}-x"], &[b"app-env-"]),
    ("^{client_id}$", &[b"{client_id}"], &[b"client_id"]),
    (r"\Qa.b\E$", &[b"a.b"], &[b"axb"]),
    (r"a\/b", &[b"a/b"], &[b"ab"]),
    (r"^[\w.-]+$", &[b"a_1.b-c"], &[b"a b", "\u{e9}".as_bytes()]),
    // Up to Erlang 27 a hyphen beside a set stands for itself, and exports are full of it.
    (r"^[\w-.]+$", &[b"a_1.b-c"], &[b"a b"]),
    (r"[a-\d]", &[b"-", b"a", b"1"], &[b"b"]),
    (r"^[[:alnum:]_-]+$", &[b"a-1_"], &[b"a.b", b"\xc3\xa9"]),
    ("[[:^digit:]]", &[b"a"], &[b"12"]),
    ("[]a]", &[b"]", b"a"], &[b"["]),
    ("[^]a]", &[b"["], &[b"]a"]),
    ("a]}b", &[b"a]}b"], &[b"ab"]),
    ("[a&&b~~[]", &[b"&", b"~", b"["], &[b"c"]),
    ("[[a]]", &[b"a]", b"[]"], &[b"a", b"["]),
    (r"[\Qa-z\E]", &[b"-", b"z"], &[b"b"]),
    ("^a{2}$", &[b"aa"], &[b"a", b"a{2}"]),
    ("^a{,2}$", &[b"", b"aa"], &[b"aaa", b"a{,2}"]),
    ("^a{ 1, 2 }$", &[b"aa"], &[b"a{ 1, 2 }"]),
    ("^a{x}{}$", &[b"a{x}{}"], &[b"a"]),
    (r"^\d+$", &[b"12"], &["\u{663}".as_bytes(), b""]),
    (r"^\s$", &[b" ", b"\t", b"\x0b", b"\x0c"], &[b"\xa0", b"\x85"]),
    (r"^a\hb$", &[b"a b", b"a\tb", b"a\xa0b"], &[b"ahb", b"a\nb"]),
    (r"^\V$", &[b"a"], &[b"\n", b"\x85"]),
    (r"^\pL+$", &[b"abc", b"\xe9"], &[b"a1", "\u{e9}".as_bytes()]),
    (r"^\p{^Lu}\P{Ll}$", &[b"aA", b"12"], &[b"AA", b"aa"]),
    ("^\u{e9}.$", &["\u{e9}1".as_bytes()], &[b"e1"]),
    ("^[\u{e9}]$", &[b"\xa9"], &["\u{e9}".as_bytes()]),
    ("^[\u{e9}]{2}$", &["\u{e9}".as_bytes()], &[b"ee"]),
    ("(?i)^\u{c9}$", &["\u{c9}".as_bytes()], &["\u{e9}".as_bytes()]),
    ("a.b", &[b"a\rb", b"a\xffb"], &[b"a\nb"]),
    ("(?s)a.b", &[b"a\nb"], &[b"ab"]),
    ("^a$", &[b"a", b"a\n"], &[b"a\n\n", b"b"]),
    (r"^a\Z", &[b"a", b"a\n"], &[b"a\n\n"]),
    (r"^a\z", &[b"a"], &[b"a\n"]),
    (r"a$\n", &[b"a\n"], &[b"a", b"ab"]),
    ("(?m)^a$", &[b"b\na", b"b\na\nc"], &[b"ba"]),
    ("(?m)^$", &[b"", b"\n"], &[b"a\n", b"a"]),
    (r"^\101\x41\x{41}\o{101}\cA\0$", &[b"AAAA\x01\0"], &[b"A"]),
    (r"a(?#a comment)b", &[b"ab"], &[b"a"]),
    ("(?x) a b # c\n c", &[b"abc"], &[b"a b c"]),
    ("a(?i)b|c", &[b"aB", b"C"], &[b"Ab"]),
    ("(a(?i)b)c", &[b"aBc"], &[b"aBC"]),
    ("(?i:A)b", &[b"ab"], &[b"AB"]),
    (r"^a\Kb", &[b"ab"], &[b"b"]),
    (r"\bjob\b", &[b"a job", "job\u{e9}".as_bytes()], &[b"jobs"]),
    ("^(a|)*$", &[b"", b"aa"], &[b"b"]),
];

const HARD: &[Case] = &[
    (r"^(?!amq\.).*", &[b"jobs", b""], &[b"amq.topic"]),
    (r"^(?!amq\.|\.).*(?<!-dlq)$", &[b"jobs", b"jobs\n"], &[b"amq.x", b"jobs-dlq", b"jobs-dlq\n"]),
    (r"^((?!dlq).)*$", &[b"jobs", b""], &[b"jobs.dlq.1"]),
    (r"^(?=.*[A-Z])(?=.*\d).+$", &[b"aB1"], &[b"ab1", b"AB"]),
    ("(?<=a|bc)d", &[b"ad", b"bcd"], &[b"cd"]),
    (r"(?<=^amq\.)gen", &[b"amq.gen"], &[b"x.gen"]),
    ("(?<=a{1,3})b", &[b"aab"], &[b"cb"]),
    ("(?>a|ab)c", &[b"ac"], &[b"abc"]),
    ("^(?>a+)b", &[b"aab"], &[b"aa"]),
    ("^(?>a+?)b", &[b"ab"], &[b"aab"]),
    ("^a++a", &[], &[b"aaa"]),
    (r"^(\w+)-\1$", &[b"a-a", b"ab-ab\n"], &[b"a-b"]),
    (r"(?i)^(a)\1", &[b"aA"], &[b"ab"]),
    (r"^(?<n>a|b)\k<n>(?P=n)\g{-1}$", &[b"aaaa"], &[b"aaab"]),
    (r"^(a)?(?(1)b|c)$", &[b"ab", b"c"], &[b"b", b"ac"]),
    (r"(?:(a)|b)\1", &[b"aa"], &[b"b", b"bb"]),
    (r"^\R$", &[b"\r\n", b"\n", b"\x85", b"\n\n"], &[b"\n\r"]),
    ("(?=a)*b", &[b"b", b"ab"], &[b"a"]),
    (r"(*nla:x)^a", &[b"a"], &[b"xa"]),
    ("(?!$)\\n$", &[], &[b"\n"]),
    (r"^[^.]+\.(?!internal$)[^.]+$", &[b"a.b", b"a.internals"], &[b"a.internal", b"a.internal\n", b"a"]),
];

#[track_caller]
fn check(&(text, found, others): &Case) {
    let pattern = Pattern::compile(text).unwrap();
    found.iter().for_each(|name| assert!(pattern.matches(name), "{text} in {name:?}"));
    others.iter().for_each(|name| assert!(!pattern.matches(name), "{text} not in {name:?}"));
}

#[test]
fn a_pattern_is_found_where_rabbitmq_finds_it() {
    PLAIN.iter().chain(HARD).for_each(check);
}

/// What a pattern that is no pattern is refused for: RabbitMQ's words, but for the last group,
/// which RabbitMQ takes.
const REFUSED: &[(&str, &str)] = &[
    ("(", "missing closing parenthesis"),
    (")", "unmatched closing parenthesis"),
    ("[z-a]", "range out of order in character class"),
    ("[a", "missing terminating ] for character class"),
    ("[:alpha:]", "POSIX named classes are supported only within a class"),
    ("[[:foo:]]", "unknown POSIX class name"),
    ("*.dlq", "quantifier does not follow a repeatable item"),
    ("a**", "quantifier does not follow a repeatable item"),
    ("^*", "quantifier does not follow a repeatable item"),
    ("a{2,1}", "numbers out of order in {} quantifier"),
    ("a{65536}", "number too big in {} quantifier"),
    (r"(a)\2", "reference to non-existent subpattern"),
    (r"\y", "unrecognized character follows \\"),
    (r"a\", "\\ at end of pattern"),
    (r"\400", "octal value is greater than \\377"),
    (r"\x{100}", "character code point value in \\x{} or \\o{} is too large"),
    (r"[\B]", "escape sequence is invalid in character class"),
    ("(?z)", "unrecognized character after (? or (?-"),
    ("(?(1)a|b|c)(d)", "conditional subpattern contains more than two branches"),
    ("a\n(", "missing closing parenthesis"),
    ("(a)(?1)", "recursion into a group is not supported"),
    ("(?R)", "recursion into a group is not supported"),
    ("(?|(a)|(b))", "branch resets (?|..) are not supported"),
    ("(*UTF)a", "(*UTF) is not supported"),
    ("a(*COMMIT)", "(*COMMIT) is not supported"),
    ("(?(?=a)a|b)", "only whether a group was found can be a condition"),
    (r"\p{Greek}", "unknown property 'Greek': general categories such as L or Lu are known"),
    ("(a{99}){99}", "it is too large with all its repetitions"),
    (r"(?!x)(a{99}){99}", "it is too large with all its repetitions"),
];

#[test]
fn what_is_no_pattern_is_refused_in_one_line() {
    for &(text, why) in REFUSED {
        let shown = text.replace('\n', "\\n");
        assert_eq!(Pattern::compile(text).unwrap_err(), format!("'{shown}' is not a pattern: {why}"));
    }
    let deep = format!("{}{}", "(".repeat(51), ")".repeat(51));
    let hard = "(?=a)".repeat(101);
    for bad in [deep, hard, "a".repeat(LEN_MAX + 1), "(".repeat(LEN_MAX)] {
        let why = Pattern::compile(&bad).unwrap_err();
        assert!(!why.contains('\n') && !why.is_empty(), "{why}");
    }
}

#[test]
fn some_say_yes_or_no_to_all() {
    check(&("", &[b"", b"\n"], &[b"jobs"]));
    check(&("^$", &[b"", b"\n"], &[b"jobs"]));
    check(&(".*", &[b"", b"jobs", b"a\nb"], &[]));
    assert!(!Pattern::Nothing.matches(b""));
}

/// Each of these takes more steps than there are atoms on a backtracking engine without a limit, on
/// some name of 255 bytes. Here it ends, and what is not found within the limit is not found.
#[test]
fn no_pattern_takes_for_ever() {
    let exponential = [
        "(a*)*b",
        "(?>(a+)+)+b",
        "(?=(a+)+b)a",
        r"^(a+)+\1$x",
        r"(a|aa)+\1!",
        r"(.*)(.*)(.*)(.*)\1\2\3\4x",
        r"(?:(?=(a{1,90}))\1?)+b",
        r"(\w+\W*)+\1!!",
        r"(a?){30}a{30}\1x",
        "((?=a)a?){99}b(?!x)",
        "(?<=(a|aa){1,50})b",
    ];
    for text in exponential {
        assert!(!Pattern::compile(text).unwrap().matches(&[b'a'; 255]), "{text}");
    }
    // The same pattern is found where that takes few steps.
    check(&(r"(a|aa)+\1!", &[b"aaa!"], &[b"aaa"]));
}

/// However many names a careful pattern has, it is no pattern that takes too many steps.
#[test]
fn long_lists_of_names_are_patterns() {
    let names: Vec<String> = (0..900).map(|n| format!("name{n}")).collect();
    let names = names.join("|");
    check_text(&format!("^({names})$"), &[b"name899"], &[b"name900"]);
    check_text(&format!("^(?!({names})$)"), &[b"name900"], &[b"name899"]);
    check_text("^[a-z]{1,255}-[a-z]{1,255}(?<!x)$", &[b"a-b"], &[b"a-x"]);
}

#[track_caller]
fn check_text(text: &str, found: &[&[u8]], others: &[&[u8]]) {
    let pattern = Pattern::compile(text).unwrap();
    found.iter().for_each(|name| assert!(pattern.matches(name), "{name:?}"));
    others.iter().for_each(|name| assert!(!pattern.matches(name), "{name:?}"));
}
