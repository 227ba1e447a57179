//! Exports over gRPC, over TLS, and with invalid settings.

use std::time::Duration;

use fusebox::Telemetry;
use fusebox::circuit_breaker::{CircuitBreaker, Registry};
use fusebox::semconv;
use fusebox::telemetry::Protocol;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::sink::Sink;
use crate::{config, telemetry};

/// Scenario: the protocol is gRPC.
/// Guarantees: spans, counts and events of breakers arrive as gRPC's messages.
#[test]
fn all_signals_go_over_grpc() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
    let config = config("page", &endpoint).with_protocol(Protocol::Grpc);
    let page = Telemetry::start(&config.with_registry(&registry)).unwrap();
    tracing::dispatcher::with_default(page.dispatch(), || {
        tracing::info_span!("order").in_scope(|| drop(breaker.try_acquire()));
    });
    drop(page);
    sink.span("page", "order");
    sink.wait_for("counts and settings", |received| {
        let has_counts = received
            .metrics
            .iter()
            .any(|(_, metric)| metric.name == semconv::STATE);
        (has_counts && !received.logs.is_empty()).then_some(())
    });
}

/// Scenario: the endpoint is https, with a certificate of an authority that only a file names.
/// Guarantees: with the file spans are sent; the receiver reads the head of the request.
#[test]
fn spans_go_over_tls() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("authority-{}.pem", std::process::id()));
    std::fs::write(&file, certificate.pem()).unwrap();
    let (port, head) = tls_receiver(&certificate, &key);
    let config = config("page", &format!("https://localhost:{port}"));
    let page = Telemetry::start(&config.with_ca_file(file.to_str().unwrap())).unwrap();
    tracing::dispatcher::with_default(page.dispatch(), || {
        drop(tracing::info_span!("order").entered());
    });
    let mut heads: Vec<String> = Vec::new();
    while !heads.last().is_some_and(|head| is_of_traces(head))
        && let Ok(head) = head.recv_timeout(crate::sink::DEADLINE)
    {
        heads.push(head);
    }
    drop(page);
    std::fs::remove_file(&file).unwrap();
    assert!(
        heads.last().is_some_and(|head| is_of_traces(head)),
        "{heads:?}"
    );
    let is_known = |head: &String| {
        head.starts_with("POST /v1/") || head.starts_with("POST /fusebox/v1/control ")
    };
    assert!(heads.iter().all(is_known), "{heads:?}");
}

fn is_of_traces(head: &str) -> bool {
    head.starts_with("POST /v1/traces")
}

/// Starts a receiver that answers every request with 200; returns its port and the first line of each request.
fn tls_receiver(
    certificate: &rcgen::Certificate,
    key: &KeyPair,
) -> (u16, std::sync::mpsc::Receiver<String>) {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = std::sync::Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(tls));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (acceptor, sent) = (acceptor.clone(), sent.clone());
                tokio::spawn(async move {
                    let mut connection = acceptor.accept(connection).await.unwrap();
                    let mut bytes = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = connection.read(&mut bytes).await {
                        let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                        if text.starts_with("POST") {
                            let _ = sent.send(text.lines().next().unwrap().to_owned());
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                            connection.write_all(answer).await.unwrap();
                        }
                    }
                });
            }
        });
    });
    (port, heads)
}

/// Scenario: a service starts with settings that are all invalid.
/// Guarantees: it starts, and its spans arrive.
#[test]
fn wrong_settings_stop_nothing() {
    let (sink, endpoint) = Sink::start();
    let config = config("page", &endpoint)
        .with_log_filter("off,shop=loud,=")
        .with_header("bad name", "x")
        .with_span_delay(Duration::ZERO)
        .with_ca_file("/no/such/file.pem");
    let page = Telemetry::start(&config).unwrap();
    tracing::dispatcher::with_default(page.dispatch(), || {
        drop(tracing::info_span!("order").entered());
    });
    sink.span("page", "order");
    for endpoint in ["ftp://there", "http://", "not a url"] {
        drop(telemetry("elsewhere", endpoint));
    }
}

/// Variables with a typing mistake each.
const MISTAKES: [(&str, &str); 5] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://there:1"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
    ("OTEL_PROPAGATORS", "tracecontent"),
    ("RUST_LOG", "shop=loud"),
];

/// Runs this test again in a process of its own with these variables; returns what it printed.
fn in_process(variables: &[(&str, &str)]) -> String {
    let test = "export::the_doctor_prints_what_is_wrong_and_init_goes_on";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env("FUSEBOX_TEST_IN_PROCESS", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    text(output.stdout) + &text(output.stderr)
}

/// Scenario: a program prints the diagnosis of its environment and starts: without variables, with mistakes in five of
/// them, and with those and telemetry disabled.
/// Guarantees: each mistake is in the diagnosis and in the log lines of the start, and the program runs; while telemetry
/// is disabled, mistakes are not logged.
#[test]
fn the_doctor_prints_what_is_wrong_and_init_goes_on() {
    if std::env::var_os("FUSEBOX_TEST_IN_PROCESS").is_some() {
        println!("doctor: {}", fusebox::doctor());
        println!("starting");
        drop(fusebox::init(fusebox::TelemetryConfig::from_env("shop")).unwrap());
        println!("ran");
        return;
    }
    let clean = in_process(&[("OTEL_SDK_DISABLED", "true")]);
    assert!(clean.contains("doctor: nothing is wrong with the environment"));
    let wrong = in_process(&MISTAKES);
    let (diagnosis, start) = wrong.split_once("starting").unwrap();
    let disabled = in_process(&[&MISTAKES[..], &[("OTEL_SDK_DISABLED", "true")]].concat());
    let (_, disabled) = disabled.split_once("starting").unwrap();
    for (name, value) in MISTAKES {
        assert!(
            diagnosis.contains(name) && diagnosis.contains(value),
            "{name}: {wrong}"
        );
        assert!(start.contains(name), "{name}: {wrong}");
        assert!(
            name == "RUST_LOG" || !disabled.contains(name),
            "{name}: {disabled}"
        );
    }
    assert!(start.contains("ran") && disabled.contains("ran"));
}

/// Scenario: the application's subscriber has no layer of this OpenTelemetry, and two requests bring a trace.
/// Guarantees: it is logged, once, that the trace ends here.
#[test]
fn a_subscriber_without_the_layer_is_noticed_once() {
    use std::sync::{Arc, Mutex};
    use tower::{Layer, ServiceExt, service_fn};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Warnings(Arc<Mutex<usize>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
        fn on_event(
            &self,
            event: &tracing::Event<'_>,
            _: tracing_subscriber::layer::Context<'_, S>,
        ) {
            let is_ours = event.metadata().target() == "fusebox";
            *self.0.lock().unwrap() += usize::from(is_ours);
        }
    }
    let warnings = Warnings::default();
    let subscriber = tracing_subscriber::registry().with(warnings.clone());
    let answers = service_fn(async |_: http::Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    });
    let request = |parent: Option<&str>| {
        let request = http::Request::get("/");
        let request = match parent {
            Some(parent) => request.header("traceparent", parent),
            None => request,
        };
        let layer = fusebox::http::server::TraceLayer::new();
        layer.layer(answers).oneshot(request.body(()).unwrap())
    };
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(request(None)).unwrap();
        assert_eq!(*warnings.0.lock().unwrap(), 0);
        for _ in 0..2 {
            runtime.block_on(request(Some(parent))).unwrap();
        }
    });
    assert_eq!(*warnings.0.lock().unwrap(), 1);
}
