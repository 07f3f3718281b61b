//! Limits as operators write them: whole numbers, of which a negative one lifts a limit, and none
//! leaves it as it is.

/// What becomes of a limit: nothing, for one that is not given; otherwise what it is from then on.
///
/// # Errors
/// It is more than any limit; `what` of `whose` it is.
pub(super) fn limit(what: &str, whose: &str, given: Option<i64>) -> Result<Option<Option<u32>>, String> {
    match given {
        None => Ok(None),
        Some(given) if given < 0 => Ok(Some(None)),
        Some(given) => u32::try_from(given)
            .map(|limit| Some(Some(limit)))
            .map_err(|_too_large| format!("{what} of {whose} is {given}; at most {} is possible", u32::MAX)),
    }
}
