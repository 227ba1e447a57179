//! What a span of five attributes costs the application, with the subscriber of `fusebox::Telemetry`: making,
//! entering, ending and handing it to the exporter's queue. The receiver is away, so that nothing of an export
//! but its encoding runs beside it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fusebox::{Telemetry, TelemetryConfig};

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

fn benches(criterion: &mut Criterion) {
    // The discard port: refused at once.
    let config = TelemetryConfig::from_env("bench")
        .with_endpoint("http://127.0.0.1:9")
        .with_log_filter("off");
    let telemetry = Telemetry::start(&config).expect("the configuration is right");
    tracing::dispatcher::with_default(telemetry.dispatch(), || {
        criterion.bench_function("span of five attributes", |bencher| {
            bencher.iter(|| span(black_box(7), black_box("4711")));
        });
        criterion.bench_function("child span of five attributes", |bencher| {
            let _parent = tracing::info_span!("parent").entered();
            bencher.iter(|| span(black_box(7), black_box("4711")));
        });
    });
}

criterion_group!(group, benches);
criterion_main!(group);
