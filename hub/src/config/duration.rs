//! Durations as people write them: `45m`, `12h`, `7d`.

use std::time::Duration;

/// Reads a whole number with one of the units `m`, `h` and `d`; none for anything else, and for what
/// is too long to be counted.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (number, unit_s) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => match text.strip_suffix('h') {
            Some(number) => (number, 60 * 60),
            None => (text.strip_suffix('d')?, 24 * 60 * 60),
        },
    };
    // A sign is no digit, and `parse` would take one.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(unit_s)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_with_a_unit_are_read_and_nothing_else() {
        let s = |text| parse(text).map(|read| read.as_secs());
        assert_eq!(s("45m"), Some(45 * 60));
        assert_eq!(s("12h"), Some(12 * 3600));
        assert_eq!(s("7d"), Some(7 * 86_400));
        assert_eq!(s("0d"), Some(0));
        for bad in [
            "",
            "d",
            "7",
            "7 d",
            "-7d",
            "+7d",
            "1.5h",
            "7w",
            "7dd",
            "١d",
            "99999999999999999999d",
            "999999999999999999d",
        ] {
            assert_eq!(s(bad), None, "{bad}");
        }
    }
}
