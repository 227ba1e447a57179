//! The control channel: a thread that polls the collector for changes to the breakers and log levels of this process,
//! and applies them. It needs no open port and delays no calls. A change expires when it should, even if the collector
//! is unreachable by then.

mod settings;
mod switches;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::levels::{LogLevels, Logger, ROOT};
use super::link::{Link, LinkError, pause, unless};
use super::otlp_client::OtlpClient;
use super::{InitError, TelemetryConfig};
use crate::control::{Changes, GRPC_PATH, LOGGERS_MAX, Level, LoggerLevel, PATH, Poll, WAIT_MAX};
use switches::{SwitchListener, Switches};

/// The shortest interval of polls without a change, whatever the collector does.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// An open channel; dropping it closes it. Changes stay in force until they expire.
#[derive(Debug)]
pub(super) struct ControlChannel {
    _open: oneshot::Sender<()>,
}

impl ControlChannel {
    /// Starts the thread; `None` if the channel is switched off or its address unknown.
    pub(super) fn open(
        config: &TelemetryConfig,
        client: &OtlpClient,
        resource: &opentelemetry_sdk::Resource,
        levels: &LogLevels,
    ) -> Result<Option<Self>, InitError> {
        if !config.control {
            return Ok(None);
        }
        let Some(link) = Link::new(config, client, resource, PATH, GRPC_PATH) else {
            return Ok(None);
        };
        let switches = Arc::new(Switches::new(config.registry.clone(), levels.clone()));
        let listener = SwitchListener::of(&switches);
        config.registry.subscribe(Arc::new(listener));
        let worker = Worker {
            link,
            switches,
            levels: levels.clone(),
            after: None,
        };
        let (open, closed) = oneshot::channel();
        start(worker, closed)?;
        Ok(Some(Self { _open: open }))
    }
}

/// Runs the worker on its own thread until the channel is dropped.
fn start(worker: Worker, closed: oneshot::Receiver<()>) -> Result<(), InitError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(InitError::Thread)?;
    let run = move || {
        // Both end with the runtime.
        let switches = Arc::clone(&worker.switches);
        runtime.spawn(async move { switches.expire_settings().await });
        runtime.spawn(worker.run());
        let _ = runtime.block_on(closed);
    };
    let thread = std::thread::Builder::new().name("fusebox-control".into());
    thread.spawn(run).map_err(InitError::Thread)?;
    Ok(())
}

struct Worker {
    link: Link,
    switches: Arc<Switches>,
    levels: LogLevels,
    after: Option<u64>,
}

impl Worker {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            match self.round().await {
                Ok(is_empty) => {
                    failures = 0;
                    if is_empty {
                        sleep(ROUND_MIN.saturating_sub(began.elapsed())).await;
                    }
                }
                Err(error) => {
                    self.report(failures, &error);
                    sleep(pause(failures, &error)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Polls once and applies the answer; returns whether it contained nothing new.
    async fn round(&mut self) -> Result<bool, LinkError> {
        let acknowledged = self.switches.outcomes();
        let poll = Poll {
            service: self.link.service.clone(),
            instance: self.link.instance.clone(),
            after: self.after,
            // The collector should receive acknowledgements immediately.
            wait_ms: match acknowledged.is_empty() {
                true => u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX),
                false => 0,
            },
            acknowledged,
            loggers: loggers(&self.levels),
            takes_settings: true,
        };
        let sent = poll.acknowledged.len();
        let answer = match self.ask(&poll).await {
            Some(answer) => answer?,
            None => return Ok(false),
        };
        self.switches.forget_outcomes(sent);
        let applied = answer.changes.iter().filter(|c| self.switches.apply(c));
        let applied = applied.count();
        self.after = Some(answer.after);
        Ok(applied == 0 && sent == 0)
    }

    /// Waits for the answer; returns `None` if a change was applied meanwhile, which the collector should know.
    async fn ask(&self, poll: &Poll) -> Option<Result<Changes, LinkError>> {
        let answer = self.link.post(poll, Duration::from_millis(poll.wait_ms));
        unless(answer, self.switches.news(poll.acknowledged.len())).await
    }

    /// Logs the first of several failures; an unreachable collector is logged by the exports.
    fn report(&self, failures: u32, error: &LinkError) {
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        let is_refused = error
            .status()
            .is_some_and(|status| refusals.contains(&status));
        self.link.log(|| match is_refused && failures == 0 {
            true => {
                tracing::warn!(target: "fusebox", %error, "breakers cannot be switched from the collector")
            }
            false => tracing::debug!(target: "fusebox", %error, "could not poll for changes"),
        });
    }
}

/// Returns the levels to report: the root, those that are set, and those of whole crates.
fn loggers(levels: &LogLevels) -> Vec<LoggerLevel> {
    let (mut set, mut others): (Vec<_>, Vec<_>) = levels
        .list()
        .into_iter()
        .partition(|logger| logger.configured.is_some() || logger.name == ROOT);
    for logger in &mut others {
        let crate_ = logger.name.split("::").next().unwrap_or_default().len();
        logger.name.truncate(crate_);
    }
    others.dedup_by(|later, first| later.name == first.name);
    others.retain(|logger| set.iter().all(|known| known.name != logger.name));
    let crates = others
        .into_iter()
        .filter_map(|logger| levels.get(&logger.name));
    set.extend(crates);
    set.truncate(LOGGERS_MAX);
    set.iter().map(logger_level).collect()
}

fn logger_level(logger: &Logger) -> LoggerLevel {
    let level = Level::parse(&logger.effective.to_string());
    let left = logger.expires_in.map(|left| left.as_millis());
    LoggerLevel {
        name: logger.name.clone(),
        level: level.unwrap_or(Level::Off),
        expires_in_ms: left.map(|left| u64::try_from(left).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn few_loggers_are_sent_and_those_that_are_set_first() {
        let levels = LogLevels::default();
        let hour = Duration::from_secs(3600);
        for number in 0..LOGGERS_MAX {
            let name = format!("set{number:02}::deep");
            levels.set(&name, LevelFilter::DEBUG, hour).unwrap();
        }
        let sent = loggers(&levels);
        assert_eq!((sent.len(), sent[0].name.as_str()), (LOGGERS_MAX, ROOT));
        assert_eq!(
            (sent[1].name.as_str(), sent[1].level),
            ("set00::deep", Level::Debug)
        );
        assert!(sent[1].expires_in_ms > Some(3_500_000) && sent[0].expires_in_ms.is_none());
    }
}
