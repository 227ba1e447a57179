//! Hystrix's streams of the collector, read as its dashboard and Turbine read them.

use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{FakeBreaker, Stack, eventually};
use reqwest::Response;
use serde_json::Value;

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

/// Guarantees: a wrong request is told what would be right, and readers are bounded.
#[tokio::test]
async fn wrong_and_too_many_requests_are_refused() {
    let stack = Stack::start().await;
    let status = async |path: &str| get(&format!("{}{path}", stack.web)).await.status().as_u16();
    assert_eq!(status("/hystrix.stream").await, 400);
    assert_eq!(status("/hystrix.stream?service=nobody").await, 404);
    assert_eq!(status("/turbine.stream?cluster=nobody").await, 404);
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
