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

/// When a day begins, in milliseconds since 1970 (UTC); none where it is no day.
pub(super) fn begin_ms(text: &str) -> Option<i64> {
    let mut parts = text.trim().splitn(3, '-').map(str::parse::<i64>);
    let mut next = || parts.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    if !(1..=9999).contains(&year) {
        return None;
    }
    let days = days(year, month, day);
    // 30 February is the day of another month.
    (civil(days) == (year, month, day)).then_some(days * DAY_MS)
}

/// Days since 1970, by months that begin in March, so that the day that is sometimes there comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_read_and_written() {
        assert_eq!(begin_ms("1970-01-01"), Some(0));
        assert_eq!(begin_ms("2026-11-27"), Some(1_795_737_600_000));
        assert_eq!(day(1_795_737_600_000 + 5), "2026-11-27");
        assert_eq!(
            begin_ms("2024-02-29").map(day).as_deref(),
            Some("2024-02-29")
        );
        for wrong in [
            "",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "soon",
            "2026-00-10",
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
}
