//! The levels of loggers, which can be changed at runtime. A logger is a `tracing` target with everything below it:
//! `shop` includes `shop::page`. One handle changes the filter of log lines and that of log records. A changed level is
//! in force in both until it expires; a thread that runs only while there are such levels restores the old ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{Directive, EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::reload;

use crate::sync::Mutex;

/// The name of the root logger, as in logging libraries of the JVM.
pub const ROOT: &str = "ROOT";

/// The longest time for which a level may be changed, so that a level that was raised during an incident does not fill
/// disks indefinitely.
pub const LEVEL_EXPIRY_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most loggers with a changed level; more are not changed by hand.
const CHANGED_MAX: usize = 256;

/// The longest name of a logger whose level can be changed, bytes; far longer than any module's name.
const NAME_BYTES_MAX: usize = 256;

/// Most loggers that are listed; a process has some hundred targets.
const SEEN_MAX: usize = 4_096;

/// The levels of the process's loggers. Clones are handles to the same levels.
///
/// ```no_run
/// use std::time::Duration;
///
/// use fusebox::TelemetryConfig;
/// use tracing_subscriber::filter::LevelFilter;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let telemetry = fusebox::init(TelemetryConfig::from_env("product-page"))?;
/// telemetry.log_levels().set("shop::page", LevelFilter::DEBUG, Duration::from_secs(600))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct LogLevels {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    seen: Mutex<BTreeSet<&'static str>>,
}

#[derive(Default)]
struct State {
    filters: Vec<Reloadable>,
    changed: BTreeMap<String, Changed>,
    /// Wakes the thread that waits for the next expiry; `None` while there is none.
    waker: Option<mpsc::Sender<()>>,
}

/// The filter of one layer and its configured value.
struct Reloadable {
    base: String,
    reload: Box<dyn Fn(EnvFilter) + Send + Sync>,
}

#[derive(Debug, Clone, Copy)]
struct Changed {
    level: LevelFilter,
    until: Instant,
}

/// One logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logger {
    /// Its target, or [`ROOT`].
    pub name: String,
    /// The level set for exactly this name, if any.
    pub configured: Option<LevelFilter>,
    /// The level in force.
    pub effective: LevelFilter,
    /// The time until a changed level expires; `None` if it is the level configured at the start.
    pub expires_in: Option<Duration>,
}

/// Why a level was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// The name is not valid for a target.
    #[error(
        "no logger can be named {0:?}: letters, digits, _, -, . and ::, at most {NAME_BYTES_MAX} bytes"
    )]
    Name(String),
    /// The time is zero or longer than [`LEVEL_EXPIRY_MAX`].
    #[error("the time of a changed level must be above zero and at most {LEVEL_EXPIRY_MAX:?}")]
    Expiry,
    /// Too many levels are changed already.
    #[error("the levels of {CHANGED_MAX} loggers are changed already; restore some first")]
    TooMany,
    /// The thread that restores levels could not be started.
    #[error("could not start the thread that restores levels: {0}")]
    Thread(String),
}

impl LogLevels {
    /// Returns a filter that follows the changes.
    pub(super) fn reloadable<S: Subscriber>(&self, base: EnvFilter) -> reload::Layer<EnvFilter, S> {
        let text = base.to_string();
        let (filter, handle) = reload::Layer::new(base);
        self.inner.state.lock().filters.push(Reloadable {
            base: text,
            // Once the subscriber is gone, there is nothing to reload.
            reload: Box::new(move |filter| drop(handle.reload(filter))),
        });
        filter
    }

    /// Returns a filter that passes events but not spans, and records the targets.
    pub(super) fn events(&self) -> Events {
        Events(self.clone())
    }

    /// Returns every logger: the root, the configured ones, and those used by code that has run.
    pub fn list(&self) -> Vec<Logger> {
        let mut names: BTreeSet<String> = {
            let seen = self.inner.seen.lock();
            seen.iter().map(|name| (*name).to_owned()).collect()
        };
        let state = self.inner.state.lock();
        let levels = state.levels();
        names.extend(levels.iter().map(|(name, _)| name.to_owned()));
        names.extend(state.changed.keys().cloned());
        names.remove("");
        names.remove(ROOT);
        let names = std::iter::once(ROOT.to_owned()).chain(names);
        names.map(|name| state.logger(name, &levels)).collect()
    }

    /// Returns one logger; `None` if the name is not valid for a target.
    pub fn get(&self, name: &str) -> Option<Logger> {
        directive(name, LevelFilter::OFF).ok()?;
        let state = self.inner.state.lock();
        Some(state.logger(canonical(name).to_owned(), &state.levels()))
    }

    /// Changes the level of a logger for a limited time.
    ///
    /// # Errors
    /// Returns an error if the name or the time is invalid, or if too many levels are changed already.
    pub fn set(
        &self,
        name: &str,
        level: LevelFilter,
        expires_in: Duration,
    ) -> Result<(), LevelError> {
        directive(name, level)?;
        if expires_in.is_zero() || expires_in > LEVEL_EXPIRY_MAX {
            return Err(LevelError::Expiry);
        }
        let name = canonical(name).to_owned();
        let mut state = self.inner.state.lock();
        if !state.changed.contains_key(&name) && state.changed.len() >= CHANGED_MAX {
            return Err(LevelError::TooMany);
        }
        self.watch(&mut state)?;
        let until = Instant::now() + expires_in;
        state.changed.insert(name, Changed { level, until });
        state.reload();
        state.wake();
        Ok(())
    }

