//! Numbers as people read them.

use bantam_text::DateTime;

/// `98.4 MB`: powers of ten, as disks and downloads count.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes, &["B", "kB", "MB", "GB", "TB"])
}

/// `135 M`: a number of weights.
pub(crate) fn count(count: u64) -> String {
    scaled(count, &["", "k", "M", "B", "T"])
}

fn scaled(number: u64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let places = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.places$} {}", units[unit]).trim_end().to_owned()
}

/// `134,515,008`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A moment as `2026-11-21 06:19` in UTC, from seconds since 1970.
pub(crate) fn moment(unix_s: u64) -> String {
    let DateTime { year, month, day, hour, minute, .. } = DateTime::from_unix_s(unix_s);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// `8GB`, `512MiB`, `1.5G`, or a plain number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok().filter(|number| number.is_finite());
    let scale: Option<f64> = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "k" | "kb" => Some(1e3),
        "m" | "mb" => Some(1e6),
        "g" | "gb" => Some(1e9),
        "t" | "tb" => Some(1e12),
        "kib" => Some(1024.0),
        "mib" => Some(1024.0 * 1024.0),
        "gib" => Some(1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    let bytes = number.zip(scale).map(|(number, scale)| number * scale);
    bytes
        .map(|bytes| bytes as u64)
        .ok_or_else(|| format!("{text:?} is no size: wanted one such as 8GB or 512MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(bytes(253_113_024), "253 MB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(count(134_515_008), "135 M");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(134_515_008), "134,515,008");
    }

    #[test]
    fn days_follow_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00");
        assert_eq!(moment(951_782_400), "2000-02-29 00:00");
        assert_eq!(moment(1_795_242_000), "2026-11-21 06:20");
        assert_eq!(moment(4_107_542_400), "2100-03-01 00:00");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("8GB"), Ok(8_000_000_000));
        assert_eq!(parse_bytes("1.5 GiB"), Ok(1_610_612_736));
        assert_eq!(parse_bytes("512m"), Ok(512_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "GB", "-1", "8 XB", "1.2.3G", "8GBs"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
