//! `/hystrix.stream` over real connections, as Hystrix's dashboard and Turbine read it.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows only functions marked as tests"
)]

mod turbine;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fusebox::circuit_breaker::{
    CircuitBreaker, Outcome, Override, OverrideKind, PoolSettings, PooledError, Registry, Settings,
};
use fusebox::hystrix::HystrixStream;
use fusebox::request::{Collapser, CollapserSettings, RequestCache, RequestContext};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

/// Longer than any machine takes.
const LONG: Duration = Duration::from_secs(60);

struct Served {
    registry: Registry,
    stream: HystrixStream,
    address: SocketAddr,
    client: Client,
}

impl Served {
    async fn start(readers: usize) -> Self {
        let registry = Registry::new();
        let stream = HystrixStream::of(&registry).readers_max(readers);
        let app = Router::new().route("/hystrix.stream", get(stream.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::builder().no_proxy().build().unwrap();
        Self {
            registry,
            stream,
            address,
            client,
        }
    }

    fn breaker(&self, name: &str) -> CircuitBreaker {
        CircuitBreaker::builder(name)
            .group("shop")
            .registry(&self.registry)
            .build()
    }

    async fn get(&self, query: &str) -> Response {
        let url = format!("http://{}/hystrix.stream{query}", self.address);
        self.client.get(url).send().await.unwrap()
    }

    /// Reads until `is` holds for the object of the breaker `name`.
    async fn wait_for(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut reader = Reader::of(self.get("?delay=100").await);
        let found = async {
            loop {
                let object = reader.next().await.unwrap();
                if object["name"] == name && is(&object) {
                    return object;
                }
            }
        };
        tokio::time::timeout(LONG, found).await.expect("it is sent")
    }
}

/// Reads the lines of a stream.
struct Reader {
    response: Response,
    text: String,
    pings: usize,
}

impl Reader {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            response,
            text: String::new(),
            pings: 0,
        }
    }

    /// Returns the next object; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                match event.strip_prefix("data: ") {
                    Some(json) => return Some(serde_json::from_str(json).unwrap()),
                    None => assert_eq!(event, "ping: "),
                }
                self.pings += 1;
                continue;
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn call(breaker: &CircuitBreaker, outcome: Outcome, times: usize) {
    for _ in 0..times {
        let permit = breaker.try_acquire().unwrap();
        permit.record(outcome, Duration::from_millis(40));
    }
}

/// Scenario: a breaker is called, opens and refuses; another one is never called.
/// Guarantees: the dashboard shows what happened; the other breaker is not shown.
#[tokio::test]
async fn a_reader_is_sent_what_happened() {
    let served = Served::start(5).await;
    let stock = served.breaker("stock");
    served.breaker("unused");
    call(&stock, Outcome::Success, 8);
    call(&stock, Outcome::Ignored, 2);
    call(&stock, Outcome::Timeout, 4);
    call(&stock, Outcome::Failure, 8);
    assert!(stock.try_acquire().is_err(), "it is open");
    let sent = served
        .wait_for("stock", |sent| sent["rollingCountShortCircuited"] == 1)
        .await;
    for (field, value) in [
        ("requestCount", 20),
        ("errorCount", 12),
        ("errorPercentage", 60),
        ("rollingCountSuccess", 8),
        ("rollingCountBadRequests", 2),
        ("rollingCountTimeout", 4),
        ("rollingCountFailure", 8),
        ("reportingHosts", 1),
    ] {
        assert_eq!(sent[field], value, "{field}");
    }
    assert_eq!(sent["type"], "HystrixCommand");
    assert_eq!(
        (&sent["group"], &sent["threadPool"]),
        (&"shop".into(), &"shop".into())
    );
    assert_eq!(sent["isCircuitBreakerOpen"], true);
    for share in ["0", "25", "50", "75", "90", "95", "99", "99.5", "100"] {
        let ms = sent["latencyExecute"][share].as_u64().unwrap();
        assert!((38..=42).contains(&ms), "{share}: {ms}");
    }
}

/// Guarantees: state, running calls and overrides are current.
#[tokio::test]
async fn a_reader_is_sent_every_change() {
    let served = Served::start(5).await;
    let stock = served.breaker("stock");
    let permit = stock.try_acquire().unwrap();
    let running = |count: u64| move |sent: &Value| sent["currentConcurrentExecutionCount"] == count;
    let sent = served.wait_for("stock", running(1)).await;
    assert_eq!(sent["isCircuitBreakerOpen"], false);
    permit.record(Outcome::Success, Duration::from_millis(1));
    let sent = served.wait_for("stock", running(0)).await;
    assert_eq!(sent["rollingMaxConcurrentExecutionCount"], 1);
    stock.force(Override {
        kind: OverrideKind::ForcedOpen,
        reason: "Ada: maintenance".to_owned(),
        expires: None,
    });
    let forced = |sent: &Value| sent["propertyValue_circuitBreakerForceOpen"] == true;
    assert_eq!(
        served.wait_for("stock", forced).await["isCircuitBreakerOpen"],
        true
    );
}

