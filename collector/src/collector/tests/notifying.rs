//! Notifications from a circuit that opens to real receivers: chats, a webhook, an Alertmanager and a mail server.

use std::path::Path;
use std::sync::Mutex as StdMutex;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fusebox::circuit_breaker::EffectiveState;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::mail_server::MailServer;
use super::tls::Authority;
use super::*;
use crate::codec::circuits::request::{FakeBreaker, events, observed};
use crate::live::circuits::CircuitSink;
use crate::model::parse_timestamp;

/// What chats, webhook and Alertmanager received: path, headers and body.
#[derive(Clone, Default)]
struct Hooks(Arc<StdMutex<Received>>);

#[derive(Default)]
struct Received {
    posts: Vec<(String, HeaderMap, Value)>,
    /// How many posts to Slack are still answered with an error.
    failures: usize,
}

impl Hooks {
    async fn start() -> (Self, SocketAddr) {
        let hooks = Self::default();
        let router = Router::new()
            .route("/slack", post(take))
            .route("/teams", post(take))
            .route("/hook", post(take))
            .route("/strict", post(take_single))
            .route("/alerts/api/v2/alerts", post(take_alerts))
            .with_state(hooks.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (hooks, addr)
    }

    fn bodies(&self, path: &str) -> Vec<Value> {
        let received = self.0.lock().unwrap();
        let of_path = received.posts.iter().filter(|(of, ..)| of == path);
        of_path.map(|(.., body)| body.clone()).collect()
    }

    fn texts(&self) -> Vec<String> {
        let bodies = self.bodies("/slack");
        bodies
            .iter()
            .map(|body| body["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn take(
    State(hooks): State<Hooks>,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> impl IntoResponse {
    let mut received = hooks.0.lock().unwrap();
    if uri.path() == "/slack" && received.failures > 0 {
        received.failures -= 1;
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [("retry-after", "0")],
            "later",
        );
    }
    received.posts.push((uri.path().to_owned(), headers, body));
    (StatusCode::OK, [("retry-after", "0")], "ok")
}

/// Rejects a message about several incidents.
async fn take_single(
    hooks: State<Hooks>,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    match body["circuit"].as_str() {
        Some("") => StatusCode::BAD_REQUEST.into_response(),
        _ => take(hooks, uri, headers, Json(body)).await.into_response(),
    }
}

/// Accepts alerts like Alertmanager: each needs non-empty labels, and times.
async fn take_alerts(
    hooks: State<Hooks>,
    uri: Uri,
    headers: HeaderMap,
    Json(alerts): Json<Value>,
) -> impl IntoResponse {
    for alert in alerts.as_array().unwrap() {
        let labels = alert["labels"].as_object().unwrap();
        assert!(
            labels
                .values()
                .all(|value| value.as_str().is_some_and(|text| !text.is_empty()))
        );
        let time = |name: &str| parse_timestamp(alert[name].as_str().unwrap()).unwrap();
        assert!(time("startsAt") < time("endsAt"), "{alert}");
        alert["generatorURL"]
            .as_str()
            .unwrap()
            .parse::<Uri>()
            .unwrap();
    }
    take(hooks, uri, headers, Json(alerts)).await
}

async fn report(collector: &Running, state: EffectiveState) {
    let now = UnixNanos::now();
    let mut breaker = FakeBreaker::new("a", now.get());
    breaker.state = state;
    let circuits = collector.query.circuits();
    circuits
        .ingest_metrics(observed(&breaker.metrics(now.get())), now)
        .await
        .unwrap();
}

async fn turn(collector: &Running, to: EffectiveState) {
    let now = UnixNanos::now();
    let mut breaker = FakeBreaker::new("a", now.get());
    if to == EffectiveState::Closed {
        breaker.state = EffectiveState::HalfOpen;
    }
    let event = breaker.turn(to, now.get(), "too many errors");
    let circuits = collector.query.circuits();
    circuits.ingest_events(events(&event), now).await.unwrap();
    report(collector, to).await;
}

fn config(dir: &Path, file: &Value) -> CollectorConfig {
    let path = dir.join("notify.json");
    std::fs::write(&path, file.to_string()).unwrap();
    CollectorConfig {
        notify_file: Some(path),
        ..CollectorConfig::for_test(dir.join("data"))
    }
}

/// Scenario: a circuit opens and closes, with a target of each kind; the chat is unreachable at first.
/// Guarantees: each gets one message when it opens and one when it closes, in its own format, with link and
/// secrets.
#[tokio::test]
async fn every_kind_of_target_is_notified_once() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mail = MailServer::start(&authority.issue("localhost", 2100), "fusebox", "geheim").await;
    let (hooks, at) = Hooks::start().await;
    hooks.0.lock().unwrap().failures = 2;
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, &authority.pem).unwrap();
    let file = json!({"url": "https://fusebox.example", "ca_file": ca_file, "targets": [
        {"name": "chat", "slack": {"url": format!("http://{at}/slack")}},
        {"name": "teams", "teams": {"url": format!("http://{at}/teams")}},
        {"name": "hook", "webhook": {"url": format!("http://{at}/hook"), "headers": {"authorization": "Bearer x"},
            "template": {"what": "{{event}}: {{service}}/{{circuit}}", "where": "{{link}}"}}},
        {"name": "alerts", "alertmanager": {"url": format!("http://{at}/alerts/")}},
        {"name": "mail", "mail": {"server": format!("localhost:{}", mail.addr.port()), "user": "fusebox",
            "password": "geheim", "from": "Fusebox <fusebox@shop.example>", "to": ["ada@shop.example"]}},
        {"name": "elsewhere", "slack": {"url": format!("http://{at}/slack")}, "services": ["other"]},
    ]});
    let collector = Running::start(config(dir.path(), &file)).await;
    for (state, count) in [(EffectiveState::Open, 1), (EffectiveState::Closed, 2)] {
        turn(&collector, state).await;
        eventually(async || {
            let paths = ["/slack", "/teams", "/hook", "/alerts/api/v2/alerts"];
            let posts = paths.iter().map(|path| hooks.bodies(path).len());
            posts.min() == Some(count) && mail.arrived().len() == count
        })
        .await;
    }
    let name = "product-page → inventory";
    assert_eq!(
        hooks.texts(),
        [format!("{name} is open"), format!("{name} is closed again")]
    );
    let link = "https://fusebox.example/circuits/product-page/inventory";
    let what =
        |event: &str| json!({"what": format!("{event}: product-page/inventory"), "where": link});
    assert_eq!(
        hooks.bodies("/hook"),
        [what("circuit_open"), what("circuit_closed")]
    );
    let opened_by = format!("https://fusebox.example/traces/{}", "07".repeat(16));
    let chat = hooks.bodies("/slack")[0].to_string();
    assert!(
        chat.contains(&opened_by) && chat.contains("too many errors"),
        "{chat}"
    );
    let alerts = hooks.bodies("/alerts/api/v2/alerts");
    assert_eq!(alerts[0][0]["annotations"]["trace"], opened_by);
    assert_eq!(alerts[0][0]["labels"], alerts[1][0]["labels"]);
    check_mails(&mail, link);
    check_report(&collector, &hooks).await;
    collector.stop().await;
}

fn check_mails(mail: &MailServer, link: &str) {
    let arrived = mail.arrived();
    let [begun, ended] = arrived.as_slice() else {
        panic!("{arrived:?}");
    };
    assert!(
        begun.from.contains("<fusebox@shop.example>"),
        "{}",
        begun.from
    );
    assert!(begun.to[0].contains("<ada@shop.example>"), "{:?}", begun.to);
    assert!(begun.data.contains(link), "{}", begun.data);
    let header = |data: &str, name: &str| {
        let line = data.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    let id = header(&begun.data, "Message-ID:").unwrap();
    assert_eq!(header(&ended.data, "In-Reply-To:"), Some(id));
}

/// Checks the figures of the API, health and metrics, and that the public health hides details.
async fn check_report(collector: &Running, hooks: &Hooks) {
    eventually(async || {
        let found = collector.ask("/api/notifications").await;
        let mut targets = found["targets"].as_array().unwrap().iter().take(5);
        targets.all(|target| target["sent"].as_u64() >= Some(2))
    })
    .await;
    let found = collector.ask("/api/notifications").await;
    let chat = &found["targets"][0];
    assert_eq!(
        (&chat["sent"], &chat["failed"]),
        (&json!(2), &json!(2)),
        "{chat}"
    );
    assert_eq!(chat["problem"], Value::Null);
    assert_eq!(found["targets"][5]["sent"], 0);
    assert!(
        found["incidents"][0]["ended_unix_nanos"].is_u64(),
        "{found}"
    );
    assert!(!found.to_string().contains("/slack"), "{found}");
    let incident = found["incidents"][0].as_object().unwrap();
    let own = ["sent", "round", "openings", "is_muted", "is_present"];
    assert!(
        own.iter().all(|field| !incident.contains_key(*field)),
        "{found}"
    );
    assert_eq!(
        collector.ask("/healthz").await["notifications"],
        json!({"targets": 6})
    );
    let (_, metrics) = send(collector.web, Request::get("/metrics"), "").await;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let line = r#"fusebox_collector_notifications_failed_total{target="chat",channel="slack"} 2"#;
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(hooks.0.lock().unwrap().failures, 0);
}

/// Scenario: the collector is restarted while a circuit is open that the chat was notified of; then a target
/// is added to the file, and the circuit closes.
/// Guarantees: the chat does not get the opening again, the new target does; both get the end.
#[tokio::test]
async fn a_restart_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (hooks, at) = Hooks::start().await;
    let chat = json!({"name": "chat", "slack": {"url": format!("http://{at}/slack")}});
    let hook = json!({"name": "hook", "webhook": {"url": format!("http://{at}/hook")}});
    let first = json!({"targets": [chat]});
    let collector = Running::start(config(dir.path(), &first)).await;
    report(&collector, EffectiveState::Open).await;
    eventually(async || hooks.texts().len() == 1).await;
    let is_noted = async |collector: &Running| {
        let found = collector.ask("/api/notifications").await;
        found["targets"][0]["sent"] == 1
    };
    eventually(async || is_noted(&collector).await).await;
    collector.stop().await;

    let config = config(dir.path(), &first);
    let file = config.notify_file.clone().unwrap();
    let collector = Running::start(config).await;
    report(&collector, EffectiveState::Open).await;
    std::fs::write(&file, json!({"targets": [chat, hook]}).to_string()).unwrap();
    eventually(async || hooks.bodies("/hook").len() == 1).await;
    assert_eq!(hooks.bodies("/hook")[0]["event"], "circuit_open");
    turn(&collector, EffectiveState::Closed).await;
    eventually(async || hooks.bodies("/hook").len() == 2 && hooks.texts().len() == 2).await;
    assert!(
        hooks.texts()[1].ends_with("is closed again"),
        "{:?}",
        hooks.texts()
    );
    collector.stop().await;
}

/// Scenario: a mute is ordered over the API, also without permission, and ended.
/// Guarantees: it withholds messages until it ends; an order without permission is rejected; an invalid one
/// is explained.
#[tokio::test]
async fn a_mute_is_ordered_over_the_api() {
    let dir = tempfile::tempdir().unwrap();
    let (hooks, at) = Hooks::start().await;
    let chat = json!({"name": "chat", "slack": {"url": format!("http://{at}/slack")}});
    let collector = Running::start(config(dir.path(), &json!({"targets": [chat]}))).await;
    let path = "/api/notifications/mutes";
    let order = |headers: &[(&str, &str)]| {
        let request = Request::post(path).header("content-type", "application/json");
        headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
    };
    let good = json!({"for_s": 900, "reason": "we deploy", "by": "Ada"}).to_string();
    let refused = [
        ("sec-fetch-site", "cross-site"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    for header in refused {
        let (status, _) = send(collector.web, order(&[header]), good.clone()).await;
        assert_eq!(status, 403, "{header:?}");
    }
    let (status, _) = send(
        collector.web,
        order(&[("host", "evil.example")]),
        good.clone(),
    )
    .await;
    assert_eq!(status, 421);
    let (status, problem) = send(
        collector.web,
        order(&[]),
        r#"{"for_s":1,"reason":"x","by":"y"}"#,
    )
    .await;
    assert_eq!(
        (status.as_u16(), problem.starts_with(b"{\"status\":422")),
        (422, true),
        "{problem:?}"
    );
    let (status, mute) = send(collector.web, order(&[]), good).await;
    assert_eq!(status, 201);
    let id = serde_json::from_slice::<Value>(&mute).unwrap()["id"].to_string();
    report(&collector, EffectiveState::Open).await;
    eventually(async || {
        let found = collector.ask("/api/notifications").await;
        found["incidents"][0]["ended_unix_nanos"].is_null() && found["incidents"][0].is_object()
    })
    .await;
    assert_eq!(hooks.texts(), [""; 0]);
    let end = |id: &str| Request::delete(format!("{path}/{id}"));
    assert_eq!(send(collector.web, end("77"), "").await.0, 404);
    assert_eq!(send(collector.web, end(&id), "").await.0, 200);
    eventually(async || hooks.texts().len() == 1).await;
    collector.stop().await;
}

/// Scenario: 25 circuits open; one of the targets rejects messages about several incidents.
/// Guarantees: the chat gets one message that lists 20 of them; the other target gets each by itself.
#[tokio::test]
async fn many_incidents_at_once_are_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let (hooks, at) = Hooks::start().await;
    let file = json!({"targets": [
        {"name": "chat", "slack": {"url": format!("http://{at}/slack")}, "gather": "1s"},
        {"name": "strict", "webhook": {"url": format!("http://{at}/strict")}, "circuits": ["stock-1", "stock-2"],
            "gather": "1s"},
    ]});
    let collector = Running::start(config(dir.path(), &file)).await;
    // They become due at the same moment, however slow the machine is.
    let order = json!({"for_s": 900, "reason": "a test", "by": "Ada"}).to_string();
    let path = "/api/notifications/mutes";
    let request = Request::post(path).header("content-type", "application/json");
    let (_, mute) = send(collector.web, request, order).await;
    let id = serde_json::from_slice::<Value>(&mute).unwrap()["id"].to_string();
    for number in 1..=25 {
        let now = UnixNanos::now();
        let mut breaker = FakeBreaker::new("a", now.get());
        breaker.name = format!("stock-{number}").leak();
        breaker.state = EffectiveState::Open;
        let metrics = observed(&breaker.metrics(now.get()));
        let circuits = collector.query.circuits();
        circuits.ingest_metrics(metrics, now).await.unwrap();
    }
    eventually(async || {
        let found = collector.ask("/api/notifications").await;
        found["incidents"].as_array().unwrap().len() == 25
    })
    .await;
    send(collector.web, Request::delete(format!("{path}/{id}")), "").await;
    eventually(async || hooks.bodies("/strict").len() == 2 && hooks.texts().len() == 1).await;
    assert_eq!(hooks.texts(), ["25 circuits open"]);
    let blocks = hooks.bodies("/slack")[0]["blocks"].clone();
    let blocks = blocks.as_array().unwrap();
    assert_eq!(blocks.len(), 2 + 20 + 1);
    assert_eq!(blocks[22]["text"]["text"], "and 5 more");
    let first = blocks[2]["text"]["text"].as_str().unwrap();
    assert!(first.contains("/circuits/product-page/stock-"), "{first}");
    let singles = hooks.bodies("/strict");
    let events: Vec<_> = singles.iter().map(|body| &body["event"]).collect();
    assert_eq!(events, ["circuit_open"; 2]);
    assert_ne!(singles[0]["circuit"], singles[1]["circuit"]);
    let found = collector.ask("/api/notifications").await;
    assert_eq!(found["targets"][0]["sent"], 1);
    collector.stop().await;
}

/// Guarantees: an invalid file prevents the collector's start, as with tokens; one that becomes invalid is
/// reported until it is corrected.
#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = json!({"targets": [{"name": "a"}]});
    let refused = Collector::bind(config(dir.path(), &wrong))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("target 1: needs exactly one of"),
        "{refused}"
    );
    let config = config(dir.path(), &json!({"targets": []}));
    let file = config.notify_file.clone().unwrap();
    let collector = Running::start(config).await;
    let valid = std::fs::read(&file).unwrap();
    let problem = async || collector.ask("/healthz").await["notifications"]["problem"].clone();
    let no_ca = json!({"targets": [], "ca_file": dir.path().join("none.pem")}).to_string();
    for (wrong, words) in [("{", "this is no JSON"), (no_ca.as_str(), "ca_file: ")] {
        std::fs::write(&file, wrong).unwrap();
        eventually(async || {
            let problem = problem().await;
            problem.as_str().is_some_and(|text| text.contains(words))
        })
        .await;
        std::fs::write(&file, &valid).unwrap();
        eventually(async || problem().await.is_null()).await;
    }
    collector.stop().await;
}
