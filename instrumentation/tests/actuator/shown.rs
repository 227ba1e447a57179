//! Tests of the actuator's read endpoints: log lines by range, requests, metrics, settings.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use fusebox::http::server::TraceLayer;
use fusebox::opentelemetry::global;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Asked, actuator, breaker, eventually};

/// Guarantees: the end of the log can be read like a growing file.
#[tokio::test]
async fn the_log_file_is_read_by_range() {
    let asked = Asked::start(actuator(), None).await;
    tracing::info!(target: "ranged", "a line");
    let ranged = async |range: &str| {
        let request = asked
            .request(Method::GET, "/logfile")
            .header("range", range);
        let response = request.send().await.unwrap();
        let place = response.headers().get("content-range").cloned();
        let place = place.map(|place| place.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            place.unwrap_or_default(),
            response.text().await.unwrap(),
        )
    };
    let (status, place, text) = ranged("bytes=-5").await;
    assert_eq!((status, text.len()), (206, 5));
    let size: u64 = place.split_once('/').unwrap().1.parse().unwrap();
    assert!(
        place.starts_with(&format!("bytes {}-{}/", size - 5, size - 1)),
        "{place}"
    );
    let (status, _, last) = ranged(&format!("bytes={}-", size - 1)).await;
    assert_eq!((status, &last[..1]), (206, "\n"));
    let (status, place, _) = ranged(&format!("bytes={}-", size + 1_000_000)).await;
    assert_eq!(status, 416);
    assert!(place.starts_with("bytes */"), "{place}");
}

/// Scenario: a service answers a request.
/// Guarantees: it is shown, without the secret in its query, and its metrics are shown once they were exported.
#[tokio::test]
async fn requests_and_metrics_are_shown() {
    let asked = Asked::start(actuator(), None).await;
    let app: Router = Router::new()
        .route("/shown/{id}", get(async || "7"))
        .layer(TraceLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    global::meter("shop")
        .u64_counter("shop.orders")
        .build()
        .add(3, &[]);
    asked
        .client
        .get(format!("http://{address}/shown/7?token=hidden"))
        .send()
        .await
        .unwrap();
    let shown = eventually("the request", async || {
        let (_, all) = asked.get("/httpexchanges").await;
        let exchanges = all["exchanges"].as_array()?;
        let is_it = |it: &&Value| {
            it["request"]["uri"]
                .as_str()
                .is_some_and(|uri| uri.contains("/shown/7"))
        };
        exchanges.iter().find(is_it).cloned()
    })
    .await;
    let uri = format!("http://127.0.0.1:{}/shown/7?token=REDACTED", address.port());
    assert_eq!(
        (&shown["request"]["uri"], &shown["response"]["status"]),
        (&json!(uri), &json!(200))
    );
    assert_eq!(shown["request"]["remoteAddress"], "127.0.0.1");
    assert_eq!(shown["traceId"].as_str().map(str::len), Some(32));
    assert!(shown["timeTaken"].as_str().unwrap().starts_with("PT0."));

    let orders = eventually("the metric", async || {
        let (status, metric) = asked.get("/metrics/shop.orders").await;
        (status == 200).then_some(metric)
    })
    .await;
    assert_eq!(
        orders["measurements"],
        json!([{ "statistic": "COUNT", "value": 3.0 }])
    );
    let requests = "/metrics/http.server.request.duration?tag=http.route:/shown/{id}";
    let (_, requests) = asked.get(requests).await;
    assert_eq!(
        requests["measurements"][0],
        json!({ "statistic": "COUNT", "value": 1.0 })
    );
    let (_, names) = asked.get("/metrics").await;
    for name in [
        "process.uptime",
        "tokio.alive_tasks",
        "fusebox.circuit_breaker.state",
    ] {
        assert!(
            names["names"].as_array().unwrap().contains(&json!(name)),
            "{name}"
        );
    }
}

/// Guarantees: settings are shown without secrets, and build information is shown.
#[tokio::test]
async fn settings_and_build_are_shown() {
    breaker("described");
    let mail = json!({ "host": "relay", "password": "hidden" });
    let actuator = actuator()
        .with_build(fusebox::build_info!())
        .with_properties("shop.mail", mail);
    let asked = Asked::start(actuator, None).await;
    let (_, all) = asked.get("/configprops").await;
    assert!(!all.to_string().contains("hidden"));
    let beans = &all["contexts"]["application"]["beans"];
    assert_eq!(
        beans["shop.mail"]["properties"],
        json!({ "host": "relay", "password": "******" })
    );
    let settings = &beans["fusebox.circuit-breaker.described"]["properties"];
    assert_eq!(settings["minimum_calls"], 20);
    assert_eq!(
        beans["fusebox.telemetry"]["properties"]["service-name"],
        "shop"
    );
    let (_, info) = asked.get("/info").await;
    assert_eq!(
        info["build"],
        json!({ "name": "fusebox", "version": env!("CARGO_PKG_VERSION") })
    );
    let (_, env) = asked.get("/env").await;
    let path = &env["propertySources"][0]["properties"]["PATH"];
    assert_eq!(
        path["value"].as_str(),
        std::env::var("PATH").ok().as_deref()
    );
    let (_, threads) = asked.get("/threaddump").await;
    if cfg!(target_os = "linux") {
        let threads = threads["threads"].as_array().unwrap();
        assert!(
            threads
                .iter()
                .any(|thread| thread["threadName"] == "fusebox-export")
        );
    }
}
