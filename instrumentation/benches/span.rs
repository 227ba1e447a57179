//! The cost of a span of five attributes for the application, with the subscriber of `fusebox::Telemetry`: creating,
//! entering, ending and queueing it for the exporter. The exporter runs in parallel and sends to a receiver that
//! discards everything. Beside it the cost of tracing-opentelemetry alone, as its documentation sets it up, with an
//! exporter that discards spans without encoding them, and of tracing-subscriber's registry without any layer. Times are CPU times of the application's thread, so that other work on the machine matters
//! less.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fusebox::{Telemetry, TelemetryConfig};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::time::Instant;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

fn span(product: i64, user: &str) {
    let span = tracing::info_span!(
        target: "shop",
        "price",
        otel.kind = "internal",
        product.id = product,
        product.category = "lamps",
        user.id = user,
        cache.hit = true,
        price.currency = "EUR",
    );
    let _entered = span.enter();
    black_box(product);
}

/// Times `iterations` of `work` on this thread.
fn timed(iterations: u64, work: impl Fn()) -> Duration {
    let start = (on_processor(), Instant::now());
    for _ in 0..iterations {
        work();
    }
    match (start.0, on_processor()) {
        // The system counts at its ticks; criterion refuses a time of zero.
        (Some(start), Some(end)) => end.saturating_sub(start).max(Duration::from_nanos(1)),
        _ => start.1.elapsed(),
    }
}

/// Returns the CPU time of this thread, if the system reports it (Linux).
fn on_processor() -> Option<Duration> {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = schedule.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Answers every request of one connection after another with 200; returns the address.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("the socket is bound");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut requests = BufReader::new(&connection);
                while let Some(length) = read_head(&mut requests) {
                    let mut body = requests.by_ref().take(length);
                    let _ = std::io::copy(&mut body, &mut std::io::sink());
                    let _ =
                        (&connection).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    format!("http://{address}")
}

/// Reads a request up to its body and returns the body's length.
fn read_head(request: &mut impl BufRead) -> Option<u64> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        match request.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line.trim().is_empty() => return Some(length),
            Ok(_) => {}
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let config = TelemetryConfig::from_env("bench")
        .with_endpoint(&receiver())
        .with_log_filter("off");
    let telemetry = Telemetry::start(&config).expect("the configuration is right");
    tracing::dispatcher::with_default(telemetry.dispatch(), || {
        criterion.bench_function("span of five attributes", |bencher| {
            bencher.iter_custom(|iterations| {
                timed(iterations, || span(black_box(7), black_box("4711")))
            });
        });
        criterion.bench_function("child span of five attributes", |bencher| {
            let _parent = tracing::info_span!("parent").entered();
            bencher.iter_custom(|iterations| {
                timed(iterations, || span(black_box(7), black_box("4711")))
            });
        });
    });
}

/// Discards spans.
#[derive(Debug)]
struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

fn others(criterion: &mut Criterion) {
    let provider = SdkTracerProvider::builder().with_batch_exporter(Discard);
    let provider = provider.build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let alone = Dispatch::new(tracing_subscriber::registry().with(layer));
    let none = Dispatch::new(tracing_subscriber::registry());
    for (name, dispatch) in [
        ("child span with tracing-opentelemetry alone", alone),
        ("child span without a layer", none),
    ] {
        tracing::dispatcher::with_default(&dispatch, || {
            let _parent = tracing::info_span!("parent").entered();
            criterion.bench_function(name, |bencher| {
                bencher.iter_custom(|iterations| {
                    timed(iterations, || span(black_box(7), black_box("4711")))
                });
            });
        });
    }
}

criterion_group!(group, benches, others);
criterion_main!(group);
