//! The client of all exports: adds the configured headers, and logs an outage of the collector once at its start and
//! once at its end.

use std::cell::Cell;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use opentelemetry_http::{HttpClient, HttpError};
use prost::Message;
use tracing::Dispatch;
use tracing::dispatcher::WeakDispatch;

use super::InitError;
use super::config::{Signal, TelemetryConfig};
use super::environment::header_map;
use super::protocol::Protocol;
use super::transport::{Transport, TransportError, roots_of_file};

thread_local! {
    /// Whether this thread is writing a log line about exports.
    static IS_OWN_LINE: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the log line that is being written is about exports.
pub(super) fn is_own_line() -> bool {
    IS_OWN_LINE.get()
}

/// What sets the headers of all signals, for problems.
pub(super) const COMMON_HEADERS: &str = "with_header or OTEL_EXPORTER_OTLP_HEADERS";

/// Sends OTLP requests; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OtlpClient {
    transport: Transport,
    headers: HeaderMap,
    timeout: Duration,
    /// The protocol of the exporter that holds this clone.
    protocol: Protocol,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_unreachable: AtomicBool,
    /// The subscriber for log lines, because the exporters' threads have none of their own. Weak, because the
    /// subscriber owns the exporters. Unset if the application has its own subscriber.
    dispatch: OnceLock<WeakDispatch>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("could not reach the collector: {0}")]
    Unreachable(#[from] TransportError),
    #[error("could not build a request: {0}")]
    Request(#[from] http::Error),
    #[error("collector answered {0}")]
    Status(http::StatusCode),
}

impl ExportError {
    /// Returns whether the same request may succeed later (according to the OTLP specification).
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Request(_) => false,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502..=504),
        }
    }
}

impl OtlpClient {
    /// Creates the client; problems with headers and certificate authorities are added to the configuration's problems.
    pub(super) fn new(config: &mut TelemetryConfig) -> Result<Self, InitError> {
        let headers = header_map(&config.headers, COMMON_HEADERS, &mut config.problems);
        let authorities = config.ca_file.as_deref().map(roots_of_file).transpose();
        let authorities = authorities.unwrap_or_else(|problem| {
            config.problems.push(problem);
            None
        });
        Ok(Self {
            transport: Transport::start(authorities)?,
            headers,
            timeout: config.timeout,
            protocol: Protocol::HttpProtobuf,
            shared: Arc::default(),
        })
    }

    /// Returns the client for an exporter of one signal.
    pub(super) fn of(&self, signal: &Signal) -> Self {
        Self {
            protocol: signal.protocol,
            headers: self.headers_of(signal).clone(),
            timeout: signal.timeout.unwrap_or(self.timeout),
            ..self.clone()
        }
    }

