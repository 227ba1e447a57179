//! Every delay of the circuits: how late a collector may learn something, and how long it therefore waits.
//!
//! ```text
//! instance            own collector            journal                 InfluxDB           other collector
//!    │ event, at once ─────▶│ at once ───────────▶│ 1-2 s ───────────────▶│ ≤ 2 s (LOOK_EVERY) ──▶│
//!    │ metrics, each ──────▶│ samples, at once ──▶│ 10 s windows, 5 s ───▶│ ≤ 2 s ───────────────▶│ CALLS_KNOWN_AFTER
//!    │ interval (1-60 s)    │ standing, each ────▶│ ≤ 15 s ──────────────▶│ ≤ 2 s ───────────────▶│ STANDING_KNOWN_AFTER
//!    │                      │ minute (STANDING_EVERY)
//!    │ no report ──────────▶│ stale after 3 intervals (10 s for this library), gone from the wall after FORGET_AFTER
//! ```

use std::time::Duration;

use crate::model::{HOUR, MINUTE};

// Reports of an instance.

/// How late an event may arrive and keep its own time; exporters may retry for minutes.
pub(super) const EVENT_DELAY_MAX: Duration = Duration::from_secs(15 * 60);
/// How far ahead of the collector's clock an event's time may be.
pub(super) const CLOCK_LEAD_MAX: Duration = Duration::from_secs(5);
/// How long a reported state that contradicts the last event waits for an event that explains it.
pub(super) const EVENT_GRACE: Duration = Duration::from_secs(2);
/// An event this long before a derived transition to the same state explains it.
pub(super) const EXPLAINED_WITHIN: Duration = Duration::from_secs(15);
/// A count that started this recently when first seen is new, even if the collector started later or another
/// one knows the instance.
pub(super) const RECENT_COUNT: Duration = Duration::from_secs(15);
/// New series of an instance known for this long count from zero: less than one reporting interval of this
/// library.
pub(super) const FOLLOWED_AFTER: Duration = Duration::from_millis(900);

// Stale and removed instances.

/// This library reports every second; an instance that missed ten reports is stale.
pub(super) const FUSEBOX_STALE_AFTER: Duration = Duration::from_secs(10);
/// An instance of another library is stale after missing this many of its own intervals.
pub(super) const MISSED_INTERVALS: u64 = 3;
/// Assumed interval of Micrometer and OpenTelemetry until the instance's own is known, milliseconds.
pub(super) const DEFAULT_INTERVAL_MS: u64 = 60_000;
/// A breaker known only from spans is stale after this long without a call, since it reports nothing else.
pub(super) const SPANS_STALE_AFTER: Duration = Duration::from_secs(5 * 60);
/// How long a breaker's spans wait for metrics of its service: longer than the minute of Micrometer and
/// OpenTelemetry, so that no call is counted twice.
pub(super) const SPANS_WAIT: Duration = Duration::from_secs(90);
/// How long after its first call a breaker is heard of at the latest: the wait of spans, and their way here.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(180);
/// Upper bound of a learnt interval, milliseconds.
pub(super) const INTERVAL_MAX_MS: u64 = 300_000;
/// From this interval on, every report is stored, so that "no calls" and "no report" can be distinguished,
/// milliseconds.
pub(super) const SLOW_INTERVAL_MS: u64 = 1_500;
/// An instance without a report for this long leaves the wall; the journal keeps it.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

// Kept in memory and shown.

/// Window of instances that reported no settings, as in Hystrix, milliseconds.
pub(super) const DEFAULT_WINDOW_MS: u64 = 10_000;
/// The longest window shown, that of the sparkline, milliseconds.
pub(super) const WINDOW_MAX_MS: u64 = 120_000;
/// Seconds and state changes kept for the wall: the two minutes of the sparkline, and ten seconds for late
/// ones. For an instance with a long interval it is two intervals.
pub(super) const SHOWN: Duration = Duration::from_secs(130);

// Written to the journal.

/// How often ended hours are looked for: the check visits every breaker, and requests are frequent.
pub(super) const ROLLUPS_EVERY: Duration = Duration::from_secs(1);
/// How often every instance's standing is written.
pub(super) const STANDING_EVERY: Duration = MINUTE;
/// How often unchanged settings are written again.
pub(super) const SETTINGS_EVERY: Duration = HOUR;
/// How late a due standing, or due settings, may be written.
pub(super) const WRITTEN_WITHIN: Duration = Duration::from_secs(60 + 5);

// From other collectors.

/// How often other collectors' records are read.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Calls of another collector older than this that are not known did not happen.
pub(super) const CALLS_KNOWN_AFTER: Duration = Duration::from_secs(25);
/// Delay of another collector's standing: its interval of a minute, and the way through InfluxDB.
pub(super) const STANDING_KNOWN_AFTER: Duration = Duration::from_secs(60 + 15);
/// How far ahead another collector's clock may be.
pub(super) const COLLECTOR_LEAD_MAX: Duration = MINUTE;
/// How much is read again each time: twice the usual delay of a window, and the difference of clocks.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(30);
/// How much is read again once a minute, in case a writer was delayed: everything that the wall shows.
pub(super) const READ_AGAIN_WIDE: Duration = Duration::from_secs(150);
/// How often the wider range is read.
pub(super) const READ_WIDE_EVERY: Duration = MINUTE;
