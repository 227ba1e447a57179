//! The calls of a service in each minute of the last hour, as a drawing with words.

use askama::Template;
use fusebox_collector::model::{CircuitCalls, MinuteCalls, SparkBucket};

use crate::pages::view::chart::{self, Path};
use crate::pages::view::text;

/// The drawing of an hour.
#[derive(Debug, Template)]
#[template(path = "services/hour.html")]
pub(super) struct Hour {
    paths: Vec<Path>,
    minutes: usize,
    height: u64,
    words: String,
}

impl Hour {
    /// Draws the hour in a box of this height, in whole units.
    pub(super) fn new(minutes: &[MinuteCalls], height: u64) -> Self {
        let bars: Vec<_> = minutes.iter().map(bar).collect();
        Self {
            paths: chart::areas(&bars, height),
            minutes: minutes.len().max(1),
            height,
            words: words(minutes),
        }
    }
}

fn bar(minute: &MinuteCalls) -> SparkBucket {
    let calls = CircuitCalls {
        success: minute.calls.saturating_sub(minute.errors),
        failure: minute.errors,
        ..CircuitCalls::default()
    };
    SparkBucket { calls, state: None }
}

fn words(minutes: &[MinuteCalls]) -> String {
    let calls: u64 = minutes.iter().map(|minute| minute.calls).sum();
    let errors: u64 = minutes.iter().map(|minute| minute.errors).sum();
    let most = minutes.iter().map(|minute| minute.calls).max();
    tn!(
        calls,
        "{n} call in the last hour, {errors} failed; at most {rate} calls/s in a minute",
        "{n} calls in the last hour, {errors} failed; at most {rate} calls/s in a minute",
        errors = text::count(errors),
        rate = text::rate(most.unwrap_or_default() as f64 / 60.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// *Guarantees*: a failure among very many calls is seen, and what is drawn is also said.
    #[test]
    fn an_hour_is_drawn_and_said() {
        let mut minutes = [MinuteCalls::default(); 60];
        (minutes[0].calls, minutes[0].errors) = (6_000, 1);
        minutes[59].calls = 60;
        let html = Hour::new(&minutes, 9).render().unwrap();
        let words = "6,060 calls in the last hour, 1 failed; at most 100 calls/s in a minute";
        assert!(html.contains(&format!("aria-label=\"{words}\"")), "{html}");
        assert!(
            html.contains("class=\"k-failed\" d=\"M0 9V0h1V9z\""),
            "{html}"
        );
        assert!(
            html.contains("class=\"k-ok\" d=\"M0 9V1h1V9zM59 9V8h1V9z\""),
            "{html}"
        );
        let html = Hour::new(&[], 9).render().unwrap();
        assert!(
            html.contains("0 calls in the last hour, 0 failed") && !html.contains("<path"),
            "{html}"
        );
    }
}
