use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use super::*;
use tracing_subscriber::filter::FilterExt;

/// Counts the events that pass.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Runs a test with a subscriber that has this filter.
fn with(base: &str, test: impl FnOnce(&LogLevels, &Count)) {
    let (levels, count) = (LogLevels::default(), Count::default());
    let filter = levels.reloadable(base.parse().unwrap());
    let layer = count.clone().with_filter(levels.events().and(filter));
    let subscriber = Registry::default().with(layer);
    tracing::subscriber::with_default(subscriber, || test(&levels, &count));
}

fn level(levels: &LogLevels, name: &str) -> LevelFilter {
    levels.get(name).unwrap().effective
}

const HOUR: Duration = Duration::from_secs(3600);

/// Scenario: lines of one place in the code are below its level; the level is raised for the target, for the module
/// above it, and for the root, and restored. Guarantees: the lines are written only while the level is raised.
#[test]
fn a_raised_level_is_in_force_until_it_is_put_back() {
    with("info,deep=warn", |levels, count| {
        let line = || tracing::debug!(target: "shop::page", "a line");
        for name in ["shop::page", "shop", ROOT, "root"] {
            line();
            assert_eq!(count.0.swap(0, Relaxed), 0, "{name}");
            levels.set(name, LevelFilter::DEBUG, HOUR).unwrap();
            line();
            assert_eq!(count.0.swap(0, Relaxed), 1, "{name}");
            assert_eq!(level(levels, "shop::page"), LevelFilter::DEBUG);
            assert_eq!(level(levels, "deep::er"), LevelFilter::WARN, "{name}");
            assert!(levels.reset(name) && !levels.reset(name));
        }
        line();
        assert_eq!(count.0.load(Relaxed), 0);
        for name in ["shop", "audit.log"] {
            levels.set(name, LevelFilter::OFF, HOUR).unwrap();
        }
        tracing::error!(target: "shop", "a line");
        tracing::error!(target: "audit.log", "a line");
        assert_eq!(count.0.load(Relaxed), 0);
    });
}

/// Scenario: two levels are changed for different times.
/// Guarantees: each level is restored at its own time, and a later change starts the thread again.
#[test]
fn levels_expire() {
    with("info", |levels, count| {
        let line = || tracing::debug!(target: "brief", "a line");
        for _ in 0..2 {
            levels
                .set("brief", LevelFilter::DEBUG, Duration::from_millis(20))
                .unwrap();
            levels.set("longer", LevelFilter::TRACE, HOUR).unwrap();
            while level(levels, "brief") == LevelFilter::DEBUG {
                std::thread::yield_now();
            }
            line();
            assert_eq!(
                (level(levels, "longer"), count.0.load(Relaxed)),
                (LevelFilter::TRACE, 0)
            );
            assert!(levels.get("longer").unwrap().expires_in > Some(HOUR / 2));
            levels.reset("longer");
            while levels.inner.state.lock().waker.is_some() {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn loggers_are_those_configured_and_those_in_use() {
    with(
        "warn,shop=debug,[span{id=1}]=trace,hyper=off",
        |levels, _| {
            tracing::info!(target: "used::here", "a line");
            levels.set("raised", LevelFilter::TRACE, HOUR).unwrap();
            let found = levels.list();
            let found: Vec<_> = found
                .iter()
                .map(|logger| (logger.name.as_str(), logger.configured, logger.effective))
                .collect();
            let (off, warn) = (LevelFilter::OFF, LevelFilter::WARN);
            let (debug, trace) = (LevelFilter::DEBUG, LevelFilter::TRACE);
            // Other tests of this process may have registered their own targets.
            for logger in [
                ("hyper", Some(off), off),
                ("raised", Some(trace), trace),
                ("shop", Some(debug), debug),
                ("used::here", None, warn),
            ] {
                assert!(found.contains(&logger), "{logger:?} in {found:?}");
            }
            assert_eq!(found[0], (ROOT, Some(warn), warn));
        },
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let levels = LogLevels::default();
    let set = |name: &str, expires_in| levels.set(name, LevelFilter::INFO, expires_in);
    for name in ["", "a b", ".page", "a[b]", "a=b", &"x".repeat(257)] {
        assert!(
            matches!(set(name, HOUR), Err(LevelError::Name(_))),
            "{name:?}"
        );
        assert_eq!(levels.get(name), None, "{name:?}");
    }
    assert_eq!(set("a", Duration::ZERO), Err(LevelError::Expiry));
    let too_long = LEVEL_EXPIRY_MAX + Duration::from_nanos(1);
    assert_eq!(set("a", too_long), Err(LevelError::Expiry));
    for number in 0..CHANGED_MAX {
        set(&format!("a{number}"), HOUR).unwrap();
    }
    assert_eq!(set("more", HOUR), Err(LevelError::TooMany));
    set("a0", HOUR).unwrap();
}
