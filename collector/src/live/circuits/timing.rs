//! How late a collector may know something, and how long it waits because of that: every delay of the circuits.
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

// What an instance reports.

/// How late an event may arrive and keep its own time; exporters may retry for minutes.
pub(super) const EVENT_DELAY_MAX: Duration = Duration::from_secs(15 * 60);
/// How far ahead of the collector's clock an event may be and keep its own time.
pub(super) const CLOCK_LEAD_MAX: Duration = Duration::from_secs(5);
/// How long a state set that contradicts the last event waits for the event that explains it.
pub(super) const EVENT_GRACE: Duration = Duration::from_secs(2);
/// An event this long before a derived transition to the same state explains it.
pub(super) const EXPLAINED_WITHIN: Duration = Duration::from_secs(15);
/// A count whose start is this recent when it is first seen is new, although the collector began later or another
/// one knows the instance.
pub(super) const RECENT_COUNT: Duration = Duration::from_secs(15);
/// New series of an instance that was known this long count from zero: less than one interval of this library.
pub(super) const FOLLOWED_AFTER: Duration = Duration::from_millis(900);

// When an instance is stale or gone.

/// This library reports each second; an instance that misses ten reports is stale.
pub(super) const FUSEBOX_STALE_AFTER: Duration = Duration::from_secs(10);
/// An instance of another library is stale after missing this many of its own intervals.
pub(super) const MISSED_INTERVALS: u64 = 3;
/// Interval of Micrometer and OpenTelemetry until the instance's own is learnt, milliseconds.
pub(super) const DEFAULT_INTERVAL_MS: u64 = 60_000;
/// A breaker known from spans alone is stale after so long without a call: without calls it says nothing.
pub(super) const SPANS_STALE_AFTER: Duration = Duration::from_secs(5 * 60);
/// How long spans of a breaker wait for metrics of its service before they stand for them: longer than the minute of
/// Micrometer and OpenTelemetry, so that no call counts by both.
pub(super) const SPANS_WAIT: Duration = Duration::from_secs(90);
/// The longest interval learnt, milliseconds.
pub(super) const INTERVAL_MAX_MS: u64 = 300_000;
/// From this interval on, every report is stored, so that "no calls" and "no report" differ, milliseconds.
pub(super) const SLOW_INTERVAL_MS: u64 = 1_500;
/// An instance that reported nothing for so long leaves the wall; the journal keeps it.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

// What is kept in memory and shown.

/// Hystrix's window, for instances that reported no settings, milliseconds.
pub(super) const DEFAULT_WINDOW_MS: u64 = 10_000;
/// The longest window shown, milliseconds: that of the sparkline.
pub(super) const WINDOW_MAX_MS: u64 = 120_000;
/// Seconds and changes of state that the wall shows: the two minutes of the sparkline, and ten seconds for late ones.
/// Of an instance with a long interval it is two intervals.
pub(super) const SHOWN: Duration = Duration::from_secs(130);

// What is written.

/// How often hours that ended are looked for: that looks at every breaker, and requests are many.
pub(super) const ROLLUPS_EVERY: Duration = Duration::from_secs(1);
/// How often the standing of every instance is written.
pub(super) const STANDING_EVERY: Duration = MINUTE;
/// How often unchanged settings are written again.
pub(super) const SETTINGS_EVERY: Duration = HOUR;
/// How much later than a standing should be written it may be written.
pub(super) const WRITTEN_WITHIN: Duration = Duration::from_secs(60 + 5);

// What other collectors write.

/// How often other collectors' records are read.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Calls of another collector that are older than this and unknown did not happen.
pub(super) const CALLS_KNOWN_AFTER: Duration = Duration::from_secs(25);
/// How late another collector's standing may be known: once a minute, and the way through InfluxDB.
pub(super) const STANDING_KNOWN_AFTER: Duration = Duration::from_secs(60 + 15);
/// How far ahead of this clock another collector's may be.
pub(super) const COLLECTOR_LEAD_MAX: Duration = MINUTE;
/// How much is read again at each look: twice the usual delay of a window, and what clocks may differ.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(30);
/// How much is read again once a minute, for a writer that was delayed: all that the wall shows.
pub(super) const READ_AGAIN_WIDE: Duration = Duration::from_secs(150);
/// How often the wider range is read.
pub(super) const READ_WIDE_EVERY: Duration = MINUTE;
