//! Words and figures for people: durations, rates, times, and text from outside made safe to display. Pure functions
//! from values to strings; askama escapes HTML.

use std::borrow::Cow;

use fusebox_collector::model::{self, TailSampling, format_duration, nanos};
use time::OffsetDateTime;

use crate::pages::words::Text;
pub(crate) use crate::pages::words::count;

/// Lengths in nanoseconds, as pages divide and round them.
pub(crate) const SECOND: u64 = nanos(model::SECOND);
pub(crate) const MINUTE: u64 = nanos(model::MINUTE);
pub(crate) const HOUR: u64 = nanos(model::HOUR);
pub(crate) const DAY: u64 = nanos(model::DAY);

/// Most characters of a name from outside; its title has the full text.
pub(crate) const NAME_CHARS: usize = 160;
/// Most characters of a value from outside (a stack trace of a deep framework has about 12 k).
pub(crate) const VALUE_CHARS: usize = 20_000;
/// Most characters of a text from outside in a `title`.
const TITLE_CHARS: usize = 2_000;

macro_rules! texts {
    ($($english:literal),+ $(,)?) => { [$(Text::find($english)),+] };
}

const DAYS: [Text; 7] = texts!["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [Text; 12] = texts![
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Returns a rate per second: two digits below ten, integers above.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        v if !v.is_finite() || v <= 0.0 => "0".to_owned(),
        v if v < 0.1 => "<0.1".to_owned(),
        v if v < 9.95 => trim_zero(format!("{v:.1}")),
        v => count(v.round() as u64),
    }
}

/// Returns the text that tells which traces are kept after sampling.
pub(crate) fn sampled(rule: &TailSampling) -> String {
    t!(
        "Of what arrived more than {after} ago, traces with an error, slow ones for their operation, those in which a circuit breaker acted, and {percent} % of the others are kept.",
        after = format_duration(nanos(rule.after)),
        percent = percent(rule.share * 100.0)
    )
}

/// Returns a percentage without its sign: `0`, `0.2`, `3.1`, `12`.
pub(crate) fn percent(value: f64) -> String {
    match value {
        v if !v.is_finite() || v <= 0.0 => "0".to_owned(),
        v if v < 0.1 => "<0.1".to_owned(),
        v if v < 9.95 => trim_zero(format!("{v:.1}")),
        v => format!("{v:.0}"),
    }
}

fn trim_zero(text: String) -> String {
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Returns a duration, or a dash if there is none.
pub(crate) fn maybe_duration(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| "—".to_owned(), format_duration)
}

/// Returns a duration in as few digits as tell it apart, for cards: `33 ms`, `1.01 s`.
pub(crate) fn brief_duration(nanos: Option<u64>) -> String {
    match nanos {
        Some(n @ 10_000..10_000_000_000) if n < SECOND => {
            let unit = if n < 1_000_000 { 1_000 } else { 1_000_000 };
            let digit = if n / unit >= 10 { unit } else { unit / 10 };
            format_duration((n + digit / 2) / digit * digit)
        }
        other => maybe_duration(other),
    }
}

/// Returns a length of time in one or two units: `12 s`, `3 min`, `2 h 5 min`, `4 d`.
pub(crate) fn age(nanos: u64) -> String {
    match nanos {
        n if n < MINUTE => t!("{n} s", n = n / SECOND),
        n if n < HOUR => t!("{n} min", n = n / MINUTE),
        n if n < DAY => t!("{h} h {min} min", h = n / HOUR, min = n % HOUR / MINUTE),
        n => t!("{n} d", n = n / DAY),
    }
}

fn moment(unix_nanos: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_nanos))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns the time of day in UTC with milliseconds: `10:04:11.302`.
pub(crate) fn clock_ms(unix_nanos: u64) -> String {
    let t = moment(unix_nanos);
    let (h, m, s, ms) = (t.hour(), t.minute(), t.second(), t.millisecond());
    format!("{h:02}:{m:02}:{s:02}.{ms:03}")
}

/// Returns the time of day in UTC: `10:04`.
pub(crate) fn hour_minute(unix_nanos: u64) -> String {
    let t = moment(unix_nanos);
    format!("{:02}:{:02}", t.hour(), t.minute())
}

/// Returns day and time in UTC: `Mon 23 Nov 10:04:11`.
pub(crate) fn day_clock(unix_nanos: u64) -> String {
    let t = moment(unix_nanos);
    let (h, m, s) = (t.hour(), t.minute(), t.second());
    format!("{} {h:02}:{m:02}:{s:02}", date(unix_nanos))
}

/// Returns the day with its month: `Mon 23 Nov`.
pub(crate) fn date(unix_nanos: u64) -> String {
    let t = moment(unix_nanos);
    t!(
        "{day} {date} {month}",
        day = weekday(t),
        date = t.day(),
        month = month(t)
    )
}

