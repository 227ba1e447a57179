//! The reason of a change of state, as text for people: `52 % of 118 calls failed in 10 s (limit 50 %)`.

use std::fmt;
use std::time::Duration;

use super::settings::WindowSettings;
use super::state::{EffectiveState, State};

/// The cause of a change of state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reason {
    /// Too many calls of the window failed.
    Failures(Share),
    /// Too many calls of the window were slow.
    Slowness(Share, Duration),
    /// A call arrived after the open time.
    OpenTimeOver(Duration),
    /// The half-open time ended before enough probes had ended.
    HalfOpenTimeOver(Duration),
    /// The only probe succeeded.
    ProbeSucceeded(Duration),
    /// Enough of several probes succeeded.
    ProbesSucceeded { good: u64, of: u64 },
    /// The only probe failed.
    ProbeFailed,
    /// The only probe timed out.
    ProbeTimedOut(Duration),
    /// The only probe was too slow.
    ProbeSlow { took: Duration, limit: Duration },
    /// Too many of several probes failed.
    ProbesFailed { bad: u64, of: u64 },
    /// Too many of several probes were slow.
    ProbesSlow { slow: u64, of: u64 },
    /// A person changed the computed state.
    Manual(String),
    /// A person forced a state.
    Forced(String),
    /// A person ended the forced state, which had this reason.
    Released(String),
    /// The forced state, which had this reason, expired.
    Expired(String),
    /// The change that would have happened without the override `MetricsOnly`.
    WouldHave {
        from: State,
        to: State,
        reason: Box<Reason>,
    },
}

/// A share of the calls of a window, with its limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    pub(crate) part: u64,
    pub(crate) calls: u64,
    pub(crate) limit_percent: f64,
    pub(crate) window: WindowSettings,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures(share) => share.write(f, "failed"),
            Self::Slowness(share, limit) => {
                share.write(f, &format!("took longer than {}", Setting(*limit)))
            }
            Self::OpenTimeOver(open) => write!(f, "open time of {} has passed", Setting(*open)),
            Self::HalfOpenTimeOver(longest) => {
                write!(
                    f,
                    "too few probes ended in {} of half-open",
                    Setting(*longest)
                )
            }
            Self::ProbeSucceeded(took) => write!(f, "probe succeeded in {}", Measured(*took)),
            Self::ProbesSucceeded { good, of } => write!(f, "{good} of {of} probes succeeded"),
            Self::ProbeFailed => f.write_str("probe failed"),
            Self::ProbeTimedOut(took) => write!(f, "probe timed out after {}", Measured(*took)),
            Self::ProbeSlow { took, limit } => {
                let (took, limit) = (Measured(*took), Setting(*limit));
                write!(f, "probe took {took} (limit {limit})")
            }
            Self::ProbesFailed { bad, of } => write!(f, "{bad} of {of} probes failed"),
            Self::ProbesSlow { slow, of } => write!(f, "{slow} of {of} probes were slow"),
            Self::Manual(reason) | Self::Forced(reason) => f.write_str(reason),
            Self::Released(reason) => write!(f, "override released ({reason})"),
            Self::Expired(reason) => write!(f, "override expired ({reason})"),
            Self::WouldHave { from, to, reason } => write!(
                f,
                "would have gone from {} to {}: {reason}",
                EffectiveState::from(*from).as_str(),
                EffectiveState::from(*to).as_str(),
            ),
        }
    }
}

impl Share {
    /// Writes `52 % of 118 calls failed in 10 s (limit 50 %)`. A limit that is not a whole number is shown with one
    /// decimal.
    fn write(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        let calls = self.calls;
        let percent = self.part as f64 * 100.0 / calls as f64;
        let digits = usize::from(self.limit_percent.fract() != 0.0);
        match self.window {
            WindowSettings::Time { duration, .. } => {
                let length = Setting(duration);
                write!(
                    f,
                    "{percent:.digits$} % of {calls} calls {what} in {length}"
                )?;
            }
            WindowSettings::Count { .. } => {
                write!(f, "{percent:.digits$} % of the last {calls} calls {what}")?;
            }
        }
        write!(f, " (limit {:.digits$} %)", self.limit_percent)
    }
}

/// Displays a configured duration exactly: `5 s`, `200 ms`.
struct Setting(Duration);

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else if self.0 >= Duration::from_millis(1) {
            write!(f, "{} ms", self.0.as_secs_f64() * 1e3)
        } else {
            write!(f, "{} µs", self.0.as_secs_f64() * 1e6)
        }
    }
}

/// Displays a measured duration, rounded: `33 ms`, `1.00 s`.
struct Measured(Duration);

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= Duration::from_secs(1) {
            write!(f, "{:.2} s", self.0.as_secs_f64())
        } else if self.0 >= Duration::from_millis(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{} µs", self.0.as_micros())
        }
    }
}
