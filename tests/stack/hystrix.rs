//! Hystrix's streams of the collector, read as its dashboard and Turbine read them, and those that the collector pulls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get as get_route;
use fusebox::circuit_breaker::{
    CircuitBreaker, EffectiveState, IsolationPool, Outcome, PoolSettings, PooledError, Registry,
};
use fusebox::hystrix::HystrixStream;
use fusebox::request::{Collapser, CollapserSettings, RequestCache, RequestContext};
use fusebox::{Telemetry, TelemetryConfig};
use fusebox_collector::CollectorConfig;
use futures_util::FutureExt;
use integration_tests::{FakeBreaker, Stack, eventually, get_json};
use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Reads the objects of a stream.
struct Reader {
    response: Response,
    text: String,
}

impl Reader {
    /// Returns the next object; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                match event.strip_prefix("data: ") {
                    Some(json) => return Some(serde_json::from_str(json).expect("JSON")),
                    None => assert!(event.ends_with("ping") || event == "ping: ", "{event}"),
                }
                continue;
            }
            let chunk = self.response.chunk().await.expect("a stream")?;
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// Reads until an object is as wanted.
    async fn find(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let object = self.next().await.expect("the stream goes on");
                if is(&object) {
                    return object;
                }
            }
        };
        let found = tokio::time::timeout(integration_tests::DEADLINE, found).await;
        found.expect("it is sent")
    }
}

async fn get(url: &str) -> Response {
    reqwest::get(url).await.expect("an answer")
}

async fn read(url: &str) -> Reader {
    // A service that reported a moment ago may be in the next frame only.
    let response = eventually("a stream", async || {
        let response = get(url).await;
        response.status().is_success().then_some(response)
    })
    .await;
    let text = String::new();
    Reader { response, text }
}

/// Scenario: two instances of a service call through a breaker, which opens in one of them.
/// Guarantees: both streams say so, with the fields that the dashboard cannot do without.
#[tokio::test]
async fn breakers_of_the_wall_are_in_both_streams() {
    let stack = Stack::start().await;
    let mut first = FakeBreaker::new("shop", "stock", "shop-1");
    let mut second = FakeBreaker::new("shop", "stock", "shop-2");
    for breaker in [&mut first, &mut second] {
        breaker.report(&stack.otlp_http, 0).await;
        breaker.report(&stack.otlp_http, 30).await;
    }
    first
        .turn(&stack.otlp_http, EffectiveState::Open, TRACE)
        .await;

    let mut hystrix = read(&format!("{}/hystrix.stream?service=shop", stack.web)).await;
    let is_split = |object: &Value| object["isCircuitBreakerOpen"]["true"] == 1;
    let sent = hystrix
        .find(|object| object["name"] == "stock" && is_split(object))
        .await;
    assert_eq!(
        (&sent["type"], &sent["reportingHosts"]),
        (&"HystrixCommand".into(), &2.into())
    );
    let ms = sent["latencyExecute"]["99.5"].as_u64().expect("a number") / 2;
    assert!((29..=33).contains(&ms), "{ms}");

    let mut turbine = read(&format!("{}/turbine.stream?delay=1000", stack.web)).await;
    let sent = turbine.find(|object| object["name"] == "shop.stock").await;
    assert_eq!(sent["rollingCountSuccess"], 60);
    let meta = turbine.find(|object| object["type"] == "meta").await;
    assert_eq!(meta["reportingHostsLast10Seconds"], 2);
    let mut cluster = read(&format!("{}/turbine.stream?cluster=shop", stack.web)).await;
    assert_eq!(cluster.next().await.expect("a breaker")["name"], "stock");

    stack.stop().await;
    let end = async { while hystrix.next().await.is_some() {} };
    let end = tokio::time::timeout(integration_tests::DEADLINE, end).await;
    end.expect("a stream ends with the collector");
}

/// Guarantees: the answer to a wrong request says what would be right, and readers are bounded.
#[tokio::test]
async fn wrong_and_too_many_requests_are_refused() {
    let stack = Stack::start().await;
    let status = async |path: &str| get(&format!("{}{path}", stack.web)).await.status().as_u16();
    assert_eq!(status("/hystrix.stream").await, 400);
    assert_eq!(status("/hystrix.stream?service=unknown").await, 404);
    assert_eq!(status("/turbine.stream?cluster=unknown").await, 404);
    assert_eq!(status("/turbine.stream?delay=soon").await, 400);
    let mut readers = Vec::new();
    for _ in 0..16 {
        readers.push(get(&format!("{}/turbine.stream", stack.web)).await);
        assert_eq!(
            readers.last().map(|reader| reader.status().as_u16()),
            Some(200)
        );
    }
    let refused = get(&format!("{}/turbine.stream", stack.web)).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
}

