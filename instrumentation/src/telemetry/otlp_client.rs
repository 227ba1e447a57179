//! The HTTP client of all exports. It is built on a thread of its own, because reqwest's blocking client must not be
//! built inside an async runtime, and logs an outage of the collector once at its start and once at its end.

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

/// Most bytes of a response that are read.
const MAX_RESPONSE: u64 = 64 * 1024;

/// Sends OTLP requests; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OtlpClient {
    http: reqwest::blocking::Client,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_unreachable: AtomicBool,
    /// The subscriber for log lines, as the exporters' threads have none of their own. Weak, because the subscriber owns
    /// the exporters.
    dispatch: OnceLock<WeakDispatch>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("could not reach the collector: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("collector answered {0}")]
    Status(http::StatusCode),
}

impl ExportError {
    /// Whether the same request may succeed later (the list of the OTLP specification).
    pub(super) fn is_retryable(&self) -> bool {
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
            .expect("building a client returns errors and does not panic");
        Ok(Self {
            http: http.map_err(InitError::Client)?,
            shared: Arc::default(),
        })
    }

    /// Sends a message and waits for the response; must not be called inside an async runtime.
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
            // The connection is reused only if the response has been read.
            let _ = std::io::copy(&mut answer.take(MAX_RESPONSE), &mut std::io::sink());
            status
                .is_success()
                .then_some(())
                .ok_or(ExportError::Status(status))
        });
        self.report(result.as_ref().map(drop).map_err(|error| error as _));
        result
    }

    /// Sets the subscriber for the log lines of the exporters' threads.
    pub(super) fn set_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.shared.dispatch.set(dispatch.downgrade());
    }

    /// Logs once that the collector is unreachable and once that it is back.
    fn report(&self, result: Result<(), &dyn std::fmt::Display>) {
        let was_unreachable = self
            .shared
            .is_unreachable
            .swap(result.is_err(), Ordering::Relaxed);
        self.log(|| match result {
            Ok(()) if was_unreachable => {
                tracing::info!(target: "fusebox", "collector is reachable again")
            }
            Err(error) if !was_unreachable => {
                tracing::warn!(target: "fusebox", %error, "could not export telemetry");
            }
            Ok(()) | Err(_) => {}
        });
    }

    /// Calls `write`, which writes a log line, with the subscriber.
    pub(super) fn log(&self, write: impl FnOnce()) {
        if let Some(dispatch) = self.shared.dispatch.get().and_then(WeakDispatch::upgrade) {
            tracing::dispatcher::with_default(&dispatch, write);
        }
    }
}

type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for OtlpClient {
    // As `async_trait` would write it.
    fn send_bytes<'a, 'f>(&'a self, request: Request<Bytes>) -> SendFuture<'f>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let result = self.http.send_bytes(request).await;
            match &result {
                Ok(answer) if !answer.status().is_success() => {
                    self.report(Err(&ExportError::Status(answer.status())));
                }
                Ok(_) => self.report(Ok(())),
                Err(error) => self.report(Err(error)),
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

    /// Keeps the messages of log lines.
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

    /// Responds to a request without a body.
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
        client.set_dispatch(&dispatch);
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
        let worth = |result: Result<(), ExportError>| result.unwrap_err().is_retryable();
        send().unwrap();
        assert!(worth(send()) && !worth(send()));
        send().unwrap();
        send().unwrap();
        assert!(!worth(send()));
        receiver.join().unwrap();
        let (lost, back) = ("could not export telemetry", "collector is reachable again");
        assert_eq!(*lines.0.lock().unwrap(), [lost, back, lost]);
    }
}
