//! Durations in settings files: as text (`"30s"`, `"250ms"`, `"1m30s"`), or in serde's form of a `Duration` (`{"secs":
//! 30, "nanos": 0}`), in which settings are written.

use std::fmt;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The units with their nanoseconds; a longer name precedes a shorter one that is its beginning.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
];

/// Reads a duration.
pub(crate) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Text)
}

/// Reads a duration or null.
pub(crate) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let read: Option<Readable> = Option::deserialize(deserializer)?;
    Ok(read.map(|read| read.0))
}

struct Readable(Duration);

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        required(deserializer).map(Self)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\" or \"250ms\", or {\"secs\": 30, \"nanos\": 0}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Duration, A::Error> {
        Duration::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Duration, A::Error> {
        Duration::deserialize(SeqAccessDeserializer::new(seq))
    }
}

/// Writes a duration exactly, as a whole number with its largest unit from nanoseconds to seconds.
pub(crate) fn write(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
    let exact = units
        .into_iter()
        .find(|(_, unit)| nanos.is_multiple_of(*unit));
    let (name, unit) = exact.unwrap_or(("ns", 1));
    format!("{}{name}", nanos / unit)
}

/// Parses numbers with units and adds them up; each number may have a fraction.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    let wrong = || {
        format!(
            "{text:?} is no duration: write a number with a unit, such as \"30s\" or \"250ms\" (ns, us, ms, s, m, h, d)"
        )
    };
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest.split_at(digits.ok_or_else(wrong)?);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic());
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let unit = UNITS.iter().find(|(name, _)| *name == unit);
        let nanos = number * unit.ok_or_else(wrong)?.1;
        let part = Duration::try_from_secs_f64(nanos / 1e9);
        let added = part.ok().and_then(|part| sum.checked_add(part));
        sum = added.ok_or_else(|| format!("{text:?} is longer than a duration can be"))?;
        rest = after.trim_start();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_units_is_read() {
        let millis = |text| parse(text).unwrap().as_nanos() as f64 / 1e6;
        let read = [
            ("30s", 30_000.0),
            ("250ms", 250.0),
            (" 1.5 s ", 1_500.0),
            ("1m30s", 90_000.0),
            ("1h 30m", 5_400_000.0),
            ("2d", 172_800_000.0),
            ("500us", 0.5),
            ("500µs", 0.5),
            ("1000000ns", 1.0),
            ("0s", 0.0),
        ];
        for (text, expected) in read {
            assert_eq!(millis(text), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "",
            " ",
            "30",
            "s",
            "30 parsecs",
            "-1s",
            "1..5s",
            "s30",
            "30s,",
            "1e3s",
            "∞",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("such as \"30s\""), "{text}: {error}");
        }
        assert!(
            parse("99999999999999999999999d")
                .unwrap_err()
                .contains("longer")
        );
    }
}
