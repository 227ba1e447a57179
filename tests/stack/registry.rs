//! Services with our library register with the binary and find each other.

use std::collections::BTreeSet;

use fusebox::registry::{Change, Instance, Registration};
use fusebox::telemetry::Protocol;
use fusebox::{Telemetry, TelemetryConfig};
use integration_tests::{Binary, DEADLINE, eventually, get_json};
use reqwest::{Client, Method};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

fn telemetry(service: &str, binary: &Binary) -> Telemetry {
    let config = TelemetryConfig::from_env(service)
        .with_service_name(service)
        .with_protocol(Protocol::HttpProtobuf)
        .with_endpoint(&binary.otlp_http);
    Telemetry::start(&config).expect("telemetry starts")
}

/// Scenario: a service watches another, which starts and ends.
/// Guarantees: each change arrives, without waiting for a lease, and the collector lists the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_follows_the_instances_of_another() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let (order, review) = (telemetry("order", &binary), telemetry("review", &binary));
    let watching = Registration::none().start(&order).expect("a thread");
    let mut reviews = watching.instances("review");
    assert!(reviews.current().is_empty());
    let registration = Registration::at("http://127.0.0.1:8081/").with_metadata("zone", "b");
    let registered = registration.start(&review).expect("a thread");
    let change = timeout(DEADLINE, reviews.next()).await;
    let Ok(Some(Change::Insert(Instance {
        id,
        address,
        metadata,
        ..
    }))) = change
    else {
        panic!("{change:?}");
    };
    assert_eq!(
        (address.as_str(), metadata["zone"].as_str()),
        ("http://127.0.0.1:8081", "b")
    );
    let url = format!("{}/api/instances", binary.web);
    eventually("the registration in the list", || async {
        let listed = get_json(&url).await?;
        let mut listed = listed["instances"].as_array()?.iter();
        let one = listed.find(|one| one["id"] == id.as_str())?;
        (one["registration"]["source"] == "fusebox" && one["liveness"] == "live").then_some(())
    })
    .await;
    spawn_blocking(move || drop(registered))
        .await
        .expect("it ends");
    let change = timeout(DEADLINE, reviews.next()).await;
    assert_eq!(change.expect("in time"), Some(Change::Remove(id)));
    spawn_blocking(move || drop((watching, order, review)))
        .await
        .expect("it ends");
    assert_eq!(reviews.next().await, None);
    binary.terminate().await;
}

/// What services send about themselves to the web listener.
const REGISTRATIONS: [(Method, &str); 10] = [
    (Method::POST, "/instances"),
    (Method::DELETE, "/instances/0123456789ab"),
    (Method::POST, "/eureka/apps/SHOP"),
    (Method::PUT, "/eureka/apps/SHOP/shop-1"),
    (Method::DELETE, "/eureka/apps/SHOP/shop-1"),
    (Method::PUT, "/eureka/apps/SHOP/shop-1/metadata?zone=b"),
    (Method::POST, "/eureka/v2/apps/SHOP"),
    (Method::PUT, "/eureka/v2/apps/SHOP/shop-1"),
    (Method::DELETE, "/eureka/v2/apps/SHOP/shop-1"),
    (Method::PUT, "/eureka/v2/apps/SHOP/shop-1/metadata?zone=b"),
];

/// Sends each of them with these headers; returns the statuses that occurred.
async fn register_all(web: &str, headers: &[(&str, &str)]) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    for (method, path) in REGISTRATIONS {
        let mut request = Client::new().request(method, format!("{web}{path}"));
        request = request
            .header("content-type", "application/json")
            .body("{}");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        statuses.insert(answer.status().as_u16());
    }
    statuses
}

/// Asserts that whoever sends these headers may register: every answer is about what is sent.
async fn assert_may_register(web: &str, headers: &[(&str, &str)]) {
    let statuses = register_all(web, headers).await;
    assert_eq!(statuses, [400, 404].into());
}

/// *Scenario*: registrations are sent without a token, with a viewer's, an operator's, and from pages of other sites that have a
/// sender's; and where there are no tokens, to a host name that anybody could have pointed here.
/// *Guarantees*: each is refused; a sender's own are taken.
#[tokio::test]
async fn only_senders_register() {
    let data = TempDir::new().expect("a temporary directory");
    let file = data.path().join("tokens");
    let tokens = "send:sender-sender-01\nread:viewer-viewer-01\nread,operate:operator-operator\n";
    std::fs::write(&file, tokens).expect("a file");
    let file = file.display().to_string();
    let args = ["--token-file", file.as_str()];
    let binary = Binary::serve_with(&data.path().join("data"), &args).await;
    assert_eq!(register_all(&binary.web, &[]).await, [401].into());
    for token in ["viewer-viewer-01", "operator-operator"] {
        let bearer = format!("Bearer {token}");
        let refused = register_all(&binary.web, &[("authorization", &bearer)]).await;
        assert_eq!(refused, [403].into(), "{token}");
    }
    let sender = ("authorization", "Bearer sender-sender-01");
    for site in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        let refused = register_all(&binary.web, &[sender, site]).await;
        assert_eq!(refused, [403].into(), "{site:?}");
    }
    assert_may_register(&binary.web, &[sender]).await;
    binary.terminate().await;

    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let rebound = [("host", "evil.example:9411")];
    assert_eq!(register_all(&binary.web, &rebound).await, [421].into());
    let other = [("origin", "http://evil.example")];
    assert_eq!(register_all(&binary.web, &other).await, [403].into());
    assert_may_register(&binary.web, &[]).await;
    binary.terminate().await;
}
