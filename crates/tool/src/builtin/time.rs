//! `time`: what time it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{Result, Tool, tool};

/// The tool.
pub fn tool() -> Arc<dyn Tool> {
    time::tool()
}

#[derive(Debug, PartialEq, Serialize)]
struct Now {
    /// Such as `2026-11-27T19:30:05+01:00`.
    time: String,
    weekday: &'static str,
    unix_seconds: i64,
}

/// Tells the current date, time and day of the week.
#[tool(effect = "read", source = "computed", time_s = 5)]
async fn time(
    /// Minutes east of UTC, such as 60 for Central European winter time; 0 where not given.
    #[schemars(range(min = -840, max = 840))]
    offset_minutes: Option<i32>,
) -> Result<Now> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seconds = i64::try_from(since.as_secs())?;
    let offset = offset_minutes.unwrap_or_default().clamp(-840, 840);
    Ok(at(seconds, offset))
}

fn at(unix_seconds: i64, offset_minutes: i32) -> Now {
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let local = unix_seconds + i64::from(offset_minutes) * 60;
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let offset = match offset_minutes {
        0 => "Z".to_owned(),
        minutes => {
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.abs();
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    // The first of January 1970 was a Thursday.
    let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or_default();
    Now {
        time: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{offset}"),
        weekday: DAYS[weekday],
        unix_seconds,
    }
}

/// Year, month and day of a day counted from 1970, by the Gregorian calendar. Years begin in March here,
/// so that the leap day is the last.
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// A day counted from 1970, the other way round; none where there is no such day.
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (
        year_from_march.div_euclid(400),
        year_from_march.rem_euclid(400),
    );
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    // The 30th of February is the day of another month.
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_the_calendar_has_them() {
        for (seconds, offset, time, weekday) in [
            (0, 0, "1970-01-01T00:00:00Z", "Thursday"),
            (951_782_400, 0, "2000-02-29T00:00:00Z", "Tuesday"),
            (1_795_804_205, 60, "2026-11-27T19:30:05+01:00", "Friday"),
            (-1, -90, "1969-12-31T22:29:59-01:30", "Wednesday"),
            (4_107_542_400, 0, "2100-03-01T00:00:00Z", "Monday"),
        ] {
            let now = at(seconds, offset);
            assert_eq!((now.time.as_str(), now.weekday), (time, weekday));
        }
    }
}
