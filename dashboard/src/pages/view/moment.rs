//! Times as HTML: `<time>` elements in UTC, which the page's script rewrites in the viewer's time zone. Pure functions.
//! Their results contain only digits and names of days, so templates print them without escaping.

use fusebox_collector::model::UnixNanos;

use super::text;

/// Returns a time as short as its distance from `now` allows.
pub(crate) fn short(at: u64, now: u64) -> String {
    tag("short", at, &text::moment_short(at, now))
}

/// As [`short`]; nothing without a time.
pub(crate) fn some(at: Option<UnixNanos>, now: u64) -> String {
    at.map(|at| short(at.get(), now)).unwrap_or_default()
}

/// Returns day and time to the second.
pub(crate) fn full(at: u64) -> String {
    tag("full", at, &text::day_clock(at))
}

/// Returns day and time to the millisecond.
pub(crate) fn exact(at: u64) -> String {
    let words = format!("{} {}", text::day(at), text::clock_ms(at));
    tag("exact", at, &words)
}

fn tag(shape: &str, at: u64, words: &str) -> String {
    let machine = format!(
        "{}.{:03}Z",
        text::datetime_local(at),
        at / 1_000_000 % 1_000
    );
    let title = format!("{} {} UTC", text::date(at), text::clock_ms(at));
    format!("<time datetime=\"{machine}\" data-shape=\"{shape}\" title=\"{title}\">{words}</time>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_says_itself_to_machines_and_to_people() {
        let at = 1_795_428_251_302_000_000; // Mon 2026-11-23 10:04:11.302 UTC
        assert_eq!(
            exact(at),
            "<time datetime=\"2026-11-23T10:04:11.302Z\" data-shape=\"exact\" \
             title=\"Mon 23 Nov 10:04:11.302 UTC\">Mon 23 10:04:11.302</time>"
        );
        assert!(short(at, at).ends_with(">10:04:11</time>"));
        assert!(full(at).ends_with(">Mon 23 Nov 10:04:11</time>"));
    }
}
