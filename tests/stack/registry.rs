//! Services with our library register with the binary and find each other.

use fusebox::registry::{Change, Instance, Registration};
use fusebox::telemetry::Protocol;
use fusebox::{Telemetry, TelemetryConfig};
use integration_tests::{Binary, DEADLINE, eventually, get_json};
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
