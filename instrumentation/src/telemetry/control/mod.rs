//! The control channel: a thread that polls the collector for changes to the breakers and log levels of this process,
//! and applies them. It needs no open port and delays no calls. A change expires when it should, even if the collector
//! is unreachable by then.

mod settings;
mod switches;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll as Ready;
use std::time::Duration;

use http::StatusCode;
use opentelemetry::Key;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::levels::{LogLevels, Logger, ROOT};
use super::otlp_client::{ExportError, OtlpClient};
use super::protocol::Protocol;
use super::{InitError, TelemetryConfig};
use crate::control::{Changes, LOGGERS_MAX, Level, LoggerLevel, Poll, WAIT_MAX};
use switches::{SwitchListener, Switches};

/// How much longer than its wait a poll may take, for slow networks.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause while the collector is unreachable: services find it again within half a minute of its return.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause if the receiver has no such channel; it may be replaced by a collector that has one.
const PAUSE_WITHOUT_CHANNEL: Duration = Duration::from_secs(300);
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
        let Some((protocol, url)) = config.control_address() else {
            return Ok(None);
        };
        let switches = Arc::new(Switches::new(config.registry.clone(), levels.clone()));
        let listener = SwitchListener::of(&switches);
        config.registry.subscribe(Arc::new(listener));
        let attribute = |key: &'static str| {
            let value = resource.get(&Key::from_static_str(key));
            value.map(|value| value.to_string()).unwrap_or_default()
        };
        let worker = Worker {
            protocol,
            url,
            client: client.clone(),
            service: attribute("service.name"),
            instance: attribute("service.instance.id"),
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
    protocol: Protocol,
    url: String,
    client: OtlpClient,
    service: String,
    instance: String,
    switches: Arc<Switches>,
    levels: LogLevels,
    after: Option<u64>,
}

/// Why a poll failed.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Send(#[from] ExportError),
    #[error("could not read the answer: {0}")]
    Answer(#[from] serde_json::Error),
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
    async fn round(&mut self) -> Result<bool, PollError> {
        let acknowledged = self.switches.outcomes();
        let poll = Poll {
            service: self.service.clone(),
            instance: self.instance.clone(),
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
    async fn ask(&self, poll: &Poll) -> Option<Result<Changes, PollError>> {
        let mut answer = pin!(self.answer(poll));
        let mut news = pin!(self.switches.news(poll.acknowledged.len()));
        poll_fn(|context| match answer.as_mut().poll(context) {
            Ready::Ready(answer) => Ready::Ready(Some(answer)),
            Ready::Pending => news.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    async fn answer(&self, poll: &Poll) -> Result<Changes, PollError> {
        let json = serde_json::to_vec(poll)?;
        let timeout = Duration::from_millis(poll.wait_ms) + ANSWER_WITHIN;
        let response = self
            .client
            .post_json(self.protocol, &self.url, json, timeout);
        let response = response.await?;
        match response.status() {
            StatusCode::OK => Ok(serde_json::from_slice(response.body())?),
            status => Err(ExportError::Status(status).into()),
        }
    }

    /// Logs the first of several failures; an unreachable collector is logged by the exports.
    fn report(&self, failures: u32, error: &PollError) {
        let is_refused = matches!(
            error,
            PollError::Send(ExportError::Status(
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            ))
        );
        self.client.log(|| match is_refused && failures == 0 {
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

/// Returns the pause after a failure. It grows with each failure and differs between processes, so that they do not all
/// poll at the same time.
fn pause(failures: u32, error: &PollError) -> Duration {
    let longest = match error {
        PollError::Send(ExportError::Status(
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED,
        )) => PAUSE_WITHOUT_CHANNEL,
        _ => PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(failures.min(16))),
    };
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
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

    #[test]
    fn pauses_grow_and_differ() {
        let away = PollError::Send(ExportError::Status(StatusCode::BAD_GATEWAY));
        let missing = PollError::Send(ExportError::Status(StatusCode::NOT_FOUND));
        for failures in [0, 1, 5, 6, 40, u32::MAX] {
            let longest = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(failures.min(10)));
            let pause = pause(failures, &away);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
        }
        assert!(pause(0, &missing) >= PAUSE_WITHOUT_CHANNEL / 2);
        assert_ne!(pause(9, &away), pause(9, &away));
    }
}