/// Scenario: a pool of one worker and no queue runs a call and refuses another one.
/// Guarantees: the dashboard shows the pool, and the breaker as isolated by it.
#[tokio::test]
async fn a_reader_is_sent_pools() {
    let served = Served::start(5).await;
    let stock = served.breaker("stock");
    let patient = Settings {
        timeout: None,
        ..Settings::default()
    };
    stock.update_settings(patient).unwrap();
    let settings = PoolSettings {
        core_size: 1,
        ..PoolSettings::default()
    };
    let pool = served.registry.pool("warehouse", settings).unwrap();
    // The stream is opened before the calls.
    let mut reader = Reader::of(served.get("?delay=100").await);
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (by, called) = (pool.clone(), stock.clone());
    let first = tokio::spawn(async move { by.call(&called, released).await });
    while pool.snapshot().active == 0 {
        tokio::task::yield_now().await;
    }
    let refused = pool.call(&stock, async { Ok::<_, ()>(()) }).await;
    assert!(matches!(refused, Err(PooledError::Full(_))));
    let sent = served
        .wait_for("warehouse", |sent| {
            sent["rollingCountCommandRejections"] == 1
        })
        .await;
    assert_eq!(sent["type"], "HystrixThreadPool");
    let running = |field: &str| sent[field].as_u64().unwrap();
    assert_eq!(
        (running("currentActiveCount"), running("currentQueueSize")),
        (1, 0)
    );
    assert_eq!(
        (
            running("rollingMaxActiveThreads"),
            running("currentCorePoolSize")
        ),
        (1, 1)
    );
    release.send(()).unwrap();
    first.await.unwrap().unwrap();
    let sent = served
        .wait_for("stock", |sent| sent["rollingCountSuccess"] == 1)
        .await;
    assert_eq!(sent["threadPool"], "warehouse");
    assert_eq!(sent["propertyValue_executionIsolationStrategy"], "THREAD");
    assert_eq!(sent["rollingCountThreadPoolRejected"], 1);
    assert_eq!(sent["rollingCountSemaphoreRejected"], 0);
    let sent = served
        .wait_for("warehouse", |sent| sent["currentCompletedTaskCount"] == 1)
        .await;
    assert_eq!(sent["currentActiveCount"], 0);
    assert!(reader.next().await.is_some());
}

/// Guarantees: callers that were served without a call are counted.
#[tokio::test]
async fn a_reader_is_sent_what_requests_shared() {
    let served = Served::start(5).await;
    let stock = served.breaker("stock");
    let request = RequestContext::new();
    let cache: RequestCache<u32, u32, ()> = RequestCache::new(&stock);
    for _ in 0..3 {
        let ask = || stock.call(async { Ok::<_, ()>(7) });
        let answer = cache.get(&request, 1, || async { ask().await.map_err(|_| ()) });
        assert_eq!(answer.await, Ok(7));
    }
    let echo = |all: Vec<u32>| async move { Ok::<_, ()>(all) };
    let collapser = Collapser::new(&stock, CollapserSettings::default(), echo).unwrap();
    let (one, two) = tokio::join!(collapser.call(&request, 1), collapser.call(&request, 2));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
    let sent = served
        .wait_for("stock", |sent| sent["rollingCountSuccess"] == 2)
        .await;
    assert_eq!(sent["rollingCountResponsesFromCache"], 2);
    assert_eq!(sent["rollingCountCollapsedRequests"], 2);
    let is_collapser = |sent: &Value| sent["type"] == "HystrixCollapser";
    let sent = served.wait_for("stock", is_collapser).await;
    assert_eq!(sent["propertyValue_timerDelayInMilliseconds"], 10);
}

/// Guarantees: the number of streams is limited, and a reader that leaves frees its slot.
#[tokio::test]
async fn one_reader_too_many_is_refused() {
    let served = Served::start(1).await;
    let reader = served.get("").await;
    let headers = reader.headers();
    assert_eq!(headers["content-type"], "text/event-stream;charset=UTF-8");
    assert_eq!(
        headers["cache-control"],
        "no-cache, no-store, max-age=0, must-revalidate"
    );
    let refused = served.get("").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        refused.text().await.unwrap(),
        "MaxConcurrentConnections reached: 1"
    );
    assert_eq!(
        served.get("?delay=soon").await.status(),
        StatusCode::BAD_REQUEST
    );
    drop(reader);
    let free = async { while !served.get("").await.status().is_success() {} };
    tokio::time::timeout(LONG, free)
        .await
        .expect("the place becomes free");
}

/// Scenario 36, HystrixConfigSseServletTest.
/// Guarantees: pings are sent without breakers, and a closed stream ends and accepts no reader.
#[tokio::test]
async fn a_closed_stream_ends() {
    let served = Served::start(5).await;
    let mut reader = Reader::of(served.get("?delay=100").await);
    served.stream.close();
    let end = tokio::time::timeout(LONG, reader.next()).await;
    assert_eq!(end.expect("it ends"), None);
    assert!(reader.pings <= 1);
    let refused = served.get("").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.text().await.unwrap(), "Service has been shut down.");
}