/// Returns the day: `Mon 23`.
pub(crate) fn day(unix_nanos: u64) -> String {
    let t = moment(unix_nanos);
    t!("{day} {date}", day = weekday(t), date = t.day())
}

fn weekday(t: OffsetDateTime) -> Text {
    DAYS[usize::from(t.weekday().number_days_from_monday())]
}

fn month(t: OffsetDateTime) -> Text {
    MONTHS[usize::from(u8::from(t.month())) - 1]
}

/// Returns a time as short as its distance from `now` allows: `10:04:02`, `Sun 02:40`, `2 Nov 02:40`.
pub(crate) fn moment_short(unix_nanos: u64, now: u64) -> String {
    let t = moment(unix_nanos);
    if t.date() == moment(now).date() {
        return format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second());
    }
    if now.saturating_sub(unix_nanos) < 7 * DAY {
        return t!(
            "{day} {time}",
            day = weekday(t),
            time = hour_minute(unix_nanos)
        );
    }
    let time = hour_minute(unix_nanos);
    t!(
        "{date} {month} {time}",
        date = t.day(),
        month = month(t),
        time = time
    )
}

/// Returns a time in the format of `datetime-local` fields, in UTC, to the second.
pub(crate) fn datetime_local(unix_nanos: u64) -> String {
    let t = moment(unix_nanos);
    let (h, m, s) = (t.hour(), t.minute(), t.second());
    let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")
}

/// Returns text from outside made safe to display: at most `chars_max` characters, and no character that reorders,
/// hides or breaks the text around it (bidi controls, C0 and C1 controls except tab and newline).
pub(crate) fn shown(text: &str, chars_max: usize) -> Cow<'_, str> {
    let cut = text.char_indices().nth(chars_max).map(|(at, _)| at);
    if cut.is_none() && !text.chars().any(misleads) {
        return Cow::Borrowed(text);
    }
    let mut shown: String = text[..cut.unwrap_or(text.len())]
        .chars()
        .map(|c| if misleads(c) { '\u{fffd}' } else { c })
        .collect();
    if cut.is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// Returns a name from outside as shown; one of blanks alone is a sign that can be seen and clicked.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    if !text.is_empty() && text.trim().is_empty() {
        return Cow::Borrowed("␣");
    }
    shown(text, NAME_CHARS)
}

/// Returns a text from outside for a `title`.
pub(crate) fn title(text: &str) -> Cow<'_, str> {
    shown(text, TITLE_CHARS)
}

fn misleads(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

/// Returns the first and last four digits of an id: `7c1f…a90e`.
pub(crate) fn short_id(id: impl std::fmt::Display) -> String {
    let id = id.to_string();
    match (id.get(..4), id.get(id.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if id.len() > 12 => format!("{head}…{tail}"),
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_short_as_they_can_be() {
        assert_eq!(count(61_007), "61,007");
        let brief = |micros: u64| brief_duration(Some(micros * 1_000));
        assert_eq!(
            [brief(32_600), brief(4_250), brief(1_010_000)],
            ["33 ms", "4.3 ms", "1.01 s"]
        );
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(31_200_000), "31.2 M");
        assert_eq!(
            [rate(0.0), rate(0.04), rate(3.0), rate(412.4)],
            ["0", "<0.1", "3", "412"]
        );
        assert_eq!(
            [percent(f64::NAN), percent(0.2), percent(12.4)],
            ["0", "0.2", "12"]
        );
        assert_eq!(
            [age(12 * SECOND), age(2 * HOUR + 5 * MINUTE), age(4 * DAY)],
            ["12 s", "2 h 5 min", "4 d"]
        );
    }

    #[test]
    fn moments_are_as_short_as_their_distance_allows() {
        let now = 1_795_428_251_302_000_000; // Mon 2026-11-23 10:04:11.302 UTC
        assert_eq!(moment_short(now, now), "10:04:11");
        assert_eq!(moment_short(now - DAY, now), "Sun 10:04");
        assert_eq!(moment_short(now - 21 * DAY, now), "2 Nov 10:04");
        assert_eq!(clock_ms(now), "10:04:11.302");
        assert_eq!(day_clock(now), "Mon 23 Nov 10:04:11");
        assert_eq!(datetime_local(now), "2026-11-23T10:04:11");
        assert_eq!(day_clock(u64::MAX), "Sun 21 Jul 23:34:33");
    }

    #[test]
    fn foreign_text_is_cut_and_cannot_reorder_the_page() {
        assert_eq!(shown("plain", 10), "plain");
        assert_eq!(shown("a\u{202e}b\u{0}c", 10), "a\u{fffd}b\u{fffd}c");
        assert_eq!(shown(&"é".repeat(20), 3), "ééé…");
    }

    #[test]
    fn a_name_of_blanks_can_be_seen() {
        assert_eq!(
            [name(" "), name("\t\n"), name("a b"), name("")],
            ["␣", "␣", "a b", ""]
        );
    }
}
