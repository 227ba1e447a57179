//! Durations as people type them: `150ms`, `1.2s`, `500us`, `2m`, `1h`.

/// Units in nanoseconds, longest suffix first so that `ms` is not read as `s`.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
];

/// Parses one number and one unit (`ns us µs ms s m h`) to nanoseconds.
pub fn parse_duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = UNITS.iter().find(|(suffix, _)| *suffix == unit)?;
    let value: f64 = number.parse().ok()?;
    let nanos = value * factor;
    (nanos.is_finite() && nanos <= u64::MAX as f64).then_some(nanos.round() as u64)
}

/// Formats a duration with three significant digits and a suitable unit: `412 ms`, `1.09 s`, `38 µs`.
pub fn format_duration(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0 => return "0".to_owned(),
        1..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        1_000_000_000..60_000_000_000 => (nanos as f64 / 1e9, "s"),
        60_000_000_000..3_600_000_000_000 => (nanos as f64 / 60e9, "min"),
        _ => (nanos as f64 / 3_600e9, "h"),
    };
    let digits = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let number = format!("{value:.digits$}");
    let number = if digits > 0 {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("150ms"), Some(150_000_000));
        assert_eq!(parse_duration("1.2s"), Some(1_200_000_000));
        assert_eq!(parse_duration("2m"), Some(120_000_000_000));
        assert_eq!(parse_duration("5µs"), Some(5_000));
        for wrong in ["", "150", "ms", "-1s", "1.2.3s", "1 fortnight", "1e400s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_with_three_digits() {
        for (nanos, text) in [
            (0, "0"),
            (999, "999 ns"),
            (38_000, "38 µs"),
            (412_000_000, "412 ms"),
            (1_090_000_000, "1.09 s"),
            (1_000_000_000, "1 s"),
        ] {
            assert_eq!(format_duration(nanos), text);
        }
    }
}
