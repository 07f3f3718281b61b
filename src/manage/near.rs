//! The names that somebody may have meant who gave another one.

/// Names that are looked at; with more than that, a guess would rarely be right.
const NAMES_MAX: usize = 10_000;

/// The longest name that is looked at, in characters.
const LEN_MAX: usize = 64;

/// Names that are shown.
const SHOWN_MAX: usize = 3;

/// Mistakes that a name may have: one in three characters, and two at most.
const MISTAKES_MAX: usize = 2;

/// The names among `known` that `name` is nearest to, the nearest first.
pub(super) fn nearest<N: AsRef<str>>(name: &str, known: impl IntoIterator<Item = N>) -> Vec<String> {
    let wanted: Vec<char> = name.chars().take(LEN_MAX + 1).collect();
    let allowed = MISTAKES_MAX.min(wanted.len().div_ceil(3));
    if wanted.len() > LEN_MAX {
        return Vec::new();
    }
    let mut near: Vec<(usize, String)> = Vec::new();
    for name in known.into_iter().take(NAMES_MAX) {
        let other: Vec<char> = name.as_ref().chars().take(LEN_MAX + 1).collect();
        if other.len() > LEN_MAX || other.len().abs_diff(wanted.len()) > allowed {
            continue;
        }
        let mistakes = distance(&wanted, &other);
        if mistakes <= allowed {
            near.push((mistakes, name.as_ref().to_owned()));
        }
    }
    near.sort_unstable();
    near.truncate(SHOWN_MAX);
    near.into_iter().map(|(_, name)| name).collect()
}

/// How many characters have to be added, left out or changed to make one of the other; capitals are not told from small
/// letters.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        let known = ["guest", "orders", "orders2", "a", "billing"];
        assert_eq!(nearest(name, known), expected);
    }

    #[test]
    fn slips_are_seen_and_strangers_are_not() {
        check("gest", &["guest"]);
        check("Guest", &["guest"]);
        check("oders", &["orders", "orders2"]);
        check("b", &["a"]);
        check("", &[]);
        check("completely else", &[]);
        check(&"x".repeat(1000), &[]);
    }
}
