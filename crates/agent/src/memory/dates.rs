//! Days as people and models write them: `2026-11-27`.

use tool::builtin::{date, days};

const DAY_MS: i64 = 86_400_000;

/// The day of a time in milliseconds since 1970 (UTC).
pub(super) fn day(at_ms: i64) -> String {
    let (year, month, day) = date(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// When a day, a month or a year begins, in milliseconds since 1970 (UTC); none where it is none of them.
pub(super) fn begin_ms(text: &str) -> Option<i64> {
    let mut parts = text.trim().splitn(3, '-').map(str::parse::<i64>);
    let year = parts
        .next()?
        .ok()
        .filter(|year| (1..=9999).contains(year))?;
    let mut next = || parts.next().unwrap_or(Ok(1)).ok();
    // More than any of them would be too large to count with.
    let within = |number: &i64| (1..=31).contains(number);
    let (month, day) = (next().filter(within)?, next().filter(within)?);
    days(year, month, day).map(|days| days * DAY_MS)
}

/// A time in milliseconds since 1970, in UTC: `2026-11-27 10:05:30 UTC`.
pub fn time(at_ms: i64) -> String {
    let seconds = at_ms.rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", day(at_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_months_and_years_are_read() {
        for (text, begins) in [
            ("2026-11-27", "2026-11-27"),
            (" 2024-02-29", "2024-02-29"),
            ("2019", "2019-01-01"),
            ("2019-05", "2019-05-01"),
        ] {
            assert_eq!(begin_ms(text).map(day).as_deref(), Some(begins), "{text}");
        }
        for wrong in [
            "",
            "2026-02-30",
            "2026-13-01",
            "soon",
            "2026-00-10",
            "2026-1-",
            "0-1-1",
        ] {
            assert_eq!(begin_ms(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_day_is_read_as_it_was_written(days in -700_000..2_900_000_i64) {
            prop_assert_eq!(begin_ms(&day(days * DAY_MS)), Some(days * DAY_MS));
        }
    }

    #[test]
    fn days_are_written() {
        for (days, written) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (20_784, "2026-11-27"),
        ] {
            assert_eq!(day(days * DAY_MS + 5), written);
        }
    }
}
