//! Tests of a service's actuator over HTTP, and of a real Spring Boot Admin server that reads and changes it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod registration;
mod shown;
mod spring_boot_admin;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox::actuator::{Actuator, ActuatorError, Health, Serving};
use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState, State};
use fusebox::{Telemetry, TelemetryConfig};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::Notify;

const TOKEN: &str = "0123456789abcdef";
const V3: &str = "application/vnd.spring-boot.actuator.v3+json";

/// Calls a function with the telemetry of this process, which sends to a port on which no receiver listens.
fn with_telemetry<T>(call: impl FnOnce(&Telemetry) -> T) -> T {
    static TELEMETRY: Mutex<Option<Telemetry>> = Mutex::new(None);
    let mut telemetry = TELEMETRY.lock().unwrap();
    call(telemetry.get_or_insert_with(|| {
        let config = TelemetryConfig::from_env("shop")
            .with_service_name("shop")
            .with_header("authorization", "Bearer hidden")
            .with_endpoint("http://127.0.0.1:9");
        fusebox::init(config).unwrap()
    }))
}

fn actuator() -> Actuator {
    with_telemetry(Actuator::new)
}

/// Calls `ask` until it returns a value.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(120), asking).await;
    answer.unwrap_or_else(|_| panic!("in time: {what}"))
}

/// A served actuator, and a client for it.
struct Asked {
    serving: Serving,
    client: Client,
    token: Option<&'static str>,
}

impl Asked {
    async fn start(actuator: Actuator, token: Option<&'static str>) -> Self {
        let actuator = match token {
            Some(token) => actuator.with_token(token),
            None => actuator,
        };
        Self {
            serving: actuator.serve("127.0.0.1:0").await.unwrap(),
            client: Client::new(),
            token,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}/actuator{path}", self.serving.address());
        let request = self.client.request(method, url);
        match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.request(Method::GET, path).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        self.request(Method::POST, path)
            .json(&body)
            .send()
            .await
            .unwrap()
    }
}

fn breaker(name: &str) -> CircuitBreaker {
    CircuitBreaker::new(name)
}

/// Guarantees: every link leads to an endpoint, in the requested type, and an unknown path is answered with a problem
/// document.
#[tokio::test]
async fn every_link_answers() {
    let asked = Asked::start(actuator(), None).await;
    let (status, links) = asked.get("").await;
    assert_eq!(status, 200);
    let links = links["_links"].as_object().unwrap();
    assert!(links.len() > 15 && !links.contains_key("shutdown"));
    for (name, link) in links.iter().filter(|(_, link)| link["templated"] == false) {
        let href = link["href"].as_str().unwrap();
        let response = asked
            .client
            .get(href)
            .header("accept", V3)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let content_type = response.headers()["content-type"].to_str().unwrap();
        let expected = if name == "logfile" {
            "text/plain;charset=UTF-8"
        } else {
            V3
        };
        assert_eq!(content_type, expected, "{name}");
    }
    for path in [
        "/heapdump",
        "/loggers/a=b",
        "/metrics/none",
        "/env/NONE",
        "/circuitbreakers/none",
    ] {
        let (status, problem) = asked.get(path).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}");
    }
    let html = asked
        .request(Method::GET, "/health")
        .header("accept", "text/html");
    assert_eq!(html.send().await.unwrap().status(), 406);
    assert_eq!(
        asked
            .request(Method::DELETE, "/env")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
}

