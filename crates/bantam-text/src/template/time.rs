//! `strftime_now`: the date that some templates put into the system text. The time is given, never read from
//! a clock.

use std::fmt::Write;

use crate::error::Error;

/// A moment on the user's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Year, such as 2026.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl DateTime {
    /// A moment in UTC, from seconds since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
    pub fn from_unix_s(unix_s: u64) -> Self {
        let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        DateTime {
            year: i32::try_from(year).unwrap_or(i32::MAX),
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    fn month_name(self) -> &'static str {
        MONTHS.get(usize::from(self.month.wrapping_sub(1))).copied().unwrap_or("")
    }

    /// 0 for Sunday (Sakamoto's method).
    fn weekday(self) -> usize {
        const OFFSETS: [i64; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let year = i64::from(self.year) - i64::from(self.month < 3);
        let offset = OFFSETS.get(usize::from(self.month.wrapping_sub(1))).copied().unwrap_or(0);
        let days = year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        (days + offset + i64::from(self.day)).rem_euclid(7) as usize
    }

    fn day_of_year(self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let is_leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let before = BEFORE.get(usize::from(self.month.wrapping_sub(1))).copied().unwrap_or(0);
        before + u32::from(self.day) + u32::from(is_leap && self.month > 2)
    }

    fn hour_of_12(self) -> u8 {
        match self.hour % 12 {
            0 => 12,
            hour => hour,
        }
    }
}

/// `now` in the form that `format` asks for, with C's directives.
pub(super) fn strftime(now: Option<DateTime>, format: &str) -> Result<String, Error> {
    let now = now.ok_or_else(|| {
        Error::wanted(
            "strftime_now",
            "the time, as the template asks for it",
            "no time with the conversation",
        )
    })?;
    let mut out = String::with_capacity(format.len() * 2);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let is_bare = directive == Some('-');
        if is_bare {
            directive = chars.next();
        }
        push(&mut out, now, directive, is_bare)?;
    }
    Ok(out)
}

fn push(out: &mut String, now: DateTime, directive: Option<char>, is_bare: bool) -> Result<(), Error> {
    let weekday = DAYS[now.weekday()];
    match directive {
        Some('Y') => number(out, now.year.unsigned_abs(), 4, is_bare),
        Some('y') => number(out, now.year.rem_euclid(100) as u32, 2, is_bare),
        Some('m') => number(out, now.month.into(), 2, is_bare),
        Some('d') => number(out, now.day.into(), 2, is_bare),
        Some('H') => number(out, now.hour.into(), 2, is_bare),
        Some('I') => number(out, now.hour_of_12().into(), 2, is_bare),
        Some('M') => number(out, now.minute.into(), 2, is_bare),
        Some('S') => number(out, now.second.into(), 2, is_bare),
        Some('j') => number(out, now.day_of_year(), 3, is_bare),
        Some('B') => out.push_str(now.month_name()),
        Some('b' | 'h') => out.push_str(now.month_name().get(..3).unwrap_or("")),
        Some('A') => out.push_str(weekday),
        Some('a') => out.push_str(&weekday[..3]),
        Some('p') => out.push_str(if now.hour < 12 { "AM" } else { "PM" }),
        Some('F') => out.push_str(&strftime(Some(now), "%Y-%m-%d")?),
        Some('T') => out.push_str(&strftime(Some(now), "%H:%M:%S")?),
        // The time comes without a zone, and Python writes nothing for that.
        Some('z' | 'Z') => {}
        Some('%') => out.push('%'),
        other => {
            let known = "Y y m d H I M S j B b A a p F T z Z".into();
            let name = other.map_or_else(String::new, String::from);
            return Err(Error::Unsupported { place: "strftime_now", name, known });
        }
    }
    Ok(())
}

fn number(out: &mut String, value: u32, width: usize, is_bare: bool) {
    let width = if is_bare { 1 } else { width };
    // Writing to a string cannot fail.
    let _ = write!(out, "{value:0width$}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_those_of_c() {
        let now = DateTime { year: 2026, month: 1, day: 5, hour: 0, minute: 7, second: 9 };
        let text = strftime(Some(now), "%A %a %-d %d %B %b %Y %y %j %I:%M:%S %p %F %T %%").unwrap();
        assert_eq!(text, "Monday Mon 5 05 January Jan 2026 26 005 12:07:09 AM 2026-01-05 00:07:09 %");
        assert!(strftime(Some(now), "%Q").is_err());
        assert!(strftime(None, "%Y").is_err());
    }

    #[test]
    fn moments_follow_the_calendar() {
        let text = |unix_s| strftime(Some(DateTime::from_unix_s(unix_s)), "%F %T").unwrap();
        assert_eq!(text(0), "1970-01-01 00:00:00");
        assert_eq!(text(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(text(1_795_242_000), "2026-11-21 06:20:00");
        assert_eq!(text(4_107_542_399), "2100-02-28 23:59:59");
        assert_eq!(DateTime::from_unix_s(u64::MAX).year, i32::MAX);
    }

    #[test]
    fn leap_years_count() {
        let now = DateTime { year: 2024, month: 12, day: 31, hour: 13, minute: 0, second: 0 };
        assert_eq!(strftime(Some(now), "%j %A %I%p").unwrap(), "366 Tuesday 01PM");
    }
}
