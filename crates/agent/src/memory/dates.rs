//! Days as people and models write them: `2026-11-27`.

use tool::builtin::date;

const DAY_MS: i64 = 86_400_000;

/// The day of a time in milliseconds since 1970 (UTC).
pub(super) fn day(at_ms: i64) -> String {
    let (year, month, day) = date(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time in milliseconds since 1970, in UTC: `2026-11-27 10:05:30 UTC`.
pub fn time(at_ms: i64) -> String {
    let seconds = at_ms.rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", day(at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

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