/// Scenario: a breaker opens; the service does not accept requests; a check fails; a check hangs.
/// Guarantees: the first only degrades its component; each of the others is down, with 503.
#[tokio::test]
async fn the_health_is_that_of_the_worst_part_but_for_breakers() {
    let relay = breaker("health-relay");
    let ill = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_ill = Arc::clone(&ill);
    let actuator = actuator().with_check("queue", move || {
        let is_ill = is_ill.load(Relaxed);
        async move {
            if is_ill {
                Health::down("full")
            } else {
                Health::up().with_detail("length", 7)
            }
        }
    });
    let readiness = actuator.readiness();
    let asked = Asked::start(actuator, None).await;
    relay.transition_to(State::Open, "a test");
    let (status, health) = asked.get("/health").await;
    assert_eq!((status, &health["status"]), (200, &json!("UP")));
    let part = &health["components"]["circuitBreakers"];
    assert_eq!(part["status"], "DEGRADED");
    let open = &part["components"]["health-relay"];
    assert_eq!(
        (&open["status"], &open["details"]["state"]),
        (&json!("DEGRADED"), &json!("OPEN"))
    );
    assert_eq!(health["components"]["queue"]["details"]["length"], 7);
    assert!(health["components"]["diskSpace"]["details"]["free"].as_u64() > Some(0));
    let (_, same) = asked.get("/health/circuitBreakers/health-relay").await;
    assert_eq!(&same["status"], "DEGRADED");

    readiness.set(false);
    let (status, health) = asked.get("/health/readiness").await;
    assert_eq!((status, &health["status"]), (503, &json!("OUT_OF_SERVICE")));
    assert_eq!(asked.get("/health/liveness").await.0, 200);
    readiness.set(true);
    ill.store(true, Relaxed);
    let (status, health) = asked.get("/health").await;
    assert_eq!((status, &health["status"]), (503, &json!("DOWN")));
    assert_eq!(health["components"]["queue"]["details"]["error"], "full");
}

/// Scenario: a check panics before it returns a future; probes without the token request the health repeatedly, as does
/// a client with the token.
/// Guarantees: the check is down and the others are not; it runs once for the probes, and again for the token.
#[tokio::test]
async fn checks_run_rarely_for_probes_and_may_panic() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let actuator = actuator()
        .with_check("counted", move || {
            counted.fetch_add(1, Relaxed);
            async { Health::up() }
        })
        .with_check("broken", || -> std::future::Ready<Health> {
            panic!("a test")
        });
    let asked = Asked::start(actuator, Some(TOKEN)).await;
    let url = format!("http://{}/actuator/health", asked.serving.address());
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let probe = asked.client.get(&url).send().await.unwrap();
        assert_eq!(probe.status(), 503);
    }
    let seconds = began.elapsed().as_secs() as usize;
    assert!(runs.load(Relaxed) <= 1 + seconds, "{seconds}");
    let before = runs.load(Relaxed);
    let (status, health) = asked.get("/health").await;
    assert_eq!((status, runs.load(Relaxed)), (503, before + 1));
    assert_eq!(health["components"]["counted"]["status"], "UP");
    let broken = &health["components"]["broken"];
    assert_eq!(broken["details"]["error"], "the check panicked");
}

/// Scenario: six clients with the token request the health while a check is running.
/// Guarantees: they share its result, instead of each waiting for the runs of those before it.
#[tokio::test]
async fn clients_that_wait_for_a_check_share_its_result() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let actuator = actuator().with_check("slow", move || {
        counted.fetch_add(1, Relaxed);
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Health::up()
        }
    });
    let asked = Asked::start(actuator, Some(TOKEN)).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        clients.spawn(asked.request(Method::GET, "/health").send());
    }
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    assert!(runs.load(Relaxed) < 6, "{runs:?}");
}

/// Scenario: one address opens as many connections as are allowed, and sends nothing.
/// Guarantees: another address is answered immediately.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_does_not_take_every_place() {
    let asked = Asked::start(actuator(), None).await;
    let address = asked.serving.address();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let other = Client::builder()
        .local_address(std::net::IpAddr::from([127, 0, 0, 2]))
        .timeout(Duration::from_secs(15));
    let health = format!("http://{address}/actuator/health");
    let answer = other.build().unwrap().get(health).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Guarantees: requests longer than those of any real client are refused.