/// A service with the library's own `/hystrix.stream`, whose bytes are those of Hystrix.
struct Service {
    registry: Registry,
    address: SocketAddr,
    stream: HystrixStream,
    serving: JoinHandle<()>,
}

impl Service {
    async fn start(registry: Registry, address: &str) -> Self {
        let stream = HystrixStream::of(&registry);
        let app = Router::new().route("/hystrix.stream", get_route(stream.clone()));
        let listener = TcpListener::bind(address).await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("it serves");
        });
        Self {
            registry,
            address,
            stream,
            serving,
        }
    }

    /// Ends its streams and frees its address.
    async fn stop(self) -> (Registry, String) {
        self.stream.close();
        self.serving.abort();
        self.serving.await.ok();
        (self.registry, self.address.to_string())
    }

    fn breaker(&self) -> CircuitBreaker {
        CircuitBreaker::builder("stock")
            .group("goods")
            .registry(&self.registry)
            .build()
    }
}

async fn stack_that_pulls(source: &str) -> Stack {
    let data = TempDir::new().expect("a temporary directory");
    let config = CollectorConfig {
        hystrix_streams: vec![source.parse().expect("a source")],
        ..CollectorConfig::for_test(data.path())
    };
    Stack::start_with(config, data).await
}

fn call(breaker: &CircuitBreaker, outcome: Outcome, times: usize) {
    for _ in 0..times {
        let permit = breaker.try_acquire().expect("it is admitted");
        permit.record(outcome, Duration::from_millis(40));
    }
}

/// Waits until the wall's card of the breaker is as wanted.
async fn card(stack: &Stack, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let url = format!("{}/api/circuits/shop/stock", stack.web);
    eventually(what, async || get_json(&url).await.filter(&is)).await
}

/// Scenario: the collector pulls a service's stream; its breaker is called and opens; the service goes away and comes
/// back.
/// Guarantees: the wall has a card of the same kind with every call, the state, settings and latencies; calls after the
/// return are on it too.
#[tokio::test]
async fn a_pulled_stream_is_on_the_wall() {
    let service = Service::start(Registry::new(), "127.0.0.1:0").await;
    let stock = service.breaker();
    call(&stock, Outcome::Ignored, 1); // What was never called is not in a stream.
    let source = format!("shop=http://{}/hystrix.stream", service.address);
    let stack = stack_that_pulls(&source).await;
    card(&stack, "a card", |card| card["source"] == "hystrix").await;
    call(&stock, Outcome::Success, 30);
    call(&stock, Outcome::Timeout, 4);
    let has_all = |card: &Value| card["calls"]["success"] == 30 && card["calls"]["timeout"] == 4;
    let shown = card(&stack, "every call", has_all).await;
    assert_eq!(
        (&shown["state"], &shown["settings"]["group"]),
        (&"closed".into(), &"goods".into())
    );
    assert_eq!(shown["settings"]["minimum_calls"], 20);
    let p99 = shown["latency"]["p99_nanos"].as_u64().expect("a latency");
    assert!((35_000_000..45_000_000).contains(&p99), "{p99}");
    assert_eq!(shown["instances"][0]["id"], service.address.to_string());
    call(&stock, Outcome::Failure, 26);
    card(&stack, "an open card", |card| card["state"] == "open").await;

    let (registry, address) = service.stop().await;
    registry.remove("stock");
    let service = Service::start(registry, &address).await;
    let stock = service.breaker();
    call(&stock, Outcome::Success, 1);
    card(&stack, "a closed card", |card| card["state"] == "closed").await;
    stack.stop().await;
}

