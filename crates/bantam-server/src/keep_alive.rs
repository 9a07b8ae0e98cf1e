//! How long a model stays loaded after its last request, as Ollama's clients say it.

use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a model stays loaded after its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long; zero unloads it with its last answer.
    For(Duration),
    /// Until its place is needed.
    Forever,
}

impl KeepAlive {
    /// Five minutes, as Ollama has it.
    pub const DEFAULT: KeepAlive = KeepAlive::For(Duration::from_secs(300));

    /// When it ends for what was last used at a moment; `None` for never.
    pub(crate) fn end(self, last_used: Instant) -> Option<Instant> {
        match self {
            KeepAlive::For(time) => last_used.checked_add(time),
            KeepAlive::Forever => None,
        }
    }

    /// Of a request: a number of seconds, or a text.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_f64().map(seconds),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// Below zero is for ever; so is what no clock will see.
fn seconds(seconds: f64) -> KeepAlive {
    if seconds < 0.0 {
        return KeepAlive::Forever;
    }
    Duration::try_from_secs_f64(seconds).map_or(KeepAlive::Forever, KeepAlive::For)
}

impl FromStr for KeepAlive {
    type Err = String;

    /// `300` (seconds), `5m`, `1h30m`, `0`; below zero is for ever.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            return Ok(seconds(number));
        }
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text),
        };
        let total = parts(rest).ok_or_else(|| format!("{text:?} is no time: wanted one such as 5m, 0 or -1"));
        total.map(|total| seconds(sign * total))
    }
}

/// Seconds of numbers with units, one after another, as Go writes durations.
fn parts(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.');
        let end = unit.map_or(rest.len(), |length| digits + length);
        total += number * scale(&rest[digits..end])?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(total)
}

fn scale(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_as_ollama_reads_them() {
        let secs = |s: f64| Ok(KeepAlive::For(Duration::from_secs_f64(s)));
        assert_eq!("5m".parse(), secs(300.0));
        assert_eq!("1h30m".parse(), secs(5400.0));
        assert_eq!("1.5h".parse(), secs(5400.0));
        assert_eq!("250ms".parse(), secs(0.25));
        assert_eq!("90".parse(), secs(90.0));
        assert_eq!("0".parse(), secs(0.0));
        for forever in ["-1", "-1m", "-5"] {
            assert_eq!(forever.parse(), Ok(KeepAlive::Forever));
        }
        for bad in ["", "m", "5x", "5m3", "--1", "nan", "inf", "1e999", ".m", "5 m"] {
            assert!(bad.parse::<KeepAlive>().is_err(), "{bad}");
        }
        assert_eq!(KeepAlive::read(&json!(-1)), Some(KeepAlive::Forever));
        assert_eq!(KeepAlive::read(&json!(1e300)), Some(KeepAlive::Forever));
        assert_eq!(KeepAlive::read(&json!(30)), Some(KeepAlive::For(Duration::from_secs(30))));
        assert_eq!(KeepAlive::read(&json!(true)), None);
    }
}