#[tokio::test]
async fn requests_have_a_bound() {
    let asked = Asked::start(actuator(), Some(TOKEN)).await;
    let head = asked.request(Method::GET, "/health");
    let head = head.header("x-long", "x".repeat(300 << 10)).send().await;
    // The connection may be closed before the client has read the answer.
    assert!(head.map_or(true, |answer| answer.status() == 431));
    let level = json!({ "configuredLevel": "x".repeat(17 << 10) });
    let body = asked.post("/loggers/shop", level).await;
    assert_eq!(body.status(), 413);
    let no_name = asked.post("/loggers/a%0Ab", json!({})).await;
    assert_eq!(no_name.status(), 404);
}

/// Guarantees: nothing can be changed without a token, by a page of another site, or through a name that anyone can
/// register; and on an address that other machines reach, it does not start without a token.
#[tokio::test]
async fn who_may_do_what() {
    breaker("guarded");
    let level = json!({ "configuredLevel": "DEBUG" });
    let open = Asked::start(actuator(), None).await;
    for path in ["/loggers/guarded", "/circuitbreakers/guarded", "/shutdown"] {
        assert_eq!(open.post(path, level.clone()).await.status(), 403, "{path}");
    }
    let rebound = open
        .request(Method::GET, "/env")
        .header("host", "evil.example:80");
    assert_eq!(rebound.send().await.unwrap().status(), 403);

    let closed = Asked::start(actuator(), Some(TOKEN)).await;
    let anonymous = |method, path: &str| {
        let url = format!("http://{}/actuator{path}", closed.serving.address());
        closed.client.request(method, url)
    };
    for path in ["", "/env", "/logfile", "/health/circuitBreakers"] {
        let answer = anonymous(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let wrong = anonymous(Method::GET, path)
            .bearer_auth("0123456789abcdee")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
    }
    let health: Value = anonymous(Method::GET, "/health")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(health, json!({ "status": "UP" }));
    let basic = anonymous(Method::GET, "/env")
        .basic_auth("anyone", Some(TOKEN))
        .send()
        .await;
    assert_eq!(basic.unwrap().status(), 200);
    let far = closed
        .request(Method::GET, "/env")
        .header("host", "shop.example");
    assert_eq!(far.send().await.unwrap().status(), 200);
    let foreign = closed
        .request(Method::POST, "/loggers/guarded")
        .json(&level);
    let foreign = foreign
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);
    assert_eq!(closed.post("/loggers/guarded", level).await.status(), 204);
    assert_eq!(closed.post("/shutdown", json!({})).await.status(), 403);

    let exposed = actuator().serve("0.0.0.0:0").await;
    assert!(matches!(exposed, Err(ActuatorError::Exposed(_))));
    let short = actuator()
        .with_token("0123456789")
        .serve("127.0.0.1:0")
        .await;
    assert!(matches!(short, Err(ActuatorError::ShortToken)));
}

/// Scenario: a logger is raised for an hour, then for a second.
/// Guarantees: its lines are in the log file only while the level is raised, and the old level is restored.
#[tokio::test]
async fn a_level_is_changed_for_a_time() {
    let asked = Asked::start(actuator(), Some(TOKEN)).await;
    let line = |text: &str| tracing::debug!(target: "loud::place", "{text}");
    line("before");
    let change = |seconds| json!({ "configuredLevel": "debug", "expiresInSeconds": seconds });
    assert_eq!(
        asked.post("/loggers/loud", change(3600)).await.status(),
        204
    );
    line("meanwhile");
    let (_, logger) = asked.get("/loggers/loud").await;
    assert_eq!(
        (&logger["configuredLevel"], &logger["effectiveLevel"]),
        (&json!("DEBUG"), &json!("DEBUG"))
    );
    assert!(
        logger["expiresInSeconds"]
            .as_u64()
            .is_some_and(|left| left <= 3600)
    );
    let (_, all) = asked.get("/loggers").await;
    assert_eq!(all["loggers"]["loud::place"]["effectiveLevel"], "DEBUG");
    assert_eq!(all["loggers"]["ROOT"]["configuredLevel"], "INFO");
    assert_eq!(asked.post("/loggers/loud", change(1)).await.status(), 204);
    eventually("the old level", async || {
        let (_, logger) = asked.get("/loggers/loud::place").await;
        (logger["effectiveLevel"] == "INFO").then_some(())
    })
    .await;
    line("after");
    let file = asked
        .request(Method::GET, "/logfile")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let has = |text: &str| file.contains(&format!("loud::place: {text}"));
    assert_eq!(
        (has("before"), has("meanwhile"), has("after")),
        (false, true, false)
    );
    for bad in [
        json!({ "configuredLevel": "LOUD" }),
        json!({ "configuredLevel": "INFO", "expiresInSeconds": 0 }),
        json!([]),
    ] {
        assert_eq!(asked.post("/loggers/loud", bad).await.status(), 400);
    }
    let long = json!({ "configuredLevel": "x".repeat(20_000) });
    assert_eq!(asked.post("/loggers/loud", long).await.status(), 413);
}