/// Guarantees: only the configured host is asked, whatever it answers.
#[tokio::test]
async fn a_pulled_stream_is_not_redirected() {
    let asked = Arc::new(AtomicUsize::new(0));
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let target = format!("http://{}/", elsewhere.local_addr().expect("an address"));
    let count = Arc::clone(&asked);
    let redirect = move || {
        count.fetch_add(1, Relaxed);
        async move { Redirect::temporary(&target) }
    };
    let app = Router::new().route("/hystrix.stream", get_route(redirect));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let source = format!(
        "shop=http://{}/hystrix.stream",
        listener.local_addr().expect("an address")
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    let stack = stack_that_pulls(&source).await;
    eventually("a second attempt", async || {
        (asked.load(Relaxed) > 1).then_some(())
    })
    .await;
    assert!(
        elsewhere.accept().now_or_never().is_none(),
        "no connection came"
    );
    stack.stop().await;
}

/// Runs a call that never ends on the pool, and refuses another one of the breaker.
async fn fill(pool: &IsolationPool, breaker: &CircuitBreaker) -> JoinHandle<()> {
    let by = pool.clone();
    let hangs = tokio::spawn(async move {
        by.run(std::future::pending::<()>()).await.ok();
    });
    eventually("a call that runs", async || {
        (pool.snapshot().active == 1).then_some(())
    })
    .await;
    let refused = pool.call(breaker, async { Ok::<_, ()>(()) }).await;
    assert!(matches!(refused, Err(PooledError::Full(_))));
    hangs
}

/// Asks for the same key three times in a request, and makes three calls in one batch.
async fn share(breaker: &CircuitBreaker) {
    let request = RequestContext::new();
    let cache: RequestCache<u32, u32, ()> = RequestCache::new(breaker);
    for _ in 0..3 {
        let ask = || async {
            let answer = breaker.call(async { Ok::<_, ()>(7) }).await;
            answer.map_err(|_| ())
        };
        assert_eq!(cache.get(&request, 1, ask).await, Ok(7));
    }
    let echo = |all: Vec<u32>| async move { Ok::<_, ()>(all) };
    let settings = CollapserSettings::default();
    let collapser = Collapser::new(breaker, settings, echo).expect("valid settings");
    let calls = [1, 2, 3].map(|n| collapser.call(&request, n));
    for answer in futures_util::future::join_all(calls).await {
        answer.expect("an answer");
    }
}

/// Scenario: a service with the library has a pool of one worker, which is busy, a cache and a collapser, and exports to
/// the collector.
/// Guarantees: both streams have the pool and the collapser with their figures, the breaker is isolated by that pool, and
/// the API and the page of the circuit say the same.
#[tokio::test]
async fn pools_and_collapsers_of_services_are_in_both_streams() {
    let stack = Stack::start().await;
    let registry = Registry::new();
    let config = TelemetryConfig::from_env("shop")
        .with_service_name("shop")
        .with_endpoint(&stack.otlp_http)
        .with_registry(&registry)
        .with_log_filter("off");
    let telemetry = Telemetry::start(&config).expect("telemetry");
    let stock = CircuitBreaker::builder("stock").registry(&registry).build();
    let settings = PoolSettings {
        core_size: 1,
        ..PoolSettings::default()
    };
    let pool = registry.pool("warehouse", settings).expect("a pool");
    let hangs = fill(&pool, &stock).await;
    share(&stock).await;

    let mut hystrix = read(&format!("{}/hystrix.stream?service=shop", stack.web)).await;
    let is_pool = |one: &Value| one["type"] == "HystrixThreadPool" && one["name"] == "warehouse";
    let sent = hystrix
        .find(|one| is_pool(one) && one["rollingCountCommandRejections"] == 1)
        .await;
    for (field, value) in [
        ("currentActiveCount", 1),
        ("currentCorePoolSize", 1),
        ("currentQueueSize", 0),
        ("rollingMaxActiveThreads", 1),
        ("rollingCountThreadsExecuted", 1),
        ("propertyValue_queueSizeRejectionThreshold", 0),
        ("reportingHosts", 1),
    ] {
        assert_eq!(sent[field], value, "{field}");
    }
    let is_collapser = |one: &Value| one["type"] == "HystrixCollapser" && one["name"] == "stock";
    let sent = hystrix.find(is_collapser).await;
    assert_eq!(
        (
            &sent["rollingCountRequestsBatched"],
            &sent["rollingCountBatches"]
        ),
        (&3.into(), &1.into())
    );
    assert_eq!(sent["batchSize"]["99"], 3);
    assert_eq!(sent["propertyValue_timerDelayInMilliseconds"], 10);
    let is_command =
        |one: &Value| one["type"] == "HystrixCommand" && one["threadPool"] == "warehouse";
    let sent = hystrix.find(is_command).await;
    assert_eq!(sent["propertyValue_executionIsolationStrategy"], "THREAD");
    assert_eq!(sent["rollingCountThreadPoolRejected"], 1);
    assert_eq!(sent["rollingCountResponsesFromCache"], 2);
    let mut turbine = read(&format!("{}/turbine.stream", stack.web)).await;
    turbine.find(|one| one["name"] == "shop.warehouse").await;

    let policies = format!("{}/api/policies?service=shop", stack.web);
    let answer = get_json(&policies).await.expect("policies");
    let pools = answer["policies"].as_array().expect("a list").iter();
    let pool = pools.clone().find(|one| one["kind"] == "pool");
    assert_eq!(pool.expect("the pool")["now"]["active"], 1);
    let page = get(&format!("{}/circuits/shop/stock", stack.web)).await;
    let page = page.text().await.expect("a page");
    assert!(page.contains("1 of 1 workers busy"), "{page}");
    hangs.abort();
    drop(telemetry);
    stack.stop().await;
}