    /// Returns the timeout of one export.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn headers_of<'a>(&'a self, signal: &'a Signal) -> &'a HeaderMap {
        signal.headers.as_ref().unwrap_or(&self.headers)
    }

    /// Sends a message and waits for the response, for the signal's timeout and no longer than `limit`; must not be
    /// called inside an async runtime.
    pub(super) fn send(
        &self,
        signal: &Signal,
        message: &impl Message,
        limit: Duration,
    ) -> Result<(), ExportError> {
        let timeout = signal.timeout.unwrap_or(self.timeout).min(limit);
        let result = self.send_once(signal, message, timeout);
        self.report(result.as_ref().map(drop).map_err(|error| error as _));
        result
    }

    fn send_once(
        &self,
        signal: &Signal,
        message: &impl Message,
        timeout: Duration,
    ) -> Result<(), ExportError> {
        let mut request = Request::post(signal.url()).body(Bytes::from(message.encode_to_vec()))?;
        let headers = request.headers_mut();
        headers.extend(self.headers_of(signal).clone());
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        if signal.is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            request = request.map(|message| compressed(&message));
        }
        let response = self
            .transport
            .send_blocking(signal.protocol, request, timeout)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(ExportError::Status(status)),
        }
    }

    /// Posts JSON with the headers of exports; over gRPC, as the message of a call. Does not log outages, because
    /// exports detect them too.
    pub(super) async fn post_json(
        &self,
        protocol: Protocol,
        url: &str,
        json: Vec<u8>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, ExportError> {
        let mut request = Request::post(url).body(Bytes::from(json))?;
        request.headers_mut().extend(self.headers.clone());
        let content_type = HeaderValue::from_static("application/json");
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        Ok(self.transport.send(protocol, request, timeout).await?)
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

    /// Calls `write`, which writes a log line about exports, with the subscriber.
    pub(super) fn log(&self, write: impl FnOnce()) {
        let write = || {
            IS_OWN_LINE.set(true);
            write();
            IS_OWN_LINE.set(false);
        };
        match self.shared.dispatch.get() {
            Some(dispatch) => {
                if let Some(dispatch) = dispatch.upgrade() {
                    tracing::dispatcher::with_default(&dispatch, write);
                }
            }
            None => write(), // The application's own subscriber.
        }
    }
}

fn compressed(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.expect("a vector can be written to").into()
}

type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for OtlpClient {
    // Written out as `async_trait` would expand it.
    fn send_bytes<'a, 'f>(&'a self, mut request: Request<Bytes>) -> SendFuture<'f>
    where
        'a: 'f,
        Self: 'f,
    {
        request.headers_mut().extend(self.headers.clone());
        Box::pin(async move {
            let sent = self.transport.send(self.protocol, request, self.timeout);
            match sent.await {
                Ok(answer) => {
                    let status = answer.status();
                    match status.is_success() {
                        true => self.report(Ok(())),
                        false => self.report(Err(&ExportError::Status(status))),
                    }
                    Ok(answer)
                }
                Err(error) => {
                    let error = ExportError::from(error);
                    self.report(Err(&error));
                    Err(error.into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
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
        let mut config = TelemetryConfig::from_env("test")
            .with_protocol(Protocol::HttpProtobuf)
            .with_endpoint(&endpoint);
        let client = OtlpClient::new(&mut config).unwrap();
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
        let send = || client.send(&config.logs, &request, Duration::from_secs(20));
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

    /// Receives a request and responds with 200; returns its head in lower case, and its body.
    fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = BufReader::new(connection.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            request.read_line(&mut head).unwrap();
        }
        let head = head.to_ascii_lowercase();
        let length = head.split_once("content-length: ").unwrap().1;
        let length = length.split_once('\r').unwrap().0.parse().unwrap();
        let mut body = vec![0; length];
        request.read_exact(&mut body).unwrap();
        connection
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
        (head, body)
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "the message is the test's own")]
    fn requests_follow_the_variables_of_their_signal() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let variable = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some("x-region=north,x-key=common".to_owned()),
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS" => Some("x-tenant=blue".to_owned()),
            "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION" => Some("GZIP".to_owned()),
            _ => None,
        };
        let config = TelemetryConfig::from_variables("test", &variable);
        let mut config = config.with_header("x-key", "code");
        let client = OtlpClient::new(&mut config).unwrap();
        assert_eq!(config.problems, [""; 0]);
        let receiver = std::thread::spawn(move || [receive(&listener), receive(&listener)]);
        let request = ExportLogsServiceRequest {
            resource_logs: vec![Default::default(); 100],
        };
        for signal in [&config.logs, &config.metrics] {
            client.send(signal, &request, Duration::MAX).unwrap();
        }
        let [(head, body), (plain_head, plain_body)] = receiver.join().unwrap();
        for line in ["content-encoding: gzip", "x-tenant: blue", "x-key: code"] {
            assert!(head.contains(line), "{head}");
        }
        assert!(!head.contains("x-region"), "{head}");
        let mut message = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&*body);
        decoder.read_to_end(&mut message).unwrap();
        assert_eq!(
            (&message, &plain_body),
            (&request.encode_to_vec(), &message)
        );
        for line in ["x-region: north", "x-key: code"] {
            assert!(plain_head.contains(line), "{plain_head}");
        }
        assert!(!plain_head.contains("x-tenant") && !plain_head.contains("gzip"));
    }
}