/// Scenario: a breaker is forced open through the actuator, and released.
/// Guarantees: it refuses calls meanwhile; both are events.
#[tokio::test]
async fn a_breaker_is_switched() {
    let stock = breaker("switched");
    let asked = Asked::start(actuator(), Some(TOKEN)).await;
    let path = "/circuitbreakers/switched";
    let answer = asked
        .post(path, json!({ "updateState": "FORCE_OPEN" }))
        .await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        (&answer["circuitBreakerName"], &answer["currentState"]),
        (&json!("switched"), &json!("FORCED_OPEN"))
    );
    assert!(stock.try_acquire().is_err());
    let (_, all) = asked.get("/circuitbreakers").await;
    let shown = &all["circuitBreakers"]["switched"];
    assert_eq!(
        (&shown["state"], &shown["failureRate"]),
        (&json!("FORCED_OPEN"), &json!("-1.0%"))
    );
    assert_eq!(
        (&shown["failureRateThreshold"], &shown["notPermittedCalls"]),
        (&json!("50.0%"), &json!(1))
    );
    assert_eq!(
        asked
            .post(path, json!({ "updateState": "CLOSE" }))
            .await
            .status(),
        200
    );
    assert_eq!(stock.state(), EffectiveState::Closed);
    let (_, events) = asked
        .get("/circuitbreakerevents/switched/STATE_TRANSITION")
        .await;
    let changes: Vec<_> = events["circuitBreakerEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["stateTransition"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["CLOSED_TO_FORCED_OPEN", "FORCED_OPEN_TO_CLOSED"]);
    assert_eq!(
        asked.get("/circuitbreakerevents/switched/ERROR").await.1["circuitBreakerEvents"],
        json!([])
    );
    assert_eq!(
        asked
            .post(path, json!({ "updateState": "HALF" }))
            .await
            .status(),
        400
    );
    let long = json!({ "updateState": "DISABLE", "expiresInSeconds": 86_401 });
    assert_eq!(asked.post(path, long).await.status(), 400);
    assert_eq!(
        asked
            .post("/circuitbreakers/none", json!({ "updateState": "CLOSE" }))
            .await
            .status(),
        404
    );
}

/// Guarantees: if the service allows it, clients with the token can end it.
#[tokio::test]
async fn a_service_is_ended_where_that_is_allowed() {
    let shutdown = Arc::new(Notify::new());
    let actuator = actuator().with_shutdown(Arc::clone(&shutdown));
    let readiness = Asked::start(actuator, Some(TOKEN)).await;
    assert_eq!(
        readiness.get("").await.1["_links"]["shutdown"]["templated"],
        false
    );
    assert_eq!(readiness.post("/shutdown", json!({})).await.status(), 200);
    shutdown.notified().await;
    assert_eq!(readiness.get("/health/readiness").await.0, 503);
}
