//! Days as people and models write them: `2026-11-27`.

const DAY_MS: i64 = 86_400_000;

/// The day of a time in milliseconds since 1970 (UTC).
pub(super) fn day(at_ms: i64) -> String {
    let (year, month, day) = civil(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time in milliseconds since 1970, in UTC: `2026-11-27 10:05:30 UTC`.
pub fn time(at_ms: i64) -> String {
    let seconds = at_ms.rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", day(at_ms))
}

/// Year, month and day of days since 1970, by months that begin in March, so that the day that is sometimes there comes
/// last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
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
