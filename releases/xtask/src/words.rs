//! Takes an option with a value out of a command line whose rest belongs to somebody else.
//!
//! What stands behind `--` is never ours.

use crate::failure::{Failure, Outcome};

/// The value of `option`, if it is there, and what is left of the words.
pub(crate) fn take(words: &[String], option: &str) -> Outcome<(Option<String>, Vec<String>)> {
    let mut rest = words.to_vec();
    let ours = rest.iter().take_while(|word| *word != "--");
    let Some(at) = ours.into_iter().position(|word| word == option) else {
        return Ok((None, rest));
    };
    if at + 1 >= rest.len() {
        return Err(Failure::usage(format!("{option} wants a value")));
    }
    let value = rest.remove(at + 1);
    rest.remove(at);
    Ok((Some(value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_taken_and_the_rest_stays_as_it_was() {
        let take = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            take(&words, "--junit").map(|(value, rest)| (value, rest.join(" ")))
        };
        let some = |value: &str, rest: &str| (Some(value.to_owned()), rest.to_owned());
        assert_eq!(take("a --junit f b").unwrap(), some("f", "a b"));
        assert_eq!(take("a b").unwrap(), (None, "a b".to_owned()));
        let behind = (None, "a -- --junit f".to_owned());
        assert_eq!(take("a -- --junit f").unwrap(), behind);
        assert!(take("a --junit").is_err());
    }
}
