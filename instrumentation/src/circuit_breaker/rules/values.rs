//! Settings as texts by name, as operators read and enter them: `minimum_calls` is `20`, `open_duration` is `5s`, `window`
//! is `10s in 10 buckets`. Every text can be read back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::{Settings, WindowSettings};
use super::validation::SettingsError;
use crate::time::duration_text;

/// Texts of settings by name.
pub type SettingValues = BTreeMap<String, String>;

/// A setting that is off.
const NONE: &str = "none";

struct Field {
    name: &'static str,
    text: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// Lists the settings; one that is left out is a compile error.
macro_rules! fields {
    ($($name:ident,)*) => {
        const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            text: |Settings { $name, .. }| $name.text(),
            set: |settings, text| {
                settings.$name = Value::parse(text)?;
                Ok(())
            },
        },)*];

        const _: fn(&Settings) = |Settings { $($name: _,)* }| ();
    };
}

fields! {
    window,
    minimum_calls,
    failure_rate_percent,
    slow_call_duration,
    slow_call_rate_percent,
    count_unfinished_slow_calls,
    open_duration,
    open_duration_factor,
    open_duration_max,
    open_duration_jitter_percent,
    automatic_half_open,
    half_open_max_duration,
    half_open_probes,
    probe_lease,
    timeout,
    max_concurrent,
    fallback_max_concurrent,
    bulkhead_full_is_failure,
}

impl Settings {
    /// Returns the names of all settings, in the order of the fields.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|field| field.name)
    }

    /// The number of settings.
    pub(super) const COUNT: usize = FIELDS.len();

    /// Returns every setting as text. [`with_values`](Self::with_values) reads the texts.
    pub fn values(&self) -> SettingValues {
        let value = |field: &Field| (field.name.to_owned(), (field.text)(self));
        FIELDS.iter().map(value).collect()
    }

    /// Returns these settings with other values, validated. Durations are texts such as `250ms`, a setting that may be
    /// off can be `none`, and a window is `10s in 10 buckets` or `100 calls`.
    ///
    /// ```
    /// use fusebox::circuit_breaker::Settings;
    ///
    /// let values = [("minimum_calls", "10"), ("timeout", "250ms")];
    /// let values = values.map(|(name, text)| (name.to_owned(), text.to_owned()));
    /// let settings = Settings::default().with_values(&values.into())?;
    /// assert_eq!(settings.minimum_calls, 10);
    /// # Ok::<(), fusebox::circuit_breaker::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// Returns the first name that is unknown, text that cannot be read, or setting that is invalid.
    pub fn with_values(&self, values: &SettingValues) -> Result<Self, SettingsError> {
        let mut settings = self.clone();
        for (name, text) in values {
            let field = FIELDS.iter().find(|field| field.name == name);
            let field = field.ok_or_else(|| unknown(name))?;
            (field.set)(&mut settings, text.trim()).map_err(|problem| SettingsError {
                field: field.name,
                problem,
            })?;
        }
        settings.validate()?;
        Ok(settings)
    }

    /// Returns the settings that differ from those of `before`.
    #[cfg(feature = "telemetry")]
    pub(crate) fn changes_since(&self, before: &Self) -> SettingValues {
        let mut values = self.values();
        let changed = self.differences(before);
        values.retain(|name, _| changed.contains(&name.as_str()));
        values
    }

    /// Returns the names of the settings that differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = |field: &&Field| (field.text)(self) != (field.text)(other);
        let different = FIELDS.iter().filter(differs);
        different.map(|field| field.name).collect()
    }
}

fn unknown(name: &str) -> SettingsError {
    let names: Vec<_> = Settings::names().collect();
    let name: String = name.chars().take(100).collect();
    SettingsError {
        field: "name",
        problem: format!("must be one of {}, not {name:?}", names.join(", ")),
    }
}