    /// Restores the configured level of a logger; returns whether it was changed.
    pub fn reset(&self, name: &str) -> bool {
        let mut state = self.inner.state.lock();
        let was_changed = state.changed.remove(canonical(name)).is_some();
        if was_changed {
            state.reload();
            state.wake();
        }
        was_changed
    }

    /// Starts the thread that restores levels, unless it is running.
    fn watch(&self, state: &mut State) -> Result<(), LevelError> {
        if state.waker.is_some() {
            return Ok(());
        }
        let (waker, woken) = mpsc::channel();
        let levels = Arc::downgrade(&self.inner);
        std::thread::Builder::new()
            .name("fusebox-levels".into())
            .spawn(move || put_back(&levels, &woken))
            .map_err(|error| LevelError::Thread(error.to_string()))?;
        state.waker = Some(waker);
        Ok(())
    }
}

/// Restores levels as they expire; ends when no level is changed, or with the process's telemetry.
fn put_back(levels: &Weak<Inner>, woken: &mpsc::Receiver<()>) {
    while let Some(wait) = levels
        .upgrade()
        .and_then(|inner| inner.state.lock().expire())
    {
        // Woken or not, the next expiry may have changed.
        let _ = woken.recv_timeout(wait);
    }
}

impl State {
    /// Ends expired changes; returns how long to wait for the next, or `None` if there is none and the thread ends.
    fn expire(&mut self) -> Option<Duration> {
        let (now, before) = (Instant::now(), self.changed.len());
        self.changed.retain(|_, changed| changed.until > now);
        if self.changed.len() < before {
            self.reload();
        }
        let next = self.changed.values().map(|changed| changed.until).min();
        if next.is_none() {
            self.waker = None;
        }
        next.map(|next| next.saturating_duration_since(now))
    }

    fn reload(&self) {
        for Reloadable { base, reload } in &self.filters {
            let filter = EnvFilter::builder().parse_lossy(base);
            let changed = self.changed.iter();
            let changed = changed.filter_map(|(name, changed)| directive(name, changed.level).ok());
            reload(changed.fold(filter, EnvFilter::add_directive));
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            let _ = waker.send(());
        }
    }

    /// Returns the configured levels of the log filter with the changed ones. Directives for spans and fields are left
    /// out.
    fn levels(&self) -> Targets {
        let base = self.filters.first().map_or("", |filter| &filter.base);
        let parts = base
            .split(',')
            .filter(|part| !part.is_empty() && !part.contains(['[', ']', '{', '}', '"']));
        let parsed = parts.filter_map(|part| part.parse::<Targets>().ok());
        let mut levels = parsed.fold(Targets::new(), |all, part| match part.default_level() {
            Some(level) => all.with_default(level),
            None => all.with_targets(part),
        });
        for (name, changed) in &self.changed {
            levels = match name.as_str() {
                ROOT => levels.with_default(changed.level),
                name => levels.with_target(name, changed.level),
            };
        }
        levels
    }

    fn logger(&self, name: String, levels: &Targets) -> Logger {
        let target = if name == ROOT { "" } else { &name };
        let configured = match name.as_str() {
            ROOT => levels.default_level(),
            name => levels
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, level)| level),
        };
        let changed = self.changed.get(&name);
        Logger {
            configured,
            effective: effective(levels, target),
            expires_in: changed.map(|it| it.until.saturating_duration_since(Instant::now())),
            name,
        }
    }
}

/// Returns the most verbose level that is written.
fn effective(levels: &Targets, target: &str) -> LevelFilter {
    let all = [
        Level::TRACE,
        Level::DEBUG,
        Level::INFO,
        Level::WARN,
        Level::ERROR,
    ];
    let mut all = all.into_iter();
    let level = all.find(|level| levels.would_enable(target, level));
    level.map_or(LevelFilter::OFF, LevelFilter::from_level)
}

/// Returns the directive for a logger.
fn directive(name: &str, level: LevelFilter) -> Result<Directive, LevelError> {
    let name = canonical(name);
    if name == ROOT {
        return Ok(level.into());
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_part);
    let parsed = is_name.then(|| format!("{name}={level}").parse().ok());
    parsed.flatten().ok_or_else(|| {
        let shown = name.chars().take(NAME_BYTES_MAX).collect();
        LevelError::Name(shown)
    })
}

fn canonical(name: &str) -> &str {
    if name.eq_ignore_ascii_case(ROOT) {
        ROOT
    } else {
        name
    }
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state.lock();
        f.debug_map().entries(&state.changed).finish()
    }
}

/// Passes events but not spans.
#[derive(Debug)]
pub(super) struct Events(LogLevels);

impl<S> Filter<S> for Events {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.is_event()
    }

    fn callsite_enabled(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        if !metadata.is_event() {
            return tracing::subscriber::Interest::never();
        }
        let mut seen = self.0.inner.seen.lock();
        if seen.len() < SEEN_MAX {
            seen.insert(metadata.target());
        }
        tracing::subscriber::Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
#[path = "levels_tests.rs"]
mod tests;
