//! The one HTTP client of all exports: made on a thread of its own, because reqwest's blocking client must not
//! be made where an async runtime runs, and silent about a collector that is away but for one line at its start
//! and one at its end.

use std::io::Read;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use prost::Message;
use tracing::Dispatch;
use tracing::dispatcher::WeakDispatch;

use super::{InitError, TelemetryConfig};

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Sends OTLP requests; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OtlpClient {
    http: reqwest::blocking::Client,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_away: AtomicBool,
    /// Where lines go: the exporters' threads have no subscriber of their own. Weak, because the subscriber
    /// holds the exporters.
    dispatch: OnceLock<WeakDispatch>,
}

/// Why an export did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("could not reach the collector: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("collector answered {0}")]
    Status(http::StatusCode),
}

impl ExportError {
    /// Whether the same request may be taken later (the OTLP specification's list).
    pub(super) fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502..=504),
        }
    }
}

impl OtlpClient {
    pub(super) fn new(config: &TelemetryConfig) -> Result<Self, InitError> {
        let builder = reqwest::blocking::Client::builder()
            .default_headers(config.header_map()?)
            .timeout(config.timeout);
        let build = std::thread::Builder::new().name("fusebox-init".into());
        let build = build
            .spawn(move || builder.build())
            .map_err(InitError::Thread)?;
        let http = build
            .join()
            .expect("reqwest builds a client or says why not");
        Ok(Self {
            http: http.map_err(InitError::Client)?,
            shared: Arc::default(),
        })
    }

    /// Sends a message and waits for the answer; must not be called where an async runtime runs.
    pub(super) fn send(
        &self,
        endpoint: &str,
        message: &impl Message,
        timeout: Duration,
    ) -> Result<(), ExportError> {
        let request = self.http.post(endpoint).timeout(timeout);
        let request = request.header(http::header::CONTENT_TYPE, "application/x-protobuf");
        let answer = request
            .body(message.encode_to_vec())
            .send()
            .map_err(ExportError::from);
        let result = answer.and_then(|answer| {
            let status = answer.status();
            // The connection is used again only when the answer has been read.
            let _ = std::io::copy(&mut answer.take(MAX_ANSWER), &mut std::io::sink());
            status
                .is_success()
                .then_some(())
                .ok_or(ExportError::Status(status))
        });
        self.note(result.as_ref().map(drop).map_err(|error| error as _));
        result
    }

    /// Sends its log lines to this subscriber.
    pub(super) fn speak_through(&self, dispatch: &Dispatch) {
        let _ = self.shared.dispatch.set(dispatch.downgrade());
    }

    /// Says once that the collector is away and once that it is back.
    fn note(&self, result: Result<(), &dyn std::fmt::Display>) {
        let was_away = self.shared.is_away.swap(result.is_err(), Ordering::Relaxed);
        self.speak(|| match result {
            Ok(()) if was_away => tracing::info!(target: "fusebox", "collector is back"),
            Err(error) if !was_away => {
                tracing::warn!(target: "fusebox", %error, "could not export telemetry");
            }
            Ok(()) | Err(_) => {}
        });
    }

    /// Runs what writes a log line.
    pub(super) fn speak(&self, write: impl FnOnce()) {
        if let Some(dispatch) = self.shared.dispatch.get().and_then(WeakDispatch::upgrade) {
            tracing::dispatcher::with_default(&dispatch, write);
        }
    }
}

type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for OtlpClient {
    // `async_trait` by hand.
    fn send_bytes<'a, 'f>(&'a self, request: Request<Bytes>) -> SendFuture<'f>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let result = self.http.send_bytes(request).await;
            match &result {
                Ok(answer) if !answer.status().is_success() => {
                    self.note(Err(&ExportError::Status(answer.status())));
                }
                Ok(_) => self.note(Ok(())),
                Err(error) => self.note(Err(error)),
            }
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    /// Remembers the messages of log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    impl Visit for Lines {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    /// Answers a request without a body.
    fn answer(listener: &TcpListener, status: &str) {
        let (mut connection, _) = listener.accept().unwrap();
        let head = BufReader::new(&connection).lines();
        let _ = head
            .take_while(|line| !line.as_ref().unwrap().is_empty())
            .count();
        write!(
            connection,
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
    }

    #[test]
    fn an_outage_is_one_line_and_its_end_another() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let client = OtlpClient::new(&TelemetryConfig::from_env("test")).unwrap();
        let lines = Lines::default();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(lines.clone()));
        client.speak_through(&dispatch);
        let receiver = std::thread::spawn(move || {
            for status in [
                "200 OK",
                "503 Unavailable",
                "500 Oops",
                "200 OK",
                "200 OK",
                "400 No",
            ] {
                answer(&listener, status);
            }
        });
        let request = ExportLogsServiceRequest::default();
        let send = || client.send(&endpoint, &request, Duration::from_secs(20));
        let worth = |result: Result<(), ExportError>| result.unwrap_err().is_worth_a_retry();
        send().unwrap();
        assert!(worth(send()) && !worth(send()));
        send().unwrap();
        send().unwrap();
        assert!(!worth(send()));
        receiver.join().unwrap();
        let (away, back) = ("could not export telemetry", "collector is back");
        assert_eq!(*lines.0.lock().unwrap(), [away, back, away]);
    }
}
