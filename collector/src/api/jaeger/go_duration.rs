//! Durations as Go writes and reads them: `1.2s`, `1h15m30.5s`, `0`.

/// Units in nanoseconds. Go knows two letters for micro.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
];

/// Reads a duration into nanoseconds; `None` for anything else, and for negative ones, which no span has.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        nanos += part;
        rest = after;
    }
    // Go's durations are signed 64-bit: past 292 years is an error there as well.
    (!text.is_empty() && nanos <= i64::MAX as f64).then_some(nanos.round() as u64)
}

/// Reads one number with its unit; returns it in nanoseconds, and what follows.
fn part(text: &str) -> Option<(f64, &str)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = text.split_at(text.find(|c| !is_number(c))?);
    let (unit, rest) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.parse().ok()?;
    Some((number * factor, rest))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("150ms", 150_000_000),
            ("1.2s", 1_200_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+3m", 180_000_000_000),
            ("1h15m30.5s", 4_530_500_000_000),
            ("5us", 5_000),
            ("5\u{b5}s", 5_000),
            ("5\u{3bc}s", 5_000),
            ("1s1s", 2_000_000_000),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "+",
            "150",
            "ms",
            "-1s",
            "1.2.3s",
            "1 s",
            "1s2",
            "1d",
            ".s",
            "1e3s",
            "300000h1x",
            "9999999999h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
