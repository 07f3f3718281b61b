//! The names that somebody may have meant who gave another one.

use strsim::damerau_levenshtein;

/// Names that are looked at; with more than that, a guess would rarely be right.
const NAMES_MAX: usize = 10_000;

/// The longest name that is looked at, in bytes.
const LEN_MAX: usize = 64;

/// Names that are shown.
const SHOWN_MAX: usize = 3;

/// Mistakes that a name may have: one in three bytes, and two at most. Two letters in each other's
/// place are one.
const MISTAKES_MAX: usize = 2;

/// The names among `known` that `name` is nearest to, the nearest first. Capitals are not told from
/// small letters.
pub fn nearest<N: AsRef<str>>(name: &str, known: impl IntoIterator<Item = N>) -> Vec<String> {
    let allowed = MISTAKES_MAX.min(name.len().div_ceil(3));
    if name.len() > LEN_MAX {
        return Vec::new();
    }
    let wanted = name.to_lowercase();
    let near = known.into_iter().take(NAMES_MAX).filter_map(|known| {
        let known = known.as_ref();
        if known.len() > LEN_MAX || known.len().abs_diff(name.len()) > allowed {
            return None;
        }
        let mistakes = damerau_levenshtein(&wanted, &known.to_lowercase());
        (mistakes <= allowed).then(|| (mistakes, known.to_owned()))
    });
    let mut near: Vec<(usize, String)> = near.collect();
    near.sort_unstable();
    near.truncate(SHOWN_MAX);
    near.into_iter().map(|(_, name)| name).collect()
}

/// The end of a sentence that asks whether one of the nearest names was meant; empty when none is
/// near.
pub fn did_you_mean<N: AsRef<str>>(name: &str, known: impl IntoIterator<Item = N>) -> String {
    let near = nearest(name, known);
    if near.is_empty() {
        return String::new();
    }
    let near: Vec<String> = near.iter().map(|near| format!("'{near}'")).collect();
    format!("; did you mean {}?", near.join(" or "))
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
        check("ibllnig", &["billing"]);
        check("b", &["a"]);
        check("", &[]);
        check("completely else", &[]);
        check(&"x".repeat(1000), &[]);
    }

    #[test]
    fn the_question_is_asked_where_there_is_one() {
        assert_eq!(did_you_mean("oders", ["orders", "odors"]), "; did you mean 'odors' or 'orders'?");
        assert_eq!(did_you_mean("other", ["orders"]), "");
    }
}
