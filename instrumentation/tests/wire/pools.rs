//! Pools, collapsers and caches of requests, as the collector sees them.

use fusebox::circuit_breaker::{CircuitBreaker, PoolSettings, PooledError, Registry};
use fusebox::request::{Collapser, CollapserSettings, RequestCache, RequestContext};
use fusebox::{Telemetry, semconv};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

use crate::policies::points;
use crate::sink::{Received, Sink, text};
use crate::{block_on, config};

/// Returns the newest value of a metric of the pool or breaker of this name.
fn newest(received: &Received, metric: &str, name: &str) -> Option<i64> {
    let points = points(received, metric).into_iter();
    let mut named = points.filter(|point| {
        let of = |key| text(&point.attributes, key) == name;
        of(semconv::POOL_NAME) || of(semconv::BREAKER_NAME)
    });
    match named.next_back()?.value? {
        Value::AsInt(value) => Some(value),
        Value::AsDouble(_) => None,
    }
}

/// Scenario: a pool of one worker runs a call and refuses another one; a request uses its cache three times, and a
/// collapser makes two calls in one batch. Guarantees: the collector receives the running calls, the totals, the
/// callers, and the sizes of batches.
#[test]
fn pools_and_what_requests_share_are_counted() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let page = Telemetry::start(&config("page", &endpoint).with_registry(&registry)).unwrap();
    let stock = CircuitBreaker::builder("stock").registry(&registry).build();
    let settings = PoolSettings {
        core_size: 1,
        ..PoolSettings::default()
    };
    let pool = registry.pool("warehouse", settings).unwrap();
    block_on(&page, async {
        let hangs = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(std::future::pending::<()>()).await }
        });
        while pool.snapshot().active == 0 {
            tokio::task::yield_now().await;
        }
        let refused = pool.call(&stock, async { Ok::<_, ()>(()) }).await;
        assert!(matches!(refused, Err(PooledError::Full(_))));
        share(&stock).await;
        let has = |received: &Received| {
            let of_pool = |metric| newest(received, metric, "warehouse");
            let is_there = of_pool(semconv::POOL_ACTIVE) == Some(1)
                && of_pool(semconv::POOL_SIZE) == Some(1)
                && of_pool(semconv::POOL_QUEUE_LIMIT) == Some(0)
                && of_pool(semconv::POOL_EXECUTED) == Some(1)
                && of_pool(semconv::POOL_COMPLETED) == Some(0)
                && of_pool(semconv::POOL_REJECTED) == Some(1)
                && of_pool(semconv::POOL_CALLER_REJECTED) == Some(1)
                && newest(received, semconv::CACHED, "stock") == Some(2)
                && newest(received, semconv::COLLAPSER_CALLS, "stock") == Some(2)
                && newest(received, semconv::COLLAPSER_DELAY, "stock") == Some(10);
            is_there.then_some(())
        };
        sink.wait_for("figures of the pool and the collapser", has);
        hangs.abort();
    });
    sink.wait_for("a batch of two", |received| {
        let mut metrics = received.metrics.iter().map(|(_, metric)| metric);
        let sizes = metrics.find(|metric| metric.name == semconv::COLLAPSER_BATCH_SIZE)?;
        match sizes.data.as_ref()? {
            Data::ExponentialHistogram(sizes) => {
                let point = &sizes.data_points[0];
                assert_eq!((point.count, point.sum), (1, Some(2.0)));
                Some(())
            }
            other => panic!("{other:?}"),
        }
    });
}

async fn share(stock: &CircuitBreaker) {
    let request = RequestContext::new();
    let cache: RequestCache<u32, u32, ()> = RequestCache::new(stock);
    for _ in 0..3 {
        let ask = || async { stock.call(async { Ok::<_, ()>(7) }).await.map_err(|_| ()) };
        assert_eq!(cache.get(&request, 1, ask).await, Ok(7));
    }
    let echo = |all: Vec<u32>| async move { Ok::<_, ()>(all) };
    let collapser = Collapser::new(stock, CollapserSettings::default(), echo).unwrap();
    let (one, two) = tokio::join!(collapser.call(&request, 1), collapser.call(&request, 2));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
}