/// A value as text.
trait Value: Sized {
    fn text(&self) -> String;

    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! plain_values {
    ($($type:ty: $form:literal,)*) => {$(
        impl Value for $type {
            fn text(&self) -> String {
                self.to_string()
            }

            fn parse(text: &str) -> Result<Self, String> {
                let wrong = |_| format!(concat!("must be ", $form, ", not {:?}"), text);
                text.parse().map_err(wrong)
            }
        }
    )*};
}

plain_values! {
    u32: "a whole number",
    f64: "a number",
    bool: "true or false",
}

impl Value for Duration {
    fn text(&self) -> String {
        duration_text::write(*self)
    }

    fn parse(text: &str) -> Result<Self, String> {
        duration_text::parse(text).map_err(|problem| format!("must be a duration: {problem}"))
    }
}

impl Value for Option<Duration> {
    fn text(&self) -> String {
        self.map_or_else(|| NONE.to_owned(), duration_text::write)
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.eq_ignore_ascii_case(NONE) {
            true => Ok(None),
            false => Value::parse(text).map(Some),
        }
    }
}

impl Value for WindowSettings {
    fn text(&self) -> String {
        match self {
            Self::Time { duration, buckets } => format!("{} in {buckets} buckets", duration.text()),
            Self::Count { calls } => format!("{calls} calls"),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str, unit: &str| text.trim().strip_suffix(unit)?.trim().parse().ok();
        let time = text.split_once(" in ").and_then(|(duration, buckets)| {
            let duration = Value::parse(duration).ok()?;
            let buckets = number(buckets, "buckets")?;
            Some(Self::Time { duration, buckets })
        });
        let count = || number(text, "calls").map(|calls| Self::Count { calls });
        time.or_else(count).ok_or_else(|| {
            format!("must be such as \"10s in 10 buckets\" or \"100 calls\", not {text:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> SettingValues {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn every_setting_can_be_read_back() {
        let odd = Settings {
            window: WindowSettings::Count { calls: 30 },
            failure_rate_percent: 100.0 / 3.0,
            slow_call_duration: Some(Duration::from_nanos(1_234_567)),
            open_duration: Duration::from_millis(90_500),
            timeout: None,
            ..Settings::default()
        };
        for settings in [Settings::default(), Settings::hystrix(), odd] {
            let read = Settings::resilience4j().with_values(&settings.values());
            assert_eq!(read.unwrap(), settings);
        }
        assert_eq!(Settings::default().values()["window"], "10s in 10 buckets");
    }

    #[test]
    fn only_the_given_settings_change() {
        let some = values(&[("timeout", " none "), ("window", "1m in 6 buckets")]);
        let changed = Settings::default().with_values(&some).unwrap();
        let before = Settings::default();
        assert_eq!(changed.differences(&before), ["window", "timeout"]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_sentence() {
        let refusal = |name, text| {
            let refused = Settings::default().with_values(&values(&[(name, text)]));
            refused.unwrap_err().to_string()
        };
        for (name, text, sentence) in [
            (
                "minimum_calls",
                "-1",
                "minimum_calls must be a whole number, not \"-1\"",
            ),
            (
                "failure_rate_percent",
                "0",
                "failure_rate_percent must be above 0",
            ),
            (
                "failure_rate_percent",
                "NaN",
                "failure_rate_percent must be above 0",
            ),
            (
                "automatic_half_open",
                "ja",
                "automatic_half_open must be true or false",
            ),
            (
                "open_duration",
                "5",
                "open_duration must be a duration: \"5\" is no duration",
            ),
            (
                "window",
                "10s",
                "window must be such as \"10s in 10 buckets\"",
            ),
            (
                "window",
                "10 calls",
                "minimum_calls must be at most window.calls (10), not 20",
            ),
            (
                "minimum_cals",
                "1",
                "name must be one of window, minimum_calls,",
            ),
        ] {
            let refused = refusal(name, text);
            let expected = format!("circuit breaker setting {sentence}");
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }
}
